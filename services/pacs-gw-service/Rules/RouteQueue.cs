using Microsoft.Data.Sqlite;
using Yizhan.Contracts;
using Yizhan.PacsGw.Archive;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Rules;

/// <summary>How far the rules were applied to the event log. Without rules nothing has to be kept for them.</summary>
internal sealed class RouteConsumer(RuleBook book, RouteQueue queue, IEventLog log) : ILogConsumer
{
    /// <inheritdoc/>
    public string Name => RouteQueue.Holder;

    /// <inheritdoc/>
    public ValueTask<long> ReadThroughAsync(CancellationToken cancellationToken) =>
        new(book.Rules.Destinations.Count == 0 ? log.LastPosition : queue.Cursor(RouteQueue.FeedOf(log)) ?? 0);
}

/// <summary>A copy that is owed.</summary>
internal sealed record Delivery(
    long Pk, string Destination, string Rule, string StudyInstanceUid, string SeriesInstanceUid, string SopInstanceUid, string SopClassUid,
    string TransferSyntaxUid, string Sha256, long Length, string CallingAeTitle, string CalledAeTitle, int Attempts);

/// <summary>The copies that are owed, durably. Blobs that they need are pinned until nobody owes them any more.</summary>
internal sealed class RouteQueue(GatewayDatabase database, IBlobStore blobs, TimeProvider clock)
{
    /// <summary>Who holds the pins.</summary>
    public const string Holder = "pacs-gw-routes";

    /// <summary>A copy that the destination itself refuses so many times waits for a person.</summary>
    public const int MaxAttempts = 5;

    private const string Columns =
        "pk, destination, rule, study_uid, series_uid, sop_uid, sop_class, transfer_syntax, sha256, length, calling_ae, called_ae, attempts";

    /// <summary>The cursor's name for this log.</summary>
    public static string FeedOf(IEventLog log) => $"routes/{log.Epoch:N}";

    private readonly ArchiveChanges _changes = new();

    /// <summary>Ends when something is added or to be tried again. Take it before looking.</summary>
    public Task Next => _changes.Next;

    /// <summary>Adds copies and moves the cursor, in one transaction; a copy that is known already is not added again.</summary>
    public async ValueTask AddAsync(IReadOnlyList<Delivery> deliveries, string feed, long position, CancellationToken cancellationToken)
    {
        var hashes = deliveries.Select(d => d.Sha256).Distinct().Select(Hash).ToList();
        if (hashes.Count > 0)
        {
            // Before the commit: a pin too many is ended with the delivery, one too few would lose the blob.
            await blobs.PinAsync(hashes, Holder, cancellationToken);
        }

        var nowMs = Now();
        database.Write(db =>
        {
            foreach (var d in deliveries)
            {
                db.Command(
                    """
                    INSERT INTO delivery (destination, rule, study_uid, series_uid, sop_uid, sop_class, transfer_syntax, sha256, length, calling_ae, called_ae, state, queued_ms)
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'waiting', $12) ON CONFLICT DO NOTHING
                    """,
                    d.Destination, d.Rule, d.StudyInstanceUid, d.SeriesInstanceUid, d.SopInstanceUid, d.SopClassUid, d.TransferSyntaxUid, d.Sha256, d.Length,
                    d.CallingAeTitle, d.CalledAeTitle, nowMs).Go();
            }

            GatewayDatabase.MoveCursor(db, feed, position);
        });
        if (deliveries.Count > 0)
        {
            _changes.Signal();
        }
    }

    /// <summary>The oldest copies that wait for a destination: at least one if any, together no more than some bytes.</summary>
    public IReadOnlyList<Delivery> Waiting(string destination, int most, long mostBytes)
    {
        var rows = database.Write(db => db.Command(
            $"SELECT {Columns} FROM delivery WHERE destination = $1 AND state = 'waiting' ORDER BY pk LIMIT $2", destination, most).Rows(Read));
        var bytes = 0L;
        return [.. rows.TakeWhile((d, i) => (bytes += d.Length) <= mostBytes || i == 0)];
    }

    /// <summary>The destination has it.</summary>
    public async ValueTask DeliveredAsync(Delivery delivery, CancellationToken cancellationToken)
    {
        End(delivery, "delivered", "");
        if (!Owed(delivery.Sha256))
        {
            await blobs.UnpinAsync([Hash(delivery.Sha256)], Holder, cancellationToken);
        }
    }

    /// <summary>The destination refused it, or it cannot be made. Waits for a person once that is final.</summary>
    public void Refused(Delivery delivery, string reason, bool final)
    {
        if (final || delivery.Attempts + 1 >= MaxAttempts)
        {
            End(delivery, "failed", reason);
        }
        else
        {
            database.Write(db => db.Command("UPDATE delivery SET attempts = attempts + 1, reason = $2 WHERE pk = $1", delivery.Pk, reason).Go());
        }
    }

    /// <summary>Remembers what is about to be put into an Orthanc.</summary>
    public void Posting(string orthancId) => database.Write(db => db.Command("INSERT OR IGNORE INTO posted (id) VALUES ($1)", orthancId).Go());

    /// <summary>Tries a failed copy again; false when there is none with this key.</summary>
    public bool Retry(long pk)
    {
        var found = database.Write(db => db.Command(
            "UPDATE delivery SET state = 'waiting', attempts = 0, ended_ms = NULL WHERE pk = $1 AND state = 'failed'", pk).Go()) > 0;
        _changes.Signal();
        return found;
    }

    /// <summary>Gives a failed copy up; false when there is none with this key.</summary>
    public async ValueTask<bool> DropAsync(long pk, CancellationToken cancellationToken)
    {
        var hash = database.Write(db => db.Command("DELETE FROM delivery WHERE pk = $1 AND state = 'failed' RETURNING sha256", pk).Single()) as string;
        if (hash is not null && !Owed(hash))
        {
            await blobs.UnpinAsync([Hash(hash)], Holder, cancellationToken);
        }

        return hash is not null;
    }

    /// <summary>Copies by state for one destination.</summary>
    public (long Waiting, long Delivered, long Failed, long? OldestMs) Count(string destination) => database.Write(db =>
    {
        var counts = db.Command("SELECT state, count(*), min(queued_ms) FROM delivery WHERE destination = $1 GROUP BY state", destination)
            .Rows(row => (State: row.GetString(0), Count: row.GetInt64(1), Oldest: row.GetInt64(2)));
        long Of(string state) => counts.FirstOrDefault(c => c.State == state).Count;
        return (Of("waiting"), Of("delivered"), Of("failed"), counts.Where(c => c.State == "waiting").Select(c => (long?)c.Oldest).FirstOrDefault());
    });

    /// <summary>Copies that wait for a person, newest first.</summary>
    public IReadOnlyList<DeliveryView> Failed(int most) => database.Write(db => db.Command(
        """
        SELECT pk, destination, rule, study_uid, sop_uid, attempts, reason, queued_ms, ended_ms FROM delivery
        WHERE state = 'failed' ORDER BY ended_ms DESC, pk DESC LIMIT $1
        """, most).Rows(row => new DeliveryView(
            row.GetInt64(0), row.GetString(1), row.GetString(2), row.GetString(3), row.GetString(4), row.GetInt32(5), row.GetString(6), row.GetInt64(7),
            row.GetInt64(8))));

    /// <summary>True when some copy of this content is still to be sent, or waits for a person.</summary>
    public bool Owed(string sha256) =>
        database.Write(db => db.Command("SELECT 1 FROM delivery WHERE sha256 = $1 AND state <> 'delivered' LIMIT 1", sha256).Single()) is not null;

    /// <summary>How far a log was followed; null when no log ever was.</summary>
    public long? Cursor(string feed) => database.Write(db =>
        db.Command("SELECT position FROM cursor WHERE feed = $1", feed).Single() as long?
        ?? (db.Command("SELECT 1 FROM cursor WHERE feed LIKE 'routes/%' LIMIT 1").Single() is null ? null : 0L));

    private void End(Delivery delivery, string state, string reason) => database.Write(db => db.Command(
        "UPDATE delivery SET state = $2, attempts = attempts + 1, reason = $3, ended_ms = $4 WHERE pk = $1", delivery.Pk, state, reason, Now()).Go());

    private long Now() => clock.GetUtcNow().ToUnixTimeMilliseconds();

    private static ContentHash Hash(string sha256) =>
        ContentHash.TryParse(sha256, out var hash) ? hash : throw new InvalidDataException($"'{sha256}' in gateway.db is not a SHA-256.");

    private static Delivery Read(SqliteDataReader row) => new(
        row.GetInt64(0), row.GetString(1), row.GetString(2), row.GetString(3), row.GetString(4), row.GetString(5), row.GetString(6), row.GetString(7),
        row.GetString(8), row.GetInt64(9), row.GetString(10), row.GetString(11), row.GetInt32(12));
}
