namespace Yizhan.Hl7v2;

/// <summary>
/// One message in vertical-bar encoding (HL7 v2.5.1 §2.5). It is the text as it came and an index of its segments: what is not
/// touched, local Z segments first of all, is written again bit for bit.
/// </summary>
public sealed class Hl7Message
{
    private const char ByteOrderMark = '\uFEFF';

    private readonly string _text;
    private readonly List<(int Start, int Length)> _segments;

    private Hl7Message(string text, Hl7CharacterSet characterSet)
    {
        _text = text;
        CharacterSet = characterSet;
        var start = text.StartsWith(ByteOrderMark) ? 1 : 0;
        if (!text.AsSpan(start).StartsWith("MSH"))
        {
            throw new Hl7Exception(Hl7Error.SegmentSequence, Start(text.AsSpan(start)), "MSH");
        }

        Delimiters = Hl7Delimiters.Read(text.AsSpan(start));
        _segments = Split(text, start, Delimiters);
    }

    /// <summary>The delimiters of this message.</summary>
    public Hl7Delimiters Delimiters { get; }

    /// <summary>How its bytes are written.</summary>
    public Hl7CharacterSet CharacterSet { get; }

    /// <summary>Number of segments, at least 1.</summary>
    public int SegmentCount => _segments.Count;

    /// <summary>All segments in order.</summary>
    public IEnumerable<Hl7Segment> Segments => _segments.Select(s => new Hl7Segment(_text.AsMemory(s.Start, s.Length), Delimiters));

    /// <summary>Message type, for example ORM (MSH-9.1).</summary>
    public string Type => this["MSH-9.1"];

    /// <summary>Trigger event, for example O01 (MSH-9.2).</summary>
    public string TriggerEvent => this["MSH-9.2"];

    /// <summary>The sender's name of this message (MSH-10); a retransmission has the same.</summary>
    public string ControlId => this["MSH-10"];

    /// <summary>The text at a place, escapes resolved; empty when nothing is there.</summary>
    /// <exception cref="FormatException">The path is none.</exception>
    public string this[string path] => At(Hl7Path.Parse(path)).ToString();

    /// <summary>Reads a message whose characters are known.</summary>
    /// <exception cref="Hl7Exception">It is not a message.</exception>
    public static Hl7Message Parse(string text) => new(text, Hl7CharacterSet.Utf8);

    /// <summary>Reads a message from its bytes, in the character set that MSH-18 names.</summary>
    /// <exception cref="Hl7Exception">It is not a message, names a character set that is not known, or is not written in it.</exception>
    public static Hl7Message Parse(ReadOnlySpan<byte> bytes)
    {
        var characterSet = Hl7CharacterSet.Of(bytes);
        return new Hl7Message(characterSet.Decode(bytes), characterSet);
    }

    /// <summary>The bytes to send.</summary>
    /// <exception cref="Hl7Exception">A character is not in the message's character set.</exception>
    public byte[] ToBytes() => CharacterSet.Encode(_text);

    /// <summary>The message as text, with the terminators that it came with.</summary>
    public override string ToString() => _text;

    /// <summary>The n-th segment of a name; null when there are fewer.</summary>
    public Hl7Segment? Segment(string name, int occurrence = 1) => Find(name, occurrence) is var (start, length) ? new Hl7Segment(_text.AsMemory(start, length), Delimiters) : null;

    /// <summary>What is at a place.</summary>
    public Hl7Value At(Hl7Path path)
    {
        if (Segment(path.Segment, path.Occurrence) is not { } segment)
        {
            return new Hl7Value(default, Delimiters);
        }

        var value = segment.Field(path.Field);
        if (path.Repetition > 0 || path.Component > 0)
        {
            value = value.Repetition(Math.Max(path.Repetition, 1));
        }

        value = path.Component > 0 ? value.Component(path.Component) : value;
        return path.Subcomponent > 0 ? value.Subcomponent(path.Subcomponent) : value;
    }

    /// <summary>A copy in which one place holds another text; everything else stays as it is.</summary>
    /// <exception cref="FormatException">The path is none.</exception>
    /// <exception cref="Hl7Exception">The segment is not there, or the place is one of the delimiters.</exception>
    public Hl7Message With(string path, string value)
    {
        var place = Hl7Path.Parse(path);
        if (Find(place.Segment, place.Occurrence) is not var (start, length))
        {
            throw new Hl7Exception(Hl7Error.SegmentSequence, $"There is no {place.Segment} segment number {place.Occurrence} to write {place} into.", path);
        }

        var segment = _text.AsSpan(start, length);
        if (IsHeader(segment) && place.Field <= 2)
        {
            throw new Hl7Exception(Hl7Error.DataType, $"{path} holds the delimiters of the message and cannot be changed.", path);
        }

        var escaped = Hl7Escape.Encode(value, Delimiters);
        var field = IsHeader(segment) ? place.Field : place.Field + 1;
        var changed = Replace(segment.ToString(), Delimiters.Field, field, whole => place switch
        {
            { Repetition: 0, Component: 0 } => escaped,
            _ => Replace(whole, Delimiters.Repetition, Math.Max(place.Repetition, 1), repetition => place.Component == 0
                ? escaped
                : Replace(repetition, Delimiters.Component, place.Component, component => place.Subcomponent == 0
                    ? escaped
                    : Replace(component, Delimiters.Subcomponent, place.Subcomponent, _ => escaped))),
        });
        return new Hl7Message(string.Concat(_text.AsSpan(0, start), changed, _text.AsSpan(start + length)), CharacterSet);
    }

    internal static bool IsHeader(ReadOnlySpan<char> segment) => segment.StartsWith("MSH") || segment.StartsWith("FHS") || segment.StartsWith("BHS");

    internal static bool IsSegmentName(ReadOnlySpan<char> name) =>
        name.Length == 3 && char.IsAsciiLetterUpper(name[0]) && IsLetterOrDigit(name[1]) && IsLetterOrDigit(name[2]);

    private static bool IsLetterOrDigit(char c) => char.IsAsciiLetterUpper(c) || char.IsAsciiDigit(c);

    private static string Start(ReadOnlySpan<char> text) =>
        text.TrimStart().StartsWith("<") ? "This is XML; messages in vertical-bar encoding, which begin with MSH, are accepted." : "A message begins with the segment MSH.";

    /// <summary>
    /// Only CR ends a segment (§2.5.1), and an LF after it is ignored; an LF alone belongs to the field that it is in. A file that
    /// an editor or a script saved has no CR at all: then LF ends segments.
    /// </summary>
    private static List<(int Start, int Length)> Split(string text, int start, Hl7Delimiters delimiters)
    {
        var terminator = text.Contains('\r', StringComparison.Ordinal) ? '\r' : '\n';
        var segments = new List<(int Start, int Length)>();
        while (start < text.Length)
        {
            var end = text.IndexOf(terminator, start);
            end = end < 0 ? text.Length : end;
            if (text[start] == '\n')
            {
                start++;
                continue;
            }

            if (end > start)
            {
                var segment = text.AsSpan(start, end - start);
                if (segment.Length < 3 || !IsSegmentName(segment[..3]) || (segment.Length > 3 && segment[3] != delimiters.Field))
                {
                    throw new Hl7Exception(
                        Hl7Error.SegmentSequence,
                        $"Segment {segments.Count + 1}, at character {start}, does not begin with a name of three capitals or digits and the separator '{delimiters.Field}'.");
                }

                segments.Add((start, end - start));
            }

            start = end + 1;
        }

        return segments;
    }

    private static string Replace(string text, char separator, int number, Func<string, string> change)
    {
        if (separator == '\0')
        {
            return number == 1 ? change(text) : throw new Hl7Exception(Hl7Error.DataType, "MSH-2 of this message has no delimiter for that place.");
        }

        var parts = text.Split(separator).ToList();
        while (parts.Count < number)
        {
            parts.Add("");
        }

        parts[number - 1] = change(parts[number - 1]);
        return string.Join(separator, parts);
    }

    private (int Start, int Length)? Find(string name, int occurrence)
    {
        foreach (var segment in _segments)
        {
            if (_text.AsSpan(segment.Start, 3).SequenceEqual(name) && --occurrence == 0)
            {
                return segment;
            }
        }

        return null;
    }
}
