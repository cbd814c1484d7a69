using System.Text.Json;

namespace Yizhan.EndToEnd.Tests;

/// <summary>The shortest of the drills as an operator runs them; <c>./check drills</c> runs all of them in full.</summary>
public sealed class DrillTests
{
    [Fact]
    [Trait("Clause", "D8.1")]
    [Trait("Clause", "D8.3")]
    public async Task A_centre_that_lost_its_zone_is_restored_on_an_empty_folder_and_filled_from_its_site_equal_by_hash()
    {
        using var folder = new TemporaryFolder();
        var run = await YizhanCommand.RunAsync(["drill", "run", "zone-loss", "--quick", "--json", "--report", folder.In("reports")]);
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Equal((30, 30, 0, 0, 0), (Number(run.Json, "accepted"), Number(run.Json, "delivered"), Number(run.Json, "lost"), Number(run.Json, "duplicates"), Number(run.Json, "rpoEntries")));
        Assert.True(run.Json.GetProperty("rtoSeconds").GetDouble() > 0);

        // The audit log of the restored centre proves the run, and the files say the same.
        var proof = Assert.Single(run.Json.GetProperty("audit").EnumerateArray());
        Assert.Contains(run.Json.GetProperty("run").GetString()!, proof.GetProperty("id").GetString(), StringComparison.Ordinal);
        var report = JsonDocument.Parse(await File.ReadAllTextAsync(run.Json.GetProperty("json").GetString()!, TestContext.Current.CancellationToken)).RootElement.GetProperty("report");
        Assert.All(report.GetProperty("checks").EnumerateArray(), check => Assert.True(check.GetProperty("ok").GetBoolean(), check.ToString()));
        Assert.Contains("30", await File.ReadAllTextAsync(run.Json.GetProperty("html").GetString()!, TestContext.Current.CancellationToken), StringComparison.Ordinal);
    }

    [Theory]
    [Trait("Clause", "D8.3")]
    [InlineData("outage", "it cuts the line of a site")]
    [InlineData("bad-release", "it breaks the configuration of a site")]
    [InlineData("model-anomaly", "it gives studies to a model that is wrong")]
    [InlineData("ransomware", "needs --backup")]
    public async Task What_would_destroy_something_is_refused_against_a_node_in_use(string kind, string reason)
    {
        var run = await YizhanCommand.RunAsync(["drill", "run", kind, "--against", "http://127.0.0.1:9/"]);
        Assert.Equal(2, run.ExitCode);
        Assert.Contains(reason, run.Error, StringComparison.Ordinal);
    }

    private static int Number(JsonElement json, string name) => json.GetProperty(name).GetInt32();
}
