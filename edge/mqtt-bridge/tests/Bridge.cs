using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.MqttBridge.Tests;

/// <summary>A node with the bridge in a temporary folder, which can be stopped and started again.</summary>
internal sealed class Bridge : IAsyncDisposable
{
    public static readonly string[] Pumps =
    [
        "--mqtt-bridge:topics:0:filter=ward/+/pump/#",
        "--mqtt-bridge:topics:0:eventType=yizhan.device.pump.v1",
        "--mqtt-bridge:topics:0:lane=normal",
        "--mqtt-bridge:topics:0:key={1}",
    ];

    private readonly string[] _settings;
    private WebApplication? _node;

    private Bridge(string[] settings)
    {
        _settings = settings;
        Port = FreePorts.Next();
    }

    public string Folder { get; } = Directory.CreateTempSubdirectory("yizhan-mqtt-").FullName;

    public int Port { get; }

    public IEventLog Log => _node!.Services.GetRequiredService<IEventLog>();

    public static async Task<Bridge> StartAsync(params string[] settings)
    {
        var bridge = new Bridge(settings);
        await bridge.StartAsync();
        return bridge;
    }

    public async Task StartAsync()
    {
        _node = new ServiceHost(
        [
            $"--node:dataFolder={Folder}", "--node:siteId=site-1", "--web:url=http://127.0.0.1:0", "--log:level=Error",
            "--storage:freeFloorBytes=0", $"--mqtt-bridge:port={Port}", .. _settings,
        ]).Add<MqttBridgeModule>().Build();
        await _node.StartAsync();
    }

    public async Task StopAsync()
    {
        if (_node is { } node)
        {
            _node = null;
            await node.StopAsync();
            await node.DisposeAsync();
        }
    }

    public async Task<IReadOnlyList<LoggedEntry>> EntriesAsync()
    {
        var entries = new List<LoggedEntry>();
        IReadOnlyList<LoggedEntry> page;
        while ((page = await Log.ReadAsync(entries.Count == 0 ? 0 : entries[^1].Position, 1000, TestContext.Current.CancellationToken)).Count > 0)
        {
            entries.AddRange(page);
        }

        return entries;
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        Directory.Delete(Folder, recursive: true);
    }
}
