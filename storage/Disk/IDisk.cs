namespace Yizhan.Storage;

/// <summary>
/// The file operations that segment files need, no more. Production has <see cref="RealDisk"/>; tests have a disk that
/// forgets what was not flushed, tears writes, fails and fills up. All calls block: they are page-cache copies, or flushes
/// made by the one committer thread.
/// </summary>
internal interface IDisk
{
    /// <summary>Opens a file for reading and writing. A created name survives a power cut only after <see cref="FlushDirectory"/>.</summary>
    IDiskFile Open(string path, bool create);

    /// <summary>Says that a file will be read soon, so that the kernel may fetch it meanwhile. A hint: never fails.</summary>
    void WillRead(string path);

    /// <summary>Names (without folder) of the files in a folder; the folder is created when missing.</summary>
    IReadOnlyList<string> List(string folder);

    /// <summary>Renames within one folder, replacing what is there. Durable after <see cref="FlushDirectory"/>.</summary>
    void Rename(string from, string to);

    /// <summary>Deletes a file; nothing happens when it is missing.</summary>
    void Delete(string path);

    /// <summary>Makes the names in a folder durable.</summary>
    void FlushDirectory(string folder);

    /// <summary>Bytes that the file system of a folder still has for us.</summary>
    long FreeBytes(string folder);
}

/// <summary>An open file. Offsets and lengths are bytes. Reads and writes may run concurrently.</summary>
internal interface IDiskFile : IDisposable
{
    /// <summary>Length of the file.</summary>
    long Length { get; }

    /// <summary>Writes all bytes at an offset, into the page cache.</summary>
    void Write(ReadOnlySpan<byte> bytes, long offset);

    /// <summary>Reads up to the buffer's length at an offset; less only at the end of the file.</summary>
    int Read(Span<byte> buffer, long offset);

    /// <summary>Makes everything written so far durable (fdatasync). After a failure the file must not be trusted or flushed again.</summary>
    void FlushData();

    /// <summary>Reserves space from 0 to <paramref name="length"/> and makes the file at least that long; fails when the disk is full.</summary>
    void Preallocate(long length);

    /// <summary>Asks the kernel to start writing a range back, so that a later flush is short. A hint: never fails.</summary>
    void StartWriteBack(long offset, long length);

    /// <summary>Gives a range's space back; it reads as zeros. A hint: a file system that cannot do it keeps the bytes.</summary>
    void PunchHole(long offset, long length);
}
