using System.Text.Json;
using Yizhan.Platform;

namespace Yizhan.Storage;

/// <summary>What operators do with the log of a running node: back it up, verify it, give it a new epoch.</summary>
public sealed class LogMaintenance : IDisposable
{
    private readonly Spool _spool;
    private readonly string _dataFolder;
    private readonly string _pointPath;
    private readonly StorageOptions _options;
    private readonly TimeProvider _clock;
    private readonly SemaphoreSlim _one = new(1, 1);
    private volatile BackupPoint? _lastBackup;
    private volatile string? _alarm;

    internal LogMaintenance(Spool spool, NodeOptions node, StorageOptions options, TimeProvider clock)
    {
        (_spool, _options, _clock) = (spool, options, clock);
        _dataFolder = Path.GetFullPath(node.DataFolder);
        _pointPath = node.PathOf("log", "backup.json");
        if (File.Exists(_pointPath) && !File.Exists(Path.Combine(Path.GetDirectoryName(_pointPath)!, Spool.RestoredMarker)))
        {
            _lastBackup = JsonSerializer.Deserialize(File.ReadAllBytes(_pointPath), BackupJson.Default.BackupPoint);
        }
    }

    /// <summary>The newest backup that this node made; null when there is none. What it covers need not be sent again by anybody.</summary>
    public BackupPoint? LastBackup => _lastBackup;

    /// <summary>Why no backup may be made: somebody seems to be changing what is kept. Null while all is well.</summary>
    public string? Alarm
    {
        get => _alarm;
        internal set => _alarm = value;
    }


    /// <summary>
    /// Backs the node up while it works. Everything that was acknowledged before the call is in the backup; it is whole, or has no manifest. One at a time.
    /// </summary>
    /// <param name="to">A folder at or below <see cref="StorageOptions.BackupFolder"/>; null: that one.</param>
    /// <param name="cancellationToken">Breaks it off; the next one deletes what was begun.</param>
    /// <exception cref="ArgumentException">The folder is not one that this node may write backups to.</exception>
    /// <exception cref="IOException">The folder cannot be written.</exception>
    /// <exception cref="InvalidOperationException">A canary file was changed: the backup could be of garbage, and would push a good one out.</exception>
    public async Task<BackupReport> BackupAsync(string? to, CancellationToken cancellationToken)
    {
        if (Alarm is { } alarm)
        {
            throw new InvalidOperationException(alarm);
        }

        if (_spool.Store == "postgres")
        {
            // A copy of the folder alone would look like a backup and have no entry.
            throw new ArgumentException("The entries of this node are in PostgreSQL: yizhan database backup takes that server and this folder together, as docs/operations/production.md says.");
        }

        if (_options.BackupFolder is not { Length: > 0 } allowed)
        {
            throw new ArgumentException("storage:backupFolder is not set: this node does not know where backups may be written to.");
        }

        var root = Path.GetFullPath(allowed);
        var folder = to is null ? root : Path.GetFullPath(to);
        if (folder != root && !folder.StartsWith(root + Path.DirectorySeparatorChar, StringComparison.Ordinal))
        {
            throw new ArgumentException($"'{to}' is not below storage:backupFolder, which is {root}.");
        }

        if ((root + Path.DirectorySeparatorChar).StartsWith(_dataFolder + Path.DirectorySeparatorChar, StringComparison.Ordinal))
        {
            throw new ArgumentException($"storage:backupFolder is {root}, inside the node's own data folder {_dataFolder}: it would be lost with it.");
        }

        await _one.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            var backup = new Backup(_spool, _dataFolder, _clock);
            var (report, point) = await Task.Run(() => backup.RunAsync(folder, _options.BackupsKept, cancellationToken), cancellationToken).ConfigureAwait(false);
            DurableFile.Write(_pointPath, JsonSerializer.SerializeToUtf8Bytes(point, BackupJson.Default.BackupPoint));
            _lastBackup = point;
            return report;
        }
        finally
        {
            _one.Release();
        }
    }

    /// <summary>The days of which something is encrypted, oldest first.</summary>
    public IReadOnlyList<SealedDay> Days => _spool.Segments.Keys.Days;

    /// <summary>What would be gone with the keys of a day.</summary>
    /// <exception cref="ArgumentException">The day is no date, is not over, or has no key.</exception>
    public ShredReport LookAtDay(string day) => new Shredding(_spool, _options.BackupFolder, _clock).Look(day);

    /// <summary>
    /// Destroys the keys of a day, and with them what was accepted on it, for ever. The decision is in the audit log before. Durable on return.
    /// </summary>
    /// <exception cref="ArgumentException">The day is no date, is not over, or has no key.</exception>
    /// <exception cref="InvalidOperationException">The centre does not have all of it and <paramref name="undeliveredToo"/> is false; nothing was destroyed.</exception>
    public Task<ShredReport> ShredAsync(string day, bool undeliveredToo, string by, string reason, CancellationToken cancellationToken) =>
        new Shredding(_spool, _options.BackupFolder, _clock).RunAsync(day, undeliveredToo, by, reason, cancellationToken);

    /// <summary>
    /// Makes the next start begin a new epoch: the log then sends all that it keeps again, under sequences that were never used. The way out when the centre
    /// and this log do not agree on what was sent. Durable on return.
    /// </summary>
    public void BeginNewEpochAtNextStart() => MarkRestored(Path.GetDirectoryName(_pointPath)!);

    /// <summary>The same for the log folder of a stopped node.</summary>
    public static void MarkRestored(string logFolder) => DurableFile.Write(Path.Combine(logFolder, Spool.RestoredMarker), []);

    /// <inheritdoc/>
    public void Dispose() => _one.Dispose();

    /// <summary>Reads all entries and blobs and compares their checksums and hashes.</summary>
    /// <param name="pace">Waits after so many bytes; null: as fast as the disk allows.</param>
    /// <param name="progress">Told what was checked so far.</param>
    /// <param name="cancellationToken">Breaks it off.</param>
    public Task<VerifyReport> VerifyAsync(Func<long, CancellationToken, ValueTask>? pace, IProgress<VerifyReport>? progress, CancellationToken cancellationToken) =>
        new Verifier(_spool.Journal, _spool.Log, _spool.Blobs, pace, progress).RunAsync(cancellationToken);
}
