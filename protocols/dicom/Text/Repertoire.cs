using System.Text;

namespace Yizhan.Dicom;

/// <summary>How the bytes of a character repertoire lie in the code table of ISO 2022.</summary>
internal enum RepertoireKind
{
    /// <summary>ASCII in G0 only.</summary>
    Ascii,
    /// <summary>One byte per character, the upper half in G1.</summary>
    SingleByte,
    /// <summary>Romaji in G0, half-width katakana in G1.</summary>
    JisX0201,
    /// <summary>Two 7-bit bytes per character in G0.</summary>
    DoubleByteG0,
    /// <summary>Two bytes above 7F per character in G1.</summary>
    DoubleByteG1,
    /// <summary>An encoding of its own, without code extensions.</summary>
    Whole,
}

/// <summary>One character repertoire of PS3.3 §C.12.1.1.2.</summary>
/// <param name="Kind">Where its bytes lie.</param>
/// <param name="CodePage">The .NET code page that decodes it.</param>
/// <param name="Escape">What follows ESC to designate it; empty if it cannot be designated.</param>
internal sealed record Repertoire(RepertoireKind Kind, int CodePage, string Escape)
{
    internal static readonly Repertoire Ascii = new(RepertoireKind.Ascii, 20127, "(B");
    internal static readonly Repertoire Latin1 = new(RepertoireKind.SingleByte, 28591, "-A");
    internal static readonly Repertoire JisX0201 = new(RepertoireKind.JisX0201, 932, ")I");
    internal static readonly Repertoire JisX0208 = new(RepertoireKind.DoubleByteG0, 20932, "$B");
    internal static readonly Repertoire JisX0212 = new(RepertoireKind.DoubleByteG0, 20932, "$(D");
    internal static readonly Repertoire KsX1001 = new(RepertoireKind.DoubleByteG1, 949, "$)C");
    internal static readonly Repertoire Gb2312 = new(RepertoireKind.DoubleByteG1, 936, "$)A");
    internal static readonly Repertoire Utf8 = new(RepertoireKind.Whole, 65001, "");
    internal static readonly Repertoire Gb18030 = new(RepertoireKind.Whole, 54936, "");
    internal static readonly Repertoire Gbk = new(RepertoireKind.Whole, 936, "");

    internal static readonly Repertoire[] Designated =
    [
        Ascii, Latin1, JisX0201, JisX0208, JisX0212, KsX1001, Gb2312,
        new(RepertoireKind.SingleByte, 28592, "-B"), new(RepertoireKind.SingleByte, 28593, "-C"), new(RepertoireKind.SingleByte, 28594, "-D"),
        new(RepertoireKind.SingleByte, 28595, "-L"), new(RepertoireKind.SingleByte, 28596, "-G"), new(RepertoireKind.SingleByte, 28597, "-F"),
        new(RepertoireKind.SingleByte, 28598, "-H"), new(RepertoireKind.SingleByte, 28599, "-M"), new(RepertoireKind.SingleByte, 28605, "-b"),
        new(RepertoireKind.SingleByte, 874, "-T"),
    ];

    private static readonly Dictionary<string, Repertoire> Numbers = new()
    {
        ["6"] = Ascii,
        ["100"] = Latin1,
        ["13"] = JisX0201,
        ["14"] = JisX0201,
        ["87"] = JisX0208,
        ["159"] = JisX0212,
        ["149"] = KsX1001,
        ["58"] = Gb2312,
        ["192"] = Utf8,
        ["101"] = Page(28592),
        ["109"] = Page(28593),
        ["110"] = Page(28594),
        ["144"] = Page(28595),
        ["127"] = Page(28596),
        ["126"] = Page(28597),
        ["138"] = Page(28598),
        ["148"] = Page(28599),
        ["203"] = Page(28605),
        ["166"] = Page(874),
    };

    /// <summary>True for encodings that do not combine with others.</summary>
    internal bool IsWhole => Kind == RepertoireKind.Whole;

    internal Encoding Encoding { get; } = Get(CodePage, EncoderFallback.ReplacementFallback, new DecoderReplacementFallback("\uFFFD"));

    internal Encoding StrictEncoding { get; } = Get(CodePage, EncoderFallback.ExceptionFallback, DecoderFallback.ExceptionFallback);

    /// <summary>
    /// Finds a defined term. Case, and which of space, underscore and hyphen is used, do not matter, since devices write
    /// "ISO_2022_IR_6" or "ISO-IR 100"; so are "GBK", "GB2312" and "UTF-8", which some write though they are no terms.
    /// </summary>
    internal static Repertoire? Find(string term)
    {
        var key = string.Concat(term.Where(char.IsAsciiLetterOrDigit)).ToUpperInvariant();
        var number = key switch
        {
            _ when key.StartsWith("ISO2022IR", StringComparison.Ordinal) => key[9..],
            _ when key.StartsWith("ISOIR", StringComparison.Ordinal) => key[5..],
            _ when key.StartsWith("IR", StringComparison.Ordinal) => key[2..],
            _ => key,
        };
        return number switch
        {
            "" => Ascii,
            "GB18030" => Gb18030,
            "GBK" or "GB2312" or "ISO2022GBK" => Gbk,
            "UTF8" => Utf8,
            "ASCII" or "USASCII" => Ascii,
            "ISO88591" or "LATIN1" => Latin1,
            _ => Numbers.GetValueOrDefault(number),
        };
    }

    private static Repertoire Page(int codePage) => Designated.Single(repertoire => repertoire.CodePage == codePage);

    private static Encoding Get(int codePage, EncoderFallback encoder, DecoderFallback decoder) =>
        CodePagesEncodingProvider.Instance.GetEncoding(codePage, encoder, decoder) ?? Encoding.GetEncoding(codePage, encoder, decoder);
}
