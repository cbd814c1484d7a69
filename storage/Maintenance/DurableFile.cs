using System.Runtime.InteropServices;

namespace Yizhan.Storage;

/// <summary>What backups and small state files need of the file system, durably.</summary>
internal static partial class DurableFile
{
    private static readonly RealDisk Disk = new();

    /// <summary>Writes aside, flushes, renames and flushes the folder: old or new after a power cut, never half.</summary>
    public static void Write(string path, ReadOnlySpan<byte> bytes)
    {
        var aside = path + ".tmp";
        using (var file = new FileStream(aside, FileMode.Create, FileAccess.Write))
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
