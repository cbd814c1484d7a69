using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using Yizhan.Contracts;
using Yizhan.Hl7v2;

namespace Yizhan.EmrAdapter.Tests;

/// <summary>HL7 v2 out: each fact once in effect, in order for each patient, whatever the other side does.</summary>
[Trait("Clause", "S5")]
public sealed class SenderTests
{
    [Fact]
    public async Task Results_go_out_in_order_over_one_connection_and_a_lost_answer_brings_the_same_message_again()
    {
        await using var engine = new MllpEngine();
        await using var node = await Node.StartAsync(Node.Hl7System(engine.Port));
        await OrderAsync(node, "O1", "P1");
        var lost = 0;
        engine.Answer = m => m["OBR-25"] == "F" && lost++ < 2 ? null : AcknowledgmentCode.AA;
        foreach (var (i, status) in "preliminary final corrected".Split(' ').Index())
        {
            await node.ReportAsync(Node.Report("R1", status, "O1", $"Text {i}", 1_790_000_000_000 + i));
        }

        await Wait.UntilAsync(async () => (await node.SystemAsync()).Delivered == 3);
        var distinct = engine.Received.DistinctBy(m => m.ControlId).ToList();
        Assert.Equal("P F C", string.Join(' ', distinct.Select(m => m["OBR-25"])));
        Assert.Equal(5, engine.Received.Count);
        Assert.All(engine.Received.GroupBy(m => m.ControlId), again => Assert.Single(again.Select(m => m.ToString()).Distinct()));
        Assert.Equal(("ORU^R01^ORU_R01", "P1", "O1", "Text 0"), (distinct[0]["MSH-9"], distinct[0]["PID-3.1"], distinct[0]["OBR-2"], distinct[0]["OBX[2]-5"]));

        // Two answers were lost with their connections; all else went over what was open.
        Assert.Equal(3, engine.Connections);
    }

    [Fact]
    public async Task A_dead_engine_and_a_restart_of_ours_lose_nothing_and_double_nothing()
    {
        await using var engine = new MllpEngine();
        await engine.KillAsync();
        var node = await Node.StartAsync(Node.Hl7System(engine.Port));
        for (var i = 0; i < 20; i++)
        {
            await OrderAsync(node, $"O{i}", $"P{i % 5}");
            await node.ReportAsync(Node.Report($"R{i}", "final", $"O{i}"));
        }

        await Wait.UntilAsync(async () => (await node.SystemAsync()) is { Waiting: 20, Problem: not null });
        node = await node.RestartAsync(Node.Hl7System(engine.Port));
        await using (node)
        {
            engine.Restart();
            await Wait.UntilAsync(() => engine.Received.Count >= 7);
            await engine.KillAsync();
            engine.Restart();
            await Wait.UntilAsync(async () => (await node.SystemAsync()) is { Waiting: 0, Delivered: 20, Problem: null });
            var effect = engine.Received.DistinctBy(m => m.ControlId).ToList();
            Assert.Equal(20, effect.Count);
            foreach (var patient in effect.GroupBy(m => m["PID-3.1"]))
            {
                var numbers = patient.Select(m => int.Parse(m["OBR-2"].AsSpan(1), CultureInfo.InvariantCulture)).ToList();
                Assert.Equal(numbers.Order(), numbers);
            }
        }
    }

    [Fact]
    [Trait("Clause", "D8.1")]
    public async Task What_was_told_after_a_backup_is_not_told_again_by_the_file_that_is_put_back_and_what_was_not_is()
    {
        await using var engine = new MllpEngine();
        var node = await Node.StartAsync(Node.Hl7System(engine.Port));
        for (var i = 1; i <= 6; i++)
        {
            await OrderAsync(node, $"O{i}", $"P{i}");
        }

        // R1 was told before the copy; R2 waits in it; R3 and R4 came after it. R2 to R4 are told, R5 and R6 are not.
        await node.ReportAsync(Node.Report("R1", "final", "O1"));
        await Wait.UntilAsync(async () => (await node.SystemAsync()).Delivered == 1);
        await engine.KillAsync();
        await node.ReportAsync(Node.Report("R2", "final", "O2"));
        await Wait.UntilAsync(async () => (await node.SystemAsync()).Waiting == 1);
        node = await node.RestartAsync(folder => File.Copy(Path.Combine(folder, "emr-adapter", "emr.db"), Path.Combine(folder, "copy.db")), Node.Hl7System(engine.Port));
        engine.Restart();
        await node.ReportAsync(Node.Report("R3", "final", "O3"));
        await node.ReportAsync(Node.Report("R4", "final", "O4"));
        await Wait.UntilAsync(async () => (await node.SystemAsync()) is { Delivered: 4, Waiting: 0 });
        await engine.KillAsync();
        await node.ReportAsync(Node.Report("R5", "final", "O5"));
        await node.ReportAsync(Node.Report("R6", "final", "O6"));
        await Wait.UntilAsync(async () => (await node.SystemAsync()).Waiting == 2);

        engine.Restart();
        node = await node.RestartAsync(
            folder =>
            {
                File.Delete(Path.Combine(folder, "emr-adapter", "emr.db-wal"));
                File.Delete(Path.Combine(folder, "emr-adapter", "emr.db-shm"));
                File.Move(Path.Combine(folder, "copy.db"), Path.Combine(folder, "emr-adapter", "emr.db"), overwrite: true);
                File.WriteAllText(Path.Combine(folder, "log", "restored"), "");
            }, Node.Hl7System(engine.Port));
        await using (node)
        {
            await Wait.UntilAsync(async () => (await node.SystemAsync()) is { Delivered: 6, Waiting: 0 });
            await node.FollowedAsync();
            Assert.Equal(["O1", "O2", "O3", "O4", "O5", "O6"], engine.Received.Select(m => m["OBR-2"]).Order(StringComparer.Ordinal));
        }
    }

    [Fact]
    public async Task What_the_engine_refuses_is_a_dead_letter_that_stops_nobody_and_can_be_sent_again()
    {
        await using var engine = new MllpEngine();
        await using var node = await Node.StartAsync(Node.Hl7System(engine.Port));
        await OrderAsync(node, "O1", "P1");
        await OrderAsync(node, "O2", "P2");
        engine.Answer = m => m["OBR-2"] == "O1" ? AcknowledgmentCode.AE : AcknowledgmentCode.AA;
        await node.ReportAsync(Node.Report("R1", "final", "O1"));
        await node.ReportAsync(Node.Report("R2", "final", "O2"));
        await Wait.UntilAsync(async () => (await node.SystemAsync()) is { Delivered: 1, DeadLetters: 1 });
        var dead = Assert.Single((await node.Http.GetFromJsonAsync("dead-letters", ContractsJson.Default.IReadOnlyListEmrMessageView, Node.Cancel))!);
        Assert.Equal(("R1", "AE: The engine says no."), (dead.Subject, dead.Reason));

        engine.Answer = _ => AcknowledgmentCode.AA;
        Assert.Equal(HttpStatusCode.BadRequest, await ReplayAsync(node, dead.Key, "", "why"));
        Assert.Equal(HttpStatusCode.NotFound, await ReplayAsync(node, 4711, "me", "why"));
        Assert.Equal(HttpStatusCode.NoContent, await ReplayAsync(node, dead.Key, "me", "the engine was mended"));
        await Wait.UntilAsync(async () => (await node.SystemAsync()) is { Delivered: 2, DeadLetters: 0 });
        Assert.Single(engine.Received.Where(m => m["OBR-2"] == "O1").Select(m => m.ToString()).Distinct());
        Assert.Contains(await node.EntriesAsync(AuditRecord.EventType, ContractsJson.Default.AuditRecord), r => r.Agent == "me" && r.Detail == "replay: the engine was mended");
    }

    [Fact]
    [Trait("Clause", "S5")]
    public async Task What_is_tried_again_is_not_overtaken_by_the_next_message_of_its_patient()
    {
        await using var engine = new MllpEngine();
        await using var node = await Node.StartAsync(Node.Hl7System(engine.Port));
        await OrderAsync(node, "O1", "P1");
        await OrderAsync(node, "O2", "P1");
        await OrderAsync(node, "O3", "P2");
        engine.Answer = m => m["OBR-2"] == "O1" ? AcknowledgmentCode.AR : AcknowledgmentCode.AA;
        await node.ReportAsync(Node.Report("R1", "final", "O1"));
        await node.ReportAsync(Node.Report("R2", "final", "O2"));
        await node.ReportAsync(Node.Report("R3", "final", "O3"));

        // Another patient's goes; this one's second waits, however often the first is tried.
        await Wait.UntilAsync(() => node.Messages("delivered").Any(m => m.Subject == "R3") && node.Messages("waiting").Any(m => m.Subject == "R1" && m.Attempts >= 3));
        Assert.DoesNotContain(engine.Received, m => m["OBR-2"] == "O2");
        engine.Answer = _ => AcknowledgmentCode.AA;
        await Wait.UntilAsync(async () => (await node.SystemAsync()) is { Delivered: 3, Waiting: 0 });
        Assert.Equal(1, engine.Received.Count(m => m["OBR-2"] == "O2"));
    }

    [Fact]
    public async Task A_dead_letter_that_a_newer_version_has_overtaken_is_not_sent_again()
    {
        await using var engine = new MllpEngine();
        await using var node = await Node.StartAsync(Node.Hl7System(engine.Port));
        await OrderAsync(node, "O1", "P1");
        engine.Answer = m => m["OBR-25"] == "P" ? AcknowledgmentCode.AE : AcknowledgmentCode.AA;
        await node.ReportAsync(Node.Report("R1", "preliminary", "O1"));
        await node.ReportAsync(Node.Report("R1", "final", "O1", "final", 1_790_000_000_001));
        await Wait.UntilAsync(async () => (await node.SystemAsync()) is { Delivered: 1, DeadLetters: 1 });
        Assert.Equal(HttpStatusCode.Conflict, await ReplayAsync(node, node.Messages("dead").Single().Key, "me", "again"));
    }

    [Fact]
    public async Task One_message_that_fails_for_ever_is_given_up_while_others_get_through_but_an_engine_that_takes_nothing_costs_nothing()
    {
        await using var engine = new MllpEngine();
        await using var node = await Node.StartAsync([.. Node.Hl7System(engine.Port), "--emr-adapter:maxAttempts=3"]);
        for (var i = 1; i <= 3; i++)
        {
            await OrderAsync(node, $"O{i}", $"P{i}");
        }

        engine.Answer = _ => AcknowledgmentCode.AR;
        await node.ReportAsync(Node.Report("R1", "final", "O1"));
        await node.ReportAsync(Node.Report("R2", "final", "O2"));
        await Wait.UntilAsync(() => node.Messages("waiting").Count(m => m.Attempts >= 4) == 2);
        Assert.Empty(node.Messages("dead"));

        engine.Answer = m => m["OBR-2"] == "O1" ? AcknowledgmentCode.AR : AcknowledgmentCode.AA;
        await node.ReportAsync(Node.Report("R3", "final", "O3"));
        await Wait.UntilAsync(async () => (await node.SystemAsync()) is { Delivered: 2, DeadLetters: 1 });
        Assert.Equal("R1", node.Messages("dead").Single().Subject);
    }

    [Fact]
    public async Task While_a_system_takes_nothing_each_message_has_its_turn_and_not_the_oldest_alone()
    {
        await using var engine = new MllpEngine { Answer = _ => AcknowledgmentCode.AR };

        // The pause of the system grows faster than that of a message: whenever it ends, the oldest message is due.
        await using var node = await Node.StartAsync([.. Node.Hl7System(engine.Port), "--emr-adapter:firstPauseMs=10", "--emr-adapter:maxPauseMs=60000"]);
        await OrderAsync(node, "O1", "P1");
        await OrderAsync(node, "O2", "P2");
        await node.ReportAsync(Node.Report("R1", "final", "O1"));
        await node.ReportAsync(Node.Report("R2", "final", "O2"));
        await Wait.UntilAsync(() => node.Messages("waiting").Count(m => m.Attempts >= 4) == 2);
    }

    [Fact]
    public async Task An_answer_that_is_html_is_no_answer()
    {
        await using var engine = new MllpEngine { Raw = MllpFraming.Frame("<html><body>502 Bad Gateway</body></html>"u8) };
        await using var node = await Node.StartAsync(Node.Hl7System(engine.Port));
        await OrderAsync(node, "O1", "P1");
        await node.ReportAsync(Node.Report("R1", "final", "O1"));
        await Wait.UntilAsync(async () => (await node.SystemAsync()).Problem?.Contains("XML", StringComparison.Ordinal) == true);
        engine.Raw = null;
        await Wait.UntilAsync(async () => (await node.SystemAsync()).Delivered == 1);
    }

    [Fact]
    public async Task A_result_whose_order_is_not_known_yet_waits_for_it()
    {
        await using var engine = new MllpEngine();
        await using var node = await Node.StartAsync(Node.Hl7System(engine.Port));
        await node.ReportAsync(Node.Report("R1", "final", "O1"));
        await Wait.UntilAsync(async () => (await node.SystemAsync()).Unlinked == 1);
        Assert.Empty(engine.Received);
        await OrderAsync(node, "O1", "P1");
        await Wait.UntilAsync(async () => (await node.SystemAsync()) is { Unlinked: 0, Delivered: 1 });
        Assert.Equal("P1", engine.Received.Single()["PID-3.1"]);
    }

    [Fact]
    public async Task What_may_wait_is_bounded_and_the_rest_stays_in_the_log()
    {
        await using var engine = new MllpEngine();
        await engine.KillAsync();
        await using var node = await Node.StartAsync([.. Node.Hl7System(engine.Port), "--emr-adapter:maxWaitingBytes=20000"]);
        await OrderAsync(node, "O1", "P1");
        for (var i = 0; i < 40; i++)
        {
            await node.ReportAsync(Node.Report($"R{i}", "final", "O1", new string('x', 2000)));
        }

        await Wait.UntilAsync(async () => (await node.SystemAsync()).WaitingBytes >= 20_000);
        await node.ReportAsync(Node.Report("LAST", "final", "O1"));
        await Wait.UntilAsync(() => node.Log.LastPosition > node.Service<EmrFollower>().Position);
        engine.Restart();
        await Wait.UntilAsync(async () => (await node.SystemAsync()).Delivered == 41);
        Assert.Equal(41, engine.Received.DistinctBy(m => m.ControlId).Count());
    }

    [Fact]
    public async Task A_modalitys_broker_gets_each_order_as_omi_or_as_orm_with_zds()
    {
        await using var omi = new MllpEngine();
        await using var orm = new MllpEngine();
        await using var node = await Node.StartAsync(
            [.. Node.Hl7System(omi.Port, 0, "new", "sends=order"), .. Node.Hl7System(orm.Port, 1, "old", "sends=order", "version=2.3.1")]);
        await OrderAsync(node, "O1", "P1");
        await OrderAsync(node, "O1", "P1", "CA", "20261101090000");
        await Wait.UntilAsync(() => omi.Received.Count == 2 && orm.Received.Count == 2);
        Assert.Equal("NW CA", string.Join(' ', omi.Received.Select(m => m["ORC-1"])));
        Assert.Equal(("OMI^O23^OMI_O23", "ORM^O01"), (omi.Received[0]["MSH-9"], orm.Received[0]["MSH-9"]));
        Assert.StartsWith("2.25.", omi.Received[0]["IPC-3"], StringComparison.Ordinal);
        Assert.Equal(omi.Received[0]["IPC-3"], orm.Received[0]["ZDS-1.1"]);
    }

    internal static async Task OrderAsync(Node node, string number, string patient, string control = "NW", string time = "20261101080000", string name = "Zhang^Wei")
    {
        using var sender = await MllpSender.ConnectAsync(node.MllpPort);
        Assert.Equal("AA", (await sender.SendAsync(Messages.Order(number, control, $"{number}{control}", time, patient, name)))["MSA-1"]);
    }

    private static async Task<HttpStatusCode> ReplayAsync(Node node, long key, string by, string reason)
    {
        using var answer = await node.Http.PostAsJsonAsync($"dead-letters/{key}/replay", new EmrDecision(by, reason), ContractsJson.Default.EmrDecision, Node.Cancel);
        return answer.StatusCode;
    }
}
