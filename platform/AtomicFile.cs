namespace Yizhan.Platform;

/// <summary>Files that are there whole or not at all.</summary>
internal static class AtomicFile
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

        try
        {
            File.Move(temporary, path, overwrite);
        }
        catch (IOException) when (!overwrite && File.Exists(path))
        {
            // Another process was first: its file counts.
            File.Delete(temporary);
        }
    }
}
