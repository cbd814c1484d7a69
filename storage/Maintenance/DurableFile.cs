using System.Runtime.InteropServices;

namespace Yizhan.Storage;

/// <summary>What backups and small state files need of the file system, durably.</summary>
internal static partial class DurableFile
{
    private static readonly RealDisk Disk = new();

    /// <summary>
    /// Writes aside, flushes, renames and flushes the folder: old or new after a power cut, never half. A secret can be read by its owner only, from its
    /// first byte on.
    /// </summary>
    public static void Write(string path, ReadOnlySpan<byte> bytes, bool secret = false)
    {
        var aside = path + ".tmp";
        var options = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write };
        if (secret && !OperatingSystem.IsWindows())
        {
            File.Delete(aside);
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        using (var file = new FileStream(aside, options))
        {
            file.Write(bytes);
            file.Flush(flushToDisk: true);
        }

        File.Move(aside, path, overwrite: true);
        FlushFolder(Path.GetDirectoryName(Path.GetFullPath(path))!);
    }

    /// <summary>Makes the names in a folder durable.</summary>
    public static void FlushFolder(string folder) => Disk.FlushDirectory(folder);

    /// <summary>Gives a file a second name; false where that is not possible (another file system, no such thing there).</summary>
    public static bool TryLink(string from, string to) => OperatingSystem.IsLinux() && Link(from, to) == 0;

    [LibraryImport("libc", EntryPoint = "link", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Link(string from, string to);
}
