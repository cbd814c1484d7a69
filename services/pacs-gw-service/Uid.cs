using System.Buffers;

namespace Yizhan.PacsGw;

/// <summary>The syntax of unique identifiers, PS3.5 §9.1.</summary>
internal static class Uid
{
    public const int MaxLength = 64;

    private static readonly SearchValues<char> DigitsAndDot = SearchValues.Create("0123456789.");

    /// <summary>
    /// Digits and dots, at most 64. Leading zeros and empty components are wrong too but are found in real files and harm nobody,
    /// so they pass.
    /// </summary>
    public static bool IsValid(ReadOnlySpan<char> uid) =>
        uid.Length is > 0 and <= MaxLength && !uid.ContainsAnyExcept(DigitsAndDot) && uid.ContainsAnyInRange('0', '9');
}
