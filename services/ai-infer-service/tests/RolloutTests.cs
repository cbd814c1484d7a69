using System.Net.Http.Json;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.AiInfer.Rollout;
using Yizhan.Contracts;

namespace Yizhan.AiInfer.Tests;

/// <summary>A new version on its way, and back.</summary>
public sealed class RolloutTests
{
    /// <summary>The whole story: a second version gets half of the studies, is poisoned, and is held by the node itself; then back to the first, with nothing but this node.</summary>
    [Fact]
    [Trait("Clause", "S3")]
    public async Task A_poisoned_candidate_at_fifty_percent_is_held_by_itself_and_a_rollback_needs_no_line()
    {
        await using var archive = await Archive.StartAsync();

        // Version 2 adds one to everything: it finds the whole image.
        await using var node = await PipelineTests.StartAsync(archive, 0, models =>
            TestBundle.Write(models, "block", "2", OnnxFile.Plus(1, [-1, 1, -1, -1]), SmallSeries.Settings, inference: SmallSeries.Inference));
        foreach (var percent in new[] { 0, 10, 50 })
        {
            var promoted = await ChangeAsync(node, "promote", new RolloutRequest("validated on the bench", "2", percent));
            Assert.Equal(("1", "2", percent), (promoted.Stable, promoted.Candidate, promoted.Percent));
        }

        var database = node.Services.GetRequiredService<Clinical.AnalysisDatabase>();
        for (var study = 1; study <= 40 && (await ViewAsync(node)).Candidate is not null; study++)
        {
            await archive.AddAsync(node, SmallSeries.Create(study));
            var result = await PipelineTests.ResultAsync(node, $"1.2.{study}");
            var expected = RolloutDesk.Share("block", $"1.2.{study}") < 50 ? "2" : "1";
            Assert.Equal(expected, result.Version);

            // The version that only watches computes after the result is out; the next study is chosen once its verdict is in.
            var done = study;
            await Wait.UntilAsync(() => database.Do(c => Dapper.SqlMapper.QuerySingle<long>(c, "SELECT count(*) FROM analysis WHERE state = 'done'")) == done);
        }

        var held = await ViewAsync(node);
        Assert.Null(held.Candidate);
        Assert.Null(held.Stopped);
        Assert.Equal(("hold", "2", "guard"), (held.History[0].Action, held.History[0].Version, held.History[0].Who));
        Assert.Contains("disagrees with the version for all on 5 of 5 series", held.History[0].Reason, StringComparison.Ordinal);
        TestContext.Current.SendDiagnosticMessage($"{DateTimeOffset.FromUnixTimeMilliseconds(held.History[0].AtMs):u} {held.History[0].Action} {held.History[0].Version}: {held.History[0].Reason}");

        await Wait.UntilAsync(async () => (await FiguresAsync(node)).Any(l => l.StartsWith("yizhan_ai_held{", StringComparison.Ordinal) && l.Contains("model=\"block\"", StringComparison.Ordinal) && l.EndsWith(" 1", StringComparison.Ordinal)), "the figure of the hold");
        Assert.Contains(await FiguresAsync(node), l => l.StartsWith("yizhan_ai_analysis_duration_seconds_count{", StringComparison.Ordinal) && l.Contains("version=\"2\"", StringComparison.Ordinal));

        // What comes now goes to version 1 again.
        await archive.AddAsync(node, SmallSeries.Create(100));
        Assert.Equal("1", (await PipelineTests.ResultAsync(node, "1.2.100")).Version);

        // A version that has all studies, and the way back from it.
        await ChangeAsync(node, "promote", new RolloutRequest("again, for all", "2", 100));
        Assert.Equal("2", (await ViewAsync(node)).Stable);
        var back = await ChangeAsync(node, "rollback", new RolloutRequest("wrong on every study"));
        await Wait.UntilAsync(async () => (await FiguresAsync(node)).Any(l => l.StartsWith("yizhan_ai_held{", StringComparison.Ordinal) && l.EndsWith(" 0", StringComparison.Ordinal)), "the figure of the decision");
        Assert.Equal(("1", "rollback"), (back.Stable, back.History[0].Action));
        await archive.AddAsync(node, SmallSeries.Create(101));
        Assert.Equal("1", (await PipelineTests.ResultAsync(node, "1.2.101")).Version);
    }

    [Fact]
    [Trait("Clause", "D6.2")]
    public async Task How_far_a_models_inputs_have_drifted_is_a_figure_before_it_is_held()
    {
        await using var archive = await Archive.StartAsync();
        await using var node = await PipelineTests.StartAsync(archive, 0, _ => { }, "--ai-infer:guard:window=20", "--ai-infer:guard:maxDrift=50");
        var desk = node.Services.GetRequiredService<RolloutDesk>();
        _ = desk.View("block");
        void Note(int from, double mean)
        {
            for (var i = from; i < from + 20; i++)
            {
                desk.Note(new Outcome("block", "1", $"9.{i}", true, 10, i % 5, mean + i % 5), null);
            }
        }

        Note(0, mean: 0);
        Assert.DoesNotContain(await FiguresAsync(node), l => l.StartsWith("yizhan_ai_drift", StringComparison.Ordinal));
        Note(20, mean: 0);
        await Wait.UntilAsync(async () => await DriftAsync("inputs") is >= 0 and < 0.1, "equal inputs");
        Note(40, mean: 100);
        await Wait.UntilAsync(async () => await DriftAsync("inputs") > 0.5, "shifted inputs");
        Assert.InRange(await DriftAsync("results"), 0, 0.1);

        // A page of figures is kept for a moment, so the newest may not be on it yet.
        async Task<double> DriftAsync(string of)
        {
            var line = (await FiguresAsync(node)).SingleOrDefault(l => l.StartsWith("yizhan_ai_drift", StringComparison.Ordinal) && l.Contains($"of=\"{of}\"", StringComparison.Ordinal));
            return line is null ? -1 : double.Parse(line[(line.LastIndexOf(' ') + 1)..], System.Globalization.CultureInfo.InvariantCulture);
        }
    }

    [Fact]
    [Trait("Clause", "S3")]
    public async Task A_study_is_never_analysed_by_two_versions()
    {
        await using var archive = await Archive.StartAsync();
        await using var node = await PipelineTests.StartAsync(archive, 0, models =>
            TestBundle.Write(models, "block", "2", OnnxFile.Plus(0, [-1, 1, -1, -1]), SmallSeries.Settings, inference: SmallSeries.Inference));
        var desk = node.Services.GetRequiredService<RolloutDesk>();
        var before = Enumerable.Range(0, 200).ToDictionary(i => $"9.{i}", i => desk.Choose("block", $"9.{i}").Version);
        Assert.All(before.Values, version => Assert.Equal("1", version));
        await ChangeAsync(node, "promote", new RolloutRequest("half of them", "2", 50));

        // Those that were begun stay with their version; of new ones half go to the candidate, the same ones each time.
        Assert.All(before, pair => Assert.Equal(pair.Value, desk.Choose("block", pair.Key).Version));
        var after = Enumerable.Range(0, 1000).ToDictionary(i => $"8.{i}", i => desk.Choose("block", $"8.{i}").Version);
        Assert.InRange(after.Values.Count(v => v == "2"), 420, 580);
        Assert.All(after, pair => Assert.Equal(pair.Value, desk.Choose("block", pair.Key).Version));

        // Once the candidate is held, a study that it began gets no second opinion mixed in, and says why.
        await ChangeAsync(node, "hold", new RolloutRequest("looks odd"));
        var begun = after.First(p => p.Value == "2").Key;
        Assert.Contains("was begun by block 2, which is held", desk.Choose("block", begun).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_kill_switch_stops_a_model_and_its_results_say_so()
    {
        await using var archive = await Archive.StartAsync();
        await using var node = await PipelineTests.StartAsync(archive, 0);
        Assert.Equal("too many false ones", (await ChangeAsync(node, "hold", new RolloutRequest("too many false ones", All: true))).Stopped);
        await archive.AddAsync(node, SmallSeries.Create());
        var result = await PipelineTests.ResultAsync(node, "1.2.1");
        Assert.Equal(("refused", "block is held: too many false ones"), (result.Outcome, result.Reason));
        await ChangeAsync(node, "rollback", new RolloutRequest("checked"));
        await archive.AddAsync(node, SmallSeries.Create(2));
        Assert.Equal("findings", (await PipelineTests.ResultAsync(node, "1.2.2")).Outcome);
    }

    /// <summary>Found by hand: version 2 was rolled back, the model stopped for another reason and started again, and it came back with version 2.</summary>
    [Fact]
    [Trait("Clause", "S3")]
    public async Task A_version_that_was_rolled_back_is_not_gone_back_to()
    {
        await using var archive = await Archive.StartAsync();
        await using var node = await PipelineTests.StartAsync(archive, 0, models => Array.ForEach(["2", "3"], version =>
            TestBundle.Write(models, "block", version, OnnxFile.Plus(0, [-1, 1, -1, -1]), SmallSeries.Settings, inference: SmallSeries.Inference)));
        async Task<string> StableAsync(string action, string? version = null, bool all = false) =>
            (await ChangeAsync(node, action, new RolloutRequest("by hand", version, version is null ? null : 100, all))).Stable;

        Assert.Equal("2", await StableAsync("promote", "2"));
        Assert.Equal("1", await StableAsync("rollback"));
        Assert.Equal("1", await StableAsync("hold", all: true));
        Assert.Equal("1", await StableAsync("rollback"));
        Assert.Null((await ViewAsync(node)).Stopped);

        // Steps back over several versions, and no further than the first.
        Assert.Equal("2", await StableAsync("promote", "2"));
        Assert.Equal("3", await StableAsync("promote", "3"));
        Assert.Equal("2", await StableAsync("rollback"));
        Assert.Equal("1", await StableAsync("rollback"));
        using var answer = await node.Http.PostAsync("/ai-infer/rollouts/block/rollback", new StringContent("""{"reason":"b"}""", System.Text.Encoding.UTF8, "application/json"), Node.Cancel);
        Assert.Contains("nothing to go back to", await answer.Content.ReadAsStringAsync(Node.Cancel), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_version_that_fails_is_held()
    {
        await using var archive = await Archive.StartAsync();
        await using var node = await PipelineTests.StartAsync(archive, 0, models =>
            TestBundle.Write(models, "block", "2", OnnxFile.Plus(0, [-1, 1, -1, 9]), SmallSeries.Settings, inference: SmallSeries.Inference));
        await ChangeAsync(node, "promote", new RolloutRequest("watch it", "2", 0));
        for (var study = 1; study <= 5; study++)
        {
            await archive.AddAsync(node, SmallSeries.Create(study));
            Assert.Equal("1", (await PipelineTests.ResultAsync(node, $"1.2.{study}")).Version);
        }

        await Wait.UntilAsync(async () => (await ViewAsync(node)).Candidate is null);
        Assert.Contains("failed on 5 of its newest 5 series", (await ViewAsync(node)).History[0].Reason, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("promote", """{"who":"a","reason":"b","version":"7","percent":50}""", "no block 7")]
    [InlineData("promote", """{"who":"a","reason":"b","version":"1","percent":30}""", "30 % is no step of a rollout; accepted: 0, 10, 50, 100")]
    [InlineData("rollback", """{"who":"a","reason":"b"}""", "nothing to go back to")]
    [InlineData("hold", """{"who":"a","reason":" "}""", "A reason of 1 to 500")]
    public async Task A_change_that_cannot_be_is_refused_with_the_reason(string action, string json, string reason)
    {
        await using var archive = await Archive.StartAsync();
        await using var node = await PipelineTests.StartAsync(archive, 0);
        using var answer = await node.Http.PostAsync($"/ai-infer/rollouts/block/{action}", new StringContent(json, System.Text.Encoding.UTF8, "application/json"), Node.Cancel);
        Assert.Equal(422, (int)answer.StatusCode);
        Assert.Contains(reason, (await answer.Content.ReadFromJsonAsync<JsonElement>(Node.Cancel)).GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public void The_stability_index_is_small_for_equal_and_large_for_shifted_distributions()
    {
        var random = new Random(1);
        double[] Sample(double shift) => [.. Enumerable.Range(0, 200).Select(_ => random.NextDouble() + shift)];
        Assert.InRange(Guard.StabilityIndex(Sample(0), Sample(0)), 0, 0.1);
        Assert.InRange(Guard.StabilityIndex(Sample(0), Sample(0.5)), 0.5, 10);

        // By hand: halves of 0.5 and 0.5 against 0.8 and 0.2 (with half a count more in each bin).
        Assert.True(Guard.StabilityIndex([1, 1, 1, 1, 1], [1, 1, 1, 1, 1]) < 1e-9);
    }

    private static async Task<string[]> FiguresAsync(Node node) => (await node.Http.GetStringAsync("/metrics", Node.Cancel)).Split('\n');

    private static async Task<RolloutView> ViewAsync(Node node) => (await node.Http.GetFromJsonAsync("/ai-infer/rollouts/block", ContractsJson.Default.RolloutView, Node.Cancel))!;

    private static async Task<RolloutView> ChangeAsync(Node node, string action, RolloutRequest request)
    {
        using var answer = await node.Http.PostAsJsonAsync($"/ai-infer/rollouts/block/{action}", request, ContractsJson.Default.RolloutRequest, Node.Cancel);
        Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync(Node.Cancel));
        return (await answer.Content.ReadFromJsonAsync(ContractsJson.Default.RolloutView, Node.Cancel))!;
    }
}
