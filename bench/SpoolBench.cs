using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;

namespace Yizhan.Bench;

/// <summary>
/// <c>yizhan bench spool</c>: how fast an item is durable and acknowledged, by our two stores, by mosquitto, by NATS JetStream, by SQLite with a commit for each
/// item, and by the disk itself (append and fdatasync with group commit). Each of so many producers waits for its acknowledgement before it sends the
/// next item. Every measurement starts on an empty folder; rounds are interleaved and the median counts. Then: what an item costs when millions are
/// queued already, and how soon a spool of that size accepts after a restart.
/// </summary>
internal static class SpoolBench
{
    /// <summary>A load: how many producers, and how large an item is. From 256 KiB on, our stores take the item as a blob.</summary>
    private static readonly (int Producers, int Bytes)[] Loads =
    [
        (1, 1024), (8, 1024), (1, 64 * 1024), (8, 64 * 1024), (1, 512 * 1024), (8, 512 * 1024),
    ];

    private static readonly string[] Ours = ["segments", "sqlite"];

    public static Command Create()
    {
        var quick = new Option<bool>("--quick") { Description = "Less than a minute: two short rounds, a small queue." };
        var items = new Option<long>("--items") { Description = "Items to queue for the flatness case, such as 10000000. Default: as many as fit into the time." };
        var peers = new Option<string[]>("--peers") { Description = "Only these peers, such as limit.", AllowMultipleArgumentsPerToken = true };
        var json = new Option<bool>("--json") { Description = "Print only the JSON object." };
        var command = new Command("spool", "Durable items/s and acknowledge latency: us, mosquitto, NATS JetStream, SQLite, and the limit of this disk.")
        {
            quick, items, peers, json,
        };
        command.SetAction((parsed, cancellationToken) => RunAsync(
            parsed.GetValue(quick), parsed.GetValue(items), parsed.GetValue(peers) ?? [], parsed.GetValue(json), cancellationToken));
        return command;
    }

    private static async Task<int> RunAsync(bool quick, long items, string[] peers, bool json, CancellationToken cancellationToken)
    {
        void Say(string text) => (json ? Console.Error : Console.Out).WriteLine(text);

        var folder = Path.Combine(Path.GetFullPath("artifacts"), "bench", "spool");
        var (rounds, time) = quick ? (2, TimeSpan.FromSeconds(0.3)) : (5, TimeSpan.FromSeconds(0.8));
        var results = new Dictionary<(string System, int Producers, int Bytes), List<SpoolResult>>();
        string[] names = [];
        for (var round = 1; round <= rounds; round++)
        {
            foreach (var (producers, bytes) in Loads)
            {
                Say($"Round {round} of {rounds}, {Describe(producers, bytes)} ...");
                var systems = Systems().Where(system => peers.Length == 0 || peers.Contains(system.Name) || Ours.Contains(system.Name)).ToArray();
                names = [.. systems.Select(system => system.Name)];
                foreach (var system in systems)
                {
                    var result = await MeasureAsync(system, Path.Combine(folder, "data"), producers, bytes, time, cancellationToken);
                    var key = (system.Name, producers, bytes);
                    (results.TryGetValue(key, out var list) ? list : results[key] = []).Add(result);
                    Say(string.Create(CultureInfo.InvariantCulture, $"  {system.Name}: {result.ItemsPerSecond:0} items/s, p99 {result.P99Ms:0.00} ms"));
                }
            }
        }

        var rows = new List<BenchRow>();
        foreach (var (producers, bytes) in Loads)
        {
            foreach (var peer in names.Except(Ours))
            {
                foreach (var store in Ours)
                {
                    var load = $"{peer}, {Describe(producers, bytes)}, {store}";
                    var (ours, theirs) = (results[(store, producers, bytes)], results[(peer, producers, bytes)]);
                    rows.Add(Compare(BenchRow.More, load, "items/s", ours, theirs, r => r.ItemsPerSecond));
                    rows.Add(Compare(BenchRow.Less, $"{load}, p99", "ms", ours, theirs, r => r.P99Ms));
                }
            }
        }

        foreach (var store in Ours)
        {
            var budget = TimeSpan.FromSeconds(quick ? 3 : 25);
            rows.AddRange(await SpoolBenchQueue.MeasureAsync(store, Path.Combine(folder, "queue"), items, budget, Say, cancellationToken));
        }

        BenchTable.Print("spool", rows, json);
        return 0;
    }

    /// <summary>Medians, and the median of the rounds' ratios: what else runs on the machine slows a round, but both in it.</summary>
    private static BenchRow Compare(
        Func<string, double, double, string, BenchRow> compare, string load, string unit, List<SpoolResult> ours, List<SpoolResult> theirs, Func<SpoolResult, double> what) =>
        compare(load, BenchTable.Median(ours.Select(what)), BenchTable.Median(theirs.Select(what)), unit) with
        {
            Ratio = BenchTable.Median(ours.Zip(theirs, (our, their) => compare(load, what(our), what(their), unit).Ratio)),
        };

    /// <summary>Everything that is compared, in the order of a round.</summary>
    private static SpoolSystem[] Systems() =>
    [
        new DiskLimitSystem("limit", written: false),
        new DiskLimitSystem("limit on a recycled file", written: true),
        .. Ours.Select(store => new OwnSystem(store)),
        .. Ours.Select(store => new OwnSystem(store, encrypt: false)),
        new SqliteSystem(),
        new NatsSystem(),
        new MosquittoSystem(),
    ];

    private static async Task<SpoolResult> MeasureAsync(
        SpoolSystem system, string folder, int producers, int bytes, TimeSpan time, CancellationToken cancellationToken)
    {
        if (Directory.Exists(folder))
        {
            Directory.Delete(folder, recursive: true);
        }

        Directory.CreateDirectory(folder);
        await using (system)
        {
            await system.StartAsync(folder, producers, bytes, cancellationToken);

            // What a process does in its first moments (compiling, filling caches) is not what is compared.
            await ProduceAsync(system, producers, bytes, time / 4, cancellationToken);
            return await ProduceAsync(system, producers, bytes, time, cancellationToken);
        }
    }

    private static async Task<SpoolResult> ProduceAsync(
        SpoolSystem system, int producers, int bytes, TimeSpan time, CancellationToken cancellationToken)
    {
        var from = Stopwatch.GetTimestamp();
        var latencies = await Task.WhenAll(Enumerable.Range(0, producers).Select(producer => Task.Run(
            async () =>
            {
                var taken = new List<TimeSpan>();
                while (Stopwatch.GetElapsedTime(from) < time)
                {
                    var item = RandomNumberGenerator.GetBytes(bytes);
                    var sent = Stopwatch.GetTimestamp();
                    await system.PutAsync(producer, item, cancellationToken);
                    taken.Add(Stopwatch.GetElapsedTime(sent));
                }

                return taken;
            },
            cancellationToken)));
        var seconds = Stopwatch.GetElapsedTime(from).TotalSeconds;
        var sorted = latencies.SelectMany(taken => taken).Order().ToArray();
        return new SpoolResult(sorted.Length / seconds, sorted[(int)(sorted.Length * 0.99)].TotalMilliseconds);
    }

    private static string Describe(int producers, int bytes) => $"{producers} producer{(producers == 1 ? "" : "s")}, {bytes / 1024} KiB";
}

/// <summary>One run.</summary>
internal sealed record SpoolResult(double ItemsPerSecond, double P99Ms);

/// <summary>Something that takes items durably. Started on an empty folder, stopped by disposal.</summary>
internal abstract class SpoolSystem(string name) : IAsyncDisposable
{
    /// <summary>As in the table.</summary>
    public string Name { get; } = name;

    /// <summary>Starts it.</summary>
    /// <param name="folder">Empty, for its data.</param>
    /// <param name="producers">How many will put at the same time, numbered from 0.</param>
    /// <param name="bytes">Size of an item.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public abstract Task StartAsync(string folder, int producers, int bytes, CancellationToken cancellationToken);

    /// <summary>Hands one item over and returns when it is acknowledged. One call at a time for each producer.</summary>
    public abstract Task PutAsync(int producer, byte[] item, CancellationToken cancellationToken);

    /// <inheritdoc/>
    public abstract ValueTask DisposeAsync();
}
