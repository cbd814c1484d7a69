namespace Yizhan.Storage;

/// <summary>A segment file at one moment. Its bytes up to the end never change while nothing is taken away.</summary>
/// <param name="Name">File name.</param>
/// <param name="Epoch">Life of the file: a recycled one has another.</param>
/// <param name="Size">Length of the file, in bytes.</param>
/// <param name="End">End of the last record.</param>
internal readonly record struct SegmentCut(string Name, ulong Epoch, int Size, int End);

/// <summary>One open segment file. <see cref="SegmentFiles"/> guards its fields with its own lock.</summary>
/// <param name="number">Number of the file.</param>
/// <param name="epoch">Life of the file.</param>
/// <param name="key">The key of the pieces of blobs in it; 0: they are not sealed.</param>
/// <param name="headerBytes">Bytes of a record's header in it: its format.</param>
/// <param name="size">Length of the file, in bytes.</param>
/// <param name="path">Where it is.</param>
/// <param name="file">The open file.</param>
internal sealed class Segment(long number, ulong epoch, ulong key, int headerBytes, int size, string path, IDiskFile file)
{
    private int _dirty;

    public long Number { get; } = number;

    public ulong Epoch { get; } = epoch;

    /// <summary>A file has pieces of one day only, so that its key is said once.</summary>
    public ulong Key { get; } = key;

    public int HeaderBytes { get; } = headerBytes;

    /// <summary>Length of the file, in bytes.</summary>
    public int Size { get; } = size;

    public string Path { get; } = path;

    public IDiskFile File { get; } = file;

    /// <summary>Where the next record goes.</summary>
    public int Tail { get; set; } = SegmentFiles.FileHeaderBytes;

    /// <summary>Bytes of records that something still needs, plus those being written.</summary>
    public long LiveBytes { get; set; }

    /// <summary>Writes that have a place and are not in the file yet.</summary>
    public int Writing { get; set; }

    /// <summary>True when the object store has it; the file here is a copy then, or <see cref="AwayFile"/>.</summary>
    public bool Away { get; set; }

    /// <summary>True when it is in the object store alone.</summary>
    public bool OnlyAway => File is AwayFile;

    /// <summary>
    /// Says that something was written. Called after the write: called before it, a flush in between would clear the mark
    /// and the bytes would be taken for durable.
    /// </summary>
    public void MarkDirty() => Volatile.Write(ref _dirty, 1);

    /// <summary>True when there was something to flush; the mark is gone.</summary>
    public bool TakeDirty() => Interlocked.Exchange(ref _dirty, 0) == 1;
}
