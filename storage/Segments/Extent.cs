namespace Yizhan.Storage;

/// <summary>A piece of a blob on disk: one record of a segment file.</summary>
/// <param name="At">Where in the blob the piece begins, in bytes.</param>
/// <param name="Segment">Number of the segment file.</param>
/// <param name="Offset">Where in the file its record begins.</param>
/// <param name="Length">Bytes of the blob that it holds, at most <see cref="Record.MaxPayload"/>.</param>
internal readonly record struct Extent(long At, long Segment, int Offset, int Length)
{
    /// <summary>First byte of the blob after this piece.</summary>
    public long End => At + Length;
}
