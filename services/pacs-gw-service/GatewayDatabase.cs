using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.PacsGw;

/// <summary>
/// What this gateway must remember and cannot build again from the log: how far it followed others, what it owes to whom, what people decided.
/// File <c>pacs-gw/gateway.db</c>; each write is durable when it returns.
/// </summary>
internal sealed class GatewayDatabase : IDisposable
{
    /// <summary>Never change one that shipped.</summary>
    private static readonly string[] Migrations =
    [
        """
        -- How far a feed was followed: an Orthanc by its database, the event log by its epoch.
        CREATE TABLE cursor (
            feed     TEXT    PRIMARY KEY,
            position INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;

        -- One copy of one instance that is owed to one destination.
        CREATE TABLE delivery (
            pk              INTEGER PRIMARY KEY,
            destination     TEXT    NOT NULL,
            rule            TEXT    NOT NULL,
            study_uid       TEXT    NOT NULL,
            series_uid      TEXT    NOT NULL,
            sop_uid         TEXT    NOT NULL,
            sop_class       TEXT    NOT NULL,
            transfer_syntax TEXT    NOT NULL,
            sha256          TEXT    NOT NULL,
            length          INTEGER NOT NULL,
            calling_ae      TEXT    NOT NULL,
            called_ae       TEXT    NOT NULL,
            state           TEXT    NOT NULL CHECK (state IN ('waiting', 'delivered', 'failed')),
            attempts        INTEGER NOT NULL DEFAULT 0,
            reason          TEXT    NOT NULL DEFAULT '',
            queued_ms       INTEGER NOT NULL,
            ended_ms        INTEGER,
            UNIQUE (destination, rule, sha256, transfer_syntax, sop_uid)
        ) STRICT;
        CREATE INDEX delivery_waiting ON delivery (destination, pk) WHERE state = 'waiting';
        CREATE INDEX delivery_by_hash ON delivery (sha256) WHERE state <> 'delivered';
        CREATE INDEX delivery_by_sop  ON delivery (destination, sop_uid);

        -- What we put into an Orthanc that we may follow, by its own identifiers.
        CREATE TABLE posted (
            id TEXT PRIMARY KEY
        ) STRICT, WITHOUT ROWID;

        -- Blobs whose archive rows are gone and whose pin is to be ended.
        CREATE TABLE unpin (
            sha256 TEXT PRIMARY KEY
        ) STRICT, WITHOUT ROWID;
        """,
        """
        -- Instances whose patient is not their study's. Decision: empty while it is open.
        CREATE TABLE parked (
            pk                 INTEGER PRIMARY KEY,
            study_uid          TEXT    NOT NULL,
            sop_uid            TEXT    NOT NULL,
            sha256             TEXT    NOT NULL,
            transfer_syntax    TEXT    NOT NULL,
            patient_id         TEXT    NOT NULL,
            patient_name       TEXT    NOT NULL,
            study_patient_id   TEXT    NOT NULL,
            study_patient_name TEXT    NOT NULL,
            site               TEXT    NOT NULL,
            stored_ms          INTEGER NOT NULL,
            position           INTEGER NOT NULL,
            event              TEXT    NOT NULL,
            decision           TEXT    NOT NULL,
            decided_by         TEXT,
            decided_ms         INTEGER,
            UNIQUE (study_uid, sop_uid, sha256, transfer_syntax)
        ) STRICT;
        """,
    ];

    private readonly Lock _gate = new();
    private readonly SqliteConnection _writer;

    /// <summary>Opens or creates the file.</summary>
    /// <exception cref="SqliteException">It cannot be opened or was damaged.</exception>
    public GatewayDatabase(IOptions<NodeOptions> node) =>
        _writer = SqliteFile.OpenWriter(node.Value.PathOf("pacs-gw", "gateway.db"), Migrations);

    /// <summary>Runs short work in one transaction, one at a time; durable on return.</summary>
    public T Write<T>(Func<SqliteConnection, T> work)
    {
        lock (_gate)
        {
            using var transaction = _writer.BeginTransaction();
            var result = work(_writer);
            transaction.Commit();
            return result;
        }
    }

    /// <inheritdoc cref="Write{T}"/>
    public void Write(Action<SqliteConnection> work) => Write(db =>
    {
        work(db);
        return true;
    });

    /// <summary>How far a feed was followed; 0 when it never was.</summary>
    public long Cursor(string feed) => Write(db =>
        db.Command("SELECT position FROM cursor WHERE feed = $1", feed).Single() as long? ?? 0);

    /// <summary>Remembers how far a feed was followed, in the transaction of <see cref="Write(Action{SqliteConnection})"/>.</summary>
    public static void MoveCursor(SqliteConnection db, string feed, long position) => db.Command(
        "INSERT INTO cursor (feed, position) VALUES ($1, $2) ON CONFLICT (feed) DO UPDATE SET position = excluded.position",
        feed, position).Go();

    public void Dispose() => _writer.Dispose();
}
