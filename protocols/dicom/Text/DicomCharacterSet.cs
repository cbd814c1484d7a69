using System.Text;

namespace Yizhan.Dicom;

/// <summary>The value of Specific Character Set and what it means for text (PS3.5 §6.1).</summary>
public sealed class DicomCharacterSet
{
    private readonly Encoding _encoding;

    private DicomCharacterSet(Encoding encoding) => _encoding = encoding;

    /// <summary>ISO IR 6, the default repertoire.</summary>
    public static DicomCharacterSet Default { get; } = new(Encoding.UTF8);

    internal static DicomCharacterSet FromElement(DicomElement element) => element.Value.IsEmpty ? Default : Default;

    internal string Decode(ReadOnlySpan<byte> value, DicomVr vr) => _encoding.GetString(value);

    internal string[] DecodeValues(ReadOnlySpan<byte> value, DicomVr vr) => Decode(value, vr).Split('\\');

    internal byte[] Encode(DicomTag tag, DicomVr vr, ReadOnlySpan<string> values) => _encoding.GetBytes(string.Join('\\', values!));
}
