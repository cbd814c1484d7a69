namespace Yizhan.DicomWeb;

/// <summary>One part of a multipart answer. Its bytes are there once, in order, until the next part is asked for.</summary>
public sealed class DicomWebPart
{
    private const int PieceBytes = 128 * 1024;

    private readonly Stream _body;
    private readonly Func<int, long> _take;
    private readonly TimeSpan _silence;

    internal DicomWebPart(string? contentType, string? location, Stream body, Func<int, long> take, TimeSpan silence)
    {
        (ContentType, Location) = (contentType, location);
        (_body, _take, _silence) = (body, take, silence);
    }

    /// <summary>Media type; null when the server does not say.</summary>
    public string? ContentType { get; }

    /// <summary>Content-Location; null when the server does not say.</summary>
    public string? Location { get; }

    /// <summary>Copies the bytes, as fast as the slower side is.</summary>
    /// <returns>How many.</returns>
    /// <exception cref="DicomWebException">The answer has more bytes than were allowed.</exception>
    /// <exception cref="IOException">The answer ended early, or the server is silent.</exception>
    public async Task<long> CopyToAsync(Stream destination, CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var piece = new byte[PieceBytes];
        var length = 0L;
        while (true)
        {
            patience.CancelAfter(_silence);
            int read;
            try
            {
                read = await _body.ReadAsync(piece, patience.Token);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                throw new IOException($"The server sent nothing for {_silence.TotalSeconds:0} s in the middle of an instance.");
            }

            if (read == 0)
            {
                return length;
            }

            _take(read);
            length += read;
            patience.CancelAfter(Timeout.Infinite);
            await destination.WriteAsync(piece.AsMemory(0, read), cancellationToken);
        }
    }
}
