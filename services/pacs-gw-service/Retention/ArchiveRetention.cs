using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.Rules;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Retention;

/// <summary>
/// Gives up studies that are older than a site keeps, or the oldest beyond the room that it gives them: only studies of which every instance is confirmed
/// by the centre, that no rule pins and of which no copy is owed. Rows and the pins of their blobs go together.
/// </summary>
internal sealed partial class ArchiveRetention(
    ArchiveDatabase archive,
    GatewayDatabase database,
    ArchiveChanges changes,
    IEventLog log,
    IBlobStore blobs,
    RuleBook book,
    RouteQueue routes,
    IOptions<PacsGwOptions> options,
    TimeProvider clock,
    ILogger<ArchiveRetention> logger) : BackgroundService
{
    /// <summary>DICOM Study Deleted (PS3.15 A.5.3.8).</summary>
    private const string StudyDeleted = "110105";

    /// <summary>Studies that one run looks at, oldest first.</summary>
    private const int MaxStudies = 10_000;

    private static readonly TimeSpan Period = TimeSpan.FromHours(1);
    private static readonly DicomJsonOptions Json = new() { ReadBulkData = (_, _) => ReadOnlyMemory<byte>.Empty };

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
        await EndPinsAsync(cancellationToken);
        var proven = await ProvenAsync(cancellationToken);
        var floor = Floor();
        using var db = archive.OpenWriter();
        var total = Convert.ToInt64(db.Scalar("SELECT coalesce(sum(length), 0) FROM instance"), System.Globalization.CultureInfo.InvariantCulture);
        var before = maxAge is { } age ? (clock.GetUtcNow() - age).ToUnixTimeMilliseconds() : long.MinValue;
        var given = 0;
        foreach (var study in db.Command("SELECT pk, uid, last_indexed_ms FROM study ORDER BY last_indexed_ms LIMIT $1", MaxStudies)
            .Rows(row => (Pk: row.GetInt64(0), Uid: row.GetString(1), LastMs: row.GetInt64(2))))
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (study.LastMs > before && !(total > maxBytes))
            {
                break;
            }

            var instances = db.Command(
                """
                SELECT instance.pk, sha256, length, site, position, calling_ae, CAST(metadata.json AS BLOB)
                FROM instance JOIN series ON series.pk = series JOIN metadata ON metadata.instance = instance.pk WHERE study = $1
                """, study.Pk).Rows(row => new Kept(
                    row.GetInt64(0), row.GetString(1), row.GetInt64(2), row.GetString(3), row.GetInt64(4), row.GetString(5), (byte[])row[6]));
            if (instances.TrueForAll(i => i.Site == log.Site && i.Position <= proven && i.Pk > floor && !routes.Owed(i.Sha256)) && !instances.Exists(Pinned))
            {
                await GiveUpAsync(db, study.Pk, study.Uid, instances, cancellationToken);
                total -= instances.Sum(i => i.Length);
                given++;
            }
        }

        if (given > 0)
        {
            await EndPinsAsync(cancellationToken);
            changes.Signal();
            Given(given, total);
        }

        return given;
    }

    /// <summary>Position through which the centre has everything that this site's bulk lane accepted.</summary>
    private async Task<long> ProvenAsync(CancellationToken cancellationToken)
    {
        var last = log.LastPosition;
        var next = await log.ReadLaneAsync(Lane.Bulk, log.Delivered(Lane.Bulk), 1, 1, cancellationToken);
        return next.Count == 0 ? last : next[0].Position - 1;
    }

    /// <summary>
    /// Key up to which rows were indexed from an earlier log: this one's confirmations say nothing about them, so they stay.
    /// </summary>
    private long Floor() => database.Write(own =>
    {
        var feed = $"retention/{log.Epoch:N}";
        if (own.Command("SELECT position FROM cursor WHERE feed = $1", feed).Single() is long known)
        {
            return known;
        }

        var floor = 0L;
        if (own.Command("SELECT 1 FROM cursor WHERE feed LIKE 'retention/%' LIMIT 1").Single() is not null)
        {
            using var reader = archive.OpenReader();
            floor = reader.Scalar("SELECT max(pk) FROM instance") as long? ?? 0;
        }

        GatewayDatabase.MoveCursor(own, feed, floor);
        return floor;
    });

    private bool Pinned(Kept instance)
    {
        if (!book.Rules.Rules.Any(r => r.Pin))
        {
            return false;
        }

        var subject = new RuleSubject(instance.CallingAeTitle, options.Value.AeTitle, DicomJson.Read(instance.Json, Json));
        return RuleEngine.Decide(book.Rules, subject).Pinned is not null;
    }

    private async Task GiveUpAsync(SqliteConnection db, long study, string uid, List<Kept> instances, CancellationToken cancellationToken)
    {
        var nowMs = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var record = new AuditRecord(
            StudyDeleted, "D", 0, "retention", null, $"pacs-gw@{log.Site}", $"study/{uid}", $"{instances.Count} instances, which the centre has", nowMs);
        await log.AppendAsync([Entries.Of(record, $"retention/{log.Site}/{uid}/{nowMs}")], cancellationToken);

        // Noted first: a pin that outlives its rows for a moment is harmless, rows without a blob are not.
        database.Write(own =>
        {
            foreach (var instance in instances)
            {
                own.Command("INSERT OR IGNORE INTO unpin (sha256) VALUES ($1)", instance.Sha256).Go();
            }
        });
        using var transaction = db.BeginTransaction();
        db.Command("DELETE FROM metadata WHERE instance IN (SELECT instance.pk FROM instance JOIN series ON series.pk = series WHERE study = $1)", study).Go();
        db.Command("DELETE FROM instance WHERE series IN (SELECT pk FROM series WHERE study = $1)", study).Go();

        // Whatever else belongs to a study: series, and words of names.
        foreach (var (table, column) in db.Command(
            """
            SELECT m.name, f."from" FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f WHERE m.type = 'table' AND f."table" = 'study'
            """).Rows(row => (row.GetString(0), row.GetString(1))))
        {
            db.Command($"DELETE FROM \"{table}\" WHERE \"{column}\" = $1", study).Go();
        }

        db.Command("DELETE FROM study WHERE pk = $1", study).Go();
        db.Command("DELETE FROM patient WHERE NOT EXISTS (SELECT 1 FROM study WHERE study.patient = patient.pk)").Go();
        transaction.Commit();
    }

    /// <summary>Ends the pins of blobs that no row names any more; goes on where an earlier run was stopped.</summary>
    private async Task EndPinsAsync(CancellationToken cancellationToken)
    {
        using var reader = archive.OpenReader();
        while (database.Write(own => own.Command("SELECT sha256 FROM unpin LIMIT 500").Rows(row => row.GetString(0))) is { Count: > 0 } hashes)
        {
            var gone = hashes.Where(h => reader.Command("SELECT 1 FROM instance WHERE sha256 = $1", h).Single() is null)
                .Select(h => ContentHash.TryParse(h, out var hash) ? hash : throw new InvalidDataException($"'{h}' in gateway.db is not a SHA-256."))
                .ToList();
            if (gone.Count > 0)
            {
                await blobs.UnpinAsync(gone, PacsGwModule.Name, cancellationToken);
            }

            database.Write(own =>
            {
                foreach (var hash in hashes)
                {
                    own.Command("DELETE FROM unpin WHERE sha256 = $1", hash).Go();
                }
            });
        }
    }

    /// <summary>An instance of a study that may be given up.</summary>
    private sealed record Kept(long Pk, string Sha256, long Length, string Site, long Position, string CallingAeTitle, byte[] Json);

    [LoggerMessage(3080, LogLevel.Information, "{Studies} studies were given up, which the centre has; {Bytes} bytes are in the archive.")]
    private partial void Given(int studies, long bytes);

    [LoggerMessage(3081, LogLevel.Error, "Studies could not be given up; the next run tries again.")]
    private partial void Failed(Exception exception);
}
