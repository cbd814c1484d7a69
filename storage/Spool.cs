using System.Diagnostics.CodeAnalysis;
using Microsoft.Extensions.Logging;

namespace Yizhan.Storage;

/// <summary>One open folder: event log and blobs together, and the lock that keeps other processes out.</summary>
internal sealed partial class Spool : IAsyncDisposable
{
    /// <summary>A file of this name in the folder says that it was restored from a backup: the next start begins a new epoch and removes it.</summary>
    public const string RestoredMarker = "restored";

    private readonly IAsyncDisposable _lock;
    private readonly SegmentFiles _segments;
    private readonly Journal _journal;
    private readonly Committer _committer;
    private readonly EventLog _log;
    private Action _refill = () => { };

    /// <summary>Puts open parts together; <see cref="Open"/> is how production gets them.</summary>
    internal Spool(
        IAsyncDisposable folderLock, SegmentFiles segments, Journal journal, StorageOptions options, Func<long> freeBytes, TimeProvider clock, ILogger logger,
        Action<Action>? post = null, S3Store? objects = null)
    {
        (_lock, _segments, _journal) = (folderLock, segments, journal);
        var ledger = new Ledger(options, clock, () => segments.LiveBytes + journal.EntryBytes, () => freeBytes() + segments.ReadyBytes);
        Objects = objects;
        var blobs = new BlobStore(journal, segments, ledger, objects, options.S3Prefix);
        _committer = new Committer(journal, clock, Committed, logger, post);
        blobs.Use(_committer);
        _log = new EventLog(journal, _committer, blobs, ledger, new Tail(options.TailMiB * 1024L * 1024));
        Blobs = blobs;
    }

    public IEventLog Log => _log;

    /// <summary>sqlite, segments or postgres.</summary>
    public string Store { get; private init; } = "segments";

    public Journal Journal => _journal;

    /// <summary>Told how long each commit took and how many entries it had.</summary>
    public Action<TimeSpan, int>? Measured
    {
        get => _committer.Measured;
        set => _committer.Measured = value;
    }

    public SegmentFiles Segments => _segments;

    /// <summary>See <see cref="EventLog.ReleaseGate"/>.</summary>
    public SemaphoreSlim ReleaseGate => _log.ReleaseGate;

    /// <summary>The segment files between two commits, with the marks of other sites and the newest position at that moment.</summary>
    public Task<(IReadOnlyList<SegmentCut> Segments, KeyValuePair<Origin, long>[] Marks, long Position)> CutAsync(CancellationToken cancellationToken) =>
        _committer.RunAsync(
            new Work<Spool, (IReadOnlyList<SegmentCut>, KeyValuePair<Origin, long>[], long)>(
                this, static (spool, _) => (spool._segments.Cut(), [.. spool._journal.State.Marks], spool._journal.State.Position)), cancellationToken);

    /// <summary>Where full segment files go; null when they stay here.</summary>
    public S3Store? Objects { get; }

    /// <summary>Commits what the object store has.</summary>
    public Task NoteAwayAsync(Action<Group> note, CancellationToken cancellationToken) => _committer.RunAsync(
        new Work<Action<Group>, bool>(note, static (call, group) =>
        {
            call(group);
            return true;
        }), cancellationToken);

    /// <summary>Destroys the keys of a day, between two commits; durable on return.</summary>
    public Task ShredAsync(DateOnly day, CancellationToken cancellationToken) => _committer.RunAsync(
        new Work<(KeyRing Keys, EventLog Log, DateOnly Day), bool>((_segments.Keys, _log, day), static (call, _) =>
        {
            call.Keys.Shred(call.Day);
            call.Log.Shredded();
            return true;
        }), cancellationToken);

    public IBlobStore Blobs { get; }

    /// <summary>Why the log accepts no more; null while all is well.</summary>
    public IOException? Fault => _committer.Fault;

    /// <summary>Opens a folder; creates what is missing. A test may put something around the journal.</summary>
    /// <exception cref="IOException">Another process has it open, or the disk failed.</exception>
    /// <exception cref="InvalidOperationException">It is another site's or of another store, or was written by a newer version.</exception>
    public static Spool Open(
        string folder, string? site, StorageOptions options, IDisk disk, TimeProvider clock, ILogger logger, Func<Journal, Journal>? around = null)
    {
        Directory.CreateDirectory(Path.Combine(folder, "segments"));
        var keyFolder = Path.Combine(folder, "keys");
        Directory.CreateDirectory(keyFolder);
        for (var (at, levels) = (folder, 0); at is not null && levels < 3; at = Path.GetDirectoryName(at), levels++)
        {
            // The folders may be new: their names must be as durable as what is put into them.
            disk.FlushDirectory(at);
        }

        var folderLock = Lock(folder);
        KeyRing? keys = null;
        SegmentFiles? segments = null;
        Journal? journal = null;
        S3Store? objects = null;
        try
        {
            var store = ChooseStore(folder, options);
            Opening(logger, folder, store);
            if (options.S3Url is { Length: > 0 })
            {
                objects = store == "postgres" ? new S3Store(options, clock) : throw new InvalidOperationException(
                    $"storage:s3Url is set, and the log in {folder} is of the store '{store}': only postgres has a place for what is away.");
            }

            var marker = Path.Combine(folder, RestoredMarker);
            var restored = File.Exists(marker);
            keys = new KeyRing(
                disk, keyFolder, create => SiteKeyFile.Open(options.SiteKeyFile ?? Path.Combine(Path.GetDirectoryName(folder)!, "storage", "site.key"), create),
                options.Encrypt, clock);
            segments = new SegmentFiles(disk, Path.Combine(folder, "segments"), SegmentBytes(options), keys);
            journal = store switch
            {
                "segments" => new SegmentJournal(disk, Path.Combine(folder, "segments"), site, restored, segments, logger),
                "postgres" => new PostgresJournal(options, folder, site, restored, segments, clock),
                _ => new SqliteJournal(DatabaseIn(folder), site ?? OfflineLog.SiteOf(DatabaseIn(folder)), restored, segments, checkpoints: options.CheckpointedBy == "node"),
            };
            if (restored)
            {
                File.Delete(marker);
                disk.FlushDirectory(folder);
            }

            var balloon = new Balloon(disk, folder, options.BalloonBytes);
            balloon.Fill();
            var spool = new Spool(folderLock, segments, around?.Invoke(journal) ?? journal, options, () => disk.FreeBytes(folder), clock, logger, objects: objects) { Store = store };
            spool._committer.MakeRoom = balloon.Burst;
            spool._refill = balloon.Fill;
            return spool;
        }
        catch
        {
            journal?.Dispose();
            objects?.Dispose();
            segments?.Dispose();
            keys?.Dispose();
            folderLock.Dispose();
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _committer.DisposeAsync();
        await _log.DisposeAsync();
        try
        {
            _journal.Dispose();
        }
        finally
        {
            _segments.Dispose();
            _segments.Keys.Dispose();
            Objects?.Dispose();
            await _lock.DisposeAsync();
        }
    }

    private void Committed(Group group)
    {
        ((BlobStore)Blobs).Committed(group);
        _segments.Reclaim();
        if (group.Freed.Count > 0)
        {
            _refill();
        }

        _log.Committed(group);
    }

    /// <summary>The store of which a folder holds a log; null when it holds none.</summary>
    public static string? StoreIn(string folder) =>
        PostgresFolder.Is(folder) ? "postgres"
        : File.Exists(DatabaseIn(folder)) ? "sqlite"
        : Directory.Exists(Path.Combine(folder, "segments")) && Directory.EnumerateFiles(Path.Combine(folder, "segments"), "*.seg").Any() ? "segments"
        : null;

    private static string DatabaseIn(string folder) => Path.Combine(folder, "log.db");

    /// <summary>What the folder holds; of a new one what is set. To open a folder as the other store would be to begin an empty log over a full one.</summary>
    private static string ChooseStore(string folder, StorageOptions options)
    {
        var held = StoreIn(folder);
        if (held is not null && options.Store is not null && options.Store != held)
        {
            throw new InvalidOperationException(
                $"{folder} holds a log of the store '{held}', and storage:store is '{options.Store}': a log is not moved from one store to the other. "
                + $"Take the setting away or set it to '{held}'; if the log should be '{held}' no more, give the node a new node:dataFolder once everything is delivered."
                + (options.Store == "sqlite" ? " If log.db was lost, put back a backup." : ""));
        }

        var store = held ?? options.Store ?? options.NewStore;
        return store == "sqlite" || options.CheckpointedBy == "node" ? store : throw new InvalidOperationException(
            $"storage:checkpointedBy is '{options.CheckpointedBy}', and the log in {folder} is of the store '{store}', which has no database that it could copy: "
            + "set storage:store to sqlite before the first start, or take storage:checkpointedBy away.");
    }

    /// <summary>A small quota gets small files, so that one half-empty file is not all of it.</summary>
    private static int SegmentBytes(StorageOptions options) =>
        (int)Math.Clamp(options.QuotaBytes / 16, 4 * 1024 * 1024, options.SegmentBytes) / Record.Alignment * Record.Alignment;

    [SuppressMessage("Reliability", "CA2000", Justification = "The spool owns it.")]
    private static FileStream Lock(string folder)
    {
        try
        {
            return new FileStream(Path.Combine(folder, "lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException e)
        {
            throw new IOException($"The log in {folder} is open in another process: stop that one first, or give this one its own node:dataFolder.", e);
        }
    }

    [LoggerMessage(102, LogLevel.Information, "The event log in {Folder} is of the store {Store}.")]
    private static partial void Opening(ILogger logger, string folder, string store);
}
