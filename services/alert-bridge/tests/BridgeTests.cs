using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;

namespace Yizhan.AlertBridge.Tests;

/// <summary>Alerts to Feishu and Jira: what came is told, once in effect, also when the other side is away.</summary>
public sealed class BridgeTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    // The vector of the bot's documentation, as recorded in public projects.
    [Fact]
    public void The_signature_is_that_of_the_known_vector() =>
        Assert.Equal("l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=", Feishu.Sign("1599360473", "demo"));

    [Fact]
    [Trait("Clause", "D6.4")]
    public async Task An_alert_reaches_the_group_signed_in_Chinese_and_is_audited()
    {
        await using var bridge = await Bridge.StartAsync();
        (await bridge.PostAsync("feishu", Bridge.Message("firing"))).EnsureSuccessStatusCode();
        await Wait.UntilAsync(() => bridge.Feishu.Texts.Count == 1);
        Assert.Equal("告警 [P3] InventoryCollectionFailing hill\n● hill:库存来源 agent-0 已 12 小时未成功采集", bridge.Feishu.Texts.Single());
        await Wait.UntilAsync(() => bridge.Outbox.All().Count == 0);
        Assert.Equal(["feishu, firing: message sent"], await bridge.AuditedAsync());

        await bridge.PostAsync("feishu", Bridge.Message("resolved"));
        await Wait.UntilAsync(() => bridge.Feishu.Texts.Count == 2);
        Assert.StartsWith("已恢复 ", bridge.Feishu.Texts.Last(), StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Clause", "D6.5")]
    public async Task An_incident_is_one_ticket_that_follows_it_and_is_closed_when_it_ends_and_a_new_incident_is_a_new_one()
    {
        await using var bridge = await Bridge.StartAsync();
        await DeliverAsync(bridge, Bridge.Message("firing"));
        await DeliverAsync(bridge, Bridge.Message("firing", alerts: 2));
        await bridge.RestartAsync();
        await DeliverAsync(bridge, Bridge.Message("firing", alerts: 2));
        var ticket = Assert.Single(bridge.Jira.Tickets);
        Assert.Equal("[P3] InventoryCollectionFailing hill (2)", (string?)ticket.Fields["summary"]);
        Assert.Contains("What to do: docs/operations/runbooks/InventoryCollectionFailing.md", (string?)ticket.Fields["description"], StringComparison.Ordinal);

        await DeliverAsync(bridge, Bridge.Message("resolved"));
        Assert.True(ticket.Done);
        Assert.StartsWith("Resolved.", Assert.Single(ticket.Comments), StringComparison.Ordinal);
        await DeliverAsync(bridge, Bridge.Message("resolved"));
        Assert.Single(ticket.Comments);

        await DeliverAsync(bridge, Bridge.Message("firing"));
        Assert.Equal(["OPS-1", "OPS-2"], bridge.Jira.Tickets.Select(t => t.Key));
    }

    [Fact]
    public async Task A_ticket_whose_answer_was_lost_is_not_made_twice()
    {
        await using var bridge = await Bridge.StartAsync();
        bridge.Jira.LosesAnswerOfCreate = true;
        await DeliverAsync(bridge, Bridge.Message("firing"));
        Assert.Single(bridge.Jira.Tickets);
    }

    [Fact]
    public async Task With_Jira_away_only_the_newest_state_of_each_group_waits_and_a_restart_keeps_it()
    {
        await using var bridge = await Bridge.StartAsync("--alert-bridge:maxRetryMs=1000", "--alert-bridge:retryMs=1000");
        for (var i = 0; i < 10_000; i++)
        {
            bridge.Jira.Trouble.Enqueue((503, "<html>maintenance</html>"));
        }

        for (var i = 1; i <= 5; i++)
        {
            (await bridge.PostAsync("jira", Bridge.Message("firing", alerts: i))).EnsureSuccessStatusCode();
        }

        await Wait.UntilAsync(() => bridge.Outbox.All() is [{ Error: not null }]);
        Assert.Contains("HTTP 503", bridge.Outbox.All().Single().Error, StringComparison.Ordinal);
        bridge.Jira.Trouble.Clear();
        await bridge.RestartAsync();
        await Wait.UntilAsync(() => bridge.Outbox.All().Count == 0);
        Assert.EndsWith("(5)", (string?)Assert.Single(bridge.Jira.Tickets).Fields["summary"], StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Clause", "D6.5")]
    public async Task A_day_without_Jira_is_one_ticket_with_the_newest_state_and_an_incident_that_came_and_went_is_none_or_closed()
    {
        await using var bridge = await Bridge.StartAsync("--alert-bridge:retryMs=10", "--alert-bridge:maxRetryMs=10");

        for (var i = 0; i < 10_000; i++)
        {
            bridge.Jira.Trouble.Enqueue((503, "<html>maintenance</html>"));
        }

        for (var hour = 1; hour <= 24; hour++)
        {
            (await bridge.PostAsync("jira", Bridge.Message("firing", alerts: hour))).EnsureSuccessStatusCode();
            (await bridge.PostAsync("jira", Bridge.Message(hour % 2 == 0 ? "resolved" : "firing", "comes and goes"))).EnsureSuccessStatusCode();
        }

        // 96 tries of both are a day at the longest pause of 15 minutes.
        await Wait.UntilAsync(() => bridge.Outbox.All() is [{ Attempts: >= 48 }, { Attempts: >= 48 }]);
        Assert.Empty(bridge.Jira.Tickets);
        bridge.Jira.Trouble.Clear();
        await Wait.UntilAsync(() => bridge.Outbox.All().Count == 0);
        Assert.Single(bridge.Jira.Tickets, t => ((string?)t.Fields["summary"])!.EndsWith("(24)", StringComparison.Ordinal) && !t.Done);
        Assert.DoesNotContain(bridge.Jira.Tickets, t => !((string?)t.Fields["summary"])!.EndsWith("(24)", StringComparison.Ordinal) && !t.Done);
    }

    [Fact]
    public async Task A_clock_that_was_a_day_ahead_and_was_set_right_does_not_hold_an_alert_for_a_day()
    {
        await using var bridge = await Bridge.StartAsync("--alert-bridge:retryMs=60000", "--alert-bridge:maxRetryMs=60000");
        bridge.Jira.Trouble.Enqueue((503, ""));
        (await bridge.PostAsync("jira", Bridge.Message("firing"))).EnsureSuccessStatusCode();
        await Wait.UntilAsync(() => bridge.Outbox.All() is [{ Error: not null }]);
        bridge.Outbox.Failed(bridge.Outbox.All().Single(), TimeSpan.FromDays(1), "HTTP 503");
        await bridge.RestartAsync("--alert-bridge:retryMs=60000", "--alert-bridge:maxRetryMs=60000");
        await Wait.UntilAsync(() => bridge.Jira.Tickets.Count == 1);
    }

    [Theory]
    [InlineData(200, """{"code":11232,"msg":"frequency limited"}""")]
    [InlineData(200, """{"code":9499,"msg":"too many request"}""")]
    [InlineData(200, "<html>sign in</html>")]
    [InlineData(502, "")]
    public async Task What_Feishu_may_take_later_is_tried_again_whatever_the_status_line_says(int status, string body)
    {
        await using var bridge = await Bridge.StartAsync();
        bridge.Feishu.Trouble.Enqueue((status, body));
        await bridge.PostAsync("feishu", Bridge.Message("firing"));
        await Wait.UntilAsync(() => bridge.Feishu.Texts.Count == 1);
        Assert.Equal(2, bridge.Feishu.Calls);
    }

    [Fact]
    public async Task What_is_refused_for_good_is_given_up_with_a_record_and_does_not_hold_the_next()
    {
        await using var bridge = await Bridge.StartAsync();
        bridge.Feishu.Trouble.Enqueue((200, """{"code":19024,"msg":"Key Words Not Found"}"""));
        await bridge.PostAsync("feishu", Bridge.Message("firing"));
        await Wait.UntilAsync(() => bridge.Outbox.All().Count == 0);
        Assert.Equal(["feishu, firing: code 19024: the message has none of the bot's keywords"], await bridge.AuditedAsync());
        await bridge.PostAsync("feishu", Bridge.Message("firing", group: "another"));
        await Wait.UntilAsync(() => bridge.Feishu.Texts.Count == 1);

        bridge.Jira.CloseName = "Close issue";
        await DeliverAsync(bridge, Bridge.Message("firing"));
        await DeliverAsync(bridge, Bridge.Message("resolved"));
        Assert.Contains(await bridge.AuditedAsync(), d => d.Contains("has no transition 'Done'; it offers 'Start', 'Close issue'", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("[]")]
    [InlineData("3")]
    [InlineData("""{"issues":[3]}""")]
    [InlineData("""{"issues":[{"key":7}],"code":"0"}""")]
    [InlineData("""{"issues":{},"code":{"a":1}}""")]
    public async Task An_answer_of_another_shape_does_not_end_the_node(string answer)
    {
        await using var bridge = await Bridge.StartAsync();
        bridge.Feishu.Trouble.Enqueue((200, answer));
        bridge.Jira.Trouble.Enqueue((200, answer));
        await bridge.PostAsync("feishu", Bridge.Message("firing"));
        await bridge.PostAsync("jira", Bridge.Message("firing"));
        await Wait.UntilAsync(() => bridge.Feishu.Texts.Count == 1 && bridge.Jira.Tickets.Count == 1 && bridge.Outbox.All().Count == 0);
    }

    [Fact]
    public async Task A_flood_of_alerts_is_one_message_of_bounded_size()
    {
        await using var bridge = await Bridge.StartAsync();
        (await bridge.PostAsync("feishu", Bridge.Message("firing", alerts: 10_000))).EnsureSuccessStatusCode();
        await Wait.UntilAsync(() => bridge.Feishu.Texts.Count == 1);
        var text = bridge.Feishu.Texts.Single();
        Assert.EndsWith("… and 9980 more", text, StringComparison.Ordinal);
        Assert.True(System.Text.Encoding.UTF8.GetByteCount(text) < 20_000);
    }

    [Fact]
    public async Task More_groups_than_may_wait_are_sent_back_to_Alertmanager()
    {
        await using var bridge = await Bridge.StartAsync("--alert-bridge:maxGroups=2", "--alert-bridge:retryMs=60000", "--alert-bridge:maxRetryMs=60000");
        bridge.Jira.Trouble.Enqueue((500, ""));
        bridge.Jira.Trouble.Enqueue((500, ""));
        bridge.Jira.Trouble.Enqueue((500, ""));
        Assert.Equal(HttpStatusCode.OK, (await bridge.PostAsync("jira", Bridge.Message("firing", "a"))).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await bridge.PostAsync("jira", Bridge.Message("firing", "b"))).StatusCode);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await bridge.PostAsync("jira", Bridge.Message("firing", "c"))).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await bridge.PostAsync("jira", Bridge.Message("firing", "a"))).StatusCode);
    }

    [Theory]
    [InlineData("jira", "{}", 400, "This is no message of Alertmanager's webhook")]
    [InlineData("jira", "[1,2", 400, "This is no message of Alertmanager's webhook")]
    [InlineData("pager", "{}", 404, "There is no destination 'pager'; configured: feishu, jira.")]
    public async Task What_is_no_notification_is_refused_with_what_would_be_accepted(string destination, string body, int status, string expected)
    {
        await using var bridge = await Bridge.StartAsync();
        using var content = new StringContent(body, System.Text.Encoding.UTF8, "application/json");
        using var answer = await bridge.Http.PostAsync($"alert-bridge/{destination}", content, Cancel);
        Assert.Equal(status, (int)answer.StatusCode);
        var problem = await answer.Content.ReadFromJsonAsync<JsonNode>(Cancel);
        Assert.Contains(expected, (string?)problem!["detail"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_message_of_another_version_is_refused()
    {
        await using var bridge = await Bridge.StartAsync();
        var message = Bridge.Message("firing");
        message["version"] = "5";
        using var answer = await bridge.PostAsync("jira", message);
        Assert.Equal(HttpStatusCode.BadRequest, answer.StatusCode);
    }

    [Fact]
    public async Task No_secret_is_in_the_queue_or_the_audit_log()
    {
        await using var bridge = await Bridge.StartAsync("--alert-bridge:retryMs=60000", "--alert-bridge:maxRetryMs=60000");
        await bridge.Feishu.DisposeAsync();
        bridge.Jira.Trouble.Enqueue((401, "who is " + JiraSink.Token));
        await bridge.PostAsync("feishu", Bridge.Message("firing"));
        await bridge.PostAsync("jira", Bridge.Message("firing"));
        await Wait.UntilAsync(() => bridge.Outbox.All() is [{ Error: not null }, { Error: not null }]);
        var queue = await bridge.Http.GetStringAsync("alert-bridge/queue", Cancel);
        Assert.Contains("not reached: ConnectionError", queue, StringComparison.Ordinal);
        Assert.DoesNotContain("0c1f7a3e-token", queue, StringComparison.Ordinal);
        Assert.DoesNotContain(JiraSink.Token, queue, StringComparison.Ordinal);
    }

    private static async Task DeliverAsync(Bridge bridge, JsonNode message)
    {
        (await bridge.PostAsync("jira", message)).EnsureSuccessStatusCode();
        await Wait.UntilAsync(() => bridge.Outbox.All().Count == 0);
    }
}
