using System.Collections.Frozen;

namespace Yizhan.Dicom;

/// <summary>A transfer syntax and what it says about the encoding of a data set (PS3.5 §10 and annex A).</summary>
/// <param name="Uid">The UID.</param>
/// <param name="Name">The name in PS3.6 annex A, shortened.</param>
/// <param name="IsImplicitVr">Elements carry no VR.</param>
/// <param name="IsBigEndian">Numbers, tags and lengths are big endian.</param>
/// <param name="IsDeflated">The whole data set after the meta information is an RFC 1951 stream.</param>
/// <param name="IsEncapsulated">Pixel data is a sequence of fragments.</param>
/// <param name="IsLossy">The compression may lose information.</param>
/// <param name="IsKnown">False when the UID is not in the standard and the properties are assumed.</param>
public sealed record DicomTransferSyntax(
    string Uid, string Name, bool IsImplicitVr, bool IsBigEndian, bool IsDeflated, bool IsEncapsulated, bool IsLossy, bool IsKnown = true)
{
    /// <summary>Implicit VR little endian, the default every peer understands.</summary>
    public static readonly DicomTransferSyntax ImplicitVrLittleEndian =
        new("1.2.840.10008.1.2", "Implicit VR Little Endian", true, false, false, false, false);

    /// <summary>Explicit VR little endian.</summary>
    public static readonly DicomTransferSyntax ExplicitVrLittleEndian = Native("1.2.840.10008.1.2.1", "Explicit VR Little Endian");

    /// <summary>Deflated explicit VR little endian.</summary>
    public static readonly DicomTransferSyntax DeflatedExplicitVrLittleEndian =
        Native("1.2.840.10008.1.2.1.99", "Deflated Explicit VR Little Endian") with { IsDeflated = true };

    /// <summary>Explicit VR big endian (retired).</summary>
    public static readonly DicomTransferSyntax ExplicitVrBigEndian =
        Native("1.2.840.10008.1.2.2", "Explicit VR Big Endian (Retired)") with { IsBigEndian = true };

    private static readonly FrozenDictionary<string, DicomTransferSyntax> ByUid = Standard().ToFrozenDictionary(s => s.Uid);

    /// <summary>Every transfer syntax of the standard that this library knows.</summary>
    public static IReadOnlyCollection<DicomTransferSyntax> All => ByUid.Values;

    /// <summary>
    /// The transfer syntax of a UID. An unknown one is taken as explicit VR little endian, encapsulated:
    /// PS3.5 §A.4 demands this encoding of every compressed transfer syntax, so a new codec needs no new release.
    /// </summary>
    /// <remarks>Trailing NUL and space, a common padding mistake, are ignored.</remarks>
    public static DicomTransferSyntax Get(string uid)
    {
        uid = uid.TrimEnd('\0', ' ');
        return ByUid.TryGetValue(uid, out var known) ? known : Encapsulated(uid, "Unknown", lossy: false) with { IsKnown = false };
    }

    private static DicomTransferSyntax Native(string uid, string name) => new(uid, name, false, false, false, false, false);

    private static DicomTransferSyntax Encapsulated(string uid, string name, bool lossy) => new(uid, name, false, false, false, true, lossy);

    private static IEnumerable<DicomTransferSyntax> Standard()
    {
        yield return ImplicitVrLittleEndian;
        yield return ExplicitVrLittleEndian;
        yield return DeflatedExplicitVrLittleEndian;
        yield return ExplicitVrBigEndian;
        yield return Native("1.2.840.10008.1.20", "Papyrus 3 Implicit VR Little Endian (Retired)") with { IsImplicitVr = true };
        yield return Native("1.2.840.113619.5.2", "GE Private Implicit VR Big Endian Pixel Data") with { IsImplicitVr = true };

        const string jpeg = "1.2.840.10008.1.2.4.";
        yield return Encapsulated("1.2.840.10008.1.2.1.98", "Encapsulated Uncompressed Explicit VR Little Endian", lossy: false);
        (string Suffix, string Name, bool Lossy)[] images =
        [
            ("50", "JPEG Baseline (Process 1)", true),
            ("51", "JPEG Extended (Process 2 & 4)", true),
            ("52", "JPEG Extended (Process 3 & 5) (Retired)", true),
            ("53", "JPEG Spectral Selection (Process 6 & 8) (Retired)", true),
            ("54", "JPEG Spectral Selection (Process 7 & 9) (Retired)", true),
            ("55", "JPEG Full Progression (Process 10 & 12) (Retired)", true),
            ("56", "JPEG Full Progression (Process 11 & 13) (Retired)", true),
            ("57", "JPEG Lossless (Process 14)", false),
            ("58", "JPEG Lossless (Process 15) (Retired)", false),
            ("59", "JPEG Extended, Hierarchical (Process 16 & 18) (Retired)", true),
            ("60", "JPEG Extended, Hierarchical (Process 17 & 19) (Retired)", true),
            ("61", "JPEG Spectral Selection, Hierarchical (Process 20 & 22) (Retired)", true),
            ("62", "JPEG Spectral Selection, Hierarchical (Process 21 & 23) (Retired)", true),
            ("63", "JPEG Full Progression, Hierarchical (Process 24 & 26) (Retired)", true),
            ("64", "JPEG Full Progression, Hierarchical (Process 25 & 27) (Retired)", true),
            ("65", "JPEG Lossless, Hierarchical (Process 28) (Retired)", false),
            ("66", "JPEG Lossless, Hierarchical (Process 29) (Retired)", false),
            ("70", "JPEG Lossless, First-Order Prediction (Process 14, Selection Value 1)", false),
            ("80", "JPEG-LS Lossless", false),
            ("81", "JPEG-LS Lossy (Near-Lossless)", true),
            ("90", "JPEG 2000 (Lossless Only)", false),
            ("91", "JPEG 2000", true),
            ("92", "JPEG 2000 Part 2 Multi-component (Lossless Only)", false),
            ("93", "JPEG 2000 Part 2 Multi-component", true),
            ("94", "JPIP Referenced", true),
            ("95", "JPIP Referenced Deflate", true),
            ("100", "MPEG2 Main Profile / Main Level", true),
            ("100.1", "Fragmentable MPEG2 Main Profile / Main Level", true),
            ("101", "MPEG2 Main Profile / High Level", true),
            ("101.1", "Fragmentable MPEG2 Main Profile / High Level", true),
            ("102", "MPEG-4 AVC/H.264 High Profile / Level 4.1", true),
            ("102.1", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.1", true),
            ("103", "MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1", true),
            ("103.1", "Fragmentable MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1", true),
            ("104", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video", true),
            ("104.1", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video", true),
            ("105", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video", true),
            ("105.1", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video", true),
            ("106", "MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2", true),
            ("106.1", "Fragmentable MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2", true),
            ("107", "HEVC/H.265 Main Profile / Level 5.1", true),
            ("108", "HEVC/H.265 Main 10 Profile / Level 5.1", true),
            ("110", "JPEG XL Lossless", false),
            ("111", "JPEG XL JPEG Recompression", true),
            ("112", "JPEG XL", true),
            ("201", "High-Throughput JPEG 2000 (Lossless Only)", false),
            ("202", "High-Throughput JPEG 2000 with RPCL Options (Lossless Only)", false),
            ("203", "High-Throughput JPEG 2000", true),
            ("204", "JPIP HTJ2K Referenced", true),
            ("205", "JPIP HTJ2K Referenced Deflate", true),
        ];
        foreach (var (suffix, name, lossy) in images)
        {
            var syntax = Encapsulated(jpeg + suffix, name, lossy);

            // JPIP data sets hold a URL instead of pixel data; two of them are deflated as a whole (PS3.5 §A.6-A.7, A.11).
            yield return suffix switch
            {
                "94" or "204" => syntax with { IsEncapsulated = false },
                "95" or "205" => syntax with { IsEncapsulated = false, IsDeflated = true },
                _ => syntax,
            };
        }

        yield return Encapsulated("1.2.840.10008.1.2.5", "RLE Lossless", lossy: false);
        yield return Encapsulated("1.2.840.10008.1.2.8.1", "Deflated Image Frame Compression", lossy: false);
        yield return Native("1.2.840.10008.1.2.6.1", "RFC 2557 MIME Encapsulation (Retired)");
        yield return Native("1.2.840.10008.1.2.6.2", "XML Encoding (Retired)");
        yield return Native("1.2.840.10008.1.2.7.1", "SMPTE ST 2110-20 Uncompressed Progressive Active Video");
        yield return Native("1.2.840.10008.1.2.7.2", "SMPTE ST 2110-20 Uncompressed Interlaced Active Video");
        yield return Native("1.2.840.10008.1.2.7.3", "SMPTE ST 2110-30 PCM Digital Audio");
    }
}
