using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Yizhan.Contracts;
using Yizhan.Drills;
using Yizhan.Platform.Identity;

namespace Yizhan.EndToEnd.Tests;

/// <summary><c>yizhan audit</c> as a process, against the audit service of a centre that is another process, and against its folder.</summary>
public sealed class AuditCommandTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Clause", "S7")]
    public async Task An_auditor_searches_proves_erases_and_verifies_a_log_and_one_flipped_byte_is_found()
    {
        using var folder = new TemporaryFolder();
        var site = LocalSite.Prepare(folder.In("nodes"), LocalSite.DcmtkPeers, LocalPorts.Free().WithoutRelay());
        var (key, token) = (folder.In("log.vkey"), LocalOperator.PathIn(site.CentreFolder));
        await using (var centre = await site.StartCentreAsync(Cancel))
        {
            Task<CommandOutcome> Audit(params string[] arguments) => YizhanCommand.RunAsync(["audit", .. arguments, "--url", centre.Web.ToString(), "--token", token, "--json"]);
            using var http = site.CentreClient();
            for (var i = 0; i < 5; i++)
            {
                await RecordAsync(http, i);
            }

            var keys = await Audit("keys");
            Assert.Equal((0, 5L), (keys.ExitCode, keys.Json.GetProperty("subjects").GetProperty("keys").GetInt64()));
            await File.WriteAllTextAsync(key, keys.Json.GetProperty("logKey").GetString(), Cancel);

            var verified = await Audit("verify", "--key", key, "--seen", folder.In("seen"));
            Assert.Equal((0, true, 5L), (verified.ExitCode, verified.Json.GetProperty("ok").GetBoolean(), verified.Json.GetProperty("entries").GetInt64()));
            Assert.True(File.Exists(folder.In("seen")));

            var found = Assert.Single((await Audit("search", "--patient", "patient-3", "--action", "R", "--from", "2023-11-14T00:00:00Z")).Json.GetProperty("records").EnumerateArray());
            Assert.Equal("dr-3", found.GetProperty("record").GetProperty("agents")[0].GetString());
            var table = await YizhanCommand.RunAsync(["audit", "search", "--agent", "dr-3", "--url", centre.Web.ToString(), "--token", token]);
            Assert.Contains("dr-3", table.Output, StringComparison.Ordinal);
            Assert.DoesNotContain("dr-2", table.Output, StringComparison.Ordinal);

            var entry = found.GetProperty("index").GetInt64().ToString(System.Globalization.CultureInfo.InvariantCulture);
            var evidence = await Audit("evidence", entry, "--key", key, "--out", folder.In("case"));
            Assert.Equal((0, 5L), (evidence.ExitCode, evidence.Json.GetProperty("size").GetInt64()));
            Assert.Contains(Directory.GetFiles(folder.In("case"), "*", SearchOption.AllDirectories), f => File.ReadAllText(f).Contains("study/1.2.3", StringComparison.Ordinal));
            var none = await Audit("evidence", "99", "--key", key, "--out", folder.In("case-99"));
            Assert.Equal(1, none.ExitCode);
            Assert.Contains("There is no entry 99", none.Error, StringComparison.Ordinal);

            var export = await Audit("export", "--format", "csv", "--out", folder.In("all.csv"), "--from", "2023-11-14T00:00:00Z");
            Assert.Equal((0, new FileInfo(folder.In("all.csv")).Length), (export.ExitCode, export.Json.GetProperty("bytes").GetInt64()));
            Assert.Equal(6, File.ReadAllLines(folder.In("all.csv")).Length);

            await EraseUnlessHeldAsync(Audit, http);
        }

        await VerifyFolderAsync(key, folder.In("seen"), folder.In("nodes", "centre", "audit", "tree"));
    }

    [Theory]
    [InlineData("ftp://127.0.0.1/", 2, "--url is 'ftp://127.0.0.1/'; accepted: http:// or https://")]
    [InlineData("http://127.0.0.1:1/", 1, "http://127.0.0.1:1/audit/ does not answer")]
    public async Task A_wrong_address_is_one_line_and_an_exit_code(string url, int code, string expected)
    {
        var outcome = await YizhanCommand.RunAsync(["audit", "keys", "--url", url]);
        Assert.Equal(code, outcome.ExitCode);
        Assert.Contains(expected, Assert.Single(outcome.Error.Trim().Split('\n')), StringComparison.Ordinal);
    }

    private static async Task EraseUnlessHeldAsync(Func<string[], Task<CommandOutcome>> audit, HttpClient http)
    {
        Assert.Equal(0, (await audit(["hold", "patient/patient-3", "--agent", "counsel", "--reason", "case 12"])).ExitCode);
        var refused = await audit(["erase", "patient/patient-3", "--agent", "dpo", "--reason", "request 12"]);
        Assert.Equal(1, refused.ExitCode);
        Assert.Contains("forbids it: case 12", refused.Error, StringComparison.Ordinal);
        Assert.Equal(0, (await audit(["hold", "patient/patient-3", "--agent", "counsel", "--release"])).ExitCode);

        var erased = await audit(["erase", "patient/patient-3", "--agent", "dpo", "--reason", "request 12"]);
        Assert.True(erased.Json.GetProperty("accepted").GetBoolean());
        await Wait.UntilAsync(async () => (await http.GetFromJsonAsync<JsonElement>("audit/subjects", Cancel)).GetProperty("destroyed").GetInt64() == 1);
        Assert.Empty((await audit(["search", "--patient", "patient-3", "--agent", "dr-3"])).Json.GetProperty("records").EnumerateArray());
    }

    /// <summary>The node is gone: only its files are asked, first as they are and then with one bit of the last entry changed.</summary>
    private static async Task VerifyFolderAsync(string key, string seen, string tree)
    {
        Task<CommandOutcome> VerifyAsync() => YizhanCommand.RunAsync(["audit", "verify", "--offline", tree, "--key", key, "--seen", seen, "--json"]);
        var whole = await VerifyAsync();
        Assert.Equal((0, true), (whole.ExitCode, whole.Json.GetProperty("ok").GetBoolean()));
        var size = whole.Json.GetProperty("size").GetInt64();
        Assert.True(size > 5, "The erasure is an entry too.");

        var bundle = Path.Combine(tree, "tile", "entries", "000.p", $"{size}");
        var bytes = await File.ReadAllBytesAsync(bundle, Cancel);
        bytes[^5] ^= 1;
        await File.WriteAllBytesAsync(bundle, bytes, Cancel);
        var broken = await VerifyAsync();
        Assert.Equal((1, false, size - 1), (broken.ExitCode, broken.Json.GetProperty("ok").GetBoolean(), broken.Json.GetProperty("badEntry").GetInt64()));
        Assert.Contains("NOT VERIFIED", broken.Error, StringComparison.Ordinal);
        Assert.Contains($"{size - 1}", broken.Json.GetProperty("problem").GetString(), StringComparison.Ordinal);
    }

    /// <summary>Returns once the record is in the tree.</summary>
    private static async Task RecordAsync(HttpClient http, int number)
    {
        var record = new AuditRecord(
            "110103", "R", 0, $"dr-{number}", "192.0.2.7", "pacs-gw@s1", $"study/1.2.{number}", null, 1_700_000_000_000 + number, $"patient-{number}");
        using var created = await http.PostAsJsonAsync("audit/records", record, JsonSerializerOptions.Web, Cancel);
        Assert.Equal(HttpStatusCode.Created, created.StatusCode);
        await Wait.UntilAsync(async () => (await http.GetFromJsonAsync<JsonElement>(created.Headers.Location, Cancel)).GetProperty("records").GetArrayLength() == 1);
    }
}
