using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Yizhan.Contracts;
using Yizhan.Drills;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.MqttBridge.Tests;

public sealed class KilledBridgeTests(ITestOutputHelper output) : IDisposable
{
    private const int Kills = 4;
    private const int MessagesBetweenKills = 40;
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-mqtt-kill-").FullName;

    [Fact]
    [Trait("Clause", "D3.6")]
    public async Task Each_message_that_a_killed_site_acknowledged_or_was_sent_again_is_at_the_centre_once()
    {
        var cancellationToken = TestContext.Current.CancellationToken;
        var site = LocalSite.Prepare(_folder, LocalSite.DcmtkPeers, LocalPorts.Free().WithoutRelay());
        var port = FreePorts.Next();
        HostProcess? centre = null, edge = null;
        try
        {
            centre = await site.StartCentreAsync(cancellationToken);
            edge = await StartEdgeAsync(site, port, cancellationToken);
            var (sent, repeated) = (0, 0);
            for (var kill = 0; kill <= Kills; kill++)
            {
                Device? device = null;
                for (var i = 0; i < MessagesBetweenKills; i++, sent++)
                {
                    // Killed while a message is under way: whether it was taken is not known, and it is sent again with DUP (MQTT 3.1.1 §4.4).
                    var killing = i == MessagesBetweenKills / 2 && kill < Kills ? edge!.KillAsync() : Task.CompletedTask;
                    var dup = false;
                    while (device is null || !await device.PublishAsync((ushort)(sent + 1), "ward/7/pump/3", Encoding.UTF8.GetBytes($"{sent}"), dup))
                    {
                        repeated += dup ? 1 : 0;
                        dup = device is not null;
                        device?.Dispose();
                        if (edge!.Process.HasExited)
                        {
                            await killing;
                            await edge.DisposeAsync();
                            edge = await StartEdgeAsync(site, port, cancellationToken);
                        }

                        device = await TryConnectAsync(port);
                    }

                    await killing;
                }

                device?.Dispose();
            }

            await WaitForAsync(site, sent, cancellationToken);
            await edge.DisposeAsync();
            edge = null;
            await centre.DisposeAsync();
            centre = null;
            var arrived = await PayloadsAsync(Path.Combine(_folder, "centre"), cancellationToken);
            output.WriteLine($"figures: {Kills} kills, {sent} messages, {repeated} repeated more than once, {arrived.Count} at the centre");
            Assert.Equal(Enumerable.Range(0, sent).Select(n => $"{n}"), arrived);
        }
        finally
        {
            await (edge?.DisposeAsync() ?? default);
            await (centre?.DisposeAsync() ?? default);
        }
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private Task<HostProcess> StartEdgeAsync(LocalSite site, int port, CancellationToken cancellationToken) => HostProcess.StartAsync(
        ["edge", "--config", Path.Combine(_folder, "edge.yaml"), $"--mqtt-bridge:port={port}", .. Bridge.Pumps],
        site.Ports.EdgeWeb, site.LogPath("edge"), cancellationToken);

    private static async Task<Device?> TryConnectAsync(int port)
    {
        try
        {
            return await Device.ConnectAsync(port, "pump-3");
        }
        catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException)
        {
            return null;
        }
    }

    private static async Task WaitForAsync(LocalSite site, int messages, CancellationToken cancellationToken)
    {
        using var http = site.CentreClient();
        var (position, seen) = (0L, 0);
        while (seen < messages)
        {
            var page = await http.GetFromJsonAsync(
                $"/fleet/events?after={position}&limit=1000", ContractsJson.Default.IReadOnlyListLogEvent, cancellationToken) ?? [];
            position = page.Count > 0 ? page[^1].Position : position;
            seen += page.Count(e => e.Type == "yizhan.device.pump.v1");
            if (page.Count == 0)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(100), cancellationToken);
            }
        }
    }

    /// <summary>What the stopped centre's log has of the pumps, in its order.</summary>
    private static async Task<List<string>> PayloadsAsync(string dataFolder, CancellationToken cancellationToken)
    {
        await using var node = new ServiceHost([$"--node:dataFolder={dataFolder}", "--node:siteId=centre", "--log:level=Error"]).Add<LogModule>().Build();
        var log = node.Services.GetRequiredService<IEventLog>();
        var payloads = new List<string>();
        IReadOnlyList<LoggedEntry> page;
        for (var position = 0L; (page = await log.ReadAsync(position, 1000, cancellationToken)).Count > 0; position = page[^1].Position)
        {
            payloads.AddRange(page.Where(e => e.Entry.Type == "yizhan.device.pump.v1").Select(e =>
                JsonSerializer.Deserialize(e.Entry.Data.Span, ContractsJson.Default.DeviceMessage)!.Json!.Value.GetRawText()));
        }

        return payloads;
    }

    private sealed class LogModule : IServiceModule
    {
        public static string Name => "reader";

        public static void Register(IHostApplicationBuilder builder) => builder.AddEventLog();

        public static void Map(Microsoft.AspNetCore.Routing.IEndpointRouteBuilder routes)
        {
        }
    }
}
