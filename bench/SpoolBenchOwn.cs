using System.Globalization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Bench;

/// <summary>Our event log, opened as every service opens it.</summary>
/// <param name="store">sqlite or segments.</param>
/// <param name="site">Whose log it is.</param>
/// <param name="encrypt">False: as <c>storage:encrypt: false</c> has it.</param>
internal sealed class OwnSystem(string store, string site = "bench", bool encrypt = true) : SpoolSystem(encrypt ? store : store + " not encrypted")
{
    // What is larger belongs into a blob; the link's small messages end here as well.
    private const int MaxEntryBytes = 256 * 1024;

    private readonly long[] _numbers = new long[64];
    private WebApplication? _node;

    /// <summary>The log.</summary>
    public IEventLog Log => _node!.Services.GetRequiredService<IEventLog>();

    public override Task StartAsync(string folder, int producers, int bytes, CancellationToken cancellationToken)
    {
        _node = new ServiceHost([$"--node:dataFolder={folder}", $"--node:siteId={site}", $"--storage:store={store}", $"--storage:encrypt={(encrypt ? "true" : "false")}", "--log:level=Warning"])
            .Add<LogModule>()
            .Build();

        // Nothing listens: the log opens when it is first asked for.
        _ = Log;
        return Task.CompletedTask;
    }

    public override async Task PutAsync(int producer, byte[] item, CancellationToken cancellationToken)
    {
        if (item.Length <= MaxEntryBytes)
        {
            await Log.AppendAsync([new Entry(Lane.Normal, "yizhan.bench.item.v1", NextId(producer), "", 0, item)], cancellationToken);
        }
        else
        {
            await PutBlobAsync(producer, item, cancellationToken);
        }
    }

    /// <summary>An item as a blob, with an entry that names it.</summary>
    public async Task PutBlobAsync(int producer, byte[] item, CancellationToken cancellationToken)
    {
        await using var blob = _node!.Services.GetRequiredService<IBlobStore>().Begin(Lane.Bulk);
        await blob.WriteAsync(item, cancellationToken);
        var entry = new Entry(Lane.Bulk, "yizhan.bench.blob.v1", NextId(producer), "", 0, "{}"u8.ToArray())
        {
            Blobs = [await blob.CompleteAsync(cancellationToken)],
        };
        await Log.AppendAsync([entry], cancellationToken);
    }

    /// <summary>The producers' numbers are eight cells apart, so that they do not share a cache line.</summary>
    private string NextId(int producer) => string.Create(CultureInfo.InvariantCulture, $"{producer}-{++_numbers[producer * 8]}");

    public override async ValueTask DisposeAsync()
    {
        if (_node is not null)
        {
            await _node.DisposeAsync();
        }
    }

    /// <summary>A node that has a log and nothing else.</summary>
    private sealed class LogModule : IServiceModule
    {
        public static string Name => "bench";

        public static void Register(IHostApplicationBuilder builder) => builder.AddEventLog();

        public static void Map(IEndpointRouteBuilder routes)
        {
        }
    }
}
