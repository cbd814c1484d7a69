using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Yizhan.Drills;

namespace Yizhan.Bench;

/// <summary>
/// <c>yizhan bench backfill</c>: a site was cut off for a day, and the line is back. How fast what it kept reaches the centre, through the link as it runs
/// in production, beside what this disk and the loopback could carry at most, in the same run.
/// </summary>
internal static class BackfillBench
{
    private const int EventBytes = 1024;

    public static Command Create()
    {
        var full = new Option<bool>("--full") { Description = "A busy site's day: 20 GB in 40000 instances, and 100000 events." };
        var instances = new Option<int>("--instances") { Description = "Instances that wait.", DefaultValueFactory = _ => 2000 };
        var events = new Option<int>("--events") { Description = "Events that wait.", DefaultValueFactory = _ => 5000 };
        var bytes = new Option<int>("--instance-bytes") { Description = "Size of an instance.", DefaultValueFactory = _ => 500_000 };
        var store = new Option<string>("--store") { Description = "Store of the site: sqlite or segments.", DefaultValueFactory = _ => "segments" };
        var json = new Option<bool>("--json") { Description = "Print only the JSON object." };
        var command = new Command("backfill", "What a site kept during an outage reaches the centre: MB/s, beside the disk's and the loopback's limit.")
        {
            full, instances, events, bytes, store, json,
        };
        command.SetAction((parsed, cancellationToken) => RunAsync(
            parsed.GetValue(full) ? (40_000, 100_000, 500_000) : (parsed.GetValue(instances), parsed.GetValue(events), parsed.GetValue(bytes)),
            parsed.GetValue(store)!, parsed.GetValue(json), cancellationToken));
        return command;
    }

    private static async Task<int> RunAsync((int Instances, int Events, int Bytes) day, string store, bool json, CancellationToken cancellationToken)
    {
        void Say(string text) => (json ? Console.Error : Console.Out).WriteLine(text);

        var folder = Path.Combine(Path.GetFullPath("artifacts"), "bench", "backfill");
        if (Directory.Exists(folder))
        {
            Directory.Delete(folder, recursive: true);
        }

        var megabytes = (((double)day.Instances * day.Bytes) + ((double)day.Events * EventBytes)) / 1e6;
        var site = LocalSite.Prepare(folder, LocalSite.DcmtkPeers, LocalPorts.Free().WithoutRelay());
        Say(string.Create(CultureInfo.InvariantCulture, $"Filling the site's spool: {day.Instances} instances and {day.Events} events, {megabytes:0} MB ..."));
        await FillAsync(Path.Combine(folder, LocalSite.SiteId), store, day, cancellationToken);

        // The same bytes, as the centre has to write them: the chunks of an instance, then a flush.
        Say("Measuring the disk and the loopback ...");
        var sample = Math.Min(day.Instances, 1000);
        var disk = DiskLimit.InstancesPerSecond(folder, sample, day.Bytes, group: 8) * day.Bytes / 1e6;
        var loopback = await LoopbackAsync(sample, day.Bytes, cancellationToken);

        Say("The line is back ...");
        await using var centre = await site.StartCentreAsync(cancellationToken);
        await using var edge = await HostProcess.StartAsync(
            ["edge", "--config", Path.Combine(folder, "edge.yaml"), $"--storage:store={store}", "--log:level=Warning"], site.Ports.EdgeWeb, site.LogPath("edge"), cancellationToken);
        var (seconds, sent) = await DeliverAsync(site, Say, cancellationToken);
        var cpu = ProcessUse.Cpu(edge.Process) + ProcessUse.Cpu(centre.Process);

        var rate = sent / seconds;
        var busy = cpu.TotalSeconds / seconds / Environment.ProcessorCount;
        var limit = Math.Min(disk, loopback);
        Say(string.Create(
            CultureInfo.InvariantCulture,
            $"{rate:0} MB/s. Bottleneck: {(rate > 0.8 * limit ? (disk < loopback ? "the disk" : "the loopback") : busy > 0.7 ? "the processor" : "neither disk, loopback nor processor alone")}; "
            + $"the two nodes used {100 * busy:0} % of {Environment.ProcessorCount} processors, {1000 * cpu.TotalSeconds / megabytes:0.0} ms for each MB."));
        var name = string.Create(CultureInfo.InvariantCulture, $"{megabytes:0} MB, {store}");
        BenchTable.Print("backfill", [
            BenchRow.More($"disk limit (append + fdatasync by 8), {name}", rate, disk, "MB/s"),
            BenchRow.More($"loopback limit (one TCP connection), {name}", rate, loopback, "MB/s"),
            BenchRow.More($"1 Gbit/s line, {name}", rate, 125, "MB/s"),
        ], json);
        Directory.Delete(folder, recursive: true);
        return 0;
    }

    /// <summary>Instances as blobs with their entries, and small events between them.</summary>
    private static async Task FillAsync(string data, string store, (int Instances, int Events, int Bytes) day, CancellationToken cancellationToken)
    {
        await using var spool = new OwnSystem(store, LocalSite.SiteId);
        await spool.StartAsync(data, producers: 8, day.Bytes, cancellationToken);
        await Parallel.ForAsync(0, 8, cancellationToken, async (producer, token) =>
        {
            for (var i = producer; i < day.Instances; i += 8)
            {
                await spool.PutBlobAsync(producer, RandomNumberGenerator.GetBytes(day.Bytes), token);
            }

            for (var i = producer; i < day.Events; i += 8)
            {
                // JSON, as every event's data.
                await spool.PutAsync(producer, Encoding.ASCII.GetBytes($"\"{RandomNumberGenerator.GetHexString(EventBytes - 2)}\""), token);
            }
        });
    }

    /// <summary>Waits until nothing waits. The clock starts with the first byte that the centre answered.</summary>
    private static async Task<(double Seconds, double Megabytes)> DeliverAsync(LocalSite site, Action<string> say, CancellationToken cancellationToken)
    {
        using var http = site.EdgeClient();
        var began = Stopwatch.GetTimestamp();
        var said = began;
        var (before, first) = (-1.0, 0.0);
        while (true)
        {
            var view = await http.GetFromJsonAsync<JsonElement>("/station/spool", cancellationToken);
            var waiting = view.GetProperty("lanes").EnumerateArray().Sum(lane => lane.GetProperty("status").GetProperty("bytes").GetInt64()) / 1e6;
            if (view.GetProperty("bytesSent").GetInt64() == 0 || before < 0)
            {
                (began, before, first) = (Stopwatch.GetTimestamp(), waiting, waiting);
            }
            else if (view.GetProperty("lanes").EnumerateArray().All(lane => lane.GetProperty("status").GetProperty("entries").GetInt64() == 0))
            {
                return (Stopwatch.GetElapsedTime(began).TotalSeconds, first);
            }

            if (Stopwatch.GetElapsedTime(said) > TimeSpan.FromSeconds(5))
            {
                said = Stopwatch.GetTimestamp();
                say(string.Create(CultureInfo.InvariantCulture, $"  {waiting:0} MB wait"));
            }

            await Task.Delay(TimeSpan.FromMilliseconds(50), TimeProvider.System, cancellationToken);
        }
    }

    /// <summary>MB/s of the same bytes over one TCP connection, without encryption.</summary>
    private static async Task<double> LoopbackAsync(int pieces, int bytes, CancellationToken cancellationToken)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var sender = new TcpClient();
        await sender.ConnectAsync((IPEndPoint)listener.LocalEndpoint, cancellationToken);
        using var receiver = await listener.AcceptTcpClientAsync(cancellationToken);
        var from = Stopwatch.GetTimestamp();
        var sending = Task.Run(
            async () =>
            {
                var piece = RandomNumberGenerator.GetBytes(bytes);
                for (var i = 0; i < pieces; i++)
                {
                    await sender.GetStream().WriteAsync(piece, cancellationToken);
                }

                sender.Close();
            },
            cancellationToken);
        var buffer = new byte[256 * 1024];
        var total = 0L;
        for (int read; (read = await receiver.GetStream().ReadAsync(buffer, cancellationToken)) > 0;)
        {
            total += read;
        }

        await sending;
        return total / Stopwatch.GetElapsedTime(from).TotalSeconds / 1e6;
    }
}
