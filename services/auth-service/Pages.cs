using Yizhan.Platform.Identity;

namespace Yizhan.Auth;

/// <summary>The few pages of signing in: plain HTML, Chinese and English, nothing from elsewhere, no script.</summary>
internal static class Pages
{
    private static readonly Dictionary<string, (string English, string Chinese)> Texts = new(StringComparer.Ordinal)
    {
        ["sign-in"] = ("Sign in", "登录"),
        ["name"] = ("User name", "用户名"),
        ["password"] = ("Password", "密码"),
        ["change"] = ("Choose a new password", "设置新密码"),
        ["why-change"] = ("This password was given to you. Choose your own before you go on.", "当前密码由他人提供，请先设置您自己的密码。"),
        ["new"] = ("New password, at least 12 characters", "新密码，至少 12 个字符"),
        ["again"] = ("The same again", "再次输入"),
        ["save"] = ("Save and go on", "保存并继续"),
        ["device"] = ("Allow a program to sign in as you", "允许程序以您的身份登录"),
        ["code"] = ("The code that the program shows", "程序显示的代码"),
        ["allow"] = ("Allow", "允许"),
        ["done"] = ("Done. You can close this page.", "已完成，可以关闭本页。"),
        ["wrong"] = ("User name or password is wrong.", "用户名或密码不正确。"),
        ["closed"] = ("Too many wrong passwords. Try again later.", "密码错误次数过多，请稍后再试。"),
        ["expired"] = ("This page had expired. Please try again.", "页面已过期，请重试。"),
        ["differ"] = ("The two are not the same.", "两次输入不一致。"),
        ["weak"] = ("At least 12 characters, not the old one, and without your name in it.", "至少 12 个字符，不能与旧密码相同，也不能包含用户名。"),
        ["bad-code"] = ("This code is not known, or no longer valid.", "代码无效或已过期。"),
    };

    /// <summary>The page on which people sign in.</summary>
    public static IResult SignIn(HttpContext context, string back, string name = "", string? problem = null) => Page(context, "sign-in", problem, $"""
        <form method="post" action="/sign-in">{Hidden(context)}<input type="hidden" name="back" value="{Encode(back)}">
        <label for="name">{Text(context, "name")}</label><input id="name" name="name" autocomplete="username" required maxlength="64" value="{Encode(name)}"{(name.Length == 0 ? " autofocus" : "")}>
        <label for="password">{Text(context, "password")}</label><input id="password" name="password" type="password" autocomplete="current-password" required maxlength="256"{(name.Length > 0 ? " autofocus" : "")}>
        <button>{Text(context, "sign-in")}</button></form>
        """);

    /// <summary>The page on which a password that was given is replaced.</summary>
    public static IResult Change(HttpContext context, string back, string name, string? problem = null) => Page(context, "change", problem, $"""
        <p>{Text(context, "why-change")}</p>
        <form method="post" action="/sign-in/password">{Hidden(context)}<input type="hidden" name="back" value="{Encode(back)}">
        <input type="hidden" name="name" value="{Encode(name)}" autocomplete="username">
        <label for="password">{Text(context, "password")}</label><input id="password" name="password" type="password" autocomplete="current-password" required maxlength="256" autofocus>
        <label for="new">{Text(context, "new")}</label><input id="new" name="new" type="password" autocomplete="new-password" required minlength="12" maxlength="256">
        <label for="again">{Text(context, "again")}</label><input id="again" name="again" type="password" autocomplete="new-password" required minlength="12" maxlength="256">
        <button>{Text(context, "save")}</button></form>
        """);

    /// <summary>The page on which a program that shows a code is allowed in.</summary>
    public static IResult Device(HttpContext context, string code, string? problem = null) => Page(context, "device", problem, $"""
        <form method="post" action="/auth/device">{Hidden(context)}
        <label for="code">{Text(context, "code")}</label><input id="code" name="user_code" value="{Encode(code)}" required maxlength="64" autocomplete="off" autofocus>
        <button>{Text(context, "allow")}</button></form>
        """);

    public static IResult Done(HttpContext context) => Page(context, "device", null, $"<p>{Text(context, "done")}</p>");

    private static IResult Page(HttpContext context, string title, string? problem, string body) => PlainPage.Show(
        context, Text(context, title), problem is null ? null : Text(context, problem), body, problem is null ? 200 : problem is "closed" ? 429 : 400);

    private static string Hidden(HttpContext context) => PlainPage.Hidden(context);

    private static string Text(HttpContext context, string key) => PlainPage.IsChinese(context) ? Texts[key].Chinese : Texts[key].English;

    private static string Encode(string text) => PlainPage.Encode(text);
}
