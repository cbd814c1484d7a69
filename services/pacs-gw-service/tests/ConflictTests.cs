using System.Net;
using System.Net.Http.Json;
using Yizhan.Contracts;

namespace Yizhan.PacsGw.Tests;

/// <summary>Instances that say another patient than their study wait for a person.</summary>
public sealed class ConflictTests
{
    [Fact]
    public async Task Another_patient_in_a_study_is_parked_until_a_person_decides()
    {
        await using var gateway = await Gateway.StartAsync();
        await gateway.SendAsync([
            new TestInstance("2.25.1", "2.25.11", "2.25.111") { PatientName = "Wang^Xiaodong=王^小东" }.ToSend(),
            new TestInstance("2.25.1", "2.25.11", "2.25.112") { PatientName = "WANG^XIAODONG" }.ToSend(),
            new TestInstance("2.25.1", "2.25.11", "2.25.113") { PatientName = "" }.ToSend(),
            new TestInstance("2.25.1", "2.25.11", "2.25.114") { PatientName = "Li^Na" }.ToSend(),
            new TestInstance("2.25.1", "2.25.11", "2.25.115") { PatientName = "Wang^Xiaodong", PatientId = "P2" }.ToSend()]);
        await gateway.IndexedAsync();
        Assert.Equal(["2.25.111", "2.25.112", "2.25.113"], await InstancesAsync(gateway));

        var open = await OpenAsync(gateway);
        Assert.Equal([("Li^Na", "P1"), ("Wang^Xiaodong", "P2")], open.Select(c => (c.PatientName, c.PatientId)));
        Assert.All(open, c => Assert.Equal(("Wang^Xiaodong=王^小东", "P1", 1), (c.StudyPatientName, c.StudyPatientId, c.Instances)));

        Assert.Equal(HttpStatusCode.BadRequest, await DecideAsync(gateway, open[0].Key, "merge"));
        Assert.Equal(HttpStatusCode.NotFound, await DecideAsync(gateway, 4711, ConflictDecision.SamePatient));
        Assert.Equal(HttpStatusCode.NoContent, await DecideAsync(gateway, open[0].Key, ConflictDecision.KeepApart));
        Assert.Equal(HttpStatusCode.NoContent, await DecideAsync(gateway, open[1].Key, ConflictDecision.SamePatient));
        Assert.Empty(await OpenAsync(gateway));
        Assert.Equal(["2.25.111", "2.25.112", "2.25.113", "2.25.115"], await InstancesAsync(gateway));

        // What comes later is treated as was decided, and both decisions are in the audit log.
        await gateway.SendAsync([
            new TestInstance("2.25.1", "2.25.11", "2.25.116") { PatientName = "Li^Na" }.ToSend(),
            new TestInstance("2.25.1", "2.25.11", "2.25.117") { PatientName = "Wang^Xiaodong", PatientId = "P2" }.ToSend()]);
        await gateway.IndexedAsync();
        Assert.Empty(await OpenAsync(gateway));
        Assert.Equal(["2.25.111", "2.25.112", "2.25.113", "2.25.115", "2.25.117"], await InstancesAsync(gateway));
        var audit = await gateway.EntriesAsync(AuditRecord.EventType);
        Assert.Equal(2, audit.Count(e => ((string?)e["detail"])?.StartsWith("patient conflict", StringComparison.Ordinal) == true));
    }

    private static async Task<IReadOnlyList<string>> InstancesAsync(Gateway gateway) =>
        [.. (await gateway.QueryAsync("studies/2.25.1/instances")).Select(i => (string)i!["00080018"]!["Value"]![0]!).Order()];

    private static async Task<IReadOnlyList<ConflictView>> OpenAsync(Gateway gateway) =>
        (await gateway.Http.GetFromJsonAsync("conflicts", ContractsJson.Default.IReadOnlyListConflictView, Gateway.Cancel))!;

    private static async Task<HttpStatusCode> DecideAsync(Gateway gateway, long key, string decision)
    {
        using var response = await gateway.Http.PostAsJsonAsync(
            new Uri($"conflicts/{key}", UriKind.Relative), new ConflictDecision(decision), ContractsJson.Default.ConflictDecision, Gateway.Cancel);
        return response.StatusCode;
    }
}
