namespace Yizhan.Gs1;

/// <summary>One element: an application identifier and its value.</summary>
/// <param name="Identifier">The identifier.</param>
/// <param name="Value">The value, without separator.</param>
public sealed record Gs1Element(ApplicationIdentifier Identifier, string Value);

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

    private ElementString(IReadOnlyList<Gs1Element> elements) => Elements = elements;

    /// <summary>The elements in the order of the symbol.</summary>
    public IReadOnlyList<Gs1Element> Elements { get; }

    /// <summary>The value of an identifier; null when it is not there.</summary>
    public string? this[string code] => Elements.FirstOrDefault(e => e.Identifier.Code == code)?.Value;

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

        if (scan.StartsWith('('))
        {
            return Checked(Printed(scan));
        }

        var text = scan.AsSpan();
        if (text.StartsWith("]"))
        {
            if (!Symbologies.Any(s => scan.StartsWith(s, StringComparison.Ordinal)))
            {
                throw new Gs1Exception($"The symbology identifier {(scan.Length < 3 ? scan : scan[..3])} is not one of a symbol that carries element strings: {string.Join(", ", Symbologies)}.");
            }

            text = text[3..];
            sendsSeparators = true;
        }

        // DataMatrix and QR begin with FNC1; some scanners send that one, too.
        text = text.StartsWith([Separator]) ? text[1..] : text;
        var elements = Read(text);
        if (!sendsSeparators && !text.Contains(Separator) && OtherReading(elements[^1]) is { } other)
        {
            throw new Gs1Exception(
                $"({elements[^1].Identifier.Code}) {elements[^1].Identifier.Title} may be '{elements[^1].Value}', or '{other}' and further elements: "
                + "the scanner sends no separators. Set it to send FNC1 as GS (0x1D), or to send the symbology identifier.",
                elements[^1].Identifier.Code);
        }

        return Checked(elements);
    }

    private static List<Gs1Element> Read(ReadOnlySpan<char> text)
    {
        var elements = new List<Gs1Element>();
        while (!text.IsEmpty)
        {
            if (ApplicationIdentifier.At(text) is not { } identifier)
            {
                var start = text[..Math.Min(4, text.Length)].TrimEnd(Separator);
                throw new Gs1Exception(
                    $"'{start}' does not begin with an application identifier{(elements.Count == 0 ? "" : $", after ({elements[^1].Identifier.Code})")}.");
            }

            text = text[identifier.Code.Length..];
            var end = text.IndexOf(Separator);
            end = end < 0 ? text.Length : end;
            end = identifier.IsPredefined ? Math.Min(end, identifier.MaxLength) : end;
            var value = text[..end];
            if (identifier.Check(value) is { } wrong)
            {
                var hint = !identifier.IsPredefined && value.Length > identifier.MaxLength ? " The separator after it (FNC1, sent as GS, 0x1D) seems to be missing." : "";
                throw new Gs1Exception(wrong + hint, identifier.Code);
            }

            elements.Add(new Gs1Element(identifier, value.ToString()));
            text = text[end..];
            text = text.StartsWith([Separator]) ? text[1..] : text;
        }

        return elements.Count > 0 ? elements : throw new Gs1Exception("The scan is empty.");
    }

    /// <summary>A shorter value of the last element after which the rest would be elements, too; null when there is none.</summary>
    private static string? OtherReading(Gs1Element last)
    {
        if (last.Identifier.IsPredefined)
        {
            return null;
        }

        for (var length = 1; length < last.Value.Length - 2; length++)
        {
            if (last.Identifier.Check(last.Value.AsSpan(0, length)) is null && CanBeElements(last.Value.AsSpan(length), 0))
            {
                return last.Value[..length];
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
        if (identifier.Check(value) is null)
        {
            return true;
        }

        return identifier.IsPredefined && value.Length > identifier.MaxLength && identifier.Check(value[..identifier.MaxLength]) is null
            && CanBeElements(value[identifier.MaxLength..], depth + 1);
    }

    private static List<Gs1Element> Printed(string scan)
    {
        var elements = new List<Gs1Element>();
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

            var value = scan[(close + 1)..next];
            if (identifier.Check(value) is { } wrong)
            {
                throw new Gs1Exception(wrong, identifier.Code);
            }

            elements.Add(new Gs1Element(identifier, value));
            at = next;
        }

        return elements;
    }

    private static bool IsPrintedIdentifier(ReadOnlySpan<char> text) =>
        text[0] == '(' && text.IndexOf(')') is >= 3 and <= 5 and var close && ApplicationIdentifier.At(text[1..close]) is { } identifier && identifier.Code.Length == close - 1;

    private static ElementString Checked(List<Gs1Element> elements)
    {
        var codes = elements.Select(e => e.Identifier.Code).ToList();
        foreach (var element in elements)
        {
            var (identifier, code) = (element.Identifier, element.Identifier.Code);
            if (elements.Any(e => e.Identifier == identifier && e.Value != element.Value))
            {
                throw new Gs1Exception($"({code}) {identifier.Title} is there twice, with different values.", code);
            }

            if (codes.FirstOrDefault(other => other != code && identifier.Excludes.Any(pattern => ApplicationIdentifier.Matches(pattern, other))) is { } excluded)
            {
                throw new Gs1Exception($"({code}) {identifier.Title} must not be beside ({excluded}).", code);
            }

            foreach (var alternatives in identifier.Requires)
            {
                if (!alternatives.Any(set => set.All(pattern => codes.Any(other => ApplicationIdentifier.Matches(pattern, other)))))
                {
                    throw new Gs1Exception($"({code}) {identifier.Title} needs {string.Join(" or ", alternatives.Select(set => string.Join(" with ", set.Select(c => $"({c})"))))} beside it.", code);
                }
            }
        }

        return new ElementString(elements);
    }
}
