using System.Globalization;

namespace Yizhan.Storage;

/// <summary>A segment file that an object store has: all that its reader needs to know, kept by the journal.</summary>
/// <param name="Number">Number of the file.</param>
/// <param name="Epoch">Life of the file.</param>
/// <param name="Key">The key of the pieces of blobs in it; 0: they are not sealed.</param>
/// <param name="HeaderBytes">Bytes of a record's header in it.</param>
/// <param name="Size">Length of the file when it was here.</param>
/// <param name="Bytes">Length of the object: up to the last record.</param>
/// <param name="Sha256">Hash of the object.</param>
internal sealed record AwaySegment(long Number, ulong Epoch, ulong Key, int HeaderBytes, int Size, int Bytes, byte[] Sha256)
{
    /// <summary>Name of the object. With the epoch, so that no other file ever has it.</summary>
    public static string ObjectOf(string prefix, long number, ulong epoch) => string.Create(CultureInfo.InvariantCulture, $"{prefix}segments/{number:D10}-{epoch:x16}.seg");
}

/// <summary>Stands for the file of a segment that is only in the object store.</summary>
internal sealed class AwayFile(int length) : IDiskFile
{
    public long Length => length;

    public void Write(ReadOnlySpan<byte> bytes, long offset) => throw new InvalidOperationException("A segment in the object store is never written to.");

    public int Read(Span<byte> buffer, long offset) => throw new ObjectDisposedException(nameof(AwayFile));

    public void FlushData()
    {
    }

    public void Preallocate(long length)
    {
    }

    public void StartWriteBack(long offset, long length)
    {
    }

    public void PunchHole(long offset, long length)
    {
    }

    public void Dispose()
    {
    }
}
