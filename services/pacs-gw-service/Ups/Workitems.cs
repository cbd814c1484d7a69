using System.Text;
using System.Text.Json;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Ups;

/// <summary>How an operation on a workitem ended (PS3.4 Table CC.2.1-2 and following).</summary>
internal enum WorkitemOutcome
{
    /// <summary>Done, and durable.</summary>
    Done,

    /// <summary>It was so already; nothing changed.</summary>
    AlreadySo,

    /// <summary>There is no such workitem.</summary>
    NotFound,

    /// <summary>There is one with this UID already.</summary>
    Exists,

    /// <summary>The transaction UID is missing or not the one it was claimed with.</summary>
    WrongTransaction,

    /// <summary>Its state does not allow this.</summary>
    WrongState,

    /// <summary>It cannot be completed: attributes that the final state needs are missing.</summary>
    NotFinal,
}

/// <summary>
/// The unified worklist. Each change is one event in the log, durable before the caller hears of it; the table beside it
/// (<c>pacs-gw/workitems.db</c>) is what the events of this node add up to, and catches up with them when the node starts.
/// </summary>
internal sealed partial class Workitems : IHostedService, IDisposable
{
    public const string Scheduled = "SCHEDULED";
    public const string InProgress = "IN PROGRESS";
    public const string Completed = "COMPLETED";
    public const string Canceled = "CANCELED";

    public static readonly DicomTag State = new(0x0074, 0x1000);

    private const string Schema = """
        CREATE TABLE workitem (
            uid              TEXT    PRIMARY KEY,
            version          INTEGER NOT NULL,
            state            TEXT    NOT NULL,
            transaction_uid  TEXT,
            cancel_requested INTEGER NOT NULL,
            json             TEXT    NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX workitem_by_state ON workitem (state);
        CREATE TABLE cursor (
            id       INTEGER PRIMARY KEY CHECK (id = 1),
            epoch    TEXT    NOT NULL,
            sequence INTEGER NOT NULL
        ) STRICT;
        """;

    /// <summary>Procedure Record (PS3.15 A.5.3.12 uses the same code for what is done to a step).</summary>
    private const string ProcedureRecord = "110111";

    /// <summary>What must not be in an update: identity, state and the key to it (PS3.4 Table CC.2.5-3).</summary>
    private static readonly DicomTag[] Fixed = [DicomTags.SOPClassUID, DicomTags.SOPInstanceUID, DicomTags.TransactionUID, State];

    private readonly IEventLog _log;
    private readonly NotificationConnections _connections;
    private readonly TimeProvider _clock;
    private readonly SqliteConnection _db;
    private readonly SemaphoreSlim _gate = new(1, 1);

    public Workitems(IEventLog log, NotificationConnections connections, IOptions<NodeOptions> node, TimeProvider clock)
    {
        (_log, _connections, _clock) = (log, connections, clock);
        _db = SqliteFile.OpenWriter(node.Value.PathOf("pacs-gw", "workitems.db"), Schema, SubscriptionSchema);
    }

    /// <summary>Applies what was made durable and not yet applied when the node ended.</summary>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        const int step = 1000;
        using var select = _db.Command("SELECT sequence FROM cursor WHERE epoch = $1", _log.Epoch.ToString());
        var sequence = (long?)select.ExecuteScalar() ?? 0;
        while (await _log.ReadLaneAsync(Lane.Normal, sequence, step, long.MaxValue, cancellationToken) is { Count: > 0 } entries)
        {
            using var transaction = _db.BeginTransaction();
            foreach (var entry in entries.Where(e => e.Entry.Type == WorkitemChanged.EventType))
            {
                var changed = JsonSerializer.Deserialize(entry.Entry.Data.Span, ContractsJson.Default.WorkitemChanged)!;
                var known = Find(changed.WorkitemUid);
                Apply(changed);
                SubscribeWhoWants(known, changed);
            }

            sequence = entries[^1].Identity.Sequence;
            MoveCursor(sequence);
            transaction.Commit();
        }
    }

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public void Dispose()
    {
        _db.Dispose();
        _gate.Dispose();
    }

    /// <summary>Adds a workitem that nobody has claimed.</summary>
    public Task<WorkitemOutcome> CreateAsync(string uid, DicomDataset dataset, string agent, CancellationToken cancellationToken) =>
        ChangeAsync(uid, agent, known => known is not null
            ? (WorkitemOutcome.Exists, null)
            : (WorkitemOutcome.Done, new WorkitemChanged(uid, 1, Scheduled, null, false, Text(dataset))), cancellationToken);

    /// <summary>Replaces attributes. Whoever claimed it says its transaction UID.</summary>
    public Task<WorkitemOutcome> UpdateAsync(string uid, string? transactionUid, DicomDataset changes, string agent, CancellationToken cancellationToken) =>
        ChangeAsync(uid, agent, known =>
        {
            if (known is null || known.State is Completed or Canceled || known.TransactionUid != transactionUid)
            {
                return (known is null ? WorkitemOutcome.NotFound
                    : known.State is Completed or Canceled ? WorkitemOutcome.WrongState : WorkitemOutcome.WrongTransaction, null);
            }

            var dataset = Dataset(known);
            foreach (var element in changes.Where(e => !Fixed.Contains(e.Tag)))
            {
                dataset.Set(element);
            }

            return (WorkitemOutcome.Done, known with { Dataset = Text(dataset) });
        }, cancellationToken);

    /// <summary>Claims a workitem (to IN PROGRESS), or ends it as who claimed it.</summary>
    public Task<WorkitemOutcome> MoveAsync(string uid, string state, string transactionUid, string agent, CancellationToken cancellationToken) =>
        ChangeAsync(uid, agent, known => (known?.State, state) switch
        {
            (null, _) => (WorkitemOutcome.NotFound, null),
            (Completed, Completed) or (Canceled, Canceled) => (WorkitemOutcome.AlreadySo, null),
            (Scheduled, InProgress) => (WorkitemOutcome.Done, Moved(known!, state, transactionUid)),
            (InProgress, Completed or Canceled) when known!.TransactionUid != transactionUid => (WorkitemOutcome.WrongTransaction, null),
            (InProgress, Completed) when !IsFinal(known!) => (WorkitemOutcome.NotFinal, null),
            (InProgress, Completed or Canceled) => (WorkitemOutcome.Done, Moved(known!, state, transactionUid)),
            _ => (WorkitemOutcome.WrongState, null),
        }, cancellationToken);

    /// <summary>Cancels what nobody has claimed; asks whoever has claimed it, who sees it in the workitem and, subscribed, gets the event.</summary>
    public Task<WorkitemOutcome> RequestCancelAsync(string uid, UpsEvent request, string agent, CancellationToken cancellationToken) =>
        ChangeAsync(uid, agent, known => known?.State switch
        {
            null => (WorkitemOutcome.NotFound, null),
            Canceled => (WorkitemOutcome.AlreadySo, null),
            Scheduled => (WorkitemOutcome.Done, Moved(known, Canceled, null)),
            InProgress => (WorkitemOutcome.Done, known with { CancelRequested = true }),
            _ => (WorkitemOutcome.WrongState, null),
        }, cancellationToken, request);

    /// <summary>One workitem; null when there is none.</summary>
    public async Task<WorkitemChanged?> FindAsync(string uid, CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            return Find(uid);
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>The workitems in a state, or all; at most a number of them, by UID.</summary>
    public async Task<IReadOnlyList<WorkitemChanged>> ListAsync(string? state, int most, CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            using var select = _db.Command(
                "SELECT uid, version, state, transaction_uid, cancel_requested, json FROM workitem WHERE $1 IS NULL OR state = $1 ORDER BY uid LIMIT $2",
                state, most);
            using var row = select.ExecuteReader();
            var found = new List<WorkitemChanged>();
            while (row.Read())
            {
                found.Add(Read(row));
            }

            return found;
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>The attributes as clients see them: with the state, without the transaction UID.</summary>
    public static DicomDataset Dataset(WorkitemChanged workitem) =>
        DicomJson.Read(Encoding.UTF8.GetBytes(workitem.Dataset))
            .Set(DicomTags.SOPInstanceUID, workitem.WorkitemUid)
            .Set(State, workitem.State);

    private static string Text(DicomDataset dataset) => Encoding.UTF8.GetString(DicomJson.ToUtf8Bytes(dataset));

    private static WorkitemChanged Moved(WorkitemChanged known, string state, string? transactionUid) =>
        known with { State = state, TransactionUid = transactionUid };

    /// <summary>A performed procedure with its end is what PS3.4 Table CC.2.5-3 needs of a completed step at least.</summary>
    private static bool IsFinal(WorkitemChanged known) =>
        Dataset(known).GetItems(new DicomTag(0x0074, 0x1216)) is [var performed, ..] && performed.Contains(new DicomTag(0x0040, 0x4051));

    /// <summary>One at a time: looks, decides, makes it durable, applies it.</summary>
    private async Task<WorkitemOutcome> ChangeAsync(
        string uid, string agent, Func<WorkitemChanged?, (WorkitemOutcome, WorkitemChanged?)> decide, CancellationToken cancellationToken,
        UpsEvent? cancelRequest = null)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            var known = Find(uid);
            var (outcome, changed) = decide(known);
            if (changed is null)
            {
                return outcome;
            }

            changed = changed with { Version = (known?.Version ?? 0) + 1 };
            var now = _clock.GetUtcNow();
            var audit = new AuditRecord(
                ProcedureRecord, known is null ? "C" : "U", 0, agent, agent, $"pacs-gw@{_log.Site}", $"workitem/{uid}", changed.State.ToLowerInvariant(),
                now.ToUnixTimeMilliseconds());
            var receipts = await _log.AppendAsync(
                [
                    Entries.Of(changed, $"workitem/{_log.Site}/{uid}/{changed.Version}", now.ToUnixTimeMilliseconds()),
                    Entries.Of(audit, $"audit/{_log.Site}/workitem/{uid}/{changed.Version}"),
                ],
                CancellationToken.None);
            using var transaction = _db.BeginTransaction();
            Apply(changed);
            SubscribeWhoWants(known, changed);
            MoveCursor(receipts[0].Identity.Sequence);
            transaction.Commit();
            Report(known, changed, cancelRequest);
            return outcome;
        }
        finally
        {
            _gate.Release();
        }
    }

    private WorkitemChanged? Find(string uid)
    {
        using var select = _db.Command(
            "SELECT uid, version, state, transaction_uid, cancel_requested, json FROM workitem WHERE uid = $1", uid);
        using var row = select.ExecuteReader();
        return row.Read() ? Read(row) : null;
    }

    private static WorkitemChanged Read(SqliteDataReader row) => new(
        row.GetString(0), row.GetInt64(1), row.GetString(2), row.IsDBNull(3) ? null : row.GetString(3), row.GetInt64(4) != 0, row.GetString(5));

    private void Apply(WorkitemChanged changed)
    {
        using var upsert = _db.Command(
            """
            INSERT INTO workitem (uid, version, state, transaction_uid, cancel_requested, json) VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT (uid) DO UPDATE SET version = excluded.version, state = excluded.state, transaction_uid = excluded.transaction_uid,
                cancel_requested = excluded.cancel_requested, json = excluded.json
            WHERE excluded.version > version
            """,
            changed.WorkitemUid, changed.Version, changed.State, changed.TransactionUid, changed.CancelRequested ? 1 : 0, changed.Dataset);
        upsert.ExecuteNonQuery();
    }

    private void MoveCursor(long sequence)
    {
        using var upsert = _db.Command(
            """
            INSERT INTO cursor (id, epoch, sequence) VALUES (1, $1, $2)
            ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, sequence = excluded.sequence
            """, _log.Epoch.ToString(), sequence);
        upsert.ExecuteNonQuery();
    }
}
