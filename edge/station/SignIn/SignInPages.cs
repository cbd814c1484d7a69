using System.Globalization;
using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.Extensions.Options;
using Yizhan.Platform.Identity;

namespace Yizhan.Station.SignIn;

/// <summary>Where people at a site sign in with a browser, with the centre or without, and where they take emergency access.</summary>
internal static class SignInPages
{
    public const string Path = "/sign-in";

    private const string Emergency = Path + "/emergency";
    private const string Why = "Signing in is how somebody gets a name; attempts are counted, wrong ones lock the account for a while.";

    /// <summary>In a session that began here: whose account of the list it is.</summary>
    private const string Account = "account";

    /// <summary>What a session says: see <see cref="Caller"/>.</summary>
    private static readonly string[] Kept = ["sub", "name", "roles"];

    private static readonly int[] Spans = [15, 30, 60];

    private static readonly Dictionary<string, (string English, string Chinese)> Texts = new(StringComparer.Ordinal)
    {
        ["sign-in"] = ("Sign in", "登录"),
        ["site"] = ("Site {0}", "站点 {0}"),
        ["name"] = ("User name", "用户名"),
        ["password"] = ("Password", "密码"),
        ["how"] = ("With the name and password that you have at the centre. It need not be reachable.", "使用您在中心的用户名和密码，无需连接中心。"),
        ["holds"] = ("Without the centre people can sign in here until {0} ({1} days left).", "没有中心时可在此登录至 {0}（剩余 {1} 天）。"),
        ["emergency"] = ("Emergency access", "紧急访问"),
        ["back"] = ("Back to signing in", "返回登录"),
        ["warning"] = (
            "Only when a patient cannot wait and your own roles are not enough. You get the rights of a clinician at this site, for an hour at most. An alert with your name and reason is recorded before anything opens, goes to the centre, and is reviewed by somebody else.",
            "仅在患者情况紧急而您自身权限不足时使用。您将获得本站点临床医生的权限，最长一小时。在开放任何内容之前，您的姓名和理由会作为警报记录并上报中心，由他人审核。"),
        ["reason"] = ("Reason, 10 to 500 characters, without a patient's name", "理由，10 至 500 个字符，请勿写患者姓名"),
        ["minutes"] = ("For how long", "时长"),
        ["minutes-of"] = ("{0} minutes", "{0} 分钟"),
        ["take"] = ("Take emergency access", "开始紧急访问"),
        ["wrong"] = ("User name or password is wrong. Only who has a role at this site can sign in here.", "用户名或密码不正确。只有在本站点有角色的人员可以在此登录。"),
        ["closed"] = ("Too many wrong passwords. Try again later; an account opens after a minute at first, then later each time.", "密码错误次数过多，请稍后再试。账号首次锁定一分钟，之后逐次延长。"),
        ["many"] = ("Too many attempts from here. Try again in a minute.", "此处尝试次数过多，请一分钟后再试。"),
        ["expired"] = ("This page had expired. Please try again.", "页面已过期，请重试。"),
        ["no-list"] = (
            "Nobody can sign in here yet: the centre has sent no list of people. It comes by itself once the line works. On the machine itself, yizhan open lets its operator in.",
            "暂时无法在此登录：中心尚未发来人员名单，线路连通后会自动送达。在本机上，运维人员可使用 yizhan open 进入。"),
        ["old-list"] = (
            "Nobody can sign in here any more: the centre's list of people ended on {0}. A new one comes by itself once the line works. On the machine itself, yizhan open lets its operator in.",
            "无法在此登录：中心的人员名单已于 {0} 到期，线路恢复后会自动更新。在本机上，运维人员可使用 yizhan open 进入。"),
        ["bad-reason"] = ("A reason of 10 to 500 characters and a time of 1 to 60 minutes are needed.", "需要 10 至 500 个字符的理由，以及 1 至 60 分钟的时长。"),
        ["full"] = ("Too many emergency accesses wait for their review; no more are given. Ask an auditor to review them.", "待审核的紧急访问过多，暂不再开放。请联系审计人员先行审核。"),
    };

    /// <summary>Maps the pages at the root: they are the node's, not one service's.</summary>
    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet(Path, (HttpContext context, string? back) => Page(context, PlainPage.Local(back))).ExcludeFromDescription().OpenToAll(Why);
        routes.MapPost(Path, (Delegate)SignInAsync).ExcludeFromDescription().OpenToAll(Why);
        routes.MapGet(Emergency, (HttpContext context, string? back) => EmergencyPage(context, PlainPage.Local(back))).ExcludeFromDescription().OpenToAll(Why);
        routes.MapPost(Emergency, (Delegate)BreakGlassAsync).ExcludeFromDescription().OpenToAll(Why);
    }

    /// <summary>Looks with each request whether a session that began here may go on: the list may have changed since.</summary>
    public static void Check(CookieAuthenticationOptions cookie, SiteSignIn signIn) => cookie.Events.OnValidatePrincipal = async context =>
    {
        if (context.Principal?.FindFirstValue(Account) is { } name
            && !signIn.MayGoOn(name, context.Principal.HasClaim(claim => claim.Type == "break_glass") ? null : context.Principal.FindAll("roles").Select(claim => claim.Value)))
        {
            context.RejectPrincipal();
            await context.HttpContext.SignOutAsync(Session.Scheme);
        }
    };

    private static async Task<IResult> SignInAsync(HttpContext context, SiteSignIn signIn, SignInAttempts attempts, TokenValidator tokens)
    {
        if (await PlainPage.FormAsync(context) is not { } form)
        {
            return Page(context, "/", problem: "expired");
        }

        var (name, back) = (form["name"].ToString().Trim(), PlainPage.Local(form["back"]));
        if (!attempts.MayTry(context))
        {
            return Page(context, back, name, "many");
        }

        var (outcome, token) = await signIn.SignInAsync(name, form["password"].ToString(), context.RequestAborted);
        if (outcome != SignInOutcome.SignedIn)
        {
            return Page(context, back, name, ProblemOf(outcome));
        }

        var (principal, _) = await tokens.CheckAsync(token!, "console", context.RequestAborted);
        await Session.SignInAsync(context, [.. principal.Claims.Where(claim => Kept.Contains(claim.Type, StringComparer.Ordinal)), new(Account, name)]);
        return TypedResults.LocalRedirect(back);
    }

    private static async Task<IResult> BreakGlassAsync(HttpContext context, SiteSignIn signIn, SignInAttempts attempts, TokenValidator tokens)
    {
        if (await PlainPage.FormAsync(context) is not { } form)
        {
            return EmergencyPage(context, "/", problem: "expired");
        }

        var (name, back, reason) = (form["name"].ToString().Trim(), PlainPage.Local(form["back"]), form["reason"].ToString());
        if (!attempts.MayTry(context))
        {
            return EmergencyPage(context, back, name, reason, "many");
        }

        try
        {
            var life = TimeSpan.FromMinutes(int.TryParse(form["minutes"], NumberStyles.None, CultureInfo.InvariantCulture, out var minutes) ? Math.Min(minutes, 1000) : 0);
            var (outcome, token) = await signIn.BreakGlassAsync(name, form["password"].ToString(), reason, life, context.RequestAborted);
            if (outcome != SignInOutcome.SignedIn)
            {
                return EmergencyPage(context, back, name, reason, ProblemOf(outcome));
            }

            // It ends when the token would, whatever the browser does; an open page ends with it, for which it has the time.
            var (principal, _) = await tokens.CheckAsync(token!, "console", context.RequestAborted);
            await Session.SignInAsync(
                context, [.. principal.Claims.Where(claim => Kept.Contains(claim.Type, StringComparer.Ordinal) || claim.Type is "break_glass" or "exp"), new(Account, name)],
                DateTimeOffset.FromUnixTimeSeconds(long.Parse(principal.FindFirstValue("exp")!, CultureInfo.InvariantCulture)));
            return TypedResults.LocalRedirect(back);
        }
        catch (ArgumentException)
        {
            return EmergencyPage(context, back, name, reason, "bad-reason");
        }
        catch (IOException)
        {
            return EmergencyPage(context, back, name, reason, "full");
        }
    }

    private static string ProblemOf(SignInOutcome outcome) => outcome switch { SignInOutcome.Wrong => "wrong", SignInOutcome.Locked => "closed", _ => "no-list" };

    private static IResult Page(HttpContext context, string back, string name = "", string? problem = null)
    {
        var signIn = context.RequestServices.GetRequiredService<SiteSignIn>();
        return Show(context, "sign-in", problem, $"""
            <p>{Say(context, "site", signIn.Site)}</p>
            <form method="post" action="{Path}">{PlainPage.Hidden(context)}<input type="hidden" name="back" value="{PlainPage.Encode(back)}">
            {Who(context, name)}
            <button>{Say(context, "sign-in")}</button></form>
            <p>{Say(context, "how")} {Holds(context, signIn)}</p>
            <p><a href="{Emergency}?back={PlainPage.Encode(Uri.EscapeDataString(back))}">{Say(context, "emergency")}</a></p>
            """);
    }

    private static IResult EmergencyPage(HttpContext context, string back, string name = "", string reason = "", string? problem = null) => Show(context, "emergency", problem, $"""
        <p role="note">{Say(context, "warning")}</p>
        <form method="post" action="{Emergency}">{PlainPage.Hidden(context)}<input type="hidden" name="back" value="{PlainPage.Encode(back)}">
        {Who(context, name)}
        <label for="reason">{Say(context, "reason")}</label><textarea id="reason" name="reason" rows="3" required minlength="10" maxlength="500">{PlainPage.Encode(reason)}</textarea>
        <label for="minutes">{Say(context, "minutes")}</label><select id="minutes" name="minutes">{string.Concat(Spans.Select(m => $"<option value=\"{m}\"{(m == 30 ? " selected" : "")}>{Say(context, "minutes-of", m)}</option>"))}</select>
        <button class="grave">{Say(context, "take")}</button></form>
        <p><a href="{Path}?back={PlainPage.Encode(Uri.EscapeDataString(back))}">{Say(context, "back")}</a></p>
        """);

    private static string Who(HttpContext context, string name) => $"""
        <label for="name">{Say(context, "name")}</label><input id="name" name="name" autocomplete="username" required maxlength="64" value="{PlainPage.Encode(name)}"{(name.Length == 0 ? " autofocus" : "")}>
        <label for="password">{Say(context, "password")}</label><input id="password" name="password" type="password" autocomplete="current-password" required maxlength="256"{(name.Length > 0 ? " autofocus" : "")}>
        """;

    /// <summary>How long signing in without the centre holds; nothing where it does not.</summary>
    private static string Holds(HttpContext context, SiteSignIn signIn) => Left(context, signIn) is { Ticks: > 0 } left
        ? Say(context, "holds", Day(context, signIn), (int)left.TotalDays) : "";

    private static TimeSpan? Left(HttpContext context, SiteSignIn signIn) => signIn.ValidUntilMs is { } until
        ? DateTimeOffset.FromUnixTimeMilliseconds(until) - context.RequestServices.GetRequiredService<TimeProvider>().GetUtcNow() : null;

    private static string Day(HttpContext context, SiteSignIn signIn) => TimeZoneInfo.ConvertTimeBySystemTimeZoneId(
        DateTimeOffset.FromUnixTimeMilliseconds(signIn.ValidUntilMs!.Value), context.RequestServices.GetRequiredService<IOptions<StationOptions>>().Value.TimeZone)
        .ToString("yyyy-MM-dd", CultureInfo.InvariantCulture);

    /// <summary>That nobody can sign in is said before somebody tries.</summary>
    private static IResult Show(HttpContext context, string title, string? problem, string body)
    {
        var signIn = context.RequestServices.GetRequiredService<SiteSignIn>();
        var left = Left(context, signIn);
        var said = left is null && problem is null or "no-list" ? Say(context, "no-list")
            : left <= TimeSpan.Zero ? Say(context, "old-list", Day(context, signIn))
            : problem is null ? null : Say(context, problem);
        if (problem is "closed" or "many")
        {
            context.Response.Headers.RetryAfter = "60";
        }

        return PlainPage.Show(context, Say(context, title), said, body, problem switch { null => 200, "closed" or "many" => 429, "no-list" or "full" => 503, _ => 400 });
    }

    private static string Say(HttpContext context, string key, params object[] values) => PlainPage.Encode(string.Format(
        CultureInfo.InvariantCulture, PlainPage.IsChinese(context) ? Texts[key].Chinese : Texts[key].English, values));
}
