using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Yizhan.Contracts;

namespace Yizhan.PacsGw.Tests;

[Trait("Clause", "S2")]
public sealed class UpsTests
{
    private const string Work = """
        [{"00741000":{"vr":"CS","Value":["SCHEDULED"]},"00741200":{"vr":"CS","Value":["MEDIUM"]},"00741204":{"vr":"LO","Value":["胸部 CT"]},
          "00404005":{"vr":"DT","Value":["20261123080000"]},"00404041":{"vr":"CS","Value":["READY"]},
          "00100010":{"vr":"PN","Value":[{"Alphabetic":"Wang^XiaoDong"}]}}]
        """;

    private const string Performed = """
        [{"00741216":{"vr":"SQ","Value":[{"00404051":{"vr":"DT","Value":["20261123083000"]}}]}}]
        """;

    private static async Task<(HttpStatusCode Status, string Body)> SendAsync(Gateway gateway, HttpMethod method, string path, string? json = null)
    {
        using var request = new HttpRequestMessage(method, new Uri("dicom-web/workitems" + path, UriKind.Relative));
        request.Content = json is null ? null : new StringContent(json, Encoding.UTF8, "application/dicom+json");
        using var response = await gateway.Http.SendAsync(request, Gateway.Cancel);
        return (response.StatusCode, await response.Content.ReadAsStringAsync(Gateway.Cancel));
    }

    private static async Task<HttpStatusCode> MoveAsync(Gateway gateway, string uid, string state, string transaction) =>
        (await SendAsync(
            gateway, HttpMethod.Put, $"/{uid}/state",
            "[{\"00741000\":{\"vr\":\"CS\",\"Value\":[\"" + state + "\"]},\"00081195\":{\"vr\":\"UI\",\"Value\":[\"" + transaction + "\"]}}]")).Status;

    private static async Task<JsonNode?> StateAsync(Gateway gateway, string uid) =>
        JsonNode.Parse((await SendAsync(gateway, HttpMethod.Get, "/" + uid)).Body)![0]!["00741000"]!["Value"]![0];

    [Fact]
    public async Task A_workitem_is_created_claimed_by_one_and_completed_by_whoever_claimed_it()
    {
        await using var gateway = await Gateway.StartAsync();
        Assert.Equal(HttpStatusCode.Created, (await SendAsync(gateway, HttpMethod.Post, "?2.25.7", Work)).Status);
        Assert.Equal(HttpStatusCode.Conflict, (await SendAsync(gateway, HttpMethod.Post, "?2.25.7", Work)).Status);

        // Ten want it; one gets it.
        var claims = await Task.WhenAll(Enumerable.Range(1, 10).Select(n => MoveAsync(gateway, "2.25.7", "IN PROGRESS", $"2.25.9{n}")));
        Assert.Single(claims, HttpStatusCode.OK);
        Assert.Equal(9, claims.Count(c => c == HttpStatusCode.Conflict));
        var mine = $"2.25.9{Array.IndexOf(claims, HttpStatusCode.OK) + 1}";

        // Its key is nobody else's business.
        Assert.DoesNotContain(mine, (await SendAsync(gateway, HttpMethod.Get, "/2.25.7")).Body, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.Conflict, (await SendAsync(gateway, HttpMethod.Post, "/2.25.7?2.25.1", Performed)).Status);
        Assert.Equal(HttpStatusCode.Conflict, await MoveAsync(gateway, "2.25.7", "COMPLETED", "2.25.1"));
        Assert.Equal(HttpStatusCode.Conflict, await MoveAsync(gateway, "2.25.7", "COMPLETED", mine));
        Assert.Equal(HttpStatusCode.OK, (await SendAsync(gateway, HttpMethod.Post, "/2.25.7?" + mine, Performed)).Status);
        Assert.Equal(HttpStatusCode.OK, await MoveAsync(gateway, "2.25.7", "COMPLETED", mine));
        Assert.Equal(HttpStatusCode.OK, await MoveAsync(gateway, "2.25.7", "COMPLETED", mine));
        Assert.Equal(HttpStatusCode.Conflict, await MoveAsync(gateway, "2.25.7", "CANCELED", mine));
        Assert.Equal("COMPLETED", (string)(await StateAsync(gateway, "2.25.7"))!);
        Assert.Equal(4, (await gateway.EntriesAsync(WorkitemChanged.EventType)).Count);
    }

    [Fact]
    public async Task Cancellation_ends_what_nobody_claimed_and_asks_whoever_did()
    {
        await using var gateway = await Gateway.StartAsync();
        await SendAsync(gateway, HttpMethod.Post, "?2.25.7", Work);
        Assert.Equal(HttpStatusCode.Accepted, (await SendAsync(gateway, HttpMethod.Post, "/2.25.7/cancelrequest")).Status);
        Assert.Equal("CANCELED", (string)(await StateAsync(gateway, "2.25.7"))!);
        await SendAsync(gateway, HttpMethod.Post, "?2.25.8", Work);
        await MoveAsync(gateway, "2.25.8", "IN PROGRESS", "2.25.1");
        Assert.Equal(HttpStatusCode.Accepted, (await SendAsync(gateway, HttpMethod.Post, "/2.25.8/cancelrequest")).Status);
        Assert.Equal("IN PROGRESS", (string)(await StateAsync(gateway, "2.25.8"))!);
        Assert.True((bool)(await gateway.EntriesAsync(WorkitemChanged.EventType))[^1]["cancelRequested"]!);
        Assert.Equal(HttpStatusCode.OK, await MoveAsync(gateway, "2.25.8", "CANCELED", "2.25.1"));
        Assert.Equal(HttpStatusCode.NotFound, (await SendAsync(gateway, HttpMethod.Post, "/2.25.9/cancelrequest")).Status);
    }

    [Theory]
    [InlineData("ProcedureStepState=SCHEDULED", 1)]
    [InlineData("ProcedureStepState=IN PROGRESS", 1)]
    [InlineData("PatientName=wang*", 2)]
    [InlineData("ScheduledProcedureStepStartDateTime=20261123-20261124", 2)]
    [InlineData("ScheduledProcedureStepStartDateTime=20261124-", 0)]
    [InlineData("SOPInstanceUID=2.25.7,2.25.9", 1)]
    [InlineData("limit=1", 1)]
    [InlineData("offset=1", 1)]
    public async Task A_worklist_is_searched_and_is_there_after_a_restart(string query, int expected)
    {
        var gateway = await Gateway.StartAsync();
        try
        {
            await SendAsync(gateway, HttpMethod.Post, "?2.25.7", Work);
            await SendAsync(gateway, HttpMethod.Post, "?2.25.8", Work);
            await MoveAsync(gateway, "2.25.8", "IN PROGRESS", "2.25.1");
            gateway = await gateway.RestartAsync();
            var (status, body) = await SendAsync(gateway, HttpMethod.Get, "?" + query);
            Assert.Equal(HttpStatusCode.OK, status);
            Assert.Equal(expected, JsonNode.Parse(body)!.AsArray().Count);
        }
        finally
        {
            await gateway.DisposeAsync();
        }
    }

    [Theory]
    [InlineData("?1.2", "[]")]
    [InlineData("?1.2", "{")]
    [InlineData("?1.2", "[{}]")]
    [InlineData("?x", Work)]
    public async Task What_is_no_workitem_is_refused(string path, string json)
    {
        await using var gateway = await Gateway.StartAsync();
        Assert.Equal(HttpStatusCode.BadRequest, (await SendAsync(gateway, HttpMethod.Post, path, json)).Status);
    }
}
