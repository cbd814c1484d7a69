using System.Text;

namespace Yizhan.Dicom;

/// <summary>
/// The value of Specific Character Set and what it means for text (PS3.5 §6.1, PS3.3 §C.12.1.1.2). Reading never fails:
/// what cannot be decoded becomes U+FFFD. Labels that are written in another way than the standard's are understood.
/// </summary>
/// <remarks>
/// Repair of missing and wrong labels. If the label is absent, ISO_IR 6, unknown, or ISO_IR 100 alone, and a value has
/// bytes above 7F, then: valid UTF-8 is read as UTF-8; else, text in which the bytes above 7F make up whole Chinese
/// characters of GBK (see <see cref="GbkDetection"/>) is read as GBK; else it is Latin-1. The bytes in the element stay.
/// </remarks>
public sealed class DicomCharacterSet
{
    private readonly Repertoire[] _repertoires;

    private DicomCharacterSet(IReadOnlyList<string> terms, Repertoire[] repertoires, bool isKnown)
    {
        Terms = terms;
        _repertoires = repertoires;
        IsKnown = isKnown;
    }

    /// <summary>ISO IR 6, the default repertoire.</summary>
    public static DicomCharacterSet Default { get; } = new([], [Repertoire.Ascii], true);

    /// <summary>ISO IR 192.</summary>
    public static DicomCharacterSet Utf8 { get; } = Parse("ISO_IR 192");

    /// <summary>The defined terms as they were given.</summary>
    public IReadOnlyList<string> Terms { get; }

    /// <summary>False if one of the terms is not known; it is then taken as ISO IR 6.</summary>
    public bool IsKnown { get; }

    private Repertoire First => _repertoires[0];

    private bool MayBeMislabelled => _repertoires.Length == 1 && (First == Repertoire.Ascii || First == Repertoire.Latin1);

    /// <summary>The character set of one or more defined terms; an empty first one is ISO 2022 IR 6.</summary>
    public static DicomCharacterSet Parse(params IReadOnlyList<string> terms)
    {
        var isKnown = true;
        var repertoires = new List<Repertoire>();
        foreach (var term in terms)
        {
            var repertoire = Repertoire.Find(term);
            isKnown &= repertoire is not null;
            repertoires.Add(repertoire ?? Repertoire.Ascii);
        }

        return terms.Count == 0 || (terms.Count == 1 && repertoires[0] == Repertoire.Ascii && isKnown)
            ? new DicomCharacterSet(terms, [Repertoire.Ascii], true)
            : new DicomCharacterSet(terms, [.. repertoires], isKnown);
    }

    internal static DicomCharacterSet FromElement(DicomElement element)
    {
        // The value itself is ASCII; it cannot depend on the character set that it names.
        var terms = Encoding.Latin1.GetString(element.Value.Span).Split('\\');
        return terms is [""] ? Default : Parse([.. terms.Select(term => term.Trim(' ', '\0'))]);
    }

    /// <summary>Decodes one value in which a backslash is a character (LT, ST, UT).</summary>
    internal string Decode(ReadOnlySpan<byte> value, DicomVr vr) =>
        DecodePlain(value) ?? string.Join('\\', Iso2022.Decode(value, _repertoires, vr));

    /// <summary>Decodes values separated by backslashes.</summary>
    internal string[] DecodeValues(ReadOnlySpan<byte> value, DicomVr vr) =>
        DecodePlain(value)?.Split('\\') ?? Iso2022.Decode(value, _repertoires, vr);

    /// <exception cref="ArgumentException">A value has a character that the character set lacks.</exception>
    internal byte[] Encode(DicomTag tag, DicomVr vr, ReadOnlySpan<string> values)
    {
        var text = string.Join('\\', values!);
        if (Ascii.IsValid(text))
        {
            return Encoding.ASCII.GetBytes(text);
        }

        if (!vr.UsesSpecificCharacterSet())
        {
            throw new ArgumentException($"{tag} ({vr.ToText()}) holds ASCII only.");
        }

        try
        {
            return First.IsWhole || _repertoires.Length == 1
                ? First.StrictEncoding.GetBytes(text)
                : Iso2022.Encode(text, _repertoires, vr);
        }
        catch (EncoderFallbackException)
        {
            throw new ArgumentException(
                $"{tag} has a character that {(Terms.Count == 0 ? "the default character set" : string.Join('\\', Terms))} lacks; set Specific Character Set to ISO_IR 192 first.");
        }
    }

    // Null if the text has to be read with the code extensions of ISO 2022.
    private string? DecodePlain(ReadOnlySpan<byte> value)
    {
        if (First.IsWhole)
        {
            return First.Encoding.GetString(value);
        }

        var hasEscape = value.Contains((byte)0x1B);
        if (!hasEscape && Ascii.IsValid(value) && First.Kind != RepertoireKind.JisX0201)
        {
            return Encoding.ASCII.GetString(value);
        }

        if (hasEscape || !MayBeMislabelled)
        {
            return null;
        }

        return GbkDetection.IsUtf8(value) ? Encoding.UTF8.GetString(value)
            : GbkDetection.IsGbk(value) ? Repertoire.Gbk.Encoding.GetString(value)
            : Encoding.Latin1.GetString(value);
    }
}
