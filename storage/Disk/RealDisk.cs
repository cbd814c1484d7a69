using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Yizhan.Storage;

/// <summary>The disk of this machine. On Linux it uses fdatasync, fallocate and sync_file_range; elsewhere what .NET offers.</summary>
internal sealed partial class RealDisk : IDisk
{
    private const int NoSpace = 28; // ENOSPC, the same number on all Linux architectures
    private const int ReadOnlyCloseOnExec = 0x80000; // O_RDONLY | O_CLOEXEC
    private const int PunchHoleKeepSize = 0x02 | 0x01;
    private const uint SyncFileRangeWrite = 2;
    private const int WillNeed = 3; // POSIX_FADV_WILLNEED

    public IDiskFile Open(string path, bool create)
    {
        // OpenOrCreate is O_CREAT without O_TRUNC: truncation would arm ext4's auto_da_alloc and hide a missing flush.
        var mode = create ? FileMode.OpenOrCreate : FileMode.Open;
        return new RealFile(path, File.OpenHandle(path, mode, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete));
    }

    public void WillRead(string path)
    {
        if (OperatingSystem.IsLinux() && File.Exists(path))
        {
            using var handle = File.OpenHandle(path);
            _ = Advise(handle, 0, 0, WillNeed);
        }
    }

    public IReadOnlyList<string> List(string folder)
    {
        Directory.CreateDirectory(folder);
        return [.. Directory.EnumerateFiles(folder).Select(path => Path.GetFileName(path))];
    }

    public void Rename(string from, string to) => File.Move(from, to, overwrite: true);

    public void Delete(string path) => File.Delete(path);

    public void FlushDirectory(string folder)
    {
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        var descriptor = OpenDescriptor(folder, ReadOnlyCloseOnExec);
        if (descriptor < 0)
        {
            throw Failed("open", folder);
        }

        var result = Fsync(descriptor);
        var error = result == 0 ? null : Failed("fsync", folder);
        _ = Close(descriptor);
        if (error is not null)
        {
            throw error;
        }
    }

    public long FreeBytes(string folder) => new DriveInfo(folder).AvailableFreeSpace;

    private static IOException Failed(string call, string path)
    {
        var error = Marshal.GetLastPInvokeError();
        return error == NoSpace
            ? new DiskFullException($"{call} of {path}: no space is left.")
            : new IOException($"{call} of {path} failed: {new Win32Exception(error).Message} (errno {error}).");
    }

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    private static partial int Fdatasync(SafeFileHandle file);

    [LibraryImport("libc", EntryPoint = "fallocate", SetLastError = true)]
    private static partial int Fallocate(SafeFileHandle file, int mode, long offset, long length);

    [LibraryImport("libc", EntryPoint = "posix_fadvise")]
    private static partial int Advise(SafeFileHandle file, long offset, long length, int advice);

    [LibraryImport("libc", EntryPoint = "sync_file_range", SetLastError = true)]
    private static partial int SyncFileRange(SafeFileHandle file, long offset, long length, uint flags);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OpenDescriptor(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int Fsync(int descriptor);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int descriptor);

    private sealed class RealFile(string path, SafeFileHandle handle) : IDiskFile
    {
        public long Length => RandomAccess.GetLength(handle);

        public void Write(ReadOnlySpan<byte> bytes, long offset)
        {
            try
            {
                RandomAccess.Write(handle, bytes, offset);
            }
            catch (IOException e) when ((e.HResult & 0xFFFF) == NoSpace)
            {
                throw new DiskFullException($"Write to {path}: no space is left.", e);
            }
        }

        public int Read(Span<byte> buffer, long offset)
        {
            var total = 0;
            while (total < buffer.Length && RandomAccess.Read(handle, buffer[total..], offset + total) is var read and > 0)
            {
                total += read;
            }

            return total;
        }

        public void FlushData()
        {
            if (!OperatingSystem.IsLinux())
            {
                RandomAccess.FlushToDisk(handle);
            }
            else if (Fdatasync(handle) != 0)
            {
                throw Failed("fdatasync", path);
            }
        }

        public void Preallocate(long length)
        {
            if (!OperatingSystem.IsLinux())
            {
                RandomAccess.SetLength(handle, Math.Max(length, Length));
            }
            else if (Fallocate(handle, 0, 0, length) != 0)
            {
                throw Failed("fallocate", path);
            }
        }

        public void StartWriteBack(long offset, long length)
        {
            if (OperatingSystem.IsLinux())
            {
                _ = SyncFileRange(handle, offset, length, SyncFileRangeWrite);
            }
        }

        public void PunchHole(long offset, long length)
        {
            if (OperatingSystem.IsLinux())
            {
                _ = Fallocate(handle, PunchHoleKeepSize, offset, length);
            }
        }

        public void Dispose() => handle.Dispose();
    }
}

/// <summary>The file system has no space. Unlike other I/O errors it is safe to go on: nothing that was durable is in doubt.</summary>
internal sealed class DiskFullException(string message, Exception? inner = null) : IOException(message, inner);
