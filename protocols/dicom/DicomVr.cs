#pragma warning disable CA1028, CA1720 // The underlying value is the two letters on the wire; names are the standard's.
namespace Yizhan.Dicom;

/// <summary>A value representation (PS3.5 §6.2). The number is its two ASCII letters, first letter in the upper byte.</summary>
public enum DicomVr : ushort
{
    /// <summary>No value representation: items and delimiters.</summary>
    None = 0,
    /// <summary>Application entity.</summary>
    AE = 'A' << 8 | 'E',
    /// <summary>Age string.</summary>
    AS = 'A' << 8 | 'S',
    /// <summary>Attribute tag.</summary>
    AT = 'A' << 8 | 'T',
    /// <summary>Code string.</summary>
    CS = 'C' << 8 | 'S',
    /// <summary>Date.</summary>
    DA = 'D' << 8 | 'A',
    /// <summary>Decimal string.</summary>
    DS = 'D' << 8 | 'S',
    /// <summary>Date and time.</summary>
    DT = 'D' << 8 | 'T',
    /// <summary>64-bit floating point.</summary>
    FD = 'F' << 8 | 'D',
    /// <summary>32-bit floating point.</summary>
    FL = 'F' << 8 | 'L',
    /// <summary>Integer string.</summary>
    IS = 'I' << 8 | 'S',
    /// <summary>Long string.</summary>
    LO = 'L' << 8 | 'O',
    /// <summary>Long text.</summary>
    LT = 'L' << 8 | 'T',
    /// <summary>Bytes.</summary>
    OB = 'O' << 8 | 'B',
    /// <summary>64-bit floats.</summary>
    OD = 'O' << 8 | 'D',
    /// <summary>32-bit floats.</summary>
    OF = 'O' << 8 | 'F',
    /// <summary>32-bit words.</summary>
    OL = 'O' << 8 | 'L',
    /// <summary>64-bit words.</summary>
    OV = 'O' << 8 | 'V',
    /// <summary>16-bit words.</summary>
    OW = 'O' << 8 | 'W',
    /// <summary>Person name.</summary>
    PN = 'P' << 8 | 'N',
    /// <summary>Short string.</summary>
    SH = 'S' << 8 | 'H',
    /// <summary>Signed 32-bit integer.</summary>
    SL = 'S' << 8 | 'L',
    /// <summary>Sequence of items.</summary>
    SQ = 'S' << 8 | 'Q',
    /// <summary>Signed 16-bit integer.</summary>
    SS = 'S' << 8 | 'S',
    /// <summary>Short text.</summary>
    ST = 'S' << 8 | 'T',
    /// <summary>Signed 64-bit integer.</summary>
    SV = 'S' << 8 | 'V',
    /// <summary>Time.</summary>
    TM = 'T' << 8 | 'M',
    /// <summary>Unlimited characters.</summary>
    UC = 'U' << 8 | 'C',
    /// <summary>Unique identifier.</summary>
    UI = 'U' << 8 | 'I',
    /// <summary>Unsigned 32-bit integer.</summary>
    UL = 'U' << 8 | 'L',
    /// <summary>Unknown: the value as in implicit VR little endian.</summary>
    UN = 'U' << 8 | 'N',
    /// <summary>Universal resource identifier.</summary>
    UR = 'U' << 8 | 'R',
    /// <summary>Unsigned 16-bit integer.</summary>
    US = 'U' << 8 | 'S',
    /// <summary>Unlimited text.</summary>
    UT = 'U' << 8 | 'T',
    /// <summary>Unsigned 64-bit integer.</summary>
    UV = 'U' << 8 | 'V',
}

/// <summary>The encoding properties of value representations (PS3.5 §6.2, §7.1.2).</summary>
public static class DicomVrs
{
    /// <summary>True if PS3.5 defines this VR.</summary>
    public static bool IsKnown(this DicomVr vr) => vr.HasShortLength() || vr.HasLongLength();

    /// <summary>True for VRs with a 16-bit length in explicit VR encodings.</summary>
    public static bool HasShortLength(this DicomVr vr) => vr is
        DicomVr.AE or DicomVr.AS or DicomVr.AT or DicomVr.CS or DicomVr.DA or DicomVr.DS or DicomVr.DT or DicomVr.FD
        or DicomVr.FL or DicomVr.IS or DicomVr.LO or DicomVr.LT or DicomVr.PN or DicomVr.SH or DicomVr.SL
        or DicomVr.SS or DicomVr.ST or DicomVr.TM or DicomVr.UI or DicomVr.UL or DicomVr.US;

    /// <summary>True for VRs with two reserved bytes and a 32-bit length in explicit VR encodings.</summary>
    public static bool HasLongLength(this DicomVr vr) => vr is
        DicomVr.OB or DicomVr.OD or DicomVr.OF or DicomVr.OL or DicomVr.OV or DicomVr.OW or DicomVr.SQ or DicomVr.SV
        or DicomVr.UC or DicomVr.UN or DicomVr.UR or DicomVr.UT or DicomVr.UV;

    /// <summary>True if values are characters.</summary>
    public static bool IsText(this DicomVr vr) => vr is
        DicomVr.AE or DicomVr.AS or DicomVr.CS or DicomVr.DA or DicomVr.DS or DicomVr.DT or DicomVr.IS or DicomVr.TM
        or DicomVr.UI or DicomVr.UR || vr.UsesSpecificCharacterSet();

    /// <summary>True if values are in the Specific Character Set (PS3.5 §6.1.2.2); the other text VRs are ASCII.</summary>
    public static bool UsesSpecificCharacterSet(this DicomVr vr) => vr is
        DicomVr.LO or DicomVr.LT or DicomVr.PN or DicomVr.SH or DicomVr.ST or DicomVr.UC or DicomVr.UT;

    /// <summary>True for the text VRs that hold one value, in which a backslash is an ordinary character.</summary>
    public static bool IsSingleText(this DicomVr vr) => vr is DicomVr.LT or DicomVr.ST or DicomVr.UT or DicomVr.UR;

    /// <summary>Bytes of one number (or tag half) that big endian swaps; 1 for text and bytes.</summary>
    public static int WordSize(this DicomVr vr) => vr switch
    {
        DicomVr.AT or DicomVr.OW or DicomVr.SS or DicomVr.US => 2,
        DicomVr.FL or DicomVr.OF or DicomVr.OL or DicomVr.SL or DicomVr.UL => 4,
        DicomVr.FD or DicomVr.OD or DicomVr.OV or DicomVr.SV or DicomVr.UV => 8,
        _ => 1,
    };

    /// <summary>Bytes of one binary value: 4 for AT, else the word size.</summary>
    internal static int ValueSize(this DicomVr vr) => vr == DicomVr.AT ? 4 : vr.WordSize();

    /// <summary>The two letters, or "na" for <see cref="DicomVr.None"/>.</summary>
    public static string ToText(this DicomVr vr) =>
        vr == DicomVr.None ? "na" : string.Create(2, vr, (text, v) => (text[0], text[1]) = ((char)((int)v >> 8), (char)((int)v & 0xFF)));

    /// <summary>Reads the two letters of a VR that PS3.5 defines.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out DicomVr vr)
    {
        vr = text.Length == 2 && char.IsAscii(text[0]) && char.IsAscii(text[1]) ? (DicomVr)(text[0] << 8 | text[1]) : DicomVr.None;
        return vr.IsKnown();
    }
}
