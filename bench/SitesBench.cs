using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Yizhan.Drills;
using Yizhan.Link;
using Yizhan.Platform.Certificates;

namespace Yizhan.Bench;

/// <summary>
/// <c>yizhan bench sites</c>: one machine plays many sites, each with its own certificate and connection, by the link's own protocol, against one real centre
/// process. What grows with the number of sites, and what does not.
/// </summary>
internal static class SitesBench
{
    private const byte Normal = 1;
    private const byte Bulk = 2;
    private const int EventBytes = 1024;
    private const string Sqlite = "sqlite";
    private const string Postgres = "postgres";
    private static readonly int[] Steps = [10, 100, 1000];

    public static Command Create()
    {
        var sites = new Option<int>("--sites") { Description = "Most sites; 10 and 100 are measured on the way.", DefaultValueFactory = _ => 1000 };
        var events = new Option<int>("--events") { Description = "Events of 1 KiB of all sites together, at each step.", DefaultValueFactory = _ => 200_000 };
        var batch = new Option<int>("--batch") { Description = "Events in one request: 1 to 256.", DefaultValueFactory = _ => 20 };
        var blobs = new Option<int>("--blobs") { Description = "Blobs of all sites together, at each step.", DefaultValueFactory = _ => 2000 };
        var blobBytes = new Option<int>("--blob-bytes") { Description = "Size of a blob, up to 4 MiB.", DefaultValueFactory = _ => 256 * 1024 };
        var backend = new Option<string>("--backend") { Description = "storage:store of the centre. With postgres each step is measured on sqlite too, the peer.", DefaultValueFactory = _ => Sqlite };
        backend.AcceptOnlyFromAmong(Sqlite, "segments", Postgres);
        var settings = new Option<string[]>("--centre") { Description = "A setting of the centre more, as section:key=value. Repeat for several." };
        var json = new Option<bool>("--json") { Description = "Print only the JSON object." };
        var command = new Command("sites", """
            Many sites, one centre: events/s, blobs MB/s, time until the answer, and the centre's memory, at 10, 100 and 1000 sites. Each simulated site has a
            certificate, a TLS connection and sequences of its own, and waits for the mark of each batch before the next.

            Examples:
              yizhan bench sites
              yizhan bench sites --sites 100 --events 20000 --json
              yizhan bench sites --backend segments
              yizhan bench sites --backend postgres --events 40000 --blobs 1000
            """)
        {
            sites, events, batch, blobs, blobBytes, backend, settings, json,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            var wrong = parsed.GetValue(sites) is < 1 or > 5000 ? $"--sites is {parsed.GetValue(sites)}; accepted: 1 to 5000."
                : parsed.GetValue(batch) is < 1 or > LinkRoutes.MaxBatchEntries ? $"--batch is {parsed.GetValue(batch)}; accepted: 1 to {LinkRoutes.MaxBatchEntries}."
                : parsed.GetValue(blobBytes) is < 1 or > LinkRoutes.MaxBodyBytes ? $"--blob-bytes is {parsed.GetValue(blobBytes)}; accepted: 1 to {LinkRoutes.MaxBodyBytes}."
                : null;
            if (wrong is not null)
            {
                await Console.Error.WriteLineAsync($"yizhan: {wrong}");
                return 64;
            }

            return await RunAsync(
                parsed.GetValue(sites),
                new Load(parsed.GetValue(events), parsed.GetValue(batch), parsed.GetValue(blobs), parsed.GetValue(blobBytes)),
                [.. (parsed.GetValue(settings) ?? []).Select(s => "--" + s)], parsed.GetValue(backend)!, parsed.GetValue(json), cancellationToken);
        });
        return command;
    }

    private static async Task<int> RunAsync(int most, Load load, string[] settings, string backend, bool json, CancellationToken cancellationToken)
    {
        void Say(string text) => (json ? Console.Error : Console.Out).WriteLine(text);

        if (backend == Postgres && LocalPostgres.Programs is null)
        {
            await Console.Error.WriteLineAsync("yizhan: PostgreSQL 15 or newer is not installed: apt-get install postgresql");
            return 69;
        }

        var rows = new List<BenchRow>();
        Measured? first = null;
        foreach (var count in Steps.Where(n => n < most).Append(most))
        {
            var beside = backend == Postgres ? await StepAsync(count, load, settings, Sqlite, Say, cancellationToken) : null;
            var measured = await StepAsync(count, load, settings, backend, Say, cancellationToken);
            first ??= measured;
            var of = string.Create(CultureInfo.InvariantCulture, $"{count} sites, {backend}");
            if (beside is not null)
            {
                Compare(rows, Sqlite, of, measured, beside);
            }

            rows.Add(BenchRow.More($"disk limit (append + fdatasync of a batch of {load.Batch} KiB), events, {of}", measured.EventsPerSecond, measured.DiskEventsPerSecond, "events/s"));
            Compare(rows, $"{first.Sites} sites", of, measured, first);

            // What these processors would take in if the sites were elsewhere: arithmetic, and an upper bound, since it knows nothing of the disk.
            rows.Add(BenchRow.More(
                $"bound: all processors for centre and database, events, {of}", measured.EventsPerSecond, 1000 * Environment.ProcessorCount / measured.Thousand.Intake.TotalSeconds, "events/s"));
            if (measured.Missing + (beside?.Missing ?? 0) > 0)
            {
                Say($"This must not happen: {measured.Missing} sites have another mark at the centre than they were answered, {beside?.Missing ?? 0} on {Sqlite}.");
                BenchTable.Print("sites", rows, json);
                return 1;
            }
        }

        BenchTable.Print("sites", rows, json);
        return 0;
    }

    private static void Compare(List<BenchRow> rows, string peer, string of, Measured ours, Measured theirs) => rows.AddRange(
    [
        BenchRow.More($"{peer}, events, {of}", ours.EventsPerSecond, theirs.EventsPerSecond, "events/s"),
        BenchRow.Less($"{peer}, answer p50, {of}", ours.P50Ms, theirs.P50Ms, "ms"),
        BenchRow.Less($"{peer}, answer p99, {of}", ours.P99Ms, theirs.P99Ms, "ms"),
        BenchRow.More($"{peer}, blobs, {of}", ours.BlobMbPerSecond, theirs.BlobMbPerSecond, "MB/s"),
        BenchRow.Less($"{peer}, centre's processor for 1000 events, {of}", ours.Thousand.Centre.TotalMilliseconds, theirs.Thousand.Centre.TotalMilliseconds, "ms"),
        BenchRow.Less($"{peer}, centre's and database's processor for 1000 events, {of}", ours.Thousand.Intake.TotalMilliseconds, theirs.Thousand.Intake.TotalMilliseconds, "ms"),
        BenchRow.Less($"{peer}, simulated sites' processor for 1000 events, {of}", ours.Thousand.Sites.TotalMilliseconds, theirs.Thousand.Sites.TotalMilliseconds, "ms"),
        BenchRow.Less($"{peer}, centre's peak memory, {of}", ours.MemoryMb, theirs.MemoryMb, "MB"),
    ]);

    /// <summary>On PostgreSQL: with a server of its own, as durable as it comes, which is made and removed with the step.</summary>
    private static async Task<Measured> StepAsync(int count, Load load, string[] settings, string backend, Action<string> say, CancellationToken cancellationToken)
    {
        if (backend != Postgres)
        {
            return await MeasureAsync(count, load, [$"--storage:store={backend}", .. settings], null, say, cancellationToken);
        }

        await using var server = await LocalPostgres.StartAsync(cancellationToken);
        var connection = Path.GetTempFileName();
        try
        {
            await File.WriteAllTextAsync(connection, server.ConnectionString, cancellationToken);
            return await MeasureAsync(count, load, [$"--storage:store={backend}", $"--storage:postgresConnectionFile={connection}", .. settings], server.ProcessId, say, cancellationToken);
        }
        finally
        {
            File.Delete(connection);
        }
    }

    private static async Task<Measured> MeasureAsync(int count, Load load, string[] settings, int? database, Action<string> say, CancellationToken cancellationToken)
    {
        var folder = Path.Combine(Path.GetFullPath("artifacts"), "bench", "sites");
        if (Directory.Exists(folder))
        {
            Directory.Delete(folder, recursive: true);
        }

        var local = LocalSite.Prepare(folder, [], LocalPorts.Free().WithoutRelay());
        var disk = DiskLimit.InstancesPerSecond(folder, 200, load.Batch * EventBytes, group: 1) * load.Batch;
        var sites = new SimulatedSite[count];
        using var ca = EmbeddedCa.Open(Path.Combine(folder, "ca"), TimeProvider.System);
        for (var i = 0; i < count; i++)
        {
            sites[i] = new SimulatedSite($"sim-{i:0000}", ca.IssueSite($"sim-{i:0000}"), ca.Trust, new Uri($"https://127.0.0.1:{local.Ports.CentreLink}"));
        }

        try
        {
            await using var centre = await local.StartCentreAsync(
                [.. settings, "--log:level=Warning", $"--fleet:maxConnections={Math.Max(256, (2 * count) + 16)}"], cancellationToken);
            say($"{count} sites connect ...");
            var connecting = Stopwatch.GetTimestamp();
            await Parallel.ForEachAsync(sites, new ParallelOptions { MaxDegreeOfParallelism = 16, CancellationToken = cancellationToken }, async (site, token) => await site.MarkAsync(Normal, token));
            say(string.Create(CultureInfo.InvariantCulture, $"  connected after {Stopwatch.GetElapsedTime(connecting).TotalSeconds:0.0} s"));

            var perSite = Math.Max(1, load.Events / count / load.Batch);
            await Task.WhenAll(sites.Select(site => Task.Run(() => site.SendEventsAsync(1, load.Batch, EventBytes, cancellationToken), cancellationToken)));
            foreach (var site in sites)
            {
                site.AnswersMs.Clear();
            }

            TimeSpan Database() => database is { } id ? ProcessUse.CpuWithChildren(id) : TimeSpan.Zero;
            var (cpu, databaseCpu, ownCpu) = (ProcessUse.Cpu(centre.Process), Database(), Environment.CpuUsage.TotalTime);
            var began = Stopwatch.GetTimestamp();
            await Task.WhenAll(sites.Select(site => Task.Run(() => site.SendEventsAsync(perSite, load.Batch, EventBytes, cancellationToken), cancellationToken)));
            var took = Stopwatch.GetElapsedTime(began);
            var used = new Used(ProcessUse.Cpu(centre.Process) - cpu, Database() - databaseCpu, Environment.CpuUsage.TotalTime - ownCpu);
            var events = (double)perSite * load.Batch * count;
            var answers = sites.SelectMany(s => s.AnswersMs).Order().ToArray();

            var blobsPerSite = Math.Max(1, load.Blobs / count);
            var blobsBegan = Stopwatch.GetTimestamp();
            await Task.WhenAll(sites.Select(site => Task.Run(() => site.SendBlobsAsync(blobsPerSite, load.BlobBytes, cancellationToken), cancellationToken)));
            var megabytes = (double)blobsPerSite * count * load.BlobBytes / 1e6 / Stopwatch.GetElapsedTime(blobsBegan).TotalSeconds;

            // From outside, once all is over: the centre has of each site exactly what it has answered for.
            var missing = 0;
            foreach (var site in sites)
            {
                missing += await site.MarkAsync(Normal, cancellationToken) == site.Sent(Normal) && await site.MarkAsync(Bulk, cancellationToken) == site.Sent(Bulk) ? 0 : 1;
            }

            var measured = new Measured(
                count, events / took.TotalSeconds, answers[answers.Length / 2], answers[(int)(answers.Length * 0.99)], megabytes, used.Per(events / 1000),
                ProcessUse.PeakMemoryMb(centre.Process), disk, missing);
            say(string.Create(
                CultureInfo.InvariantCulture,
                $"  {measured.EventsPerSecond:0} events/s, p50 {measured.P50Ms:0.0} ms, p99 {measured.P99Ms:0.0} ms; blobs {measured.BlobMbPerSecond:0.0} MB/s; the centre took {measured.MemoryMb:0} MB; asked to come again {sites.Sum(s => s.Busy)} times"));
            say(string.Create(
                CultureInfo.InvariantCulture,
                $"  processor seconds for {events:0} events in {took.TotalSeconds:0.0} s: centre {used.Centre.TotalSeconds:0.0}, database {used.Database.TotalSeconds:0.0}, simulated sites {used.Sites.TotalSeconds:0.0}, of {Environment.ProcessorCount * took.TotalSeconds:0.0} of this machine"));
            return measured;
        }
        finally
        {
            foreach (var site in sites)
            {
                site.Dispose();
            }

            Directory.Delete(folder, recursive: true);
        }
    }

    private sealed record Load(int Events, int Batch, int Blobs, int BlobBytes);

    private sealed record Measured(
        int Sites, double EventsPerSecond, double P50Ms, double P99Ms, double BlobMbPerSecond, Used Thousand, double MemoryMb, double DiskEventsPerSecond, int Missing);

    /// <summary>Processor time of each of the three that share the machine.</summary>
    private sealed record Used(TimeSpan Centre, TimeSpan Database, TimeSpan Sites)
    {
        public TimeSpan Intake => Centre + Database;

        public Used Per(double events) => new(Centre / events, Database / events, Sites / events);
    }

    /// <summary>A site without a disk: the link's requests, one after the other, as the station sends them.</summary>
    private sealed class SimulatedSite : IDisposable
    {
        private readonly string _name;
        private readonly Guid _epoch = Guid.CreateVersion7(TimeProvider.System.GetUtcNow());
        private readonly long[] _sent = new long[4];
        private readonly HttpClient _http;

        public SimulatedSite(string name, IssuedCertificate certificate, CertificateTrust trust, Uri centre)
        {
            _name = name;
            _http = new HttpClient(new SocketsHttpHandler
            {
                UseProxy = false,
                SslOptions = new SslClientAuthenticationOptions
                {
                    EnabledSslProtocols = SslProtocols.Tls13,
                    ClientCertificateContext = certificate.ToContext(),

                    RemoteCertificateValidationCallback = (_, presented, chain, errors) => trust.CheckServer(presented, errors, chain?.ChainPolicy.ExtraStore) == CertificateVerdict.Valid,
                },
            })
            {
                BaseAddress = centre,
                DefaultRequestVersion = HttpVersion.Version20,
                DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
                Timeout = TimeSpan.FromMinutes(5),
            };
        }

        public List<double> AnswersMs { get; } = [];

        public int Busy { get; private set; }

        public long Sent(byte lane) => _sent[lane];

        public async Task<long> MarkAsync(byte lane, CancellationToken cancellationToken)
        {
            using var answer = await _http.GetAsync($"{LinkRoutes.Marks}?epoch={_epoch}", cancellationToken);
            answer.EnsureSuccessStatusCode();
            using var json = JsonDocument.Parse(await answer.Content.ReadAsByteArrayAsync(cancellationToken));
            return json.RootElement.GetProperty("marks")[lane].GetInt64();
        }

        public async Task SendEventsAsync(int batches, int batch, int bytes, CancellationToken cancellationToken)
        {
            var data = Encoding.ASCII.GetBytes($"\"{RandomNumberGenerator.GetHexString(bytes - 2)}\"");
            for (var i = 0; i < batches; i++)
            {
                var first = _sent[Normal] + 1;
                var entries = Enumerable.Range(0, batch).Select(j => new BatchEntry(
                    TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds(), "bench.event.v1", $"{_name}/{first + j}", "", null, [], data)).ToArray();
                var began = Stopwatch.GetTimestamp();
                await PostAsync(new EntryBatch(_name, _epoch, Normal, first, entries), cancellationToken);
                AnswersMs.Add(Stopwatch.GetElapsedTime(began).TotalMilliseconds);
            }
        }

        public async Task SendBlobsAsync(int blobs, int bytes, CancellationToken cancellationToken)
        {
            for (var i = 0; i < blobs; i++)
            {
                var blob = RandomNumberGenerator.GetBytes(bytes);
                var hash = SHA256.HashData(blob);
                var url = string.Create(CultureInfo.InvariantCulture, $"/fleet/link/v1/blobs/{Convert.ToHexStringLower(hash)}/0?length={bytes}");
                await SendAsync(HttpMethod.Put, url, blob, LinkRoutes.ChunksType, cancellationToken);
                var first = _sent[Bulk] + 1;
                await PostAsync(
                    new EntryBatch(_name, _epoch, Bulk, first, [new BatchEntry(
                        TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds(), "bench.blob.v1", $"{_name}/blob/{first}", "", null, [new BatchBlob(hash, bytes)], "{}"u8.ToArray())]),
                    cancellationToken);
            }
        }

        public void Dispose() => _http.Dispose();

        private async Task PostAsync(EntryBatch batch, CancellationToken cancellationToken)
        {
            var answer = await SendAsync(HttpMethod.Post, LinkRoutes.Entries, batch.ToBytes(), LinkRoutes.EntriesType, cancellationToken);
            using var json = JsonDocument.Parse(answer);
            var mark = json.RootElement.GetProperty("mark").GetInt64();
            _sent[batch.Lane] = mark == batch.LastSequence
                ? mark
                : throw new InvalidOperationException($"{_name}: the centre answered mark {mark} to a batch that ends with {batch.LastSequence}.");
        }

        private async Task<byte[]> SendAsync(HttpMethod method, string url, byte[] body, string type, CancellationToken cancellationToken)
        {
            var digest = $"sha-256=:{Convert.ToBase64String(SHA256.HashData(body))}:";
            while (true)
            {
                using var request = new HttpRequestMessage(method, url) { Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionExact, Content = new ByteArrayContent(body) };
                request.Content.Headers.ContentType = new MediaTypeHeaderValue(type);
                request.Content.Headers.Add(LinkRoutes.ContentDigest, digest);
                using var answer = await _http.SendAsync(request, cancellationToken);
                var bytes = await answer.Content.ReadAsByteArrayAsync(cancellationToken);
                if (answer.IsSuccessStatusCode)
                {
                    return bytes;
                }

                if (answer.StatusCode != HttpStatusCode.ServiceUnavailable)
                {
                    throw new InvalidOperationException($"{_name}: {method} {url} was answered {(int)answer.StatusCode}: {Encoding.UTF8.GetString(bytes)}");
                }

                Busy++;
                await Task.Delay(answer.Headers.RetryAfter?.Delta ?? TimeSpan.FromSeconds(1), TimeProvider.System, cancellationToken);
            }
        }
    }
}
