using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Fleet;
using Yizhan.Platform;
using Yizhan.Platform.Certificates;
using Yizhan.Storage;

namespace Yizhan.Station.Tests;

/// <summary>A centre and a site as they run in production, in temporary folders, with a real link over loopback between them.</summary>
internal sealed class TwoNodes : IAsyncDisposable
{
    public const string Site = "lakeside";

    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-link-").FullName;
    private readonly List<string> _edgeSettings = [];
    private TimeProvider _edgeClock = TimeProvider.System;

    public WebApplication Centre { get; private set; } = null!;

    public WebApplication Edge { get; private set; } = null!;

    public IEventLog CentreLog => Centre.Services.GetRequiredService<IEventLog>();

    public IEventLog EdgeLog => Edge.Services.GetRequiredService<IEventLog>();

    public IBlobStore CentreBlobs => Centre.Services.GetRequiredService<IBlobStore>();

    public IBlobStore EdgeBlobs => Edge.Services.GetRequiredService<IBlobStore>();

    public LinkListener Listener => Centre.Services.GetRequiredService<LinkListener>();

    public EmbeddedCa Ca => Centre.Services.GetRequiredService<EmbeddedCa>();

    public LinkService Link => Edge.Services.GetRequiredService<LinkService>();

    public string PathOf(params string[] parts) => Path.Combine([_folder, .. parts]);

    public static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <param name="edge">More settings of the site.</param>
    /// <param name="centre">More settings of the centre.</param>
    /// <param name="installed">When the root was made; null: now.</param>
    /// <param name="edgeClock">The site's clock; null: the real one.</param>
    public static async Task<TwoNodes> StartAsync(
        string[]? edge = null, string[]? centre = null, TimeProvider? installed = null, TimeProvider? edgeClock = null)
    {
        var nodes = new TwoNodes { _edgeClock = edgeClock ?? TimeProvider.System };
        EmbeddedCa.Open(nodes.PathOf("centre", "fleet", "ca"), installed ?? TimeProvider.System).Dispose();
        nodes._edgeSettings.AddRange(edge ?? []);

        // A port of its own, which stays free while the centre is away: one of those that the kernel gives to anybody could be somebody else's by then.
        await nodes.StartCentreAsync(FreePorts.Next(), centre ?? []);
        nodes.Ca.IssueSite(Site).WriteTo(nodes.PathOf("site.crt"), nodes.PathOf("site.key"));
        await nodes.StartEdgeAsync();
        return nodes;
    }

    public async Task StartCentreAsync(int port, params string[] settings)
    {
        Centre = new ServiceHost([
            $"--node:dataFolder={PathOf("centre")}", "--web:url=http://127.0.0.1:0", "--log:level=error",
            $"--fleet:linkPort={port}", $"--fleet:enrolmentPort={FreePorts.Next()}", .. settings]).Add<FleetModule>().Build();
        await Centre.StartAsync(Cancel);
    }

    public async Task StartEdgeAsync(params string[] settings)
    {
        Edge = new ServiceHost([
            $"--node:siteId={Site}", $"--node:dataFolder={PathOf("edge")}", "--web:url=http://127.0.0.1:0", "--log:level=error",
            $"--station:centreUrl=https://127.0.0.1:{Listener.EndPoint.Port}", $"--station:certificatePath={PathOf("site.crt")}",
            $"--station:keyPath={PathOf("site.key")}", $"--station:rootPath={Ca.RootFile}", "--station:probeMs=100",
            .. _edgeSettings, .. settings]).Add<StationModule>().With(services => services.AddSingleton(_edgeClock)).Build();
        await Edge.StartAsync(Cancel);
    }

    public static async Task StopAsync(WebApplication node)
    {
        await node.StopAsync(Cancel);
        await node.DisposeAsync();
    }

    /// <summary>Appends entries <c>lane/1</c>, <c>lane/2</c>, … to the site's log.</summary>
    public async Task<IReadOnlyList<Receipt>> AppendAsync(Lane lane, int count, string prefix = "")
    {
        var entries = Enumerable.Range(1, count).Select(i => new Entry(
            lane, "test.fact.v1", $"{prefix}{lane}/{i}", "", i, System.Text.Encoding.UTF8.GetBytes($"{{\"n\":{i}}}")));
        return await EdgeLog.AppendAsync([.. entries], Cancel);
    }

    /// <summary>Writes a blob of random bytes and an entry that names it.</summary>
    public async Task<(BlobRef Blob, byte[] Bytes)> AppendBlobAsync(Lane lane, string id, int length, int seed)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        await using var writer = EdgeBlobs.Begin(lane);
        await writer.WriteAsync(bytes, Cancel);
        var blob = await writer.CompleteAsync(Cancel);
        await EdgeLog.AppendAsync([new Entry(lane, "test.blob.v1", id, "", 0, "{}"u8.ToArray()) { Blobs = [blob] }], Cancel);
        return (blob, bytes);
    }

    /// <summary>Returns when everything that the site accepted is confirmed.</summary>
    public Task DeliveredAsync() => Wait.UntilAsync(() => Enum.GetValues<Lane>().All(lane => EdgeLog.Usage(lane).Entries == 0));

    /// <summary>What the centre holds of the site, in the order in which it came.</summary>
    public async Task<List<LoggedEntry>> ArrivedAsync()
    {
        var all = new List<LoggedEntry>();
        while (await CentreLog.ReadAsync(all.Count == 0 ? 0 : all[^1].Position, 1000, Cancel) is { Count: > 0 } more)
        {
            all.AddRange(more);
        }

        return all;
    }

    public async Task<byte[]?> CentreBytesAsync(BlobRef blob)
    {
        await using var reader = await CentreBlobs.OpenAsync(blob.Hash, Cancel);
        if (reader is null)
        {
            return null;
        }

        var bytes = new byte[reader.Length];
        for (var at = 0; at < bytes.Length;)
        {
            at += await reader.ReadAsync(at, bytes.AsMemory(at), Cancel);
        }

        return bytes;
    }

    public async ValueTask DisposeAsync()
    {
        await Edge.StopAsync(CancellationToken.None);
        await Edge.DisposeAsync();
        await Centre.StopAsync(CancellationToken.None);
        await Centre.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }
}
