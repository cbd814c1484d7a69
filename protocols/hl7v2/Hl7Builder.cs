using System.Text;

namespace Yizhan.Hl7v2;

/// <summary>Writes a message segment by segment; texts are escaped, and segments end with CR.</summary>
public sealed class Hl7Builder
{
    private static readonly Hl7Delimiters Delimiters = Hl7Delimiters.Standard;

    private readonly List<string> _segments = [];
    private readonly List<string> _fields = [];
    private readonly Hl7CharacterSet _characterSet;

    /// <summary>Begins a message.</summary>
    /// <param name="type">MSH-9 in components, for example ORM, O01, ORM_O01.</param>
    /// <param name="controlId">MSH-10: the same for each retransmission of one fact, and for no other fact.</param>
    /// <param name="time">MSH-7.</param>
    /// <param name="version">MSH-12, for example 2.5.1.</param>
    /// <param name="characterSet">How it is written; MSH-18 says so.</param>
    public Hl7Builder(IReadOnlyList<string> type, string controlId, DateTimeOffset time, string version, Hl7CharacterSet characterSet)
    {
        _characterSet = characterSet;
        Segment("MSH").Set(2, "").Set(7, Hl7Time.Format(time)).Set(9, [.. type]).Set(10, controlId).Set(11, "P").Set(12, version).Set(18, characterSet.Name);
    }

    /// <summary>Begins a segment.</summary>
    public Hl7Builder Segment(string name)
    {
        if (!Hl7Message.IsSegmentName(name))
        {
            throw new ArgumentException($"'{name}' is not a segment name: three capitals or digits, the first a letter.", nameof(name));
        }

        EndSegment();
        _fields.Clear();
        _fields.Add(name);
        return this;
    }

    /// <summary>Sets a field of the current segment from its components.</summary>
    public Hl7Builder Set(int field, params ReadOnlySpan<string> components)
    {
        Reserve(field);
        _fields[Index(field)] = Join(components);
        return this;
    }

    /// <summary>Adds a repetition to a field of the current segment.</summary>
    public Hl7Builder Repeat(int field, params ReadOnlySpan<string> components)
    {
        Reserve(field);
        var index = Index(field);
        _fields[index] = _fields[index].Length == 0 ? Join(components) : $"{_fields[index]}{Delimiters.Repetition}{Join(components)}";
        return this;
    }

    /// <summary>The message.</summary>
    public Hl7Message Build()
    {
        EndSegment();
        _fields.Clear();
        var text = new StringBuilder();
        foreach (var segment in _segments)
        {
            text.Append(segment).Append('\r');
        }

        return Hl7Message.Parse(_characterSet.Encode(text.ToString()));
    }

    private void EndSegment()
    {
        if (_fields.Count == 0)
        {
            return;
        }

        var last = _fields.FindLastIndex(f => f.Length > 0);
        _segments.Add(_fields[0] == "MSH"
            ? $"MSH{Delimiters.Field}{Delimiters.EncodingCharacters}{Delimiters.Field}{string.Join(Delimiters.Field, _fields.Skip(2).Take(last - 1))}"
            : string.Join(Delimiters.Field, _fields.Take(last + 1)));
    }

    // MSH-1 is the separator itself, so MSH-n is at n - 1.
    private int Index(int field) => _fields[0] == "MSH" ? field - 1 : field;

    private void Reserve(int field)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(field, _fields[0] == "MSH" ? 2 : 1);
        while (_fields.Count <= Index(field))
        {
            _fields.Add("");
        }
    }

    private static string Join(ReadOnlySpan<string> components)
    {
        var text = new StringBuilder();
        var trailing = 0;
        foreach (var component in components)
        {
            if (component.Length > 0)
            {
                text.Append(Delimiters.Component, trailing).Append(Hl7Escape.Encode(component, Delimiters));
                trailing = 0;
            }

            trailing++;
        }

        return text.ToString();
    }
}
