using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.EmrAdapter;

/// <summary>
/// What the adapter knows and owes: orders, patients, the outbox of each system, how far each feed was followed. File <c>emr-adapter/emr.db</c>; each
/// write is durable when it returns.
/// </summary>
internal sealed class EmrDatabase : IDisposable
{
    /// <summary>Never change one that shipped.</summary>
    private static readonly string[] Migrations =
    [
        """
        CREATE TABLE cursor (feed TEXT PRIMARY KEY, position TEXT NOT NULL) STRICT, WITHOUT ROWID;

        -- An order as folded from all that was said about it. Event: the one that counts. Worklist: the step as last announced.
        CREATE TABLE orders (
            id TEXT PRIMARY KEY, source TEXT NOT NULL, site TEXT NOT NULL, state TEXT NOT NULL CHECK (state IN ('active', 'cancelled', 'replaced', 'completed')),
            ordered_ms INTEGER NOT NULL, rank INTEGER NOT NULL, placer TEXT NOT NULL, accession TEXT NOT NULL, patient_id TEXT NOT NULL, issuer TEXT NOT NULL,
            study_uid TEXT NOT NULL, code_system TEXT NOT NULL, code TEXT NOT NULL, event TEXT, worklist TEXT, changed_ms INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX orders_by_placer ON orders (placer);
        CREATE INDEX orders_by_accession ON orders (accession);
        CREATE INDEX orders_by_patient ON orders (patient_id);
        CREATE INDEX orders_by_study ON orders (study_uid);

        -- Merged: the identifier that took this one's place.
        CREATE TABLE patient (
            id TEXT NOT NULL, issuer TEXT NOT NULL, changed_ms INTEGER NOT NULL, event TEXT, merged_id TEXT, merged_issuer TEXT, PRIMARY KEY (id, issuer)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE identifier (
            value TEXT NOT NULL, system TEXT NOT NULL, patient_id TEXT NOT NULL, issuer TEXT NOT NULL, PRIMARY KEY (value, system)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE conflict (
            pk INTEGER PRIMARY KEY, patient_id TEXT NOT NULL, issuer TEXT NOT NULL, problem TEXT NOT NULL, first_ms INTEGER NOT NULL,
            UNIQUE (patient_id, issuer, problem)
        ) STRICT;
        CREATE TABLE unmapped (
            map TEXT NOT NULL, system TEXT NOT NULL, code TEXT NOT NULL, text TEXT NOT NULL, orders INTEGER NOT NULL, first_ms INTEGER NOT NULL,
            PRIMARY KEY (map, system, code)
        ) STRICT, WITHOUT ROWID;

        -- Since: the place in the log from which on a system is told what happens.
        CREATE TABLE system (name TEXT PRIMARY KEY, since INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE outbox (
            pk INTEGER PRIMARY KEY, system TEXT NOT NULL, fact TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, lane TEXT NOT NULL,
            study_uid TEXT NOT NULL, accession TEXT NOT NULL, payload TEXT NOT NULL, bytes INTEGER NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead', 'unlinked', 'superseded')),
            attempts INTEGER NOT NULL DEFAULT 0, failing_since_ms INTEGER, next_ms INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
            control_id TEXT NOT NULL, queued_ms INTEGER NOT NULL, ended_ms INTEGER,
            UNIQUE (system, fact)
        ) STRICT;
        CREATE INDEX outbox_waiting ON outbox (system, pk) WHERE state = 'waiting';
        CREATE INDEX outbox_lane ON outbox (system, lane, pk) WHERE state = 'waiting';
        CREATE INDEX outbox_unlinked ON outbox (study_uid) WHERE state = 'unlinked';
        CREATE INDEX outbox_state ON outbox (system, state, ended_ms);
        CREATE INDEX outbox_subject ON outbox (system, subject);

        -- What a system calls what we made there.
        CREATE TABLE remote (system TEXT NOT NULL, key TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (system, key)) STRICT, WITHOUT ROWID;

        -- What a system gave us and we could not take.
        CREATE TABLE refused (
            pk INTEGER PRIMARY KEY, system TEXT NOT NULL, ref TEXT NOT NULL, kind TEXT NOT NULL, payload TEXT NOT NULL, reason TEXT NOT NULL,
            attempts INTEGER NOT NULL, state TEXT NOT NULL CHECK (state IN ('waiting', 'dead', 'delivered')), next_ms INTEGER NOT NULL, first_ms INTEGER NOT NULL,
            ended_ms INTEGER, UNIQUE (system, ref)
        ) STRICT;

        CREATE TABLE study (
            uid TEXT PRIMARY KEY, patient_id TEXT NOT NULL, issuer TEXT NOT NULL, accession TEXT NOT NULL, modality TEXT NOT NULL, started TEXT NOT NULL,
            series TEXT NOT NULL, instances INTEGER NOT NULL, told INTEGER NOT NULL, last_ms INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX study_untold ON study (last_ms) WHERE told < instances;
        """,
        """
        -- The trace of what a message comes from (W3C Trace Context): it goes on when the message is sent, days later if the system was away.
        ALTER TABLE study ADD COLUMN trace_parent TEXT;
        ALTER TABLE outbox ADD COLUMN trace_parent TEXT;
        """,
        """
        -- What people decided. Decision: empty while the conflict is open.
        ALTER TABLE conflict ADD COLUMN other_id TEXT NOT NULL DEFAULT '';
        ALTER TABLE conflict ADD COLUMN other_issuer TEXT NOT NULL DEFAULT '';
        ALTER TABLE conflict ADD COLUMN decision TEXT NOT NULL DEFAULT '';
        CREATE TABLE term (
            map TEXT NOT NULL, system TEXT NOT NULL, code TEXT NOT NULL, target TEXT NOT NULL, text TEXT NOT NULL, mapped_ms INTEGER NOT NULL, PRIMARY KEY (map, system, code)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX orders_by_time ON orders (state, ordered_ms);
        """,
        """
        -- What a system was told of a study is asked for with every page of studies.
        CREATE INDEX outbox_study ON outbox (study_uid) WHERE study_uid <> '';
        """,
        """
        -- MSH-10 of what the log says was told and this file does not know yet: it is an older copy, put back beside a newer log.
        CREATE TABLE told (control_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
        """,
    ];

    private readonly SemaphoreSlim _gate = new(1, 1);
    private readonly SqliteConnection _writer;

    /// <summary>Opens or creates the file.</summary>
    /// <exception cref="SqliteException">It cannot be opened or was damaged.</exception>
    public EmrDatabase(IOptions<NodeOptions> node) => _writer = SqliteFile.OpenWriter(node.Value.PathOf("emr-adapter", "emr.db"), Migrations);

    /// <summary>Runs short work in one transaction, one at a time; durable on return.</summary>
    public T Write<T>(Func<SqliteConnection, T> work)
    {
        _gate.Wait();
        try
        {
            using var transaction = _writer.BeginTransaction();
            var result = work(_writer);
            transaction.Commit();
            return result;
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <inheritdoc cref="Write{T}"/>
    public void Write(Action<SqliteConnection> work) => Write(db =>
    {
        work(db);
        return true;
    });

    /// <summary>Reads only; never waits for the disk.</summary>
    public T Read<T>(Func<SqliteConnection, T> work)
    {
        _gate.Wait();
        try
        {
            return work(_writer);
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>
    /// Runs work in one transaction whose commit waits for something else to be durable first. When that fails nothing was written.
    /// </summary>
    public async Task WriteAsync<T>(Func<SqliteConnection, T> work, Func<T, Task> before, CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            await using var transaction = _writer.BeginTransaction();
            var result = work(_writer);
            await before(result);
            await transaction.CommitAsync(CancellationToken.None);
        }
        finally
        {
            _gate.Release();
        }
    }

    public static string? Cursor(SqliteConnection db, string feed) => db.Command("SELECT position FROM cursor WHERE feed = $1", feed).Single() as string;

    public static void MoveCursor(SqliteConnection db, string feed, string position) => db.Command(
        "INSERT INTO cursor (feed, position) VALUES ($1, $2) ON CONFLICT (feed) DO UPDATE SET position = excluded.position", feed, position).Go();

    public void Dispose()
    {
        _writer.Dispose();
        _gate.Dispose();
    }
}
