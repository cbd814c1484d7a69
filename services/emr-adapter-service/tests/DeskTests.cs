using System.Net;
using System.Net.Http.Json;
using Yizhan.Contracts;

namespace Yizhan.EmrAdapter.Tests;

/// <summary>What people decide: what a code means, and who is one patient.</summary>
[Trait("Clause", "S5")]
public sealed class DeskTests
{
    [Fact]
    public async Task A_code_that_a_person_maps_changes_the_worklist_at_once_and_counts_after_a_restart()
    {
        var node = await Node.StartAsync();
        using (var sender = await MllpSender.ConnectAsync(node.MllpPort))
        {
            Assert.Equal("AA", (await sender.SendAsync(Messages.Order("O1").Replace("24627-2^CT Chest^LN", "XH1^胸部^L", StringComparison.Ordinal)))["MSA-1"]);
        }

        Assert.Equal("", (await node.WorklistAsync()).Single().Modality);
        var code = Assert.Single((await node.Http.GetFromJsonAsync("unmapped", ContractsJson.Default.IReadOnlyListUnmappedCodeView, Node.Cancel))!);
        var decision = new TermDecision(code.Map, code.System, code.Code, "CT", "Chest CT", "M. Keller", "as agreed with radiology");
        Assert.Equal("target is 'computed'; accepted is a modality of DICOM, such as CT: 2 to 16 capitals.", await ProblemAsync("unmapped", decision with { Target = "computed" }));
        Assert.Equal("by must have 1 to 128 characters and reason 1 to 512: both go into the audit log.", await ProblemAsync("unmapped", decision with { Reason = "" }));
        Assert.Null(await ProblemAsync("unmapped", decision));
        Assert.Equal("CT", (await node.WorklistAsync()).Single().Modality);
        Assert.Empty((await node.Http.GetFromJsonAsync("unmapped", ContractsJson.Default.IReadOnlyListUnmappedCodeView, Node.Cancel))!);
        Assert.Contains(await node.EntriesAsync(AuditRecord.EventType, ContractsJson.Default.AuditRecord), r => r.Agent == "M. Keller");

        node = await node.RestartAsync();
        await using (node)
        {
            using var sender = await MllpSender.ConnectAsync(node.MllpPort);
            await sender.SendAsync(Messages.Order("O2", id: "M2").Replace("24627-2^CT Chest^LN", "XH1^胸部^L", StringComparison.Ordinal));
            Assert.Equal(["CT", "CT"], (await node.WorklistAsync()).Select(s => s.Modality));
        }

        async Task<string?> ProblemAsync(string path, TermDecision body)
        {
            using var answer = await node.Http.PostAsJsonAsync(path, body, ContractsJson.Default.TermDecision, Node.Cancel);
            return answer.IsSuccessStatusCode ? null : System.Text.Json.Nodes.JsonNode.Parse(await answer.Content.ReadAsStringAsync(Node.Cancel))!["detail"]!.ToString();
        }
    }

    [Theory]
    [InlineData(IdentityDecision.Same, "P1")]
    [InlineData(IdentityDecision.Apart, "P2")]
    public async Task Two_identifiers_of_one_resident_are_one_patient_or_two_when_a_person_has_said_so(string decision, string survivor)
    {
        await using var node = await Node.StartAsync();
        using var sender = await MllpSender.ConnectAsync(node.MllpPort);
        foreach (var (patient, id) in new[] { ("P1", "A1"), ("P2", "A2") })
        {
            await sender.SendAsync(Messages.Adt("A04", patient, id: id, more: "~11010519491231002X^^^^NNCHN"));
        }

        await node.FollowedAsync();
        var conflict = (await ConflictsAsync()).Single(c => c.OtherPatientId.Length > 0);
        Assert.Equal(("P2", "P1"), (conflict.PatientId, conflict.OtherPatientId));
        using (var nonsense = await node.Http.PostAsJsonAsync($"identity-conflicts/{conflict.Key}", new IdentityDecision("perhaps", "M. Keller", "r"), ContractsJson.Default.IdentityDecision, Node.Cancel))
        {
            Assert.Equal(HttpStatusCode.BadRequest, nonsense.StatusCode);
        }

        using (var answer = await node.Http.PostAsJsonAsync($"identity-conflicts/{conflict.Key}", new IdentityDecision(decision, "M. Keller", "seen in person"), ContractsJson.Default.IdentityDecision, Node.Cancel))
        {
            Assert.Equal(HttpStatusCode.NoContent, answer.StatusCode);
        }

        // What is said about him again brings no conflict back.
        await sender.SendAsync(Messages.Adt("A08", "P2", id: "A3", time: "20261101090000", more: "~11010519491231002X^^^^NNCHN"));
        await node.FollowedAsync();
        Assert.DoesNotContain(await ConflictsAsync(), c => c.OtherPatientId.Length > 0);
        Assert.Equal(survivor, node.Service<EmrDatabase>().Read(db => Patients.PatientIndex.Survivor(db, "P2", "HOSP")).Id);

        async Task<IReadOnlyList<IdentityConflictView>> ConflictsAsync() =>
            (await node.Http.GetFromJsonAsync("identity-conflicts", ContractsJson.Default.IReadOnlyListIdentityConflictView, Node.Cancel))!;
    }

    [Fact]
    public async Task Lists_come_page_by_page_without_a_gap_or_a_double()
    {
        await using var node = await Node.StartAsync();
        using (var sender = await MllpSender.ConnectAsync(node.MllpPort))
        {
            for (var i = 1; i <= 7; i++)
            {
                await sender.SendAsync(Messages.Order($"O{i}", id: $"M{i}", time: $"2026110108000{i}"));
            }
        }

        await node.FollowedAsync();
        var seen = new List<string>();
        for (var skip = 0; skip < 9; skip += 3)
        {
            seen.AddRange((await node.Http.GetFromJsonAsync($"orders?state=active&skip={skip}&limit=3", ContractsJson.Default.IReadOnlyListEmrOrderView, Node.Cancel))!.Select(o => o.PlacerOrderNumber));
        }

        Assert.Equal(["O7", "O6", "O5", "O4", "O3", "O2", "O1"], seen);
    }
}
