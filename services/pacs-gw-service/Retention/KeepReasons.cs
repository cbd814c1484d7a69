using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Dicom;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.Rules;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Retention;

/// <summary>An instance that may be given up.</summary>
internal sealed record Kept(long Pk, string Sha256, long Length, string Site, long Position, string CallingAeTitle, byte[] Json)
{
    /// <summary>All instances at a place, variants included.</summary>
    public static List<Kept> At(SqliteConnection db, string study, string? series, string? instance) => db.Command(
        """
        SELECT instance.pk, sha256, length, site, position, calling_ae, CAST(metadata.json AS BLOB)
        FROM instance JOIN series ON series.pk = series JOIN metadata ON metadata.instance = instance.pk
        WHERE study = (SELECT pk FROM study WHERE uid = $1) AND ($2 IS NULL OR series.uid = $2) AND ($3 IS NULL OR sop_uid = $3)
        """, study, series, instance).Rows(row => new Kept(
            row.GetInt64(0), row.GetString(1), row.GetInt64(2), row.GetString(3), row.GetInt64(4), row.GetString(5), (byte[])row[6]));
}

/// <summary>What speaks against giving up instances: nothing goes that is not proven elsewhere, that a rule pins or of which a copy is owed.</summary>
internal sealed class KeepReasons(
    ArchiveDatabase archive, GatewayDatabase database, IEventLog log, RuleBook book, RouteQueue routes, IOptions<PacsGwOptions> options)
{
    private static readonly DicomJsonOptions Json = new() { ReadBulkData = (_, _) => ReadOnlyMemory<byte>.Empty };

    /// <summary>Looks at what the centre has confirmed by now.</summary>
    /// <returns>Why instances have to stay, for people; null when they may go.</returns>
    public async Task<Func<IReadOnlyList<Kept>, string?>> NowAsync(CancellationToken cancellationToken)
    {
        var proven = await ProvenAsync(cancellationToken);
        var floor = Floor();
        return instances =>
        {
            var unproven = instances.Count(i => i.Site != log.Site || i.Position > proven || i.Pk <= floor);
            return unproven > 0
                ? $"{unproven} of {instances.Count} instances are not proven to be anywhere else: the centre has not confirmed them, or this is the centre"
                : instances.Any(i => routes.Owed(i.Sha256)) ? "a copy is owed to a destination of the rules"
                : instances.Select(PinnedBy).FirstOrDefault(rule => rule is not null) is { } pin ? $"the rule '{pin}' pins it"
                : null;
        };
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

    private string? PinnedBy(Kept instance)
    {
        if (!book.Rules.Rules.Any(r => r.Pin))
        {
            return null;
        }

        var subject = new RuleSubject(instance.CallingAeTitle, options.Value.AeTitle, DicomJson.Read(instance.Json, Json));
        return RuleEngine.Decide(book.Rules, subject).Pinned?.Name;
    }
}
