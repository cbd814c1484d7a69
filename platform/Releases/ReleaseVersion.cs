using System.Globalization;
using System.Text.RegularExpressions;

namespace Yizhan.Platform.Releases;

/// <summary>A release's version, written <c>config-YY.MM.patch</c>; versions are ordered, and a site only goes forward.</summary>
public readonly partial record struct ReleaseVersion(int Year, int Month, int Patch)
{
    /// <summary>What is accepted, for messages.</summary>
    public const string Form = "config-YY.MM.patch, such as config-26.11.1";

    /// <summary>Reads a version; false when it is not one.</summary>
    public static bool TryParse(string? text, out ReleaseVersion version)
    {
        var match = Written().Match(text ?? "");
        version = match.Success ? new(Number(match.Groups[1]), Number(match.Groups[2]), Number(match.Groups[3])) : default;
        return match.Success;
    }

    /// <summary>True when this one comes after the other.</summary>
    public bool IsNewerThan(ReleaseVersion other) => (Year, Month, Patch).CompareTo((other.Year, other.Month, other.Patch)) > 0;

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"config-{Year:00}.{Month:00}.{Patch}");

    private static int Number(Group group) => int.Parse(group.ValueSpan, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"\Aconfig-([0-9]{2})\.(0[1-9]|1[0-2])\.(0|[1-9][0-9]{0,5})\z")]
    private static partial Regex Written();
}
