using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Yizhan.Contracts;
using Yizhan.EmrAdapter.Patients;

namespace Yizhan.EmrAdapter.Tests;

/// <summary>Orders and patients as they are after all that was said about them, whatever the sequence.</summary>
[Trait("Clause", "S5")]
public sealed class OrderTests
{
    private static readonly string New = Messages.Order("O1", "NW", "1", "20261101080000");
    private static readonly string Revised = Messages.Order("O1", "XO", "2", "20261101090000", text: "CT Chest again");
    private static readonly string SameHour = Messages.Order("O1", "XO", "3", "20261101080000", text: "CT Chest again");
    private static readonly string Cancelled = Messages.Order("O1", "CA", "4", "20261101100000");
    private static readonly string Renewed = Messages.Order("O2", "RE", "5", "20261101100000", more: "O1");
    private static readonly string Replaced = Messages.Order("O2", "RP", "6", "20261101100000", more: "O1");

    public static TheoryData<string, string[]> Stories() => new()
    {
        { "O1:CT Chest again", [New, Revised] },
        { "O1:CT Chest again", [New, SameHour] },
        { "", [New, Revised, Cancelled] },
        { "O1:CT Chest O2:CT Chest", [New, Renewed] },
        { "O2:CT Chest", [New, Replaced] },
        { "O2:CT Chest", [New, Revised, Replaced] },
    };

    [Theory]
    [MemberData(nameof(Stories))]
    public async Task Any_arrival_order_ends_in_the_same_worklist(string expected, string[] messages)
    {
        foreach (var arrival in Permutations(messages))
        {
            await using var node = await Node.StartAsync();
            using var sender = await MllpSender.ConnectAsync(node.MllpPort);
            foreach (var message in arrival)
            {
                Assert.Equal("AA", (await sender.SendAsync(message))["MSA-1"]);
            }

            Assert.Equal(expected, string.Join(' ', (await node.WorklistAsync()).OrderBy(s => s.Id, StringComparer.Ordinal).Select(s => $"{s.Id["HIS/".Length..]}:{s.RequestedProcedureDescription}")));
        }
    }

    [Fact]
    public async Task A_restart_between_the_log_and_the_order_book_announces_each_step_once()
    {
        var node = await Node.StartAsync();
        using (var sender = await MllpSender.ConnectAsync(node.MllpPort))
        {
            await sender.SendAsync(New);
            await node.FollowedAsync();
        }

        // As if it had been killed after the append and before the commit: the same batch is folded again.
        node.Service<EmrDatabase>().Write(db =>
        {
            db.Command("DELETE FROM orders").Go();
            EmrDatabase.MoveCursor(db, $"log/{node.Log.Epoch:N}", "0");
        });
        node = await node.RestartAsync();
        await using (node)
        {
            await node.FollowedAsync();
            Assert.Single(await node.StepsAsync());
        }
    }

    [Fact]
    public async Task An_omi_order_says_everything_that_a_modality_needs()
    {
        await using var node = await Node.StartAsync();
        using var sender = await MllpSender.ConnectAsync(node.MllpPort);
        await sender.SendAsync(
            "MSH|^~\\&|RIS|H|Y|A|20261101080000+0800||OMI^O23^OMI_O23|M1|P|2.5.1||||||UNICODE UTF-8\r" +
            "PID|1||MR7^^^HOSP^MR~11010519491231002X^^^CN&2.16.156.10011.1.3&ISO^NNCHN||Li^Na^^^^^L^A~李^娜^^^^^L^I||19491231|F\r" +
            "ORC|NW|PL9^DEP||||||||||D1^Wang^Fang\rTQ1|1||||||20261102093000+0800||S\rOBR|1|PL9^DEP||XR9^胸片^L\rIPC|ACC9|RP9|1.2.3.9|SPS9|DX|||ROOM1|DX-1\r");
        var step = Assert.Single(await node.WorklistAsync());
        Assert.Equal(
            ("ACC9", "RP9", "1.2.3.9", "SPS9", "DX", "DX-1", "20261102093000", "Li^Na=李^娜", "Wang^Fang", "MR7"),
            (step.AccessionNumber, step.RequestedProcedureId, step.StudyInstanceUid, step.ScheduledProcedureStepId, step.Modality, step.ScheduledStationAeTitle, step.ScheduledStart, step.PatientName,
                step.ReferringPhysicianName, step.PatientId));
        Assert.Equal("S", (await node.OrdersAsync())[0].Priority);
    }

    [Fact]
    public async Task A_correction_of_a_patient_changes_his_open_orders_and_a_merge_gives_them_to_the_survivor()
    {
        await using var node = await Node.StartAsync();
        using var sender = await MllpSender.ConnectAsync(node.MllpPort);
        await sender.SendAsync(New);
        await sender.SendAsync(Messages.Adt("A08", "P1", "Zhang^Weiwei", time: "20261101120000"));
        Assert.Equal("Zhang^Weiwei", Assert.Single(await node.WorklistAsync()).PatientName);

        // Said earlier, arrived later: changes nothing.
        await sender.SendAsync(Messages.Adt("A08", "P1", "Old^Name", "A2", "20251101120000"));
        Assert.Equal("Zhang^Weiwei", Assert.Single(await node.WorklistAsync()).PatientName);

        await sender.SendAsync(Messages.Adt("A40", "P2", "Zhang^Weiwei", "A3", "20261101130000", "P1"));
        Assert.Equal("P2", Assert.Single(await node.WorklistAsync()).PatientId);
    }

    [Fact]
    public async Task A_merge_loop_is_refused_however_long_it_is()
    {
        await using var node = await Node.StartAsync();
        using var sender = await MllpSender.ConnectAsync(node.MllpPort);
        Assert.Equal("AA", (await sender.SendAsync(Messages.Adt("A40", "B", id: "1", retired: "A")))["MSA-1"]);
        Assert.Equal("AA", (await sender.SendAsync(Messages.Adt("A40", "C", id: "2", retired: "B")))["MSA-1"]);
        var answer = await sender.SendAsync(Messages.Adt("A40", "A", id: "3", retired: "C"));
        Assert.Equal("AE", answer["MSA-1"]);
        Assert.Contains("loop", answer["ERR-8"], StringComparison.Ordinal);
        await node.FollowedAsync();
        Assert.Equal(("C", "HOSP"), node.Service<EmrDatabase>().Read(db => PatientIndex.Survivor(db, "A", "HOSP")));
    }

    [Fact]
    public async Task An_unmapped_code_is_scheduled_and_queued_for_a_person_until_a_map_has_it()
    {
        var terms = Directory.CreateTempSubdirectory("yizhan-terms-");
        try
        {
            var node = await Node.StartAsync($"--emr-adapter:termsFolder={terms.FullName}");
            using (var sender = await MllpSender.ConnectAsync(node.MllpPort))
            {
                await sender.SendAsync(New.Replace("24627-2^CT Chest^LN", "K77^特殊检查^99LOCAL", StringComparison.Ordinal));
                Assert.Equal("", Assert.Single(await node.WorklistAsync()).Modality);
                var unmapped = Assert.Single((await node.Http.GetFromJsonAsync("unmapped", ContractsJson.Default.IReadOnlyListUnmappedCodeView, Node.Cancel))!);
                Assert.Equal(("procedures", "99LOCAL", "K77", 1L), (unmapped.Map, unmapped.System, unmapped.Code, unmapped.Orders));
            }

            await File.WriteAllTextAsync(Path.Combine(terms.FullName, "local.tsv"), "# map\tprocedures\n# version\t1\n99LOCAL\tK77\tMR\t特殊检查\n", Node.Cancel);
            node = await node.RestartAsync($"--emr-adapter:termsFolder={terms.FullName}");
            await using (node)
            {
                await Wait.UntilAsync(async () => (await node.WorklistAsync()).Single().Modality == "MR");
                Assert.Equal("[]", await node.Http.GetStringAsync("unmapped", Node.Cancel));
            }
        }
        finally
        {
            terms.Delete(recursive: true);
        }
    }

    [Fact]
    public void Resident_identity_numbers_are_checked_as_the_standard_says()
    {
        var rows = JsonNode.Parse(File.ReadAllText(Directory.GetFiles(Corpus.Path("cn-id")).Single()))!.AsArray();
        Assert.NotEmpty(rows);
        foreach (var row in rows)
        {
            var problem = ResidentIdentity.Problem((string)row!["id"]!);
            Assert.True((bool)row["checksum_ok"]! && row["valid"] is not JsonValue ? problem is null : problem is not null || row["checksum_ok"]!.GetValue<bool>(), $"{row.ToJsonString()}: {problem}");
            if (problem is null && row["birth"] is JsonValue birth)
            {
                Assert.Equal(((string)birth!).Replace("-", "", StringComparison.Ordinal), ResidentIdentity.Read((string)row["id"]!).BirthDate);
                Assert.Equal((string)row["sex"]!, ResidentIdentity.Read((string)row["id"]!).Sex);
            }
        }
    }

    [Fact]
    public async Task Identifiers_that_contradict_each_other_wait_for_a_person()
    {
        await using var node = await Node.StartAsync();
        using var sender = await MllpSender.ConnectAsync(node.MllpPort);
        await sender.SendAsync(Messages.Adt("A28", "P1", id: "1", more: "~110105194912310021^^^CN^NNCHN"));
        await sender.SendAsync(Messages.Adt("A28", "P2", id: "2", more: "~11010519491231002X^^^CN^NNCHN"));
        await sender.SendAsync(Messages.Adt("A28", "P3", id: "3", more: "~11010519491231002X^^^CN^NNCHN"));
        await node.FollowedAsync();
        var conflicts = (await node.Http.GetFromJsonAsync("identity-conflicts", ContractsJson.Default.IReadOnlyListIdentityConflictView, Node.Cancel))!;
        Assert.Contains(conflicts, c => c.PatientId == "P1" && c.Problem.Contains("check character", StringComparison.Ordinal));
        Assert.Contains(conflicts, c => c.PatientId == "P2" && c.Problem.Contains("birth date", StringComparison.Ordinal));
        Assert.Contains(conflicts, c => c.PatientId == "P3" && c.Problem.Contains("Another patient", StringComparison.Ordinal));
    }

    private static IEnumerable<string[]> Permutations(string[] items)
    {
        if (items.Length <= 1)
        {
            yield return items;
            yield break;
        }

        for (var i = 0; i < items.Length; i++)
        {
            foreach (var rest in Permutations([.. items[..i], .. items[(i + 1)..]]))
            {
                yield return [items[i], .. rest];
            }
        }
    }
}
