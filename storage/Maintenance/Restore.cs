using System.Security.Cryptography;

namespace Yizhan.Storage;

/// <summary>Puts a backup back as a node's data folder.</summary>
public static class Restore
{
    private const int BlockBytes = 1024 * 1024;

    /// <summary>
    /// Copies a backup into a folder that does not exist or is empty, and compares each file with the manifest. The node that starts on it begins a new epoch: it
    /// sends again what it keeps, and never uses a sequence twice. What the backup does not have comes back from those who keep it.
    /// </summary>
    /// <param name="from">A backup, or the folder of backups: then the newest complete one.</param>
    /// <param name="to">The node's data folder.</param>
    /// <param name="progress">Told each file.</param>
    /// <exception cref="InvalidDataException">It is no complete backup, or a file of it is damaged: the message names it.</exception>
    /// <exception cref="IOException">The folder is not empty, or cannot be written.</exception>
    public static BackupManifest Run(string from, string to, IProgress<string>? progress = null)
    {
        var folder = File.Exists(Path.Combine(from, BackupManifest.FileName)) ? from
            : Backup.Newest(from).Folder ?? throw new InvalidDataException($"There is no complete backup in {from}.");
        var manifest = Backup.ReadManifest(folder);
        if (Directory.Exists(to) && Directory.EnumerateFileSystemEntries(to).Any())
        {
            throw new IOException($"{to} is not empty: move it away first. Nothing was changed.");
        }

        // The marker first: whatever interrupts this, no node ever starts on it with the old epoch.
        Directory.CreateDirectory(Path.Combine(to, "log"));
        DurableFile.Write(Path.Combine(to, "log", Spool.RestoredMarker), []);
        foreach (var file in manifest.Files)
        {
            progress?.Report(file.Path);
            var target = Path.GetFullPath(Path.Combine(to, file.Path));
            if (!target.StartsWith(Path.GetFullPath(to) + Path.DirectorySeparatorChar, StringComparison.Ordinal))
            {
                throw new InvalidDataException($"{folder}: '{file.Path}' leads out of the folder.");
            }

            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            if (Copy(Path.Combine(folder, file.Path), target) != file.Sha256)
            {
                throw new InvalidDataException($"{folder}: '{file.Path}' is damaged, it is not what the manifest says.");
            }
        }

        foreach (var directory in Directory.GetDirectories(to, "*", SearchOption.AllDirectories).Append(to))
        {
            DurableFile.FlushFolder(directory);
        }

        return manifest;
    }

    private static string Copy(string from, string to)
    {
        using var source = new FileStream(from, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, BufferSize = 0 };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = File.GetUnixFileMode(source.SafeFileHandle);
        }

        using var target = new FileStream(to, options);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var block = new byte[BlockBytes];
        while (source.Read(block) is > 0 and var read)
        {
            hash.AppendData(block, 0, read);
            if (block.AsSpan(0, read).ContainsAnyExcept((byte)0))
            {
                target.Position = source.Position - read;
                target.Write(block, 0, read);
            }
        }

        target.SetLength(source.Length);
        target.Flush(flushToDisk: true);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
