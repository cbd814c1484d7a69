using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.RegularExpressions;
using Yizhan.Contracts;
using Yizhan.Dicom.Network;
using Yizhan.Drills;
using Yizhan.Samples;

namespace Yizhan.EndToEnd.Tests;

/// <summary>
/// What docs/adr/0090 calls a projection is made again when its file is lost: a centre with a site's content stops, the file goes, and a new process, which has no file open
/// that is not there, answers as before.
/// </summary>
[Trait("Clause", "D8.1")]
public sealed partial class LostFileTests(LostFileTests.Nodes nodes) : IClassFixture<LostFileTests.Nodes>
{
    /// <summary>Each projection, with what is answered out of it.</summary>
    private static readonly Dictionary<string, string[]> Questions = new()
    {
        ["pacs-gw/archive.db"] = ["pacs-gw/studies?limit=100", "pacs-gw/dicom-web/studies?includefield=all", "pacs-gw/dicom-web/instances?limit=100"],
        ["pacs-gw/workitems.db"] = ["pacs-gw/dicom-web/workitems", "pacs-gw/dicom-web/workitems/2.25.8"],
        ["inventory/ledger.db"] =
            [$"inventory/stock?site={LocalSite.SiteId}", "inventory/stock?site=centre", "inventory/movements", "inventory/items", $"inventory/sources?site={LocalSite.SiteId}"],
        ["audit/index"] = ["audit/records?entity=drill/2026-lost-file", $"audit/records?site={LocalSite.SiteId}&limit=1000"],
        ["fleet/drills.db"] = ["fleet/drills", "fleet/drills/2026-lost-file"],
        ["fleet/models.db"] = ["fleet/models", "fleet/findings"],
        ["fleet/emergencies.db"] = ["fleet/emergencies"],
        ["fleet/logs.db"] = [$"fleet/sites/{LocalSite.SiteId}/log?limit=2000"],
    };

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>Half of them at a time: each start of a node costs seconds.</summary>
    [Theory]
    [InlineData("pacs-gw/archive.db", "inventory/ledger.db", "audit/index", "fleet/drills.db")]
    [InlineData("pacs-gw/workitems.db", "fleet/models.db", "fleet/emergencies.db", "fleet/logs.db")]
    public async Task A_projection_whose_files_are_lost_answers_as_before(params string[] lost)
    {
        var questions = lost.SelectMany(file => Questions[file]).ToArray();
        var before = await SettledAsync(questions);
        Assert.All(before, answer => Assert.True(answer.Length > 40, $"There is nothing that could be lost: {answer}"));

        await nodes.StopCentreAsync();
        foreach (var path in lost.Select(path => Path.Combine(nodes.Site.CentreFolder, path)))
        {
            Assert.True(File.Exists(path) || Directory.Exists(path), path);
            if (Directory.Exists(path))
            {
                Directory.Delete(path, recursive: true);
                continue;
            }

            foreach (var file in new[] { path, path + "-wal", path + "-shm" })
            {
                File.Delete(file);
            }
        }

        await nodes.StartCentreAsync();
        var after = await AnswersAsync(questions);
        for (var began = TimeProvider.System.GetTimestamp(); !before.SequenceEqual(after) && TimeProvider.System.GetElapsedTime(began) < TimeSpan.FromMinutes(3);)
        {
            await Task.Delay(100, Cancel);
            after = await AnswersAsync(questions);
        }

        Assert.Equal(before, after);
        if (lost.Contains("pacs-gw/archive.db"))
        {
            // Pixels, not only the index.
            using var instance = await nodes.Centre.GetAsync(new Uri(nodes.Instance, UriKind.Relative), Cancel);
            Assert.Equal(HttpStatusCode.OK, instance.StatusCode);
        }
    }

    /// <summary>The same, once whatever came last is in every projection: nothing has changed any more for a while.</summary>
    private async Task<string[]> SettledAsync(string[] questions)
    {
        var answers = await AnswersAsync(questions);
        for (var same = 0; same < 10;)
        {
            await Task.Delay(200, Cancel);
            var again = await AnswersAsync(questions);
            (same, answers) = (again.SequenceEqual(answers) ? same + 1 : 0, again);
        }

        return answers;
    }

    /// <summary>What the centre answers, without when it indexed something, and how large the audit log is by now.</summary>
    private async Task<string[]> AnswersAsync(string[] questions)
    {
        var answers = new List<string>();
        foreach (var question in questions)
        {
            using var answer = await nodes.Centre.GetAsync(new Uri(question, UriKind.Relative), Cancel);
            answers.Add($"{question}: {(int)answer.StatusCode} {Changing().Replace(await answer.Content.ReadAsStringAsync(Cancel), "")}");
        }

        return [.. answers];
    }

    [GeneratedRegex("""
        "(lastIndexedMs|size)":\d+
        """)]
    private static partial Regex Changing();

    /// <summary>A centre that has something of everything: a study and one that was deleted, work, stock, a drill, models with orders, emergencies that wait and that were looked at.</summary>
    public sealed class Nodes : IAsyncLifetime
    {
        private const string Password = "correct horse battery";
        private const string Work = """
            [{"00741000":{"vr":"CS","Value":["SCHEDULED"]},"00741200":{"vr":"CS","Value":["MEDIUM"]},"00741204":{"vr":"LO","Value":["胸部 CT"]},
              "00404005":{"vr":"DT","Value":["20261123080000"]},"00404041":{"vr":"CS","Value":["READY"]}}]
            """;

        private readonly TemporaryFolder _folder = new();
        private HostProcess? _centre;

        public LocalSite Site { get; private set; } = null!;

        public HttpClient Centre { get; private set; } = null!;

        public string Instance { get; private set; } = "";

        private string Token => Path.Combine(Site.CentreFolder, "identity", "operator.token");

        public async ValueTask InitializeAsync()
        {
            Site = LocalSite.Prepare(_folder.In("nodes"), LocalSite.DcmtkPeers, LocalPorts.Free().WithoutRelay());
            await StartCentreAsync();
            await using var edge = await Site.StartEdgeAsync(
                [
                    "--ai-infer:rules:0:model=nodule", "--ai-infer:quietSeconds=1", "--ai-infer:reportSeconds=1", "--station:accountsPollSeconds=1", "--station:ordersPollSeconds=1",
                    "--station:heartbeatSeconds=1", "--station:logSeconds=1",
                ], Cancel);
            using var http = Site.EdgeClient();
            await AddPersonAsync("li");
            await AddPersonAsync("chen");

            // Two studies: one that a model reads, one that is deleted at the centre.
            CtStudy.WriteFiles(_folder.In("ct"), 60, 1, 7);
            CtStudy.WriteFiles(_folder.In("other"), 2, 1, 8);
            var ledger = new Ledger();
            foreach (var folder in new[] { "ct", "other" })
            {
                await new Scanner(Site.Ports.Dicom, ledger).SendAllAsync(InstanceFile.ReadFolder(_folder.In(folder), ledger), Cancel);
            }

            // A stranger, of whom the site's log warns.
            var stranger = new StoreScu(
                (request, token) => Connector.RequestAsync("127.0.0.1", Site.Ports.Dicom, request, new AssociationOptions(), TimeProvider.System, token), "NOBODY", LocalSite.AeTitle);
            await Assert.ThrowsAnyAsync<Exception>(() => stranger.SendAsync([.. InstanceFile.ReadFolder(_folder.In("other"), ledger).Select(file => file.Instance)], Cancel));
            await Wait.UntilAsync(async () => (await Centre.GetStringAsync($"fleet/sites/{LocalSite.SiteId}/log", Cancel)).Contains("NOBODY", StringComparison.Ordinal));
            var told = await YizhanCommand.RunAsync(["logs", LocalSite.SiteId, "--level", "warning", "--node", $"{Site.Ports.CentreWeb}", "--token", Token, "--json"]);
            Assert.True(told.ExitCode == 0, told.Error);
            Assert.Contains(told.Json.GetProperty("lines").EnumerateArray(), line => line.GetProperty("id").GetInt32() == 3022 && line.GetProperty("text").GetString()!.Contains("NOBODY", StringComparison.Ordinal));

            // Stock, at the site and at the centre.
            foreach (var node in new[] { http, Centre })
            {
                await DoneAsync(node.PutAsJsonAsync("inventory/items", new ItemDefinition("gloves", "Gloves", "consumable", "piece", new Dictionary<string, decimal> { ["box"] = 10 }), ContractsJson.Default.ItemDefinition, Cancel));
                await DoneAsync(node.PostAsJsonAsync("inventory/movements", new MovementBatch("batch-1", "test", "tester",
                    [new("receive", "gloves", 7, "box", 1_767_225_600_000, "L1"), new("issue", "gloves", 3, "", 1_767_225_700_000, "L1")]), ContractsJson.Default.MovementBatch, Cancel));
            }

            await DoneAsync(WorkAsync(HttpMethod.Post, "?2.25.7", Work));
            await DoneAsync(WorkAsync(HttpMethod.Post, "?2.25.8", Work));
            await DoneAsync(WorkAsync(HttpMethod.Put, "/2.25.8/state", """[{"00741000":{"vr":"CS","Value":["IN PROGRESS"]},"00081195":{"vr":"UI","Value":["2.25.99"]}}]"""));
            var ended = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
            await DoneAsync(Centre.PostAsJsonAsync("fleet/log/drills", new DrillFinished(
                "2026-lost-file", "outage", "local", true, ended - 1000, ended, 5, 5, 0, 0, 1.5, 0, "All came back.", [], [new("it came back", true, "5 of 5")], [], []), ContractsJson.Default.DrillFinished, Cancel));

            // Glass that was broken twice; somebody looked at the first.
            foreach (var name in new[] { "li", "chen" })
            {
                await Wait.UntilAsync(async () =>
                {
                    using var glass = await http.PostAsJsonAsync("station/emergencies", new { name, pin = Password, reason = "unconscious patient, allergies unknown", minutes = 30 }, Cancel);
                    return glass.StatusCode == HttpStatusCode.OK;
                });
            }

            await Wait.UntilAsync(async () => (await Centre.GetFromJsonAsync("fleet/emergencies", ContractsJson.Default.IReadOnlyListEmergencyView, Cancel))!.Count == 2);
            var first = (await Centre.GetFromJsonAsync("fleet/emergencies", ContractsJson.Default.IReadOnlyListEmergencyView, Cancel))![0];
            await DoneAsync(Centre.PostAsJsonAsync($"fleet/emergencies/{LocalSite.SiteId}/{first.Id}/review", new { verdict = "justified" }, Cancel));

            // An order that the site has done, and one that it never hears of.
            await Wait.UntilAsync(async () => (await Centre.GetStringAsync("fleet/findings", Cancel)).Contains(LocalSite.SiteId, StringComparison.Ordinal));
            await Wait.UntilAsync(async () => (await Centre.GetStringAsync("fleet/models", Cancel)).Contains(LocalSite.SiteId, StringComparison.Ordinal));
            await OrderAsync("the figures are looked at");
            await Wait.UntilAsync(async () => await CountAsync(RolloutOrder.EventType) == 2);
            var uid = await DeleteOtherAsync();
            await Wait.UntilAsync(async () => (await http.GetFromJsonAsync<System.Text.Json.JsonElement>("station/spool", Cancel)).GetProperty("lanes").EnumerateArray()
                .All(lane => lane.GetProperty("status").GetProperty("entries").GetInt64() == 0));
            await edge.DisposeAsync();
            await OrderAsync("and once more");
            Assert.NotEqual("", uid);
        }

        public async Task StartCentreAsync()
        {
            _centre = await Site.StartCentreAsync(["--auth:passwordIterations=10000"], Cancel);
            Centre = Site.CentreClient();
        }

        public async Task StopCentreAsync()
        {
            Centre.Dispose();
            await _centre!.DisposeAsync();
            _centre = null;
        }

        public async ValueTask DisposeAsync()
        {
            if (_centre is not null)
            {
                await StopCentreAsync();
            }

            _folder.Dispose();
        }

        private async Task AddPersonAsync(string name)
        {
            var added = await YizhanCommand.RunAsync(
                ["user", "add", name, "--roles", $"radiographer@{LocalSite.SiteId}", "--node", $"{Site.Ports.CentreWeb}", "--token", Token, "--json"]);
            Assert.True(added.ExitCode == 0, added.Error);
            await SignInForm.ChooseAsync(Site.Ports.CentreWeb, name, added.Json.GetProperty("password").GetString()!, Password);
        }

        private Task OrderAsync(string reason) =>
            DoneAsync(Centre.PostAsJsonAsync($"fleet/models/{LocalSite.SiteId}/nodule/hold", new RolloutRequest(reason), Cancel));

        private async Task<HttpResponseMessage> WorkAsync(HttpMethod method, string path, string json)
        {
            using var request = new HttpRequestMessage(method, new Uri("pacs-gw/dicom-web/workitems" + path, UriKind.Relative)) { Content = new StringContent(json, Encoding.UTF8, "application/dicom+json") };
            return await Centre.SendAsync(request, Cancel);
        }

        /// <summary>Deletes the small study at the centre, and finds an instance of the other.</summary>
        private async Task<string> DeleteOtherAsync()
        {
            System.Text.Json.JsonElement[] studies = [];
            await Wait.UntilAsync(async () => (studies = [.. (await Centre.GetFromJsonAsync<System.Text.Json.JsonElement>("pacs-gw/studies?limit=100", Cancel)).EnumerateArray()]).Length == 2
                && studies.Any(s => s.GetProperty("instances").GetInt32() == 2));
            var small = studies.Single(s => s.GetProperty("instances").GetInt32() == 2).GetProperty("studyInstanceUid").GetString()!;
            await DoneAsync(Centre.DeleteAsync($"pacs-gw/dicom-web/studies/{small}?force=true&reason=of+a+test+that+deletes", Cancel));
            var kept = studies.Single(s => s.GetProperty("instances").GetInt32() != 2).GetProperty("studyInstanceUid").GetString()!;
            Instance = $"pacs-gw/dicom-web/studies/{kept}";
            return small;
        }

        private async Task<int> CountAsync(string type)
        {
            var (count, after) = (0, 0L);
            while (await Centre.GetFromJsonAsync($"fleet/events?after={after}&limit=1000", ContractsJson.Default.IReadOnlyListLogEvent, Cancel) is { Count: > 0 } page)
            {
                (count, after) = (count + page.Count(e => e.Type == type), page[^1].Position);
            }

            return count;
        }

        private static async Task DoneAsync(Task<HttpResponseMessage> asked)
        {
            using var answer = await asked;
            Assert.True(answer.IsSuccessStatusCode, $"{answer.RequestMessage?.RequestUri}: {(int)answer.StatusCode} {await answer.Content.ReadAsStringAsync(Cancel)}");
        }
    }
}
