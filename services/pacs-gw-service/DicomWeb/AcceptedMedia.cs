using System.Globalization;
using Yizhan.Dicom;
using Yizhan.PacsGw.Codecs;

namespace Yizhan.PacsGw.DicomWeb;

/// <summary>One media type that a client accepts, with the parameters of PS3.18 §8.7.3.</summary>
/// <param name="Type">Media type; for <c>multipart/related</c> that of its parts.</param>
/// <param name="Multipart">True when parts are wanted.</param>
/// <param name="TransferSyntax">A UID, <c>*</c>, or null when nothing is said.</param>
/// <param name="Quality">Preference, 0 to 1.</param>
internal sealed record AcceptedMedia(string Type, bool Multipart, string? TransferSyntax, double Quality)
{
    /// <summary>What counts when a request says nothing.</summary>
    public static readonly AcceptedMedia Anything = new("*/*", false, null, 1);

    /// <summary>True for <c>*/*</c> outside of multipart: the form is ours to choose.</summary>
    public bool IsAnything => !Multipart && Type == "*/*";

    /// <summary>
    /// What a request accepts, best first: the <c>accept</c> query parameter (PS3.18 §8.3.3.1) before the header.
    /// <see cref="Anything"/> when it says nothing.
    /// </summary>
    public static IReadOnlyList<AcceptedMedia> Of(HttpRequest request)
    {
        // A viewer that cannot set headers says it in the URL; '+' of application/dicom+json arrives there as a space.
        var texts = request.Query.TryGetValue("accept", out var parameter)
            ? parameter.Select(p => p?.Replace("dicom json", "dicom+json", StringComparison.Ordinal))
            : request.Headers.Accept;
        var types = texts.SelectMany(text => MediaType.ParseList(text ?? "")).Select(Read).ToList();
        return types.Count > 0 ? [.. types.Where(m => m.Quality > 0).OrderByDescending(m => m.Quality)] : [Anything];
    }

    /// <summary>True when DICOM JSON is among what is accepted.</summary>
    public static bool TakesJson(IEnumerable<AcceptedMedia> accepted) =>
        accepted.Any(a => a.Takes(DicomWebEndpoints.Json) || a.Takes("application/json"));

    /// <summary>
    /// The transfer syntax in which an instance goes out (PS3.18 §8.7.3.5). Explicit VR little endian where none is asked for; of
    /// several that are liked equally, the one that it is stored in.
    /// </summary>
    /// <param name="accepted">Media types that fit otherwise, best first.</param>
    /// <param name="stored">What the instance is stored in.</param>
    /// <returns>Null when none of them is possible.</returns>
    public static string? TransferSyntaxOf(IEnumerable<AcceptedMedia> accepted, string stored)
    {
        foreach (var equal in accepted.GroupBy(a => a.Quality))
        {
            var wanted = equal.Select(a => a.TransferSyntax switch
            {
                null => Default(stored),
                "*" => stored,
                var uid => uid,
            }).ToList();
            if (wanted.Contains(stored))
            {
                return stored;
            }

            if (wanted.Find(uid => Transcoder.Can(stored, uid)) is { } possible)
            {
                return possible;
            }
        }

        return null;
    }

    /// <summary>True for the type itself and for wildcards.</summary>
    public bool Takes(string type) =>
        Type == "*/*" || Type.Equals(type, StringComparison.OrdinalIgnoreCase)
        || (Type.EndsWith("/*", StringComparison.Ordinal) && type.StartsWith(Type[..^1], StringComparison.OrdinalIgnoreCase));

    /// <summary>What is sent when no transfer syntax is asked for; what nobody here can decode, such as video, goes as stored and says so.</summary>
    private static string Default(string stored) =>
        Transcoder.Can(stored, DicomTransferSyntax.ExplicitVrLittleEndian.Uid) ? DicomTransferSyntax.ExplicitVrLittleEndian.Uid : stored;

    private static AcceptedMedia Read(MediaType media)
    {
        var multipart = media.Type == "multipart/related";
        var type = multipart ? media["type"]?.ToLowerInvariant() ?? "*/*" : media.Type;
        var quality = double.TryParse(media["q"], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var q) ? q : 1;
        return new AcceptedMedia(type, multipart, media["transfer-syntax"], quality);
    }
}
