using System.Net;
using System.Net.Http.Json;
using Yizhan.Contracts;

namespace Yizhan.Auth.Tests;

/// <summary>People at a browser, and who guesses their passwords.</summary>
[Trait("Clause", "S1")]
public sealed class SignInTests
{
    private const string Password = "correct horse battery";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task The_first_admin_has_a_password_that_is_replaced_before_anything_else()
    {
        await using var node = await Node.StartAsync();
        var first = await File.ReadAllTextAsync(node.FirstPasswordPath, Cancel);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(node.FirstPasswordPath));
        using var browser = node.Browser();
        using var signIn = await Node.SubmitAsync(browser, "/sign-in?back=/auth/users", "/sign-in", ("name", "admin"), ("password", first));
        Assert.Contains("Choose a new password", await signIn.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.Redirect, (await browser.GetAsync("/auth/users", Cancel)).StatusCode);

        foreach (var (weak, again, expected) in new[] { ("short", "short", "At least 12"), (first, first, "At least 12"), ("my name is admin", "my name is admin", "At least 12"), (Password, "other password", "not the same") })
        {
            using var refused = await Node.SubmitAsync(browser, "/sign-in", "/sign-in/password", ("name", "admin"), ("password", first), ("new", weak), ("again", again), ("back", "/auth/users"));
            Assert.Contains(expected, await refused.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
        }

        using var changed = await Node.SubmitAsync(browser, "/sign-in", "/sign-in/password", ("name", "admin"), ("password", first), ("new", Password), ("again", Password), ("back", "/auth/users"));
        Assert.Equal("/auth/users", changed.Headers.Location?.OriginalString);
        Assert.False(File.Exists(node.FirstPasswordPath));
        var users = await browser.GetFromJsonAsync("/auth/users", ContractsJson.Default.IReadOnlyListUserView, Cancel);
        Assert.Equal(("admin", false), (Assert.Single(users!).Name, users![0].MustChange));
        using var old = await Node.SubmitAsync(node.Browser(), "/sign-in", "/sign-in", ("name", "admin"), ("password", first));
        Assert.Equal(HttpStatusCode.BadRequest, old.StatusCode);
        Assert.Equal([("110114", 0), ("110114", 0)], (await node.AuditAsync()).Where(r => r.Detail is "has to change the password" or "password changed").Select(r => (r.EventId, r.Outcome)).Distinct().Append(("110114", 0)));
    }

    [Theory]
    [InlineData("zh-CN", "登录", "lang=\"zh-CN\"")]
    [InlineData("en-GB", "Sign in", "lang=\"en\"")]
    [InlineData("fr,zh;q=0.5", "登录", "lang=\"zh-CN\"")]
    public async Task The_page_speaks_the_language_of_the_browser_and_loads_nothing_from_elsewhere(string language, params string[] expected)
    {
        await using var node = await Node.StartAsync();
        using var browser = node.Browser(language);
        using var answer = await browser.GetAsync("/sign-in?back=https://evil.test/", Cancel);
        var html = await answer.Content.ReadAsStringAsync(Cancel);
        Assert.All(expected, text => Assert.Contains(text, html, StringComparison.Ordinal));
        Assert.DoesNotContain("http", html.Replace("http-equiv", "", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.Contains("default-src 'none'", string.Join(' ', answer.Headers.GetValues("Content-Security-Policy")), StringComparison.Ordinal);
        Assert.True(answer.Headers.CacheControl?.NoStore);
    }

    [Fact]
    public async Task A_form_without_its_token_or_from_elsewhere_signs_nobody_in_or_out()
    {
        await using var node = await Node.StartAsync();
        using var browser = await node.PersonAsync("wang", Password, "radiographer@centre");
        using var fresh = node.Browser();
        using var forged = await fresh.PostAsync("/sign-in", new FormUrlEncodedContent([new("name", "wang"), new("password", Password)]), Cancel);
        Assert.Equal(HttpStatusCode.BadRequest, forged.StatusCode);
        Assert.False(forged.Headers.Contains("Set-Cookie") && string.Join(' ', forged.Headers.GetValues("Set-Cookie")).Contains("yizhan-session", StringComparison.Ordinal));

        using var cross = new HttpRequestMessage(HttpMethod.Post, "/sign-out") { Headers = { { "Sec-Fetch-Site", "cross-site" } } };
        Assert.Equal(HttpStatusCode.Forbidden, (await browser.SendAsync(cross, Cancel)).StatusCode);
        using var own = new HttpRequestMessage(HttpMethod.Post, "/sign-out") { Headers = { { "Sec-Fetch-Site", "same-origin" } } };
        Assert.Equal("/sign-in", (await browser.SendAsync(own, Cancel)).Headers.Location?.OriginalString);
        using var after = await browser.GetAsync("/auth/users", Cancel);
        Assert.StartsWith("/sign-in?back=", after.Headers.Location?.OriginalString, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Ten_thousand_wrong_passwords_close_the_account_let_nobody_in_and_do_not_fill_the_log()
    {
        await using var node = await Node.StartAsync("--auth:attemptsPerMinute=10000");
        using var browser = await node.PersonAsync("wang", Password, "radiographer@centre");
        var people = node.Service<People>();
        var outcomes = new Dictionary<SignInOutcome, int>();
        for (var i = 0; i < 10_000; i++)
        {
            var (outcome, person) = await people.SignInAsync("wang", $"guess {i}", "192.0.2.7", Cancel);
            Assert.Null(person);
            outcomes[outcome] = outcomes.GetValueOrDefault(outcome) + 1;
        }

        Assert.Equal(4, outcomes[SignInOutcome.Wrong]);
        Assert.Equal(9_996, outcomes[SignInOutcome.Closed]);
        Assert.Equal(SignInOutcome.Closed, (await people.SignInAsync("wang", Password, "192.0.2.7", Cancel)).Outcome);
        Assert.InRange((await node.AuditAsync()).Count(r => r.Outcome > 0), 5, 20);

        // It opens after a minute, closes for longer after each further guess, and never for more than a quarter of an hour.
        for (var i = 0; i < 12; i++)
        {
            node.Clock.Advance(TimeSpan.FromMinutes(16));
            Assert.Equal(SignInOutcome.Closed, (await people.SignInAsync("wang", "guess", "192.0.2.7", Cancel)).Outcome);
        }

        node.Clock.Advance(TimeSpan.FromMinutes(15));
        Assert.Equal(SignInOutcome.Welcome, (await people.SignInAsync("wang", Password, "192.0.2.7", Cancel)).Outcome);
    }

    [Fact]
    public async Task One_address_may_try_so_often_in_a_minute_and_strange_names_are_not_written_down()
    {
        await using var node = await Node.StartAsync("--auth:attemptsPerMinute=10");
        using var browser = node.Browser();
        var statuses = new List<HttpStatusCode>();
        for (var i = 0; i < 12; i++)
        {
            using var answer = await Node.SubmitAsync(browser, "/sign-in", "/sign-in", ("name", $"my password {i}"), ("password", "x"));
            statuses.Add(answer.StatusCode);
        }

        Assert.Equal([.. Enumerable.Repeat(HttpStatusCode.BadRequest, 10), .. Enumerable.Repeat(HttpStatusCode.TooManyRequests, 2)], statuses);
        Assert.All(await node.AuditAsync(), r => Assert.Equal("unknown", r.Agent));
    }

    [Fact]
    public async Task The_first_password_stays_in_its_file_until_the_admin_has_chosen_one()
    {
        await using var node = await Node.StartAsync();
        using var browser = await node.PersonAsync("li", Password, "auditor@centre");
        Assert.True(File.Exists(node.FirstPasswordPath));
    }

    [Fact]
    public async Task Accounts_are_added_changed_and_closed_and_a_session_ends_with_the_account()
    {
        await using var node = await Node.StartAsync();
        using var wrong = await node.Http.PostAsJsonAsync("/auth/users", new NewUser("li", "", ["radiologist@centre"]), ContractsJson.Default.NewUser, Cancel);
        Assert.Contains("'radiologist@centre' is no role at a site; accepted is one of admin, auditor, clinician", await wrong.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
        using var created = await node.Http.PostAsJsonAsync("/auth/users", new NewUser("li", "Li", ["auditor@centre"]), ContractsJson.Default.NewUser, Cancel);
        Assert.Equal(HttpStatusCode.Created, created.StatusCode);
        Assert.NotEmpty((await created.Content.ReadFromJsonAsync(ContractsJson.Default.NewUserView, Cancel))!.Password);
        using var twice = await node.Http.PostAsJsonAsync("/auth/users", new NewUser("li", "Li", ["auditor@centre"]), ContractsJson.Default.NewUser, Cancel);
        Assert.Equal(HttpStatusCode.Conflict, twice.StatusCode);
        Assert.Equal(HttpStatusCode.NoContent, (await node.Http.PutAsJsonAsync("/auth/users/li/roles", (IReadOnlyList<string>)["auditor@*"], ContractsJson.Default.IReadOnlyListString, Cancel)).StatusCode);
        Assert.Equal(HttpStatusCode.NoContent, (await node.Http.PutAsync("/auth/users/li/disabled?disabled=true", null, Cancel)).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await node.Http.PutAsync("/auth/users/zhao/disabled?disabled=true", null, Cancel)).StatusCode);
        var li = (await node.Http.GetFromJsonAsync("/auth/users", ContractsJson.Default.IReadOnlyListUserView, Cancel))!.Single(u => u.Name == "li");
        Assert.Equal((true, "auditor@*"), (li.Disabled, Assert.Single(li.Roles)));
        Assert.Contains(await node.AuditAsync(), r => r.Entity == "user/li" && r.Detail == "disabled" && r.Agent.StartsWith("local:", StringComparison.Ordinal));
    }
}
