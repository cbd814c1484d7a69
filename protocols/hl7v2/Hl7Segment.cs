namespace Yizhan.Hl7v2;

/// <summary>One segment: a name of three characters, and fields counted from 1.</summary>
public readonly struct Hl7Segment
{
    private readonly ReadOnlyMemory<char> _text;
    private readonly Hl7Delimiters _delimiters;

    internal Hl7Segment(ReadOnlyMemory<char> text, Hl7Delimiters delimiters)
    {
        _text = text;
        _delimiters = delimiters;
    }

    /// <summary>For example PID; a name that begins with Z is a local one.</summary>
    public string Name => _text.Span[..3].ToString();

    /// <summary>The characters as sent, without the terminator.</summary>
    public ReadOnlyMemory<char> Raw => _text;

    /// <summary>Number of the last field.</summary>
    public int FieldCount => _text.Span.Count(_delimiters.Field) + (IsHeader ? 1 : 0);

    /// <summary>Whether the fields count from the separator itself (MSH, FHS, BHS: field 1 is the separator).</summary>
    internal bool IsHeader => Hl7Message.IsHeader(_text.Span);

    /// <summary>The n-th field with all its repetitions; empty when there are fewer.</summary>
    public Hl7Value Field(int number)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(number, 1);
        if (FieldAt(_text.Span, _delimiters, number) is not var (start, length))
        {
            return new Hl7Value(default, _delimiters);
        }

        // MSH-1 and MSH-2 are delimiters themselves and must not be taken apart by them.
        return IsHeader && number <= 2 ? new Hl7Value(_text.Slice(start, length), default) : new Hl7Value(_text.Slice(start, length), _delimiters);
    }

    /// <summary>Whether the segment has this name.</summary>
    public bool Is(string name) => _text.Span[..3].SequenceEqual(name);

    /// <summary>Where a field is in the segment's text.</summary>
    internal static (int Start, int Length)? FieldAt(ReadOnlySpan<char> segment, Hl7Delimiters delimiters, int number)
    {
        if (!Hl7Message.IsHeader(segment))
        {
            return Hl7Value.Find(segment, delimiters.Field, number + 1);
        }

        return number == 1 ? (3, 1) : Hl7Value.Find(segment, delimiters.Field, number);
    }
}
