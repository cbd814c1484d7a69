using Yizhan.Dicom;
using Yizhan.PacsGw.Codecs;

namespace Yizhan.PacsGw.DicomWeb;

/// <summary>In which form frames go out (PS3.18 §8.7.3.5 and Table 8.7.3-5).</summary>
/// <param name="MediaType">Media type of a frame.</param>
/// <param name="TransferSyntaxUid">Its encoding.</param>
/// <param name="Multipart">True when frames are parts.</param>
internal sealed record FrameChoice(string MediaType, string TransferSyntaxUid, bool Multipart)
{
    public const string OctetStream = "application/octet-stream";

    private const string Jpeg = "1.2.840.10008.1.2.4.";

    /// <summary>The best that is accepted and possible; null when nothing is.</summary>
    /// <param name="accepted">What the request accepts, best first.</param>
    /// <param name="stored">Transfer syntax of the frames as they are; native ones count as explicit VR little endian.</param>
    /// <param name="frames">Frames asked for: several need multipart.</param>
    public static FrameChoice? Of(IEnumerable<AcceptedMedia> accepted, string stored, int frames) =>
        accepted
            .Where(a => a.Multipart || a.IsAnything || frames == 1)
            .Select(a => Of(a, stored))
            .FirstOrDefault(choice => choice is not null);

    /// <summary>Media type of a frame in a transfer syntax.</summary>
    public static string MediaTypeOf(string transferSyntaxUid) => transferSyntaxUid switch
    {
        Jpeg + "50" or Jpeg + "51" or Jpeg + "57" or Jpeg + "70" => "image/jpeg",
        Jpeg + "80" or Jpeg + "81" => "image/jls",
        Jpeg + "90" or Jpeg + "91" => "image/jp2",
        Jpeg + "92" or Jpeg + "93" => "image/jpx",
        Jpeg + "110" or Jpeg + "111" or Jpeg + "112" => "image/jxl",
        Jpeg + "201" or Jpeg + "202" or Jpeg + "203" => "image/jphc",
        "1.2.840.10008.1.2.5" => "image/dicom-rle",
        Jpeg + "100" or Jpeg + "101" => "video/mpeg",
        Jpeg + "102" or Jpeg + "103" or Jpeg + "104" or Jpeg + "105" or Jpeg + "106" => "video/mp4",
        _ => OctetStream,
    };

    private static FrameChoice? Of(AcceptedMedia accepted, string stored)
    {
        var uid = accepted.TransferSyntax switch
        {
            "*" => stored,
            null => Default(accepted, stored),
            var said => said,
        };
        if (uid is null || !Transcoder.Can(stored, uid))
        {
            return null;
        }

        // Octet-stream is for bytes of any kind; a type of their own is said unless only the other was asked for.
        var type = MediaTypeOf(uid);
        return accepted.Takes(type) ? new FrameChoice(type, uid, accepted.Multipart || accepted.IsAnything)
            : accepted.Takes(OctetStream) ? new FrameChoice(OctetStream, uid, accepted.Multipart)
            : null;
    }

    /// <summary>What a media type means when it says no transfer syntax.</summary>
    private static string? Default(AcceptedMedia accepted, string stored)
    {
        var native = DicomTransferSyntax.ExplicitVrLittleEndian.Uid;
        return accepted.Type switch
        {
            OctetStream or "*/*" => Transcoder.Can(stored, native) ? native : stored,
            _ when accepted.Takes(MediaTypeOf(stored)) => stored,
            "image/jls" => Jpeg + "80",
            "image/jp2" => Jpeg + "90",
            "image/dicom-rle" => "1.2.840.10008.1.2.5",
            _ => null,
        };
    }
}
