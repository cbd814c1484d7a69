using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Yizhan.AlertBridge.Tests;
using Yizhan.Drills;
using Yizhan.Platform.Bundles;
using Yizhan.Platform.Identity;

namespace Yizhan.EndToEnd.Tests;

/// <summary>
/// Who is told when something of ours really breaks: the host's own processes are scraped by a real Prometheus, its rules (with their times shortened) and a
/// real Alertmanager tell the sinks, Feishu and Jira over the centre's own alert bridge.
/// </summary>
public sealed class AlertingTests
{
    private const string Model = "apart", Modality = "MODALITY";

    // Fewer recordings would not make the 200 words that the rule asks for.
    private const int Repeated = 3;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Clause", "D6.3")]
    [Trait("Clause", "D6.4")]
    [Trait("Clause", "D6.5")]
    public async Task Inference_that_is_killed_dictation_that_is_misheard_and_a_modality_that_is_gone_are_told_until_they_are_well()
    {
        Assert.SkipUnless(AlertingStack.Missing is null, AlertingStack.Missing ?? "");
        Assert.SkipUnless(Environment.GetEnvironmentVariable("YIZHAN_LONG") is "1", "A modality is asked once a minute, so it takes four; ./check long runs it.");
        using var folder = new TemporaryFolder();
        await using var feishu = await FeishuSink.StartAsync();
        await using var jira = await JiraSink.StartAsync();
        var dimse = LocalPorts.Free().Dicom;
        var site = LocalSite.Prepare(folder.In("nodes"), LocalSite.DcmtkPeers, LocalPorts.Free().WithoutRelay());
        var model = WriteModel(folder.In("models"));
        await File.AppendAllTextAsync(folder.In("nodes", "centre.yaml"), $"""
            alert-bridge:
              retryMs: 100
              feishu: {Quoted("webhookUrlFile", folder.Write("feishu.url", feishu.Url), "secretFile", folder.Write("feishu.secret", FeishuSink.Secret))}
              jira: {Quoted("url", jira.Url, "project", "OPS", "tokenFile", folder.Write("jira.token", JiraSink.Token))}

            """, Cancel);
        string[] settings = [
            $"--ai-infer:modelsFolder={folder.In("models")}", "--ai-infer:allowUnsigned=true", $"--ai-infer:load:0={Model}", "--nmt-asr:dialects:0=en",
            "--inventory:sources:0:name=ct-1", "--inventory:sources:0:kind=dicom", "--inventory:sources:0:host=127.0.0.1", $"--inventory:sources:0:port={dimse}",
            $"--inventory:sources:0:aeTitle={Modality}", "--inventory:sources:0:everyMinutes=1"];
        await using var centre = await site.StartCentreAsync(Cancel);
        var modality = StartModality(dimse, folder.In("modality"));
        await using var edge = await site.StartEdgeAsync(settings, Cancel);
        try
        {
            // The node's own inventory is collected every six hours, which no test waits for.
            await using var stack = await AlertingStack.StartAsync(
                site.Ports.CentreWeb,
                LocalOperator.PathIn(site.CentreFolder),
                _ => $"{Scrape.Job("yizhan-centre", site.Ports.CentreWeb, site.CentreFolder)}, {Scrape.Job("yizhan-edge", site.Ports.EdgeWeb, site.EdgeFolder)}",
                "30s",
                rules => rules.Replace("yizhan_inventory_last_success_timestamp_seconds) > 12 * 3600", "yizhan_inventory_last_success_timestamp_seconds{source!=\"node\"}) > 75", StringComparison.Ordinal));
            await Wait.UntilAsync(() => stack.HasAsync("yizhan_site_service_up{service=\"ai-infer\"} == 1"), "inference is well");
            await Wait.UntilAsync(() => stack.HasAsync("yizhan_inventory_last_success_timestamp_seconds{source=\"ct-1\"}"), "the modality has answered");
            Assert.DoesNotContain(stack.Pages, p => (string?)p["payload"]?["class"] == "InferenceUnavailable");

            // P1: the model's process is killed, and what it was started from is broken.
            var right = await File.ReadAllBytesAsync(model, Cancel);
            await File.WriteAllTextAsync(model, "no model", Cancel);
            Kill(edge.Process.Id, model);
            modality.Kill();
            await modality.WaitForExitAsync(Cancel);
            await Wait.UntilAsync(() => Paged(stack, "trigger") is not null, "the page");
            var page = Paged(stack, "trigger")!;
            Assert.Equal(
                ("critical", $"{LocalSite.SiteId}: inference has been unavailable for 5 minutes", LocalSite.SiteId),
                ((string?)page["payload"]!["severity"], (string?)page["payload"]!["summary"], (string?)page["payload"]!["group"]));
            await File.WriteAllBytesAsync(model, right, Cancel);
            await Wait.UntilAsync(() => Paged(stack, "resolve") is { } end && (string?)end["dedup_key"] == (string?)page["dedup_key"], "the end of the page");

            // P2: somebody dictates in a loud room, and corrects what was heard.
            await Dictation.MakeAsync(site, "quiet-0001", repeated: 1, noise: 0);
            await Wait.UntilAsync(() => stack.HasAsync("yizhan_asr_reference_words_total{dialect=\"en\"} > 0"), "the first figures");
            await Dictation.MakeAsync(site, "loud-00001", Repeated, noise: 2500);
            await Wait.UntilAsync(() => feishu.Texts.Any(t => t.Contains("en 听写错误率超过 20%", StringComparison.Ordinal)), "Feishu");
            await Wait.UntilAsync(() => stack.Mail.Messages.Any(m => m.Contains("WordErrorRateHigh", StringComparison.Ordinal)), "mail");
            await Wait.UntilAsync(() => feishu.Texts.Any(t => t.StartsWith("已恢复", StringComparison.Ordinal) && t.Contains("WordErrorRateHigh", StringComparison.Ordinal)), "the end in Feishu");

            // P3: the modality has not answered since.
            await Wait.UntilAsync(() => stack.HasAsync("ALERTS{alertname=\"InventoryCollectionFailing\",alertstate=\"firing\"}"), "the alert of the modality");
            await Wait.UntilAsync(() => jira.Tickets.Any(t => (string?)t.Fields["summary"] == $"[P3] InventoryCollectionFailing {LocalSite.SiteId}"), "the ticket");
            await Wait.UntilAsync(() => stack.Mail.Messages.Any(m => m.Contains("InventoryCollectionFailing", StringComparison.Ordinal)), "mail of the ticket");
            modality.Dispose();
            modality = StartModality(dimse, folder.In("modality"));
            await Wait.UntilAsync(() => jira.Tickets.Single(t => (string?)t.Fields["summary"] == $"[P3] InventoryCollectionFailing {LocalSite.SiteId}").Done, "the closed ticket");
        }
        finally
        {
            modality.Kill();
            modality.Dispose();
        }
    }

    private static JsonNode? Paged(AlertingStack stack, string action)
    {
        var ours = stack.Pages.FirstOrDefault(p => (string?)p["payload"]?["class"] == "InferenceUnavailable");
        return stack.Pages.FirstOrDefault(p => (string?)p["event_action"] == action && (string?)p["dedup_key"] == (string?)ours?["dedup_key"]);
    }

    /// <summary>A flow mapping of YAML.</summary>
    private static string Quoted(params string[] pairs) => $"{{{string.Join(", ", pairs.Chunk(2).Select(p => $"\"{p[0]}\": \"{p[1]}\""))}}}";

    /// <summary>The shipped model under a name of its own, in a process of its own; the path of its file.</summary>
    private static string WriteModel(string models)
    {
        var from = Directory.GetDirectories(Path.Combine(AlertingStack.Root(), "models", "bundles", "nodule")).Single();
        var (version, to) = (Path.GetFileName(from), Path.Combine(models, Model, Path.GetFileName(from)));
        foreach (var file in Directory.GetFiles(from, "*", SearchOption.AllDirectories))
        {
            var copy = Path.Combine(to, Path.GetRelativePath(from, file));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy);
        }

        var settings = Path.Combine(to, "configs", "yizhan.json");
        var json = JsonNode.Parse(File.ReadAllText(settings))!;
        json["isolation"] = "process";
        File.WriteAllText(settings, json.ToJsonString());
        File.WriteAllBytes(Path.Combine(to, BundleManifest.Path), BundleManifest.Of(Model, version, to).ToBytes());
        return Path.Combine(to, "models", "model.onnx");
    }

    /// <summary>SIGKILL to the process of a model, a child of the node's.</summary>
    private static void Kill(int node, string model)
    {
        var killed = 0;
        foreach (var id in Directory.GetDirectories("/proc").Select(Path.GetFileName).Where(n => int.TryParse(n, CultureInfo.InvariantCulture, out _)).Select(n => int.Parse(n!, CultureInfo.InvariantCulture)))
        {
            try
            {
                var parent = File.ReadAllText($"/proc/{id}/stat").Split(") ")[^1].Split(' ')[1];
                if (parent == node.ToString(CultureInfo.InvariantCulture) && File.ReadAllText($"/proc/{id}/cmdline").Contains(model, StringComparison.Ordinal))
                {
                    using var process = Process.GetProcessById(id);
                    process.Kill();
                    killed++;
                }
            }
            catch (Exception e) when (e is IOException or ArgumentException)
            {
                // It ended meanwhile.
            }
        }

        Assert.Equal(1, killed);
    }

    private static Process StartModality(int port, string folder)
    {
        Directory.CreateDirectory(folder);
        return Process.Start("/usr/bin/storescp", ["--aetitle", Modality, "--output-directory", folder, port.ToString(CultureInfo.InvariantCulture)]);
    }
}
