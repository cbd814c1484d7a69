using System.Globalization;

namespace Yizhan.Hl7v2;

/// <summary>
/// Names a place in a message as people write it: <c>PID-5</c>, <c>PID-3[2].4.1</c>, <c>OBX[3]-5</c> (segment and its occurrence,
/// field and its repetition, component, subcomponent; all from 1, and 1 where left out).
/// </summary>
/// <param name="Segment">Segment name.</param>
/// <param name="Occurrence">Which segment of that name.</param>
/// <param name="Field">Field number.</param>
/// <param name="Repetition">Which repetition; 0 means the whole field.</param>
/// <param name="Component">Which component; 0 means the whole repetition.</param>
/// <param name="Subcomponent">Which subcomponent; 0 means the whole component.</param>
public readonly record struct Hl7Path(string Segment, int Occurrence, int Field, int Repetition, int Component, int Subcomponent)
{
    private const int MaxNumber = 9999;

    /// <summary>Reads a path.</summary>
    /// <exception cref="FormatException">It is not one.</exception>
    public static Hl7Path Parse(string path)
    {
        var text = path.AsSpan();
        if (text.Length < 5 || !Hl7Message.IsSegmentName(text[..3]))
        {
            throw Wrong(path);
        }

        var rest = text[3..];
        var occurrence = TryIndex(ref rest, path) ?? 1;
        if (rest.IsEmpty || rest[0] != '-')
        {
            throw Wrong(path);
        }

        rest = rest[1..];
        var field = Number(ref rest, path);
        var repetition = TryIndex(ref rest, path) ?? 0;
        var component = TryPart(ref rest, path);
        var subcomponent = TryPart(ref rest, path);
        return rest.IsEmpty ? new Hl7Path(path[..3], occurrence, field, repetition, component, subcomponent) : throw Wrong(path);
    }

    /// <summary>The path as people write it.</summary>
    public override string ToString() =>
        $"{Segment}{(Occurrence > 1 ? $"[{Occurrence}]" : "")}-{Field}{(Repetition > 0 ? $"[{Repetition}]" : "")}{(Component > 0 ? $".{Component}" : "")}{(Subcomponent > 0 ? $".{Subcomponent}" : "")}";

    private static int? TryIndex(ref ReadOnlySpan<char> rest, string path)
    {
        if (rest.IsEmpty || rest[0] != '[')
        {
            return null;
        }

        rest = rest[1..];
        var index = Number(ref rest, path);
        if (rest.IsEmpty || rest[0] != ']')
        {
            throw Wrong(path);
        }

        rest = rest[1..];
        return index;
    }

    private static int TryPart(ref ReadOnlySpan<char> rest, string path)
    {
        if (rest.IsEmpty || rest[0] != '.')
        {
            return 0;
        }

        rest = rest[1..];
        return Number(ref rest, path);
    }

    private static int Number(ref ReadOnlySpan<char> rest, string path)
    {
        var digits = 0;
        while (digits < rest.Length && char.IsAsciiDigit(rest[digits]))
        {
            digits++;
        }

        if (digits is 0 or > 4)
        {
            throw Wrong(path);
        }

        var number = int.Parse(rest[..digits], NumberStyles.None, CultureInfo.InvariantCulture);
        rest = rest[digits..];
        return number is > 0 and <= MaxNumber ? number : throw Wrong(path);
    }

    private static FormatException Wrong(string path) => new($"'{path}' does not name a place in a message; accepted are PID-5, PID-3[2].4.1 or OBX[3]-5.");
}
