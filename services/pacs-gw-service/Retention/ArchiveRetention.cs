using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.PacsGw.Archive;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Retention;

/// <summary>
/// Gives up studies that are older than a site keeps, or the oldest beyond the room that it gives them: only studies of which every instance is confirmed
/// by the centre, that no rule pins and of which no copy is owed. Rows and the pins of their blobs go together.
/// </summary>
internal sealed partial class ArchiveRetention(
    ArchiveDatabase archive,
    ArchivePins pins,
    KeepReasons reasons,
    ArchiveChanges changes,
    IEventLog log,
    IOptions<PacsGwOptions> options,
    TimeProvider clock,
    ILogger<ArchiveRetention> logger) : BackgroundService
{
    /// <summary>DICOM Study Deleted (PS3.15 A.5.3.8).</summary>
    private const string StudyDeleted = "110105";

    /// <summary>Studies that one run looks at, oldest first.</summary>
    private const int MaxStudies = 10_000;

    private static readonly TimeSpan Period = TimeSpan.FromHours(1);

    private readonly ILogger _logger = logger;

    /// <summary>Runs once an hour where a limit is set.</summary>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var (days, gigabytes) = (options.Value.RetentionDays, options.Value.RetentionGigabytes);
        if (days is null && gigabytes is null)
        {
            return;
        }

        using var timer = new PeriodicTimer(Period, clock);
        try
        {
            do
            {
                try
                {
                    await RunAsync(days is { } d ? TimeSpan.FromDays(d) : null, gigabytes * 1_000_000_000L, stoppingToken);
                }
                catch (Exception e) when (e is SqliteException or IOException)
                {
                    Failed(e);
                }
            }
            while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // The node stops; the next run goes on.
        }
    }

    /// <summary>One run. Returns the studies that were given up.</summary>
    /// <param name="maxAge">Since the last instance of a study came; null: any.</param>
    /// <param name="maxBytes">Of all data sets in the archive; null: any.</param>
    /// <param name="cancellationToken">Stops between two studies.</param>
    public async Task<int> RunAsync(TimeSpan? maxAge, long? maxBytes, CancellationToken cancellationToken)
    {
        await pins.EndAsync(cancellationToken);
        var why = await reasons.NowAsync(cancellationToken);
        using var db = archive.OpenWriter();
        var total = Convert.ToInt64(db.Scalar("SELECT coalesce(sum(length), 0) FROM instance"), System.Globalization.CultureInfo.InvariantCulture);
        var before = maxAge is { } age ? (clock.GetUtcNow() - age).ToUnixTimeMilliseconds() : long.MinValue;
        var given = 0;
        foreach (var study in db.Command("SELECT uid, last_indexed_ms FROM study ORDER BY last_indexed_ms LIMIT $1", MaxStudies)
            .Rows(row => (Uid: row.GetString(0), LastMs: row.GetInt64(1))))
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (study.LastMs > before && !(total > maxBytes))
            {
                break;
            }

            var instances = Kept.At(db, study.Uid, null, null);
            if (why(instances) is null)
            {
                await GiveUpAsync(db, study.Uid, instances, cancellationToken);
                total -= instances.Sum(i => i.Length);
                given++;
            }
        }

        if (given > 0)
        {
            await pins.EndAsync(cancellationToken);
            changes.Signal();
            Given(given, total);
        }

        return given;
    }

    private async Task GiveUpAsync(SqliteConnection db, string uid, List<Kept> instances, CancellationToken cancellationToken)
    {
        var nowMs = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var record = new AuditRecord(
            StudyDeleted, "D", 0, "retention", null, $"pacs-gw@{log.Site}", $"study/{uid}", $"{instances.Count} instances, which the centre has", nowMs);
        await log.AppendAsync([Entries.Of(record, $"retention/{log.Site}/{uid}/{nowMs}")], cancellationToken);

        pins.Leaving(instances.Select(i => i.Sha256));
        using var transaction = db.BeginTransaction();
        ArchiveRemoval.Remove(db, uid, null, null, 0);
        transaction.Commit();
    }

    [LoggerMessage(3080, LogLevel.Information, "{Studies} studies were given up, which the centre has; {Bytes} bytes are in the archive.")]
    private partial void Given(int studies, long bytes);

    [LoggerMessage(3081, LogLevel.Error, "Studies could not be given up; the next run tries again.")]
    private partial void Failed(Exception exception);
}
