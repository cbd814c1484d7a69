using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Fleet;
using Yizhan.Platform;
using Yizhan.Platform.Certificates;
using Yizhan.Platform.Identity;
using Yizhan.Storage;
using static Yizhan.AiInfer.Tests.Node;

namespace Yizhan.AiInfer.Tests;

/// <summary>Two processes of ai-infer on one log, as the Deployment has them: one analyses, the other takes over when it is killed.</summary>
public sealed class ReplicaTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-replicas-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    [Trait("Clause", "S3")]
    public async Task Each_study_has_its_findings_once_whoever_is_killed_and_all_know_which_version_is_held()
    {
        await using var archive = await Archive.StartAsync();
        using (var ca = EmbeddedCa.Open(In("ca"), TimeProvider.System))
        {
            foreach (var service in new[] { "fleet", "ai-infer" })
            {
                ca.IssueService("platform", service, "localhost").WriteTo(In(service + ".crt"), In(service + ".key"));
            }

            File.Copy(ca.RootFile, In("root.crt"));
        }

        await File.WriteAllTextAsync(In("flows.yaml"), "flows:\n  - {from: ai-infer, to: fleet, port: web, as: log, why: the log}\n", Cancel);
        foreach (var version in new[] { "1", "2" })
        {
            TestBundle.Write(In("models"), "block", version, OnnxFile.Plus(0, [-1, 1, -1, -1]), SmallSeries.Settings, inference: SmallSeries.Inference);
        }

        await using var owner = new ServiceHost([
            $"--node:dataFolder={In("owner")}", "--node:siteId=centre", "--web:url=http://127.0.0.1:0;https://127.0.0.1:0", "--log:level=error", "--storage:freeFloorBytes=0",
            "--fleet:linkPort=0", "--fleet:enrolmentPort=0", $"--fleet:caFolder={In("ca")}", .. Tls("fleet")]).Add<FleetModule>().Build();
        await owner.StartAsync(Cancel);
        var address = new UriBuilder(owner.Urls.Single(url => url.StartsWith("https", StringComparison.Ordinal))) { Host = "localhost" }.Uri;

        Replica Start(string name) => new(In(name), [
            "--node:siteId=centre", "--storage:store=remote", $"--storage:remoteUrl={address}", "--storage:remoteService=fleet", .. Tls("ai-infer"),
            "--ai-infer:grpcEndPoint=127.0.0.1:0", $"--ai-infer:modelsFolder={In("models")}", "--ai-infer:allowUnsigned=true", "--ai-infer:rules:0:model=block", "--ai-infer:quietSeconds=0",
            $"--ai-infer:dicomWebUrl={archive.Url}"]);

        await using var a = Start("a");
        await using var b = Start("b");
        await a.AnswersAsync();
        await b.AnswersAsync();
        Replica? first = null;
        await Wait.UntilAsync(() => (first = a.Leads ? a : b.Leads ? b : null) is not null, "one of both has the turn");
        var second = first == a ? b : a;

        // Where the turn is, models are decided about, and the other one sends people there and sees the same.
        using (var refused = await AskAsync(second, "promote"))
        {
            Assert.Equal(HttpStatusCode.ServiceUnavailable, refused.StatusCode);
        }

        using (var done = await AskAsync(first!, "promote"))
        {
            Assert.True(done.IsSuccessStatusCode, await done.Content.ReadAsStringAsync(Cancel));
        }

        using (var held = await AskAsync(first!, "hold"))
        {
            Assert.True(held.IsSuccessStatusCode, await held.Content.ReadAsStringAsync(Cancel));
        }

        await SeesAsync(second, "2", "bad");
        using (var again = await AskAsync(first!, "promote"))
        {
            Assert.True(again.IsSuccessStatusCode, await again.Content.ReadAsStringAsync(Cancel));
        }

        // In the middle of the work, and more comes while nobody does it.
        for (var study = 1; study <= 12; study++)
        {
            await archive.AddAsync(owner.Services, SmallSeries.Create(study));
        }

        await Wait.UntilAsync(async () => (await ResultsAsync(owner)).Count >= 2);
        await first!.DisposeAsync();
        for (var study = 13; study <= 15; study++)
        {
            await archive.AddAsync(owner.Services, SmallSeries.Create(study));
        }

        await Wait.UntilAsync(async () => (await ResultsAsync(owner)).Count >= 15, "fifteen studies are analysed");
        Assert.True(second.Leads);
        await SeesAsync(second, "2", null);
        using (var held = await AskAsync(second, "hold"))
        {
            Assert.True(held.IsSuccessStatusCode, await held.Content.ReadAsStringAsync(Cancel));
        }

        // Both are gone, and their disks: the next one begins where they ended, and knows what they decided.
        await second.DisposeAsync();
        await archive.AddAsync(owner.Services, SmallSeries.Create(16));
        await using var third = Start("c");
        await Wait.UntilAsync(async () => (await ResultsAsync(owner)).Any(r => r.StudyInstanceUid == "1.2.16"), "the study that came while there was nobody is looked at");
        var results = await ResultsAsync(owner);
        Assert.Equal(("refused", true), (results[^1].Outcome, results[^1].Reason!.Contains("bad", StringComparison.Ordinal)));
        Assert.Equal(Enumerable.Range(1, 16).Select(s => $"1.2.{s}").Order(StringComparer.Ordinal), results.Select(r => r.StudyInstanceUid).Order(StringComparer.Ordinal));
        Assert.All(results.SkipLast(1), r => Assert.Equal(("findings", "2"), (r.Outcome, r.Version)));

        // A segmentation and a report of each; what was stored when its process was killed may have been stored again, as the same instance.
        Assert.Equal(30, archive.Stored.Select(f => f.Dataset.GetString(DicomTags.SOPInstanceUID)).Distinct().Count());
        Assert.InRange(archive.Stored.Count, 30, 32);
    }

    private string In(params string[] parts) => Path.Combine([_folder, .. parts]);

    private string[] Tls(string service) =>
    [
        $"--service-tls:certificatePath={In(service + ".crt")}", $"--service-tls:keyPath={In(service + ".key")}", $"--service-tls:rootPath={In("root.crt")}", $"--service-tls:flowsPath={In("flows.yaml")}",
    ];

    private static Task<HttpResponseMessage> AskAsync(Replica replica, string action) => replica.Http!.PostAsync(
        $"/ai-infer/rollouts/block/{action}", JsonContent.Create(new RolloutRequest("bad") { Version = "2", Percent = 100, All = true }, ContractsJson.Default.RolloutRequest), Cancel);

    private static Task SeesAsync(Replica replica, string stable, string? stopped) => Wait.UntilAsync(
        async () => await replica.Http!.GetFromJsonAsync<JsonElement>("/ai-infer/rollouts/block", Cancel) is var view
            && view.GetProperty("stable").GetString() == stable && (view.TryGetProperty("stopped", out var reason) ? reason.GetString() : null) == stopped,
        $"the other process sees {stable}, stopped by '{stopped}'");

    private static async Task<List<AnalysisFinished>> ResultsAsync(WebApplication owner) =>
        [.. (await owner.Services.GetRequiredService<IEventLog>().ReadAsync(0, 1000, Cancel)).Where(e => e.Entry.Type == AnalysisFinished.EventType)
            .Select(e => JsonSerializer.Deserialize(e.Entry.Data.Span, ContractsJson.Default.AnalysisFinished)!)];

    /// <summary>One process; disposing kills it.</summary>
    private sealed class Replica : IAsyncDisposable
    {
        private readonly string _folder;
        private readonly Process _process;
        private readonly Task _output;
        private readonly ConcurrentQueue<string> _lines = new();

        public Replica(string folder, string[] settings)
        {
            _folder = folder;
            _process = Process.Start(new ProcessStartInfo(
                "dotnet", [typeof(AiInferModule).Assembly.Location, $"--node:dataFolder={folder}", "--web:url=http://127.0.0.1:0;https://127.0.0.1:0", .. settings])
            { RedirectStandardOutput = true, RedirectStandardError = true })!;
            _output = Task.WhenAll(ReadAsync(_process.StandardOutput), ReadAsync(_process.StandardError));
        }

        /// <summary>Its own loopback; null until it answers.</summary>
        public HttpClient? Http { get; private set; }

        /// <summary>Waits until it answers.</summary>
        public Task AnswersAsync() => Wait.UntilAsync(async () =>
        {
            if (await OwnWeb.FindAsync(_process) is { } web)
            {
                Http = OperatorTokenHandler.Client(web, _folder);
            }

            return Http is not null || !Runs;
        });

        /// <summary>Whether it has said that it has the turn.</summary>
        public bool Leads => Runs && _lines.Any(line => line.Contains("This process analyses studies", StringComparison.Ordinal));

        private bool Runs => !_process.HasExited ? true : throw new InvalidOperationException(string.Join('\n', _lines));

        public async ValueTask DisposeAsync()
        {
            if (!_process.HasExited)
            {
                _process.Kill();
            }

            await _process.WaitForExitAsync(CancellationToken.None);
            await _output;
            TestContext.Current.TestOutputHelper?.WriteLine(_folder + ":\n" + string.Join('\n', _lines));
            Http?.Dispose();
        }

        private async Task ReadAsync(StreamReader from)
        {
            while (await from.ReadLineAsync() is { } line)
            {
                _lines.Enqueue(line);
            }
        }
    }
}
