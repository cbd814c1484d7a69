namespace Yizhan.Storage;

/// <summary>Content-addressed bytes beside the event log. A blob is immutable; the same bytes are kept once.</summary>
/// <remarks>
/// A blob lives while an entry that the log keeps names it, while a pin holds it, and while a reader has it open. One that was
/// received and never named lives until <see cref="ReleaseOrphansAsync"/>. Nothing else deletes.
/// </remarks>
public interface IBlobStore
{
    /// <summary>Starts a blob whose length and hash are not known yet. Dispose the writer to give up what was not referenced by an entry.</summary>
    /// <exception cref="SpoolFullException">The lane has no room: refuse the peer before a byte is accepted.</exception>
    BlobWriter Begin(Lane lane);

    /// <summary>Opens a complete blob; null when it is not here.</summary>
    ValueTask<BlobReader?> OpenAsync(ContentHash hash, CancellationToken cancellationToken);

    /// <summary>
    /// The byte ranges of a blob under transfer that are still missing, in order; empty when it is complete. Ranges start and
    /// end on multiples of <see cref="ChunkBytes"/> (but for the blob's end).
    /// </summary>
    /// <exception cref="ArgumentException">Another length is known for this hash.</exception>
    ValueTask<IReadOnlyList<ByteRange>> MissingAsync(BlobRef blob, CancellationToken cancellationToken);

    /// <summary>
    /// Takes some chunks of a blob, in any order, over any connection, also twice; returns once they would survive a power cut.
    /// With the last one the whole hash is checked.
    /// </summary>
    /// <param name="blob">The blob.</param>
    /// <param name="offset">A multiple of <see cref="ChunkBytes"/>.</param>
    /// <param name="bytes">Whole chunks, at most 4 MiB; only the blob's last chunk may be shorter.</param>
    /// <param name="cancellationToken">Stops the wait, not a commit under way.</param>
    /// <returns>True when the blob is complete and its hash is right.</returns>
    /// <exception cref="InvalidDataException">All bytes are here and their hash is wrong: the blob was thrown away and starts again.</exception>
    /// <exception cref="SpoolFullException">There is no room.</exception>
    ValueTask<bool> PutAsync(BlobRef blob, long offset, ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken);

    /// <summary>
    /// Keeps blobs that an archive needs longer than the log does; durable on return. One pin for each blob and holder, however often it is set.
    /// Set it before the entry that names the blob is released.
    /// </summary>
    /// <param name="blobs">Complete blobs.</param>
    /// <param name="holder">Who needs them, such as <c>pacs-gw</c>: 1 to 64 characters.</param>
    /// <param name="cancellationToken">Withdraws a call that no commit has taken yet.</param>
    /// <exception cref="BlobMissingException">One of them is not here; none was pinned.</exception>
    ValueTask PinAsync(IReadOnlyList<ContentHash> blobs, string holder, CancellationToken cancellationToken);

    /// <summary>Ends pins. A blob that nothing else keeps is deleted. What was not pinned is ignored.</summary>
    ValueTask UnpinAsync(IReadOnlyList<ContentHash> blobs, string holder, CancellationToken cancellationToken);

    /// <summary>
    /// Deletes blobs that were received, in whole or in part, that no entry names and no pin holds, and that nobody added to since a time.
    /// A sender whose blob was deleted too early is told that it is missing, and sends it again.
    /// </summary>
    ValueTask ReleaseOrphansAsync(DateTimeOffset untouchedSince, CancellationToken cancellationToken);

    /// <summary>Chunk size of transfers, in bytes.</summary>
    const int ChunkBytes = 64 * 1024;
}

/// <summary>A range of bytes.</summary>
/// <param name="Offset">First byte.</param>
/// <param name="Length">Bytes.</param>
public readonly record struct ByteRange(long Offset, long Length);

/// <summary>Streams one new blob into the store while it is hashed. Memory stays bounded, whatever the length. Not for concurrent use.</summary>
public abstract class BlobWriter : IAsyncDisposable
{
    /// <summary>Adds bytes; the memory may be used again when this returns.</summary>
    /// <exception cref="SpoolFullException">The room ended on the way.</exception>
    public abstract ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken);

    /// <summary>
    /// Ends the blob. It is not durable yet: it becomes so in the same flush as the first entry that names it, which must be
    /// appended before the writer is disposed.
    /// </summary>
    public abstract ValueTask<BlobRef> CompleteAsync(CancellationToken cancellationToken);

    /// <inheritdoc/>
    public abstract ValueTask DisposeAsync();
}

/// <summary>Random access to a complete blob. Safe for concurrent reads; dispose it to let the space be reclaimed.</summary>
public abstract class BlobReader : IAsyncDisposable
{
    /// <summary>Bytes of the blob.</summary>
    public abstract long Length { get; }

    /// <summary>Reads up to <c>buffer.Length</c> bytes at an offset; 0 at the end.</summary>
    /// <exception cref="InvalidDataException">The stored bytes fail their checksum; the message names the blob.</exception>
    public abstract ValueTask<int> ReadAsync(long offset, Memory<byte> buffer, CancellationToken cancellationToken);

    /// <inheritdoc/>
    public abstract ValueTask DisposeAsync();
}
