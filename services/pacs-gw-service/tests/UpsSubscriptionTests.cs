using System.Net;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Platform.Identity;

namespace Yizhan.PacsGw.Tests;

/// <summary>Who subscribes is told over a real WebSocket, of what it subscribed to and of nothing else.</summary>
[Trait("Clause", "S2")]
public sealed class UpsSubscriptionTests
{
    private const string Worklist = "1.2.840.10008.5.1.4.34.5";
    private const string Filtered = "1.2.840.10008.5.1.4.34.5.1";
    private const int StateReport = 1, CancelRequested = 2, Progress = 3, Assigned = 5;

    private static string Work(string label, string more = "") => """
        [{"00741000":{"vr":"CS","Value":["SCHEDULED"]},"00741200":{"vr":"CS","Value":["MEDIUM"]},"00741204":{"vr":"LO","Value":["LABEL"]},
          "00404005":{"vr":"DT","Value":["20261123080000"]},"00404041":{"vr":"CS","Value":["READY"]}MORE}]
        """.Replace("LABEL", label, StringComparison.Ordinal).Replace("MORE", more, StringComparison.Ordinal);

    private static string To(string state, string transaction) =>
        "[{\"00741000\":{\"vr\":\"CS\",\"Value\":[\"" + state + "\"]},\"00081195\":{\"vr\":\"UI\",\"Value\":[\"" + transaction + "\"]}}]";

    private static async Task<HttpStatusCode> SendAsync(Gateway gateway, HttpMethod method, string path, string? json = null) =>
        (await AskAsync(gateway, method, path, json)).Status;

    private static async Task<(HttpStatusCode Status, string Where)> AskAsync(Gateway gateway, HttpMethod method, string path, string? json = null)
    {
        using var request = new HttpRequestMessage(method, new Uri("dicom-web/workitems/" + path, UriKind.Relative));
        request.Content = json is null ? null : new StringContent(json, Encoding.UTF8, "application/dicom+json");
        using var response = await gateway.Http.SendAsync(request, Gateway.Cancel);
        return (response.StatusCode, response.Content.Headers.ContentLocation?.OriginalString ?? "");
    }

    private static Task<HttpStatusCode> CreateAsync(Gateway gateway, string uid, string label = "CT", string more = "") =>
        SendAsync(gateway, HttpMethod.Post, "?" + uid, Work(label, more));

    [Fact]
    public async Task A_subscriber_to_a_workitem_hears_where_it_stands_and_each_change_in_order()
    {
        await using var gateway = await Gateway.StartAsync();
        await CreateAsync(gateway, "2.25.7");
        await CreateAsync(gateway, "2.25.8");
        var (status, where) = await AskAsync(gateway, HttpMethod.Post, "2.25.7/subscribers/WATCHER");
        Assert.Equal(HttpStatusCode.Created, status);
        using var watcher = await Watcher.ConnectAsync(gateway, where);
        await SendAsync(gateway, HttpMethod.Post, "2.25.7/subscribers/WATCHER");
        await watcher.ExpectAsync("2.25.7", StateReport, state: "SCHEDULED", number: 1);

        // Of 2.25.8 it hears nothing: the next event is of 2.25.7 again.
        await SendAsync(gateway, HttpMethod.Put, "2.25.8/state", To("IN PROGRESS", "2.25.1"));
        await SendAsync(gateway, HttpMethod.Put, "2.25.7/state", To("IN PROGRESS", "2.25.1"));
        await watcher.ExpectAsync("2.25.7", StateReport, state: "IN PROGRESS", number: 2);
        await SendAsync(gateway, HttpMethod.Post, "2.25.7?2.25.1", """[{"00741002":{"vr":"SQ","Value":[{"00741004":{"vr":"DS","Value":[40]}}]}}]""");
        var progress = await watcher.ExpectAsync("2.25.7", Progress);
        Assert.Equal(40, (int)progress["00741002"]!["Value"]![0]!["00741004"]!["Value"]![0]!);
        await SendAsync(gateway, HttpMethod.Post, "2.25.7/cancelrequest", """[{"00741238":{"vr":"LT","Value":["病人离开"]}}]""");
        var cancel = await watcher.ExpectAsync("2.25.7", CancelRequested);
        Assert.Equal(("病人离开", "YIZHAN"), ((string)cancel["00741238"]!["Value"]![0]!, (string)cancel["00741236"]!["Value"]![0]!));
        await SendAsync(gateway, HttpMethod.Put, "2.25.7/state", To("CANCELED", "2.25.1"));
        await watcher.ExpectAsync("2.25.7", StateReport, state: "CANCELED", number: 5);
        Assert.DoesNotContain("2.25.1\"", cancel.ToJsonString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_subscriber_to_the_worklist_hears_of_what_comes_also_after_a_restart_until_it_suspends_or_ends_it()
    {
        var gateway = await Gateway.StartAsync();
        try
        {
            await CreateAsync(gateway, "2.25.1");
            Assert.Equal(HttpStatusCode.Created, await SendAsync(gateway, HttpMethod.Post, $"{Worklist}/subscribers/DESK?deletionlock=true"));
            gateway = await gateway.RestartAsync();
            using var desk = await Watcher.ConnectAsync(gateway, "DESK");
            await CreateAsync(gateway, "2.25.2", more: ""","00404034":{"vr":"SQ","Value":[{"00404037":{"vr":"PN","Value":[{"Alphabetic":"Li^Na"}]}}]}""");
            await desk.ExpectAsync("2.25.2", StateReport, state: "SCHEDULED");
            var assigned = await desk.ExpectAsync("2.25.2", Assigned);
            Assert.NotNull(assigned["00404034"]);

            // One workitem is left out, those to come are suspended; what it has stays.
            Assert.Equal(HttpStatusCode.OK, await SendAsync(gateway, HttpMethod.Delete, "2.25.2/subscribers/DESK"));
            Assert.Equal(HttpStatusCode.OK, await SendAsync(gateway, HttpMethod.Post, $"{Worklist}/subscribers/DESK/suspend"));
            Assert.Equal(HttpStatusCode.NotFound, await SendAsync(gateway, HttpMethod.Post, $"{Worklist}/subscribers/DESK/suspend"));
            await CreateAsync(gateway, "2.25.3");
            await SendAsync(gateway, HttpMethod.Put, "2.25.2/state", To("IN PROGRESS", "2.25.9"));
            await SendAsync(gateway, HttpMethod.Put, "2.25.1/state", To("IN PROGRESS", "2.25.9"));
            await desk.ExpectAsync("2.25.1", StateReport, state: "IN PROGRESS");

            // With a deletion lock, where each stands; then nothing of anything.
            Assert.Equal(HttpStatusCode.Created, await SendAsync(gateway, HttpMethod.Post, $"{Worklist}/subscribers/DESK?deletionlock=true"));
            await desk.ExpectAsync("2.25.1", StateReport, state: "IN PROGRESS");
            await desk.ExpectAsync("2.25.2", StateReport, state: "IN PROGRESS");
            await desk.ExpectAsync("2.25.3", StateReport, state: "SCHEDULED");
            Assert.Equal(HttpStatusCode.OK, await SendAsync(gateway, HttpMethod.Delete, $"{Worklist}/subscribers/DESK"));
            await SendAsync(gateway, HttpMethod.Put, "2.25.3/state", To("IN PROGRESS", "2.25.9"));
            await SendAsync(gateway, HttpMethod.Post, "2.25.1/subscribers/DESK");
            await desk.ExpectAsync("2.25.1", StateReport, state: "IN PROGRESS");
        }
        finally
        {
            await gateway.DisposeAsync();
        }
    }

    [Theory]
    [InlineData("?filter=ProcedureStepLabel=MR*,ProcedureStepState=SCHEDULED")]
    [InlineData("?ProcedureStepLabel=MR*&ProcedureStepState=SCHEDULED")]
    public async Task A_subscriber_behind_a_filter_hears_of_what_meets_it(string filter)
    {
        await using var gateway = await Gateway.StartAsync();
        await CreateAsync(gateway, "2.25.1", "MR head");
        await CreateAsync(gateway, "2.25.2", "CT head");
        Assert.Equal(HttpStatusCode.Created, await SendAsync(gateway, HttpMethod.Post, $"{Filtered}/subscribers/MR-ROOM{filter}"));
        using var room = await Watcher.ConnectAsync(gateway, "MR-ROOM");
        using var other = await Watcher.ConnectAsync(gateway, "CT-ROOM");
        await CreateAsync(gateway, "2.25.3", "CT hand");
        await CreateAsync(gateway, "2.25.4", "MR hand");
        await SendAsync(gateway, HttpMethod.Put, "2.25.2/state", To("IN PROGRESS", "2.25.9"));
        await SendAsync(gateway, HttpMethod.Put, "2.25.1/state", To("IN PROGRESS", "2.25.9"));

        // 2.25.2 becomes an MR, and is subscribed to from then on; it does not meet the filter, being claimed.
        await SendAsync(gateway, HttpMethod.Post, "2.25.3", """[{"00741204":{"vr":"LO","Value":["MR hand"]}}]""");
        await SendAsync(gateway, HttpMethod.Put, "2.25.3/state", To("IN PROGRESS", "2.25.9"));
        await room.ExpectAsync("2.25.4", StateReport, state: "SCHEDULED");
        await room.ExpectAsync("2.25.1", StateReport, state: "IN PROGRESS");
        await room.ExpectAsync("2.25.3", StateReport, state: "IN PROGRESS");

        // Another's connection stays silent: the first it hears is its own.
        await SendAsync(gateway, HttpMethod.Post, "2.25.2/subscribers/CT-ROOM");
        await other.ExpectAsync("2.25.2", StateReport, state: "IN PROGRESS", number: 1);
    }

    [Theory]
    [InlineData("POST", "2.25.404/subscribers/DESK", HttpStatusCode.NotFound)]
    [InlineData("DELETE", "2.25.404/subscribers/DESK", HttpStatusCode.NotFound)]
    [InlineData("DELETE", Worklist + "/subscribers/NOBODY", HttpStatusCode.NotFound)]
    [InlineData("POST", Filtered + "/subscribers/DESK", HttpStatusCode.BadRequest)]
    [InlineData("POST", Filtered + "/subscribers/DESK?filter=NoSuchThing=1", HttpStatusCode.BadRequest)]
    [InlineData("POST", Filtered + "/subscribers/DESK?filter=1", HttpStatusCode.BadRequest)]
    [InlineData("POST", Worklist + "/subscribers/DESK?filter=PatientID=1", HttpStatusCode.BadRequest)]
    [InlineData("POST", Worklist + "/subscribers/DESK?deletionlock=yes", HttpStatusCode.BadRequest)]
    [InlineData("POST", Worklist + "/subscribers/TITLE-OF-17-LETTE", HttpStatusCode.BadRequest)]
    [InlineData("POST", "2.25.404/subscribers/DESK/suspend", HttpStatusCode.BadRequest)]
    public async Task What_is_no_subscription_is_refused(string method, string path, HttpStatusCode expected)
    {
        await using var gateway = await Gateway.StartAsync();
        Assert.Equal(expected, await SendAsync(gateway, new HttpMethod(method), path));
    }

    [Fact]
    public async Task The_connection_needs_a_reader_of_studies_and_an_upgrade_and_ends_with_the_node()
    {
        var gateway = await Gateway.StartAsync();
        using var stranger = new ClientWebSocket();
        var address = new UriBuilder(new Uri(gateway.Http.BaseAddress!, "dicom-web/subscribers/DESK")) { Scheme = "ws" }.Uri;
        var refused = await Assert.ThrowsAsync<WebSocketException>(() => stranger.ConnectAsync(address, Gateway.Cancel));
        Assert.Contains("401", refused.Message, StringComparison.Ordinal);
        using var plain = await gateway.Http.GetAsync(new Uri("dicom-web/subscribers/DESK", UriKind.Relative), Gateway.Cancel);
        Assert.Equal(HttpStatusCode.BadRequest, plain.StatusCode);

        using var desk = await Watcher.ConnectAsync(gateway, "DESK");
        var closed = desk.ClosedAsync();
        await gateway.DisposeAsync(); // Once: the node is over after this.
        Assert.Equal(WebSocketCloseStatus.NormalClosure, await closed);
    }

    /// <summary>The other end of a notification connection.</summary>
    private sealed class Watcher(ClientWebSocket socket) : IDisposable
    {
        private readonly byte[] _buffer = new byte[64 * 1024];

        public static async Task<Watcher> ConnectAsync(Gateway gateway, string where)
        {
            var socket = new ClientWebSocket();
            socket.Options.SetRequestHeader("Authorization", "Bearer " + gateway.Services.GetRequiredService<LocalOperator>().Token());
            var address = where.Contains(':', StringComparison.Ordinal)
                ? new Uri(where)
                : new UriBuilder(new Uri(gateway.Http.BaseAddress!, "dicom-web/subscribers/" + where)) { Scheme = "ws" }.Uri;
            await socket.ConnectAsync(address, Gateway.Cancel);
            return new Watcher(socket);
        }

        public async Task<JsonObject> ExpectAsync(string uid, int type, string? state = null, int? number = null)
        {
            var message = await socket.ReceiveAsync(_buffer, Gateway.Cancel);
            Assert.Equal((WebSocketMessageType.Text, true), (message.MessageType, message.EndOfMessage));
            var report = JsonNode.Parse(_buffer.AsSpan(0, message.Count))!.AsObject();
            JsonNode? Value(string tag) => report[tag]?["Value"]?[0];
            Assert.Equal(
                ("1.2.840.10008.5.1.4.34.6.1", 0x100, uid, type),
                ((string)Value("00000002")!, (int)Value("00000100")!, (string)Value("00001000")!, (int)Value("00001002")!));
            Assert.Equal(state ?? (string?)Value("00741000"), (string?)Value("00741000"));
            Assert.Equal(number ?? (int)Value("00000110")!, (int)Value("00000110")!);
            return report;
        }

        public async Task<WebSocketCloseStatus?> ClosedAsync()
        {
            var message = await socket.ReceiveAsync(_buffer, Gateway.Cancel);
            Assert.Equal(WebSocketMessageType.Close, message.MessageType);
            return message.CloseStatus;
        }

        public void Dispose() => socket.Dispose();
    }
}
