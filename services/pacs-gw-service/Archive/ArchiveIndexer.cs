using System.Diagnostics;
using System.Text.Json;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.PacsGw.Reconcile;
using Yizhan.Platform.Telemetry;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Archive;

/// <summary>
/// Follows the event log and keeps the archive's index. A batch and the cursor behind it are one transaction, so each event is in
/// the index once, wherever the process ends; what is indexed twice after a new log (restored, rebuilt) is recognised by content.
/// </summary>
internal sealed partial class ArchiveIndexer(
    IEventLog log,
    IBlobStore blobs,
    ArchiveDatabase database,
    ArchiveChanges changes,
    ArchivePins pins,
    ConflictDesk desk,
    ArchiveProgress progress,
    ArchiveEvents events,
    IOptions<PacsGwOptions> options,
    TimeProvider clock,
    ILogger<ArchiveIndexer> logger) : BackgroundService
{
    private const int MaxBatch = 256;

    /// <summary>Metadata that one batch may hold in memory before it is written, in bytes.</summary>
    private const int MaxBatchBytes = 16 * 1024 * 1024;

    private static readonly TimeSpan Retry = TimeSpan.FromSeconds(5);

    private readonly ILogger _logger = logger;

    /// <summary>Indexes until it is stopped. A failing disk is logged and tried again: the log keeps everything meanwhile.</summary>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await FollowAsync(stoppingToken);
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (e is SqliteException or IOException)
            {
                Stalled(e, (int)Retry.TotalSeconds);
                await Task.Delay(Retry, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private async Task FollowAsync(CancellationToken cancellationToken)
    {
        using var db = database.OpenWriter();
        using var statements = new ArchiveStatements(db);
        var position = ArchiveWriter.Cursor(db, log.Epoch);
        Following(position);
        progress.Reach(position);
        await pins.EndAsync(cancellationToken);
        while (true)
        {
            var next = await IndexBatchAsync(statements, position, cancellationToken);
            if (next == position)
            {
                await log.WaitForMoreAsync(position, cancellationToken);
            }

            position = next;
        }
    }

    /// <summary>Indexes what comes after a position, up to a bound, and returns the new position; the same when there was nothing.</summary>
    internal async Task<long> IndexBatchAsync(ArchiveStatements statements, long position, CancellationToken cancellationToken)
    {
        var batch = new List<(LoggedEntry Entry, ArchivedInstance? Instance)>();
        var bytes = 0L;
        var last = position;
        foreach (var entry in await log.ReadAsync(position, MaxBatch, cancellationToken))
        {
            if (entry.Entry.Type == InstanceStored.EventType && await ReadAsync(entry, cancellationToken) is { } instance)
            {
                batch.Add((entry, instance));
                bytes += instance.MetadataJson.Length;
            }
            else if (ArchiveEvents.Takes(entry.Entry.Type))
            {
                batch.Add((entry, null));
                bytes += entry.Entry.Data.Length;
            }

            last = entry.Position;
            if (bytes > MaxBatchBytes)
            {
                break;
            }
        }

        if (last == position)
        {
            return position;
        }

        using var hops = Tracing.Continue("index", ActivityKind.Consumer, batch.Select(b => b.Entry.Entry.TraceParent));
        using (await pins.HoldAsync(cancellationToken))
        {
            await PinAsync([.. batch.Select(b => b.Instance).OfType<ArchivedInstance>()], cancellationToken);
            await WriteAsync(statements, batch, last, cancellationToken);
        }

        if (batch.Exists(b => b.Entry.Entry.Type == InstancesDeleted.EventType))
        {
            await pins.EndAsync(cancellationToken);
        }

        progress.Reach(last);
        if (batch.Count > 0)
        {
            changes.Signal();
        }

        return last;
    }

    /// <summary>
    /// Keeps the blobs for as long as the archive has the instances: the log may give up its entries once this batch is in the index. The archive's index
    /// is synced less often than the log, so how far it has read is told by <see cref="ArchiveConsumer"/>.
    /// </summary>
    private async ValueTask PinAsync(List<ArchivedInstance> instances, CancellationToken cancellationToken)
    {
        var present = new List<ContentHash>(instances.Count);
        foreach (var instance in instances)
        {
            if (ContentHash.TryParse(instance.Stored.Sha256, out var hash) && await IsHereAsync(hash, cancellationToken))
            {
                present.Add(hash);
            }
        }

        if (present.Count > 0)
        {
            await blobs.PinAsync(present, PacsGwModule.Name, cancellationToken);
        }
    }

    private async ValueTask<bool> IsHereAsync(ContentHash hash, CancellationToken cancellationToken)
    {
        await using var blob = await blobs.OpenAsync(hash, cancellationToken);
        return blob is not null;
    }

    private async ValueTask WriteAsync(
        ArchiveStatements statements,
        List<(LoggedEntry Entry, ArchivedInstance? Instance)> batch,
        long last,
        CancellationToken cancellationToken)
    {
        using var transaction = statements.Connection.BeginTransaction();
        var writer = new ArchiveWriter(statements, transaction, clock.GetUtcNow().ToUnixTimeMilliseconds());
        foreach (var (entry, archived) in batch)
        {
            if (archived is not { } instance)
            {
                events.Apply(writer, entry);
                continue;
            }

            if (desk.Park(statements.Connection, instance))
            {
                Parked(instance.Stored.SopInstanceUid, instance.Stored.StudyInstanceUid, instance.Position);
                continue;
            }

            var outcome = writer.Add(instance, out var conflict);
            if (outcome == IndexOutcome.AddedBesideOther)
            {
                // Before the commit: a crash between the two reports again, and the log keeps one of two entries with one id.
                await ReportAsync(instance, cancellationToken);
            }

            if (conflict && outcome != IndexOutcome.Known)
            {
                StudyConflict(instance.Stored.SopInstanceUid, instance.Stored.StudyInstanceUid, instance.Position);
            }
        }

        writer.MoveCursor(log.Epoch, last);
        transaction.Commit();
        Indexed(batch.Count, last);
    }

    /// <summary>Reads one event and the beginning of its blob. What cannot be decoded is indexed by what the event says: it is never lost.</summary>
    private async ValueTask<ArchivedInstance?> ReadAsync(LoggedEntry entry, CancellationToken cancellationToken)
    {
        InstanceStored? stored;
        try
        {
            stored = JsonSerializer.Deserialize(entry.Entry.Data.Span, ContractsJson.Default.InstanceStored);
        }
        catch (JsonException)
        {
            stored = null;
        }

        if (stored is null || !ContentHash.TryParse(stored.Sha256, out var hash))
        {
            NotAnEvent(entry.Position, entry.Identity.Site);
            return null;
        }

        var json = await ReadMetadataAsync(stored, hash, entry.Position, cancellationToken);
        return new ArchivedInstance(
            stored, entry.Identity.Site, entry.Entry.TimeMs, entry.Position, new JsonAttributes(json), json);
    }

    private async ValueTask<ReadOnlyMemory<byte>> ReadMetadataAsync(
        InstanceStored stored, ContentHash hash, long position, CancellationToken cancellationToken)
    {
        await using var blob = await blobs.OpenAsync(hash, cancellationToken);
        if (blob is null)
        {
            NoBlob(stored.SopInstanceUid, position);
            return Metadata.Minimal(stored);
        }

        try
        {
            var header = await InstanceHeader.ReadAsync(
                blob, DicomTransferSyntax.Get(stored.TransferSyntaxUid), options.Value.MaxHeaderBytes, cancellationToken);
            return Metadata.Create(stored, header);
        }
        catch (Exception e) when (e is DicomFormatException or InvalidDataException)
        {
            Undecodable(stored.SopInstanceUid, position, e.Message);
            return Metadata.Minimal(stored);
        }
    }

    /// <summary>Same SOP Instance UID, other content: both are kept, an auditor and an operator are told.</summary>
    private async ValueTask ReportAsync(ArchivedInstance instance, CancellationToken cancellationToken)
    {
        var stored = instance.Stored;
        Collision(stored.SopInstanceUid, stored.Sha256, stored.CallingAeTitle, instance.Position);
        var nowMs = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var record = new AuditRecord(
            "110104", "C", 4, stored.CallingAeTitle, null, $"pacs-gw@{log.Site}", $"study/{stored.StudyInstanceUid}",
            $"instance {stored.SopInstanceUid} came again with other content; both are kept", nowMs);
        await log.AppendAsync([Entries.Of(record, $"variant/{instance.Site}/{stored.Sha256}")], cancellationToken);
    }

    [LoggerMessage(3040, LogLevel.Information, "The archive follows the event log from position {Position}.")]
    private partial void Following(long position);

    [LoggerMessage(3041, LogLevel.Debug, "{Entries} entries indexed, log read through {Position}.")]
    private partial void Indexed(int entries, long position);

    [LoggerMessage(3042, LogLevel.Warning,
        "Instance {SopInstanceUid} came again with other content ({Sha256}) from {CallingAeTitle}, position {Position}: both are kept.")]
    private partial void Collision(string sopInstanceUid, string sha256, string callingAeTitle, long position);

    [LoggerMessage(3043, LogLevel.Warning,
        "Instance {SopInstanceUid} disagrees with study {StudyInstanceUid} about patient, date or accession number, position {Position}.")]
    private partial void StudyConflict(string sopInstanceUid, string studyInstanceUid, long position);

    [LoggerMessage(3048, LogLevel.Warning,
        "Instance {SopInstanceUid}, position {Position}, names another patient than study {StudyInstanceUid}: a person has to decide (GET /pacs-gw/conflicts).")]
    private partial void Parked(string sopInstanceUid, string studyInstanceUid, long position);

    [LoggerMessage(3044, LogLevel.Error, "The event at position {Position} from {Site} is no instance-stored event; it was passed over.")]
    private partial void NotAnEvent(long position, string site);

    [LoggerMessage(3045, LogLevel.Error, "The data set of instance {SopInstanceUid}, position {Position}, is not in the blob store.")]
    private partial void NoBlob(string sopInstanceUid, long position);

    [LoggerMessage(3046, LogLevel.Warning, "Instance {SopInstanceUid}, position {Position}, is indexed by its UIDs only: {Reason}")]
    private partial void Undecodable(string sopInstanceUid, long position, string reason);

    [LoggerMessage(3047, LogLevel.Error, "The archive cannot be written; trying again in {Seconds} s.")]
    private partial void Stalled(Exception exception, int seconds);
}
