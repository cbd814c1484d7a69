using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using Microsoft.Data.Sqlite;

namespace Yizhan.Storage;

/// <summary>
/// Copies a node's data folder while the node works. Each backup is a folder of its own, whole or without its manifest; files that did not change are
/// shared with the backup before it (hard links), so that only new bytes are copied.
/// </summary>
/// <remarks>
/// The order makes it one state: first what consumers made of the log, then the log, then the segment files up to where they were between two commits.
/// So no index names an entry that is not there, and no entry names bytes that are not. Meanwhile nothing is released and no byte is given back.
/// </remarks>
internal sealed class Backup(Spool spool, string dataFolder, TimeProvider clock)
{
    /// <summary>Where the keys of days are, below the data folder.</summary>
    public const string KeyFolder = "log/keys";

    /// <summary>Where the site key is, below the data folder, unless <c>storage:siteKeyFile</c> names another place.</summary>
    public const string SiteKeyPath = "storage/site.key";

    /// <summary>What services make again of the log when it is not there (docs/adr/0090).</summary>
    private static readonly string[] Projections = ["pacs-gw/archive.db", "audit/index/", "fleet/drills.db", "fleet/models.db", "fleet/emergencies.db", "fleet/logs.db"];

    private const int MaxRounds = 20;
    private const int BlockBytes = 1024 * 1024;
    private static readonly byte[] SqliteMagic = "SQLite format 3\0"u8.ToArray();

    /// <summary>Makes a backup below a folder and keeps so many of them.</summary>
    /// <exception cref="IOException">The folder cannot be written, or a file changed faster than it could be copied. What is there has no manifest.</exception>
    public async Task<(BackupReport Report, BackupPoint Point)> RunAsync(string to, int keep, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(to);
        var takenMs = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var (before, previous) = Newest(to);
        var folder = Path.Combine(to, NextName(to));
        var target = new Target(folder, before, previous?.Files.ToDictionary(f => f.Path, StringComparer.Ordinal) ?? []);
        await spool.ReleaseGate.WaitAsync(cancellationToken).ConfigureAwait(false);
        spool.Segments.BeginHold();
        try
        {
            CopyOthers(dataFolder, target, static _ => true, cancellationToken);
            var (segments, marks, position) = await spool.CutAsync(cancellationToken).ConfigureAwait(false);
            if (spool.Store == "sqlite")
            {
                CopyDatabase(dataFolder, target, "log/log.db");

                // Blobs that the copy names may be behind the first cut.
                (segments, _, _) = await spool.CutAsync(cancellationToken).ConfigureAwait(false);
            }

            foreach (var segment in segments)
            {
                cancellationToken.ThrowIfCancellationRequested();
                CopySegment(target, segment);
            }

            // Keys last: each is made before anything is sealed with it, so all that was copied can be opened.
            foreach (var name in spool.Segments.Keys.Files)
            {
                target.Copy(Path.Combine(dataFolder, KeyFolder, name), $"{KeyFolder}/{name}", VersionOf(dataFolder, $"{KeyFolder}/{name}") ?? "", length: null);
            }

            var manifest = new BackupManifest(1, spool.Log.Site, spool.Log.Epoch, spool.Store, takenMs, position, target.Files)
            {
                SiteKey = spool.Segments.Keys.SiteKey,
                SiteKeyFile = HasSiteKey(target) ? SiteKeyPath : null,
            };
            var manifestBytes = JsonSerializer.SerializeToUtf8Bytes(manifest, BackupJson.Default.BackupManifest);
            target.Finish(manifestBytes);
            DeleteOld(to, keep);
            return (
                new BackupReport(folder, position, target.Files.Count, target.Files.Sum(f => f.Length), target.CopiedBytes, Convert.ToHexStringLower(SHA256.HashData(manifestBytes))),
                new BackupPoint(folder, takenMs, position, [.. marks.Select(m => new CoveredLane(m.Key.Site, m.Key.Epoch, m.Key.Lane, m.Value))]));
        }
        finally
        {
            spool.Segments.EndHold();
            spool.ReleaseGate.Release();
        }
    }

    /// <summary>The newest complete backup below a folder; nulls when there is none.</summary>
    /// <exception cref="InvalidDataException">Its manifest cannot be read.</exception>
    public static (string? Folder, BackupManifest? Manifest) Newest(string folder)
    {
        var newest = Complete(folder).LastOrDefault();
        return newest is null ? (null, null) : (newest, ReadManifest(newest));
    }

    /// <summary>The newest complete backup that was begun before a time; null when there is none.</summary>
    /// <exception cref="InvalidDataException">A manifest cannot be read.</exception>
    public static string? NewestBefore(string folder, DateTimeOffset before) =>
        Complete(folder).Reverse().FirstOrDefault(backup => ReadManifest(backup).TakenMs < before.ToUnixTimeMilliseconds());

    /// <summary>Reads what a backup consists of.</summary>
    /// <exception cref="InvalidDataException">There is no manifest, or it cannot be read.</exception>
    public static BackupManifest ReadManifest(string folder)
    {
        var path = Path.Combine(folder, BackupManifest.FileName);
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(path), BackupJson.Default.BackupManifest) is { Format: 1 } manifest
                ? manifest
                : throw new InvalidDataException($"{path} is of a newer format than this program knows (1).");
        }
        catch (Exception e) when (e is JsonException or FileNotFoundException or DirectoryNotFoundException)
        {
            throw new InvalidDataException($"{folder} is no complete backup: {e.Message}", e);
        }
    }

    /// <summary>
    /// Copies what services keep beside the log, and can only be had from a copy, into an empty folder: the node may be running, in whatever process. Neither the log nor what is made
    /// of it again nor the site key is among it.
    /// </summary>
    /// <exception cref="IOException">A file changed faster than it could be copied, or the folder cannot be written.</exception>
    public static void CopyTruths(string dataFolder, string to, CancellationToken cancellationToken) => CopyOthers(
        dataFolder, new Target(to, null, []),
        path => !Projections.Any(p => path.StartsWith(p, StringComparison.Ordinal)) && path != SiteKeyPath && !SiteKeyFile.Is(Path.Combine(dataFolder, path)), cancellationToken);

    private bool HasSiteKey(Target target) =>
        target.Files.Any(f => f.Path == SiteKeyPath) && SiteKeyFile.Open(Path.Combine(dataFolder, SiteKeyPath), create: false).Id == spool.Segments.Keys.SiteKey;

    private static IEnumerable<string> Complete(string folder) => !Directory.Exists(folder) ? [] : Directory.GetDirectories(folder)
        .Where(d => int.TryParse(Path.GetFileName(d), NumberStyles.None, CultureInfo.InvariantCulture, out _)
            && File.Exists(Path.Combine(d, BackupManifest.FileName)))
        .OrderBy(d => int.Parse(Path.GetFileName(d), CultureInfo.InvariantCulture));

    /// <summary>Numbered, not dated: the order must not depend on a clock.</summary>
    private static string NextName(string folder)
    {
        var last = Directory.GetDirectories(folder).Select(d => int.TryParse(Path.GetFileName(d), out var n) ? n : 0).DefaultIfEmpty().Max();
        return (last + 1).ToString("D6", CultureInfo.InvariantCulture);
    }

    private static void DeleteOld(string folder, int keep)
    {
        var complete = Complete(folder).ToList();
        var newest = complete[^1];
        var old = complete.SkipLast(keep).ToHashSet();
        foreach (var directory in Directory.GetDirectories(folder).Where(d => int.TryParse(Path.GetFileName(d), out _) && d != newest))
        {
            // One without a manifest was broken off.
            if (old.Contains(directory) || !complete.Contains(directory))
            {
                Directory.Delete(directory, recursive: true);
            }
        }
    }

    /// <summary>
    /// Everything but the log: databases through SQLite's online backup, files as they are, again until a round found nothing that changed. Databases first:
    /// an audit index may be behind its tree, never ahead.
    /// </summary>
    private static void CopyOthers(string dataFolder, Target target, Func<string, bool> wanted, CancellationToken cancellationToken)
    {
        foreach (var path in Others(dataFolder).Where(path => wanted(path) && IsDatabase(dataFolder, path)).ToList())
        {
            CopyDatabase(dataFolder, target, path);
        }

        for (var round = 0; ; round++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var there = Others(dataFolder).Where(path => wanted(path) && !IsDatabase(dataFolder, path)).Select(path => (Path: path, Version: VersionOf(dataFolder, path)))
                .Where(f => f.Version is not null).ToList();
            var changed = there.Where(f => !target.Has(f.Path, f.Version!)).ToList();
            target.RemoveExcept(there.Select(f => f.Path).ToHashSet(StringComparer.Ordinal));
            if (changed.Count == 0)
            {
                return;
            }

            if (round == MaxRounds)
            {
                throw new IOException($"{changed[0].Path} changes faster than it can be copied.");
            }

            foreach (var (path, version) in changed)
            {
                target.Copy(Path.Combine(dataFolder, path), path, version!, length: null);
            }
        }
    }

    private static IEnumerable<string> Others(string dataFolder) => Directory.EnumerateFiles(dataFolder, "*", SearchOption.AllDirectories)
        .Select(path => Path.GetRelativePath(dataFolder, path).Replace('\\', '/'))
        .Where(path => !path.StartsWith("log/", StringComparison.Ordinal)
            && !path.EndsWith("-wal", StringComparison.Ordinal) && !path.EndsWith("-shm", StringComparison.Ordinal)
            && !path.EndsWith("-journal", StringComparison.Ordinal) && !path.EndsWith(".tmp", StringComparison.Ordinal));

    private static bool IsDatabase(string dataFolder, string path)
    {
        try
        {
            using var file = new FileStream(Path.Combine(dataFolder, path), FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            var magic = new byte[SqliteMagic.Length];
            return file.ReadAtLeast(magic, magic.Length, throwOnEndOfStream: false) == magic.Length && magic.AsSpan().SequenceEqual(SqliteMagic);
        }
        catch (FileNotFoundException)
        {
            return false;
        }
    }

    private static string? VersionOf(string dataFolder, string path)
    {
        var file = new FileInfo(Path.Combine(dataFolder, path));
        return file.Exists ? string.Create(CultureInfo.InvariantCulture, $"{file.LastWriteTimeUtc.Ticks}/{file.Length}") : null;
    }

    /// <summary>One reading transaction of its own connection: writers go on, and the copy is one state.</summary>
    private static void CopyDatabase(string dataFolder, Target target, string path)
    {
        var copy = target.PathOf(path);
        using (var source = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = Path.Combine(dataFolder, path), Pooling = false }.ToString()))
        using (var destination = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = copy, Pooling = false }.ToString()))
        {
            source.Open();
            destination.Open();
            source.BackupDatabase(destination);

            // A single file: what is restored needs no second one beside it.
            using var single = destination.CreateCommand();
            single.CommandText = "PRAGMA journal_mode = DELETE";
            single.ExecuteNonQuery();
        }

        target.Add(path, version: null);
    }

    private void CopySegment(Target target, SegmentCut cut)
    {
        var path = $"log/segments/{cut.Name}";
        target.Copy(Path.Combine(dataFolder, path), path, cut.Epoch.ToString(CultureInfo.InvariantCulture), cut.End, cut.Size);
    }

    /// <summary>The folder that is being made.</summary>
    private sealed class Target(string folder, string? before, Dictionary<string, BackupFile> previous)
    {
        private readonly Dictionary<string, BackupFile> _files = new(StringComparer.Ordinal);

        public IReadOnlyList<BackupFile> Files => [.. _files.Values.OrderBy(f => f.Path, StringComparer.Ordinal)];

        public long CopiedBytes { get; private set; }

        public bool Has(string path, string version) => _files.TryGetValue(path, out var file) && file.Version == version;

        public string PathOf(string path)
        {
            var full = Path.Combine(folder, path);
            Directory.CreateDirectory(Path.GetDirectoryName(full)!);
            return full;
        }

        /// <summary>A file was removed from the node since it was copied.</summary>
        public void RemoveExcept(HashSet<string> paths)
        {
            foreach (var file in _files.Values.Where(f => f.Version is not null && !paths.Contains(f.Path)).ToArray())
            {
                _files.Remove(file.Path);
                File.Delete(Path.Combine(folder, file.Path));
            }
        }

        /// <summary>Notes a file that is in the folder already.</summary>
        public void Add(string path, string? version)
        {
            using var file = new FileStream(Path.Combine(folder, path), FileMode.Open, FileAccess.ReadWrite);
            var hash = Convert.ToHexStringLower(SHA256.HashData(file));
            file.Flush(flushToDisk: true);
            CopiedBytes += file.Length;
            _files[path] = new BackupFile(path, file.Length, hash, version);
        }

        /// <summary>Copies a file, or shares the copy of the backup before when it is the same.</summary>
        /// <param name="from">The file.</param>
        /// <param name="path">Its path below the node's folder.</param>
        /// <param name="version">See <see cref="BackupFile.Version"/>.</param>
        /// <param name="length">Bytes to copy of a segment file; null: all, of any other.</param>
        /// <param name="size">Length of the copy when it is more: the rest is zeros without blocks.</param>
        public void Copy(string from, string path, string version, long? length, long? size = null)
        {
            var to = PathOf(path);
            if (previous.TryGetValue(path, out var known) && known.Version == version && (known.End ?? 0) >= (length ?? 0)
                && TryLink(Path.Combine(before!, path), to, known.Length))
            {
                _files[path] = known;
                return;
            }

            try
            {
                var (copied, hash) = CopyBytes(from, to, length, size);
                CopiedBytes += copied;
                _files[path] = new BackupFile(path, size ?? copied, hash, version, length);
            }
            catch (FileNotFoundException)
            {
                // Gone between the look and the copy; the next round sees it.
            }
        }

        /// <summary>The manifest last: from here on it is a backup.</summary>
        public void Finish(byte[] manifest)
        {
            foreach (var directory in Directory.GetDirectories(folder, "*", SearchOption.AllDirectories).Append(folder))
            {
                DurableFile.FlushFolder(directory);
            }

            DurableFile.Write(Path.Combine(folder, BackupManifest.FileName), manifest);
            DurableFile.FlushFolder(Path.GetDirectoryName(folder)!);
        }

        private static bool TryLink(string from, string to, long length)
        {
            if (new FileInfo(from) is not { Exists: true } there || there.Length != length)
            {
                return false;
            }

            File.Delete(to);
            return DurableFile.TryLink(from, to);
        }

        private static (long Copied, string Hash) CopyBytes(string from, string to, long? length, long? size)
        {
            using var source = new FileStream(from, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
            var options = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, BufferSize = 0 };
            if (!OperatingSystem.IsWindows())
            {
                // A key stays as private as it was.
                options.UnixCreateMode = File.GetUnixFileMode(source.SafeFileHandle);
            }

            using var target = new FileStream(to, options);
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            var block = new byte[BlockBytes];
            var left = length ?? long.MaxValue;
            var at = 0L;
            while (left > 0 && source.Read(block, 0, (int)Math.Min(block.Length, left)) is > 0 and var read)
            {
                var bytes = block.AsSpan(0, read);
                hash.AppendData(bytes);
                at += read;
                left -= read;
                if (bytes.ContainsAnyExcept((byte)0))
                {
                    target.Position = at - read;
                    target.Write(bytes);
                }
            }

            target.SetLength(size ?? at);
            for (var rest = (size ?? at) - at; rest > 0; rest -= block.Length)
            {
                Array.Clear(block);
                hash.AppendData(block, 0, (int)Math.Min(rest, block.Length));
            }

            target.Flush(flushToDisk: true);
            return (at, Convert.ToHexStringLower(hash.GetHashAndReset()));
        }
    }
}
