using Microsoft.Net.Http.Headers;

namespace Yizhan.PacsGw.DicomWeb;

/// <summary>One media type that a client accepts, with the parameters of PS3.18 §8.7.3.</summary>
/// <param name="Type">Media type; for <c>multipart/related</c> that of its parts.</param>
/// <param name="Multipart">True when parts are wanted.</param>
/// <param name="TransferSyntax">A UID, <c>*</c>, or null when nothing is said.</param>
/// <param name="Quality">Preference, 0 to 1.</param>
internal sealed record AcceptedMedia(string Type, bool Multipart, string? TransferSyntax, double Quality)
{
    /// <summary>What a request accepts, best first: the <c>accept</c> query parameter (PS3.18 §8.3.3.1) before the header. Empty when it says nothing.</summary>
    public static IReadOnlyList<AcceptedMedia> Of(HttpRequest request)
    {
        // A viewer that cannot set headers says it in the URL; '+' of application/dicom+json arrives there as a space.
        var texts = request.Query.TryGetValue("accept", out var parameter)
            ? parameter.Select(p => p?.Replace("dicom json", "dicom+json", StringComparison.Ordinal)).ToList()
            : [.. request.Headers.Accept];
        return MediaTypeHeaderValue.TryParseList(texts!, out var types)
            ? [.. types.Select(Read).Where(m => m.Quality > 0).OrderByDescending(m => m.Quality)]
            : [];
    }

    /// <summary>True when data in this transfer syntax may be sent as it is. Nothing said counts as "as it is": see README.</summary>
    public bool TakesTransferSyntax(string uid) => TransferSyntax is null or "*" || TransferSyntax == uid;

    /// <summary>True for the type itself and for wildcards.</summary>
    public bool Takes(string type) =>
        Type == "*/*" || Type.Equals(type, StringComparison.OrdinalIgnoreCase)
        || (Type.EndsWith("/*", StringComparison.Ordinal) && type.StartsWith(Type[..^1], StringComparison.OrdinalIgnoreCase));

    private static AcceptedMedia Read(MediaTypeHeaderValue media)
    {
        var multipart = media.MediaType.Equals("multipart/related", StringComparison.OrdinalIgnoreCase);
        var type = multipart ? Parameter(media, "type") ?? "*/*" : media.MediaType.ToString();
        return new AcceptedMedia(type.ToLowerInvariant(), multipart, Parameter(media, "transfer-syntax"), media.Quality ?? 1);
    }

    private static string? Parameter(MediaTypeHeaderValue media, string name)
    {
        var value = media.Parameters.FirstOrDefault(p => p.Name.Equals(name, StringComparison.OrdinalIgnoreCase))?.Value;
        return value is { } found ? HeaderUtilities.RemoveQuotes(found).ToString() : null;
    }
}
