using System.Globalization;
using System.Reflection;
using Yizhan.Console.Language;

namespace Yizhan.Console.Tests;

public sealed class TextsTests
{
    public static TheoryData<string> Members() => new(typeof(Texts).GetMembers().Where(m => IsText(m)).Select(m => m.Name));

    [Theory]
    [MemberData(nameof(Members))]
    public void Every_text_is_there_in_both_languages_and_is_translated(string member)
    {
        var (english, chinese) = (Say(Texts.English, member), Say(Texts.Chinese, member));
        Assert.NotEmpty(english.Trim());
        Assert.DoesNotContain(english, c => c >= '\u3000');
        if (member is not (nameof(Texts.Code) or nameof(Texts.HtmlLang) or nameof(Texts.Percent)))
        {
            Assert.Contains(chinese, c => c is >= '\u4e00' and <= '\u9fff');
        }
    }

    [Theory]
    [InlineData("zh-CN,zh;q=0.9,en;q=0.8", null, "zh")]
    [InlineData("en-GB,zh;q=0.9", null, "en")]
    [InlineData("fr,de;q=0.9,zh-TW;q=0.2", null, "zh")]
    [InlineData("zh;q=0,en", null, "en")]
    [InlineData("fr", null, "en")]
    [InlineData("", null, "en")]
    [InlineData("en", "zh", "zh")]
    [InlineData("zh", "en", "en")]
    [InlineData("zh", "xx", "zh")]
    public void The_cookie_decides_then_the_browser_then_English(string accept, string? cookie, string expected)
    {
        var request = new DefaultHttpContext().Request;
        request.Headers.AcceptLanguage = accept;
        request.Headers.Cookie = cookie is null ? default : "yizhan-language=" + cookie;
        Assert.Equal(expected, Preferences.Language(request).Code);
    }

    private static bool IsText(MemberInfo member) =>
        member is PropertyInfo { PropertyType: var type } p && type == typeof(string) && p.GetMethod!.IsAbstract
        || member is MethodInfo { IsAbstract: true, IsSpecialName: false };

    private static string Say(Texts texts, string member)
    {
        if (typeof(Texts).GetProperty(member) is { } property)
        {
            return (string)property.GetValue(texts)!;
        }

        var method = typeof(Texts).GetMethod(member)!;
        object[] arguments = [.. method.GetParameters().Select(p =>
            member == nameof(Texts.LaneName) ? "bulk" : member == nameof(Texts.ActionName) ? "R" : member == nameof(Texts.LogLevel) ? "error" : p.ParameterType == typeof(string) ? "X" : Convert.ChangeType(7, p.ParameterType, CultureInfo.InvariantCulture))];
        var text = (string)method.Invoke(texts, arguments)!;
        Assert.All(arguments, a => Assert.Contains(a is "bulk" or "R" or "error" ? "" : a.ToString()!, text, StringComparison.Ordinal));
        return text;
    }
}
