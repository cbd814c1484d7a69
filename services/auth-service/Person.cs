using System.Text.RegularExpressions;
using Yizhan.Platform.Identity;

namespace Yizhan.Auth;

/// <summary>Somebody who can sign in.</summary>
internal sealed partial class Person
{
    /// <summary>What they type: 2 to 64 of <c>a-z 0-9 . - _</c>.</summary>
    public required string Name { get; init; }

    /// <summary>What a page calls them.</summary>
    public string DisplayName { get; set; } = "";

    /// <summary>As the framework's PasswordHasher writes it: algorithm, iterations and salt are in it.</summary>
    public string PasswordHash { get; set; } = "";

    /// <summary>Roles at sites, separated by spaces, such as <c>radiographer@lakeside auditor@*</c>.</summary>
    public string Roles { get; set; } = "";

    /// <summary>The password was given to them and has to be replaced before anything else.</summary>
    public bool MustChange { get; set; }

    public bool Disabled { get; set; }

    /// <summary>Wrong passwords since the last right one.</summary>
    public int Wrong { get; set; }

    /// <summary>Unix milliseconds until which no password counts.</summary>
    public long ClosedUntilMs { get; set; }

    /// <summary>Changes when rights or password change: sessions and refresh tokens of before are void.</summary>
    public string Stamp { get; set; } = "";

    public static bool IsName(string name) => NamePattern().IsMatch(name);

    /// <summary>A role that there is, at a site or at <c>*</c>.</summary>
    public static bool IsRole(string text) =>
        text.Split('@') is [var role, var site] && Yizhan.Platform.Identity.Roles.Of(role) != Permission.None && (site == "*" || SitePattern().IsMatch(site));

    public static string WrongRole(string text) =>
        $"'{text}' is no role at a site; accepted is one of {string.Join(", ", Yizhan.Platform.Identity.Roles.Names)}, '@', and a site or '*'.";

    [GeneratedRegex(@"\A[a-z0-9][a-z0-9._-]{1,63}\z")]
    private static partial Regex NamePattern();

    [GeneratedRegex(@"\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\z")]
    private static partial Regex SitePattern();
}
