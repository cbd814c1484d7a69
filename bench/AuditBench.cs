using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Yizhan.Audit;
using Yizhan.Audit.Index;
using Yizhan.Contracts;
using Yizhan.Storage;
using Yizhan.Transparency;

namespace Yizhan.Bench;

/// <summary>
/// <c>yizhan bench audit</c>: how fast records are durable, sealed, in the tree and indexed, and how fast they are found, proven and verified,
/// beside PostgreSQL with an audit table of four indexes in the same run. Where PostgreSQL has nothing alike, the row is beside our goal.
/// </summary>
internal static class AuditBench
{
    private const int Producers = 16;
    private const int Batch = 1000;
    private const int Page = 20;

    public static Command Create()
    {
        var entries = new Option<int>("--entries") { Description = "Records for search, proof and verification, such as 10000000.", DefaultValueFactory = _ => 300_000 };
        var seconds = new Option<double>("--seconds") { Description = "Time of each of the measurements of appending.", DefaultValueFactory = _ => 4 };
        var json = new Option<bool>("--json") { Description = "Print only the JSON object." };
        var command = new Command("audit", "Durable appends/s, acknowledge latency, search, proof and verification: us and PostgreSQL.") { entries, seconds, json };
        command.SetAction((parsed, cancellationToken) => RunAsync(
            parsed.GetValue(entries), TimeSpan.FromSeconds(parsed.GetValue(seconds)), parsed.GetValue(json), cancellationToken));
        return command;
    }

    private static async Task<int> RunAsync(int entries, TimeSpan time, bool json, CancellationToken cancellationToken)
    {
        void Say(string text) => (json ? Console.Error : Console.Out).WriteLine(text);

        var folder = Path.Combine(Path.GetFullPath("artifacts"), "bench", "audit");
        if (Directory.Exists(folder))
        {
            Directory.Delete(folder, recursive: true);
        }

        await using var postgres = await AuditBenchPostgres.StartAsync(cancellationToken);
        var rows = new List<BenchRow>();
        Say($"One record a commit, {Producers} at a time ...");
        var single = await SingleAsync(Path.Combine(folder, "single"), time, cancellationToken);
        rows.Add(BenchRow.More($"postgresql insert, {Producers} connections", single, await RateAsync(time, Producers, 1, (r, c) => postgres.InsertAsync(r[0], c), cancellationToken), "records/s"));
        Say($"{Batch} records a commit, and through to the index ...");
        var (durable, indexed) = await BatchedAsync(Path.Combine(folder, "batched"), time, cancellationToken);
        var batched = await RateAsync(time, 4, Batch, postgres.InsertAsync, cancellationToken);
        var copied = await RateAsync(time, 4, Batch, postgres.CopyAsync, cancellationToken);
        rows.Add(BenchRow.More($"postgresql insert of {Batch}, 4 connections: durable", durable, batched, "records/s"));
        rows.Add(BenchRow.More($"postgresql insert of {Batch}, 4 connections: durable, sealed, in the tree and indexed", indexed, batched, "records/s"));
        rows.Add(BenchRow.More($"postgresql copy of {Batch}, 4 connections: durable, sealed, in the tree and indexed", indexed, copied, "records/s"));
        Say("2000 records/s, each acknowledged ...");
        var ours = await PacedAsync(Path.Combine(folder, "paced"), time, cancellationToken);
        var theirs = await PacedAsync(time, record => postgres.InsertAsync(record, cancellationToken), cancellationToken);
        rows.Add(BenchRow.Less("postgresql insert at 2000/s: p99 acknowledge", ours, theirs, "ms"));
        Say($"{entries} records to search ...");
        await LargeAsync(Path.Combine(folder, "large"), entries, postgres, rows, Say, cancellationToken);
        BenchTable.Print("audit", rows, json);
        Directory.Delete(folder, recursive: true);
        return 0;
    }

    private static async Task<double> SingleAsync(string folder, TimeSpan time, CancellationToken cancellationToken)
    {
        await using var node = await EventsAsync(folder, cancellationToken);
        return await RateAsync(time, Producers, 1, async (records, token) => await node.Log.AppendAsync([EntryOf(records[0])], token), cancellationToken);
    }

    /// <summary>Producers append to the event log while the audit log takes what is there; the second figure ends when it has all.</summary>
    private static async Task<(double Durable, double Indexed)> BatchedAsync(string folder, TimeSpan time, CancellationToken cancellationToken)
    {
        await using var node = await EventsAsync(folder, cancellationToken);
        using var log = AuditLog.Open(Path.Combine(folder, "audit"), Path.Combine(folder, "keys"), "centre");
        using var done = new CancellationTokenSource();
        var watch = Stopwatch.StartNew();
        var consumed = Task.Run(() => ConsumeAsync(log, node.Log, done.Token), cancellationToken);
        var durable = await RateAsync(time, 4, Batch, async (records, token) => await node.Log.AppendAsync([.. records.Select(EntryOf)], token), cancellationToken);
        await done.CancelAsync();
        var total = await consumed;
        return (durable, total / watch.Elapsed.TotalSeconds);
    }

    /// <summary>Takes what is there, and when told to stop, what is left.</summary>
    private static async Task<long> ConsumeAsync(AuditLog log, IEventLog events, CancellationToken stop)
    {
        for (var position = 0L; ;)
        {
            var entries = await events.ReadAsync(position, 4096, CancellationToken.None);
            if (entries.Count > 0)
            {
                log.Append(entries, events.Epoch);
                position = entries[^1].Position;
            }
            else if (stop.IsCancellationRequested)
            {
                return log.Current.Checkpoint.Size;
            }
            else
            {
                await events.WaitForMoreAsync(position, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private static async Task<double> PacedAsync(string folder, TimeSpan time, CancellationToken cancellationToken)
    {
        await using var node = await EventsAsync(folder, cancellationToken);
        using var log = AuditLog.Open(Path.Combine(folder, "audit"), Path.Combine(folder, "keys"), "centre");
        using var done = new CancellationTokenSource();
        var consumed = Task.Run(() => ConsumeAsync(log, node.Log, done.Token), cancellationToken);
        var p99 = await PacedAsync(time, async record => await node.Log.AppendAsync([EntryOf(record)], cancellationToken), cancellationToken);
        await done.CancelAsync();
        await consumed;
        return p99;
    }

    /// <summary>Twenty records each ten milliseconds, whatever the answers do; latency counts from when a record was due.</summary>
    private static async Task<double> PacedAsync(TimeSpan time, Func<AuditRecord, Task> append, CancellationToken cancellationToken)
    {
        const int each = 20;
        var latencies = new List<Task<double>>();
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(10), TimeProvider.System);
        var start = Stopwatch.GetTimestamp();
        for (var tick = 0; tick * 10 < time.TotalMilliseconds; tick++)
        {
            var due = start + (long)(tick * 0.010 * Stopwatch.Frequency);
            latencies.AddRange(Enumerable.Range(tick * each, each).Select(i => MeasureAsync(append, RecordOf(i), due)));
            await timer.WaitForNextTickAsync(cancellationToken);
        }

        return Percentile([.. await Task.WhenAll(latencies)], 0.99);
    }

    private static async Task<double> MeasureAsync(Func<AuditRecord, Task> append, AuditRecord record, long due)
    {
        await append(record);
        return Stopwatch.GetElapsedTime(due).TotalMilliseconds;
    }

    private static async Task LargeAsync(string folder, int entries, AuditBenchPostgres postgres, List<BenchRow> rows, Action<string> say, CancellationToken cancellationToken)
    {
        using var log = AuditLog.Open(Path.Combine(folder, "audit"), Path.Combine(folder, "keys"), "centre");
        var epoch = Guid.CreateVersion7(TimeProvider.System.GetUtcNow());
        var watch = Stopwatch.StartNew();
        foreach (var chunk in Enumerable.Range(0, entries).Chunk(4096))
        {
            cancellationToken.ThrowIfCancellationRequested();
            log.Append([.. chunk.Select(i => new LoggedEntry(i + 1, new EntryIdentity("s1", epoch, Lane.Normal, i + 1), EntryOf(RecordOf(i))))], epoch);
        }

        rows.Add(BenchRow.More("goal 20000: sealed, in the tree and indexed", entries / watch.Elapsed.TotalSeconds, 20_000, "records/s"));
        say("The same rows in PostgreSQL ...");
        foreach (var chunk in Enumerable.Range(0, entries).Chunk(50_000))
        {
            await postgres.CopyAsync(chunk.Select(RecordOf), cancellationToken);
        }

        await using (var analyze = postgres.Source.CreateCommand("VACUUM ANALYZE audit"))
        {
            analyze.CommandTimeout = 600;
            await analyze.ExecuteNonQueryAsync(cancellationToken);
        }

        var random = new Random(7);
        var (ours, theirs) = (new List<double>(), new List<double>());
        for (var i = 0; i < 400; i++)
        {
            var patient = $"p{random.Next(Patients)}";
            var began = Stopwatch.GetTimestamp();
            log.Find(new AuditQuery([(Field.Patient, patient)], null, null, Page));
            ours.Add(Stopwatch.GetElapsedTime(began).TotalMilliseconds);
            began = Stopwatch.GetTimestamp();
            await postgres.SearchAsync(patient, Page, cancellationToken);
            theirs.Add(Stopwatch.GetElapsedTime(began).TotalMilliseconds);
        }

        rows.Add(BenchRow.Less(string.Create(CultureInfo.InvariantCulture, $"postgresql, who looked at a patient, {Page} of {entries}: p50"), Percentile(ours[50..], 0.5), Percentile(theirs[50..], 0.5), "ms"));
        rows.Add(BenchRow.Less(string.Create(CultureInfo.InvariantCulture, $"postgresql, who looked at a patient, {Page} of {entries}: p99"), Percentile(ours[50..], 0.99), Percentile(theirs[50..], 0.99), "ms"));
        var size = log.Current.Checkpoint.Size;
        var proofs = Enumerable.Range(0, 400).Select(_ =>
        {
            var began = Stopwatch.GetTimestamp();
            log.Reader.Proofs(size).Inclusion(random.NextInt64(size), size);
            return Stopwatch.GetElapsedTime(began).TotalMilliseconds;
        }).ToList();
        rows.Add(BenchRow.Less("goal 1 ms: inclusion proof p99", Percentile(proofs[50..], 0.99), 1, "ms"));
        say("Verification ...");
        watch.Restart();
        var result = LogVerifier.Verify(log.Files, new LogTrust(log.Key), null, cancellationToken);
        if (!result.Ok)
        {
            throw new InvalidOperationException(result.Problem);
        }

        rows.Add(BenchRow.More("goal 100000: full verification", size / watch.Elapsed.TotalSeconds, 100_000, "entries/s"));
    }

    private const int Patients = 20_000;

    /// <summary>Calls from so many callers for so long; records a second.</summary>
    private static async Task<double> RateAsync(
        TimeSpan time, int callers, int records, Func<AuditRecord[], CancellationToken, Task> append, CancellationToken cancellationToken)
    {
        var (next, done) = (0, 0L);
        var watch = Stopwatch.StartNew();
        await Task.WhenAll(Enumerable.Range(0, callers).Select(_ => Task.Run(
            async () =>
            {
                while (watch.Elapsed < time)
                {
                    var first = Interlocked.Add(ref next, records) - records;
                    await append([.. Enumerable.Range(first, records).Select(RecordOf)], cancellationToken);
                    Interlocked.Add(ref done, records);
                }
            },
            cancellationToken)));
        return done / watch.Elapsed.TotalSeconds;
    }

    private static AuditRecord RecordOf(int number) => new(
        "110103", "R", 0, $"user-{number % 211}", $"10.0.{number % 16}.{number % 251}", "pacs-gw@s1", $"study/1.2.840.113619.2.55.3.{number % 50_021}",
        $"{1 + (number % 900)} instances of one series were read in the viewer", 1_700_000_000_000 + (number * 37L), $"p{(number * 7919L) % Patients}");

    private static Entry EntryOf(AuditRecord record) => new(
        Lane.Normal, AuditRecord.EventType, $"bench/{record.RecordedMs}/{Guid.CreateVersion7():N}", record.Entity, record.RecordedMs,
        JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord));

    private static double Percentile(List<double> values, double part)
    {
        values.Sort();
        return values[(int)Math.Min(values.Count - 1, values.Count * part)];
    }

    /// <summary>The event log of a node that has nothing else.</summary>
    private static async Task<OwnSystem> EventsAsync(string folder, CancellationToken cancellationToken)
    {
        var node = new OwnSystem("sqlite");
        await node.StartAsync(folder, 0, 0, cancellationToken);
        return node;
    }
}
