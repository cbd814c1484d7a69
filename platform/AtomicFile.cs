using System.Runtime.InteropServices;

namespace Yizhan.Platform;

/// <summary>Files that are there whole or not at all.</summary>
public static partial class AtomicFile
{
    /// <summary>
    /// Writes a file under a temporary name, syncs and renames it, so that a power cut leaves the old file or the new one. A
    /// secret is never readable by others, not even while it is written.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="bytes">Its content.</param>
    /// <param name="secret">True for mode 0600, false for 0644.</param>
    /// <param name="overwrite">False: when the file exists already, it stays as it is.</param>
    public static void Write(string path, ReadOnlySpan<byte> bytes, bool secret, bool overwrite)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
        var temporary = $"{path}.{Environment.ProcessId}-{Environment.CurrentManagedThreadId}.tmp";
        var mode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        File.Delete(temporary);
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = secret ? mode : mode | UnixFileMode.GroupRead | UnixFileMode.OtherRead;
        }

        using (var file = new FileStream(temporary, options))
        {
            file.Write(bytes);
            file.Flush(flushToDisk: true);
        }

        if (overwrite)
        {
            File.Move(temporary, path, overwrite: true);
        }
        else
        {
            MoveIfAbsent(temporary, path);
        }
    }

    private static void MoveIfAbsent(string temporary, string path)
    {
        // On Unix File.Move looks whether the target exists and then renames over it: of two that race, the second would replace
        // the first. A hard link is made by one of them only (link(2): EEXIST).
        try
        {
            if (OperatingSystem.IsWindows())
            {
                File.Move(temporary, path, overwrite: false);
            }
            else if (link(temporary, path) != 0 && !File.Exists(path))
            {
                var error = Marshal.GetLastPInvokeError();
                throw new IOException($"{path} cannot be made from {temporary}: {Marshal.GetPInvokeErrorMessage(error)}.");
            }
        }
        catch (IOException) when (File.Exists(path))
        {
            // Another was first: its file counts.
        }
        finally
        {
            File.Delete(temporary);
        }
    }

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int link(string from, string to);
}
