using System.IO.Pipelines;
using System.Text;
using Yizhan.Storage;

namespace Yizhan.PacsGw.DicomWeb;

/// <summary>
/// A multipart/related body (RFC 2387) written part by part into the response; what is in memory does not grow with its length.
/// </summary>
internal sealed class MultipartResponse
{
    /// <summary>What is read, opened and sent at a time: whole chunks of storage, small enough to stay in the processor's cache on their way.</summary>
    private const int PieceBytes = 3 * IBlobStore.ChunkBytes;

    /// <summary>
    /// What a response may have waiting for its receiver, then half of it: pieces go out while the next ones are opened, on another processor, and who waits is
    /// not woken for each piece.
    /// </summary>
    public const int BufferedBytes = 4 * PieceBytes;

    private readonly string _boundary;
    private readonly PipeWriter _body;

    /// <summary>Sets the response's content type; nothing is sent before the first part.</summary>
    /// <param name="response">The response.</param>
    /// <param name="partType">Media type of the parts.</param>
    /// <param name="boundary">Must not occur in the parts: 128 random bits are enough.</param>
    public MultipartResponse(HttpResponse response, string partType, string boundary)
    {
        _boundary = boundary;
        _body = response.BodyWriter;
        response.ContentType = $"multipart/related; type=\"{partType}\"; boundary={boundary}";
    }

    /// <summary>Starts a part.</summary>
    public void BeginPart(string contentType, string location) => Write(
        $"\r\n--{_boundary}\r\nContent-Type: {contentType}\r\nContent-Location: {location}\r\n\r\n");

    /// <summary>Adds small bytes to the part.</summary>
    public ValueTask<FlushResult> WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken) =>
        _body.WriteAsync(bytes, cancellationToken);

    /// <summary>Ends the body.</summary>
    public async ValueTask EndAsync(CancellationToken cancellationToken)
    {
        Write($"\r\n--{_boundary}--\r\n");
        await _body.FlushAsync(cancellationToken);
    }

    /// <summary>Copies a range of a blob into a response body, piece by piece, at the speed of the slower side.</summary>
    /// <exception cref="InvalidDataException">The blob is shorter than the range or fails its checksum.</exception>
    public static async ValueTask CopyAsync(
        BlobReader blob, long offset, long length, PipeWriter body, CancellationToken cancellationToken)
    {
        while (length > 0)
        {
            // A piece ends where a chunk does: one that is cut would be opened twice.
            var wanted = (int)Math.Min(PieceBytes - (offset % IBlobStore.ChunkBytes), length);
            var read = await blob.ReadAsync(offset, body.GetMemory(wanted)[..wanted], cancellationToken);
            if (read == 0)
            {
                throw new InvalidDataException($"The blob ends at byte {offset}; {length} more were expected.");
            }

            body.Advance(read);
            (offset, length) = (offset + read, length - read);
            if ((await body.FlushAsync(cancellationToken)).IsCompleted)
            {
                throw new OperationCanceledException("The client is gone.");
            }
        }
    }

    private void Write(string text)
    {
        var bytes = Encoding.ASCII.GetByteCount(text);
        Encoding.ASCII.GetBytes(text, _body.GetSpan(bytes));
        _body.Advance(bytes);
    }
}
