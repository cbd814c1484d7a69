using System.Security.Cryptography;

namespace Yizhan.Storage;

/// <summary>Puts a backup back as a node's data folder.</summary>
public static class Restore
{
    private const int BlockBytes = 1024 * 1024;
    private const int MaxProblems = 1000;

    /// <summary>
    /// Copies a backup into a folder that does not exist or is empty, and compares each file with the manifest. The node that starts on it begins a new epoch: it
    /// sends again what it keeps, and never uses a sequence twice. What the backup does not have comes back from those who keep it.
    /// </summary>
    /// <param name="from">A backup, or the folder of backups: then the newest complete one.</param>
    /// <param name="to">The node's data folder.</param>
    /// <param name="progress">Told each file.</param>
    /// <param name="before">Of a folder of backups: the newest that was begun before this; null: the newest.</param>
    /// <exception cref="InvalidDataException">It is no complete backup, or a file of it is damaged: the message names it.</exception>
    /// <exception cref="IOException">The folder is not empty, or cannot be written.</exception>
    public static BackupManifest Run(string from, string to, IProgress<string>? progress = null, DateTimeOffset? before = null)
    {
        var folder = Choose(from, before);
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

    /// <summary>Reads a backup, or a copy of one on another machine, and compares it with its manifest. Nothing is written.</summary>
    /// <param name="from">A backup, or the folder of backups: then the newest complete one.</param>
    /// <param name="manifestSha256">What the manifest must hash to, as <c>yizhan backup</c> printed it; null: not compared, and somebody who can write files and manifest is not found.</param>
    /// <param name="before">Of a folder of backups: the newest that was begun before this.</param>
    /// <param name="progress">Told each file.</param>
    /// <param name="cancellationToken">Breaks it off.</param>
    /// <exception cref="InvalidDataException">There is no complete backup.</exception>
    public static BackupCheck Verify(
        string from, string? manifestSha256, DateTimeOffset? before, IProgress<string>? progress, CancellationToken cancellationToken)
    {
        var folder = Choose(from, before);
        var digest = Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(Path.Combine(folder, BackupManifest.FileName))));
        var problems = new List<string>();
        void Problem(string text)
        {
            if (problems.Count < MaxProblems)
            {
                problems.Add(text);
            }
        }

        if (manifestSha256 is not null && !string.Equals(manifestSha256, digest, StringComparison.OrdinalIgnoreCase))
        {
            Problem($"{BackupManifest.FileName} has the SHA-256 {digest}, not {manifestSha256}: it is another backup, or somebody has changed it.");
        }

        BackupManifest manifest;
        try
        {
            manifest = Backup.ReadManifest(folder);
        }
        catch (InvalidDataException e)
        {
            return new BackupCheck(folder, null, digest, 0, [.. problems, e.Message]);
        }

        var bytes = 0L;
        foreach (var file in manifest.Files)
        {
            cancellationToken.ThrowIfCancellationRequested();
            progress?.Report(file.Path);
            var path = Path.Combine(folder, file.Path);
            try
            {
                using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, BlockBytes);
                bytes += stream.Length;
                if (stream.Length != file.Length)
                {
                    Problem($"'{file.Path}' has {stream.Length} bytes; the manifest says {file.Length}.");
                }
                else if (Convert.ToHexStringLower(SHA256.HashData(stream)) != file.Sha256)
                {
                    Problem($"'{file.Path}' is damaged: its SHA-256 is not what the manifest says.");
                }
            }
            catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
            {
                Problem($"'{file.Path}' is missing.");
            }
        }

        var known = manifest.Files.Select(f => f.Path).Append(BackupManifest.FileName).ToHashSet(StringComparer.Ordinal);
        foreach (var stranger in Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories)
            .Select(path => Path.GetRelativePath(folder, path).Replace('\\', '/')).Where(path => !known.Contains(path)).Order(StringComparer.Ordinal))
        {
            Problem($"'{stranger}' is not of this backup.");
        }

        return new BackupCheck(folder, manifest, digest, bytes, problems);
    }

    private static string Choose(string from, DateTimeOffset? before) =>
        File.Exists(Path.Combine(from, BackupManifest.FileName)) ? from
        : before is { } time ? Backup.NewestBefore(from, time) ?? throw new InvalidDataException($"There is no complete backup in {from} that was begun before {time:u}.")
        : Backup.Newest(from).Folder ?? throw new InvalidDataException($"There is no complete backup in {from}.");

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
