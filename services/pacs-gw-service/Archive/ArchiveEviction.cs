using System.Globalization;
using System.Text.Json;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Archive;

/// <summary>
/// Gives up the oldest studies of a site's archive when the room is short. Only those whose entries the log has released, so the centre has them: nothing
/// goes that is not proven elsewhere. Off by default; a centre's archive keeps everything.
/// </summary>
internal sealed partial class ArchiveEviction(
    ArchiveDatabase database, IEventLog log, ArchivePins pins, ArchiveChanges changes, IOptions<PacsGwOptions> options, TimeProvider clock,
    ILogger<ArchiveEviction> logger) : BackgroundService
{
    private static readonly TimeSpan Period = TimeSpan.FromMinutes(1);

    private readonly ILogger _logger = logger;

    /// <summary>Gives up studies while more of the room is used than may be; returns how many.</summary>
    public async Task<int> RunOnceAsync(CancellationToken cancellationToken)
    {
        var evicted = 0;
        using var db = database.OpenWriter();
        while (log.Space is var space && space.UsedBytes > space.CapacityBytes / 100 * options.Value.EvictAbovePercent
            && Oldest(db) is var (uid, change) && await IsReleasedAsync(change, cancellationToken))
        {
            await RecordAsync(uid, change, cancellationToken);

            pins.Leaving(ArchiveRemoval.Hashes(db, uid, null, null));
            using (var transaction = db.BeginTransaction())
            {
                ArchiveRemoval.Remove(db, uid, null, null, 0);
                transaction.Commit();
            }

            await pins.EndAsync(cancellationToken);
            Evicted(uid, change);
            evicted++;
        }

        if (evicted > 0)
        {
            changes.Signal();
        }

        return evicted;
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (options.Value.EvictAbovePercent == 0)
        {
            return;
        }

        using var timer = new PeriodicTimer(Period, clock);
        while (await WaitAsync(timer, stoppingToken))
        {
            try
            {
                await RunOnceAsync(stoppingToken);
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (e is SqliteException or IOException)
            {
                Failed(e);
            }
        }
    }

    private static async Task<bool> WaitAsync(PeriodicTimer timer, CancellationToken stoppingToken)
    {
        try
        {
            return await timer.WaitForNextTickAsync(stoppingToken);
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    private static (string Uid, long Change)? Oldest(SqliteConnection db)
    {
        using var select = db.Command("SELECT uid, change FROM study ORDER BY change LIMIT 1");
        using var row = select.ExecuteReader();
        return row.Read() ? (row.GetString(0), row.GetInt64(1)) : null;
    }

    /// <summary>True when the log keeps the entry of a study's newest instance no more, and so none of the others.</summary>
    private async ValueTask<bool> IsReleasedAsync(long position, CancellationToken cancellationToken)
    {
        var next = await log.ReadAsync(position - 1, 1, cancellationToken);
        return next.Count == 0 || next[0].Position != position;
    }

    private async ValueTask RecordAsync(string uid, long change, CancellationToken cancellationToken)
    {
        var nowMs = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var record = new AuditRecord(
            "110105", "D", 0, $"pacs-gw@{log.Site}", null, $"pacs-gw@{log.Site}", $"study/{uid}", "given up by the site's archive to make room; the centre has it", nowMs);
        var id = string.Create(CultureInfo.InvariantCulture, $"evicted/{uid}/{change}");
        await log.AppendAsync(
            [new Entry(Lane.Normal, AuditRecord.EventType, id, record.Entity, nowMs, JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord))],
            cancellationToken);
    }

    [LoggerMessage(3048, LogLevel.Information, "Study {StudyInstanceUid}, position {Position}, was given up by the archive to make room; the centre has it.")]
    private partial void Evicted(string studyInstanceUid, long position);

    [LoggerMessage(3049, LogLevel.Error, "The archive could not give up studies; trying again in a minute.")]
    private partial void Failed(Exception exception);
}
