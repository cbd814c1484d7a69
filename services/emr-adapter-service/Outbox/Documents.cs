using Yizhan.Storage;

namespace Yizhan.EmrAdapter.Outbox;

/// <summary>Documents that belong to what is to be said.</summary>
internal static class Documents
{
    /// <summary>A longer one is not sent inside of a message.</summary>
    private const int MaxBytes = 16 * 1024 * 1024;

    /// <summary>The PDF of a report, or the audio of a recording; null when there is none.</summary>
    /// <exception cref="InvalidDataException">It is not here, or too long.</exception>
    public static async Task<byte[]?> ReadAsync(IBlobStore blobs, Outgoing content, CancellationToken cancellationToken)
    {
        if ((content.Report?.PdfSha256 ?? content.Recording?.AudioSha256) is not { Length: > 0 } sha256)
        {
            return null;
        }

        await using var blob = ContentHash.TryParse(sha256, out var hash) ? await blobs.OpenAsync(hash, cancellationToken) : null;
        if (blob is null)
        {
            throw new InvalidDataException($"The document {sha256} is not in the blob store.");
        }

        if (blob.Length > MaxBytes)
        {
            throw new InvalidDataException($"The document has {blob.Length} bytes; accepted are up to {MaxBytes}.");
        }

        var bytes = new byte[blob.Length];
        for (var at = 0; at < bytes.Length;)
        {
            at += await blob.ReadAsync(at, bytes.AsMemory(at), cancellationToken) is > 0 and var read ? read : throw new InvalidDataException("The document ended early.");
        }

        return bytes;
    }
}
