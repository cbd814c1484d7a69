using System.Diagnostics;

namespace Yizhan.AlertBridge.Tests;

/// <summary>Rules, routing and bridge together (<see cref="AlertingStack"/>); the figures are this test's, so that it can break things.</summary>
public sealed class LiveTests
{
    [Fact]
    [Trait("Clause", "D6.3")]
    [Trait("Clause", "D6.4")]
    [Trait("Clause", "D6.5")]
    public async Task Dead_inference_wakes_somebody_bad_dictation_tells_the_team_and_a_silent_source_is_one_ticket_each_until_it_ends()
    {
        Assert.SkipUnless(AlertingStack.Missing is null, AlertingStack.Missing ?? "");
        await using var bridge = await Bridge.StartAsync();
        await using var stack = await AlertingStack.StartAsync(
            bridge.Http.BaseAddress!, bridge.TokenPath, s => $$"""{job_name: yizhan-centre, static_configs: [{targets: ["{{s.Web}}"]}]}""", "20s");
        var (inference, errors, collected, dead) = (1.0, 0.0, Now, 1.0);
        var clock = Stopwatch.StartNew();
        stack.Figures["yizhan_site_online{site=\"hill\"}"] = () => 1;
        stack.Figures["yizhan_site_online{site=\"dale\"}"] = () => dead;
        stack.Figures["yizhan_site_service_up{site=\"hill\",service=\"ai-infer\"}"] = () => inference;
        stack.Figures["yizhan_site_spool_quarantined{site=\"dale\"}"] = () => 1 - dead;
        stack.Figures["yizhan_asr_word_errors_total{site=\"hill\",dialect=\"hakka\"}"] = () => clock.Elapsed.TotalSeconds * errors;
        stack.Figures["yizhan_asr_reference_words_total{site=\"hill\",dialect=\"hakka\"}"] = () => clock.Elapsed.TotalSeconds * 100;
        stack.Figures["yizhan_inventory_last_success_timestamp_seconds{site=\"hill\",source=\"agent\"}"] = () => collected;
        await Wait.UntilAsync(() => stack.HasAsync("count(yizhan_site_online) == 2"), "Prometheus has the figures");

        // A Prometheus that is slow here tells of itself, too.
        System.Text.Json.Nodes.JsonNode? Page() => stack.Pages.FirstOrDefault(p => (string?)p["event_action"] == "trigger" && (string?)p["payload"]?["class"] == "InferenceUnavailable");
        (inference, errors, collected) = (0, 50, Now - (13 * 3600));
        await Wait.UntilAsync(() => Page() is not null, "the page");
        var page = Page()!;
        Assert.Equal(
            ("critical", "hill: inference has been unavailable for 5 minutes", "hill", "InferenceUnavailable"),
            ((string?)page["payload"]!["severity"], (string?)page["payload"]!["summary"], (string?)page["payload"]!["group"], (string?)page["payload"]!["class"]));

        await Wait.UntilAsync(() => stack.SlackMessages.Any(m => m.ToJsonString().Contains("WordErrorRateHigh", StringComparison.Ordinal)), "Slack");
        await Wait.UntilAsync(() => bridge.Feishu.Texts.Any(t => t.Contains("hakka 听写错误率超过 20%", StringComparison.Ordinal)), "Feishu");
        await Wait.UntilAsync(() => stack.Mail.Messages.Any(m => m.Contains("WordErrorRateHigh", StringComparison.Ordinal)), "mail");
        await Wait.UntilAsync(() => bridge.Jira.Tickets.Count == 1, "the ticket");
        Assert.Equal("[P3] InventoryCollectionFailing hill", (string?)bridge.Jira.Tickets[0].Fields["summary"]);

        (inference, errors, collected) = (1, 0, Now);
        await Wait.UntilAsync(() => stack.Pages.Any(p => (string?)p["event_action"] == "resolve" && (string?)p["dedup_key"] == (string?)page["dedup_key"]), "the end of the page");
        await Wait.UntilAsync(() => bridge.Jira.Tickets[0].Done, "the closed ticket");
        Assert.Single(bridge.Jira.Tickets);
        await Wait.UntilAsync(() => bridge.Feishu.Texts.Any(t => t.StartsWith("已恢复", StringComparison.Ordinal) && t.Contains("WordErrorRateHigh", StringComparison.Ordinal)), "the end in Feishu");

        // A dead line is one message; what else is wrong there waits until it is back.
        dead = 0;
        await Wait.UntilAsync(() => bridge.Feishu.Texts.Any(t => t.Contains("SiteOffline dale", StringComparison.Ordinal)), "the dead site");
        await Wait.UntilAsync(() => stack.HasAsync("ALERTS{alertname=\"EntriesInQuarantine\",alertstate=\"firing\"}"), "the alert behind it");
        await Wait.UntilAsync(async () => (await stack.InhibitedAsync()).Contains("EntriesInQuarantine", StringComparison.Ordinal), "the inhibition");
        Assert.Single(bridge.Jira.Tickets);
    }

    private static double Now => DateTimeOffset.UtcNow.ToUnixTimeSeconds();
}
