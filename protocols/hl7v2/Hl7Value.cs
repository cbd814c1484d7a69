namespace Yizhan.Hl7v2;

/// <summary>
/// A view of a part of a message: a field, one of its repetitions, a component or a subcomponent. Parts are counted from 1 as in
/// the standard; a part that is not there is empty, never an error.
/// </summary>
public readonly struct Hl7Value
{
    private readonly ReadOnlyMemory<char> _raw;
    private readonly Hl7Delimiters _delimiters;

    internal Hl7Value(ReadOnlyMemory<char> raw, Hl7Delimiters delimiters)
    {
        _raw = raw;
        _delimiters = delimiters;
    }

    /// <summary>The characters as sent, escapes and delimiters included.</summary>
    public ReadOnlyMemory<char> Raw => _raw;

    /// <summary>Nothing was sent: the receiver keeps what it has (HL7 v2.5.1 §2.6).</summary>
    public bool IsEmpty => _raw.IsEmpty;

    /// <summary>Two quotes were sent: the receiver deletes what it has.</summary>
    public bool IsNull => _raw.Span is "\"\"";

    /// <summary>Number of repetitions; 0 when empty.</summary>
    public int RepetitionCount => Count(_delimiters.Repetition);

    /// <summary>Number of components; 0 when empty.</summary>
    public int ComponentCount => Count(_delimiters.Component);

    /// <summary>The n-th repetition of a field.</summary>
    public Hl7Value Repetition(int number) => Part(_delimiters.Repetition, number);

    /// <summary>The n-th component of a field's repetition.</summary>
    public Hl7Value Component(int number) => Part(_delimiters.Component, number);

    /// <summary>The n-th subcomponent of a component.</summary>
    public Hl7Value Subcomponent(int number) => Part(_delimiters.Subcomponent, number);

    /// <summary>The text with its escapes resolved; empty for an empty part and for null (<c>""</c>).</summary>
    public override string ToString() => IsNull ? "" : Hl7Escape.Decode(_raw, _delimiters);

    private int Count(char separator) => _raw.IsEmpty ? 0 : separator == '\0' ? 1 : _raw.Span.Count(separator) + 1;

    private Hl7Value Part(char separator, int number)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(number, 1);
        return Find(_raw.Span, separator, number) is var (start, length) ? new Hl7Value(_raw.Slice(start, length), _delimiters) : new Hl7Value(default, _delimiters);
    }

    /// <summary>Where the n-th part of a text is; null when there are fewer.</summary>
    internal static (int Start, int Length)? Find(ReadOnlySpan<char> text, char separator, int number)
    {
        var start = 0;
        for (; number > 1; number--)
        {
            var next = separator == '\0' ? -1 : text[start..].IndexOf(separator);
            if (next < 0)
            {
                return null;
            }

            start += next + 1;
        }

        var length = separator == '\0' ? -1 : text[start..].IndexOf(separator);
        return (start, length < 0 ? text.Length - start : length);
    }
}
