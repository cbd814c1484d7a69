using System.Runtime.CompilerServices;

namespace Yizhan.Gs1;

/// <summary>One element: an application identifier and its value. It refers to the scan; a string is made when one is asked for.</summary>
/// <param name="Identifier">The identifier.</param>
/// <param name="Characters">The value, without separator.</param>
public readonly record struct Gs1Element(ApplicationIdentifier Identifier, ReadOnlyMemory<char> Characters)
{
    /// <summary>The value, without separator.</summary>
    public string Value => Characters.ToString();
}

/// <summary>
/// What a GS1-128, GS1 DataMatrix, GS1 QR or GS1 DataBar symbol says, from how the scanner sends it (GS1 General Specifications
/// §7.8): with or without a symbology identifier, FNC1 as GS (0x1D); or as people read it, with identifiers in parentheses.
/// </summary>
public sealed class ElementString
{
    private const char Separator = '\x1D';
    private const int MaxCharacters = 4096;

    // Which symbols carry element strings (ISO/IEC 15424).
    private static readonly string[] Symbologies = ["]C1", "]e0", "]d2", "]Q3", "]J1"];

    private readonly Gs1Element[] _elements;

    private ElementString(Gs1Element[] elements) => _elements = elements;

    /// <summary>The elements in the order of the symbol.</summary>
    public IReadOnlyList<Gs1Element> Elements => _elements;

    /// <summary>The value of an identifier; null when it is not there.</summary>
    public string? this[string code]
    {
        get
        {
            foreach (var element in _elements)
            {
                if (element.Identifier.Code == code)
                {
                    return element.Value;
                }
            }

            return null;
        }
    }

    /// <summary>The trade item (01), or the pieces of one (8006); null when neither is there.</summary>
    public string? Gtin => this["01"] ?? this["8006"]?[..14];

    /// <summary>Batch or lot (10).</summary>
    public string? Lot => this["10"];

    /// <summary>Serial number (21).</summary>
    public string? Serial => this["21"];

    /// <summary>Last day of use (17), otherwise the day of the expiry time (7003).</summary>
    public DateOnly? Expiry(DateOnly today) => (this["17"] ?? this["7003"]) is { } digits ? Gs1Date.Read(digits, today) : null;

    /// <summary>Day of production (11).</summary>
    public DateOnly? Production(DateOnly today) => this["11"] is { } digits ? Gs1Date.Read(digits, today) : null;

    /// <summary>Reads a scan.</summary>
    /// <param name="scan">What the scanner sent, or what is printed below the symbol.</param>
    /// <param name="sendsSeparators">
    /// Whether it is known that the scanner sends FNC1. Where it is not, and neither a separator nor a symbology identifier shows it,
    /// a value that could also be two elements is refused: a lot must not swallow the serial number.
    /// </param>
    /// <exception cref="Gs1Exception">It is not an element string, or can be read in two ways.</exception>
    public static ElementString Parse(string scan, bool sendsSeparators = false)
    {
        if (scan.Length > MaxCharacters)
        {
            throw new Gs1Exception($"The scan has {scan.Length} characters; at most {MaxCharacters} are accepted.");
        }

        var elements = new Buffer();
        if (scan.StartsWith('('))
        {
            ReadPrinted(scan, ref elements);
            return new ElementString(Checked(elements.Filled));
        }

        var start = 0;
        if (scan.StartsWith(']'))
        {
            if (!IsSymbology(scan))
            {
                throw new Gs1Exception($"The symbology identifier {(scan.Length < 3 ? scan : scan[..3])} is not one of a symbol that carries element strings: {string.Join(", ", Symbologies)}.");
            }

            start = 3;
            sendsSeparators = true;
        }

        // DataMatrix and QR begin with FNC1; some scanners send that one, too.
        start += start < scan.Length && scan[start] == Separator ? 1 : 0;
        Read(scan, start, ref elements);
        var last = elements.Filled[^1];
        if (!sendsSeparators && scan.IndexOf(Separator, start) < 0 && OtherReading(last) is { } other)
        {
            throw new Gs1Exception(
                $"({last.Identifier.Code}) {last.Identifier.Title} may be '{last.Value}', or '{other}' and further elements: "
                + "the scanner sends no separators. Set it to send FNC1 as GS (0x1D), or to send the symbology identifier.",
                last.Identifier.Code);
        }

        return new ElementString(Checked(elements.Filled));
    }

    private static bool IsSymbology(string scan)
    {
        foreach (var symbology in Symbologies)
        {
            if (scan.StartsWith(symbology, StringComparison.Ordinal))
            {
                return true;
            }
        }

        return false;
    }

    private static void Read(string scan, int start, ref Buffer elements)
    {
        for (var at = start; at < scan.Length;)
        {
            var text = scan.AsSpan(at);
            if (ApplicationIdentifier.At(text) is not { } identifier)
            {
                throw new Gs1Exception(
                    $"'{text[..Math.Min(4, text.Length)].TrimEnd(Separator)}' does not begin with an application identifier{(elements.Filled is [.., var before] ? $", after ({before.Identifier.Code})" : "")}.");
            }

            at += identifier.Code.Length;
            text = scan.AsSpan(at);
            var length = text[..Math.Min(text.Length, identifier.MaxLength + 1)].IndexOf(Separator);
            length = length >= 0 ? length : identifier.IsPredefined ? Math.Min(text.Length, identifier.MaxLength) : LengthToSeparator(text);
            if (!identifier.Accepts(text[..length]))
            {
                var hint = !identifier.IsPredefined && length > identifier.MaxLength ? " The separator after it (FNC1, sent as GS, 0x1D) seems to be missing." : "";
                throw new Gs1Exception(identifier.Check(text[..length]) + hint, identifier.Code);
            }

            elements.Add(new Gs1Element(identifier, scan.AsMemory(at, length)));
            at += length;
            at += at < scan.Length && scan[at] == Separator ? 1 : 0;
        }

        if (elements.Filled.IsEmpty)
        {
            throw new Gs1Exception("The scan is empty.");
        }
    }

    private static int LengthToSeparator(ReadOnlySpan<char> text) => text.IndexOf(Separator) is >= 0 and var end ? end : text.Length;

    /// <summary>A shorter value of the last element after which the rest would be elements, too; null when there is none.</summary>
    private static string? OtherReading(Gs1Element last)
    {
        if (last.Identifier.IsPredefined)
        {
            return null;
        }

        var value = last.Characters.Span;
        for (var length = 1; length < value.Length - 2; length++)
        {
            if (CanBeElements(value[length..], 0) && last.Identifier.Accepts(value[..length]))
            {
                return value[..length].ToString();
            }
        }

        return null;
    }

    private static bool CanBeElements(ReadOnlySpan<char> text, int depth)
    {
        // The value of a last element has at most 90 characters, and an element at least three.
        if (depth > 30 || ApplicationIdentifier.At(text) is not { } identifier)
        {
            return false;
        }

        var value = text[identifier.Code.Length..];
        if (identifier.Accepts(value))
        {
            return true;
        }

        return identifier.IsPredefined && value.Length > identifier.MaxLength && identifier.Accepts(value[..identifier.MaxLength])
            && CanBeElements(value[identifier.MaxLength..], depth + 1);
    }

    private static void ReadPrinted(string scan, ref Buffer elements)
    {
        for (var at = 0; at < scan.Length;)
        {
            var close = scan.IndexOf(')', at);
            if (scan[at] != '(' || close < 0 || ApplicationIdentifier.At(scan.AsSpan(at + 1, close - at - 1)) is not { } identifier || identifier.Code.Length != close - at - 1)
            {
                throw new Gs1Exception($"At character {at + 1} an application identifier in parentheses is needed, for example (01).");
            }

            var next = close + 1;
            while (next < scan.Length && !IsPrintedIdentifier(scan.AsSpan(next)))
            {
                next++;
            }

            var value = scan.AsMemory(close + 1, next - close - 1);
            if (identifier.Check(value.Span) is { } wrong)
            {
                throw new Gs1Exception(wrong, identifier.Code);
            }

            elements.Add(new Gs1Element(identifier, value));
            at = next;
        }
    }

    private static bool IsPrintedIdentifier(ReadOnlySpan<char> text) =>
        text[0] == '(' && text.IndexOf(')') is >= 3 and <= 5 and var close && ApplicationIdentifier.At(text[1..close]) is { } identifier && identifier.Code.Length == close - 1;

    /// <summary>The elements, when they may stand beside one another (§4.13).</summary>
    private static Gs1Element[] Checked(ReadOnlySpan<Gs1Element> elements)
    {
        var present = default(Gs1Set);
        foreach (var element in elements)
        {
            present.Add(element.Identifier.Index);
        }

        for (var i = 0; i < elements.Length; i++)
        {
            var (identifier, value) = elements[i];
            foreach (var other in elements[(i + 1)..])
            {
                if (ReferenceEquals(other.Identifier, identifier) && !other.Characters.Span.SequenceEqual(value.Span))
                {
                    throw new Gs1Exception($"({identifier.Code}) {identifier.Title} is there twice, with different values.", identifier.Code);
                }
            }

            if (identifier.IsExcludedBy(present))
            {
                var excluded = elements.ToArray().Select(e => e.Identifier.Code)
                    .First(other => other != identifier.Code && identifier.Excludes.Any(pattern => ApplicationIdentifier.Matches(pattern, other)));
                throw new Gs1Exception($"({identifier.Code}) {identifier.Title} must not be beside ({excluded}).", identifier.Code);
            }

            if (identifier.Lacks(present) is { } alternatives)
            {
                throw new Gs1Exception(
                    $"({identifier.Code}) {identifier.Title} needs {string.Join(" or ", alternatives.Select(set => string.Join(" with ", set.Select(c => $"({c})"))))} beside it.", identifier.Code);
            }
        }

        return elements.ToArray();
    }

    /// <summary>Elements while they are found: a label has a handful, and those need no memory of their own.</summary>
    private ref struct Buffer
    {
        private const int Few = 12;
        private FewElements _few;
        private Gs1Element[]? _many;
        private int _count;

        [System.Diagnostics.CodeAnalysis.UnscopedRef]
        public readonly ReadOnlySpan<Gs1Element> Filled => _many is { } many ? many.AsSpan(0, _count) : ((ReadOnlySpan<Gs1Element>)_few)[.._count];

        public void Add(Gs1Element element)
        {
            if (_count == (_many?.Length ?? Few))
            {
                var more = new Gs1Element[_count * 2];
                Filled.CopyTo(more);
                _many = more;
            }

            if (_many is { } many)
            {
                many[_count++] = element;
            }
            else
            {
                _few[_count++] = element;
            }
        }

        [InlineArray(Few)]
        private struct FewElements
        {
            private Gs1Element _first;
        }
    }
}
