using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;

namespace Yizhan.EmrAdapter.Outbox;

/// <summary>What is owed to each system, durably and in order. What is added is added in the transaction of the fact's cursor.</summary>
internal sealed class EmrOutbox(EmrDatabase database, IOptions<EmrAdapterOptions> options, TimeProvider clock)
{
    private readonly Lock _gate = new();
    private readonly TaskCompletionSource _begun = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Ends when it is known what was told: nothing is sent before.</summary>
    public Task Begun => _begun.Task;

    /// <summary>Lets messages go out.</summary>
    public void Begin() => _begun.TrySetResult();

    /// <summary>Messages that were taken, by what the log says: they are not sent again, whether they are here or are added later.</summary>
    public void Told(IReadOnlyCollection<string> controlIds)
    {
        if (controlIds.Count == 0)
        {
            return;
        }

        database.Write(db =>
        {
            foreach (var id in controlIds)
            {
                if (db.Command("UPDATE outbox SET state = 'delivered', reason = '', payload = '', bytes = 0, ended_ms = $2 WHERE control_id = $1 AND state IN ('waiting', 'unlinked', 'dead') RETURNING 1", id, Now()).Single() is null
                    && db.Command("SELECT 1 FROM outbox WHERE control_id = $1", id).Single() is null)
                {
                    db.Command("INSERT INTO told VALUES ($1) ON CONFLICT DO NOTHING", id).Go();
                }
            }
        });
    }

    /// <summary>Ends when something was added or is to be tried again. Take it before looking.</summary>
    public Task Changed
    {
        get
        {
            lock (_gate)
            {
                return _changed.Task;
            }
        }
    }

    /// <summary>Wakes whoever waits for <see cref="Changed"/>.</summary>
    public void Signal()
    {
        lock (_gate)
        {
            _changed.TrySetResult();
            _changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }

    /// <summary>MSH-10 of a fact for a system: 20 characters, the same for ever.</summary>
    public static string ControlIdOf(string system, string fact) => Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes($"{system}\n{fact}")))[..20];

    /// <summary>Adds a message; one that is known already is not added again. Without a patient it waits until he is known.</summary>
    public void Add(SqliteConnection db, string system, Outgoing content, string? traceParent)
    {
        var control = ControlIdOf(system, content.Fact);
        var told = db.Command("DELETE FROM told WHERE control_id = $1 RETURNING 1", control).Single() is not null;
        var payload = told ? "" : JsonSerializer.Serialize(content, EmrJson.Default.Outgoing);
        if (content.Kind == "study")
        {
            // Only how the study is now matters.
            db.Command("UPDATE outbox SET state = 'superseded', ended_ms = $3, payload = '', bytes = 0 WHERE system = $1 AND subject = $2 AND kind = 'study' AND state IN ('waiting', 'unlinked')", system, content.Subject, Now()).Go();
        }

        db.Command(
            """
            INSERT INTO outbox (system, fact, kind, subject, lane, study_uid, accession, payload, bytes, state, control_id, queued_ms, trace_parent, ended_ms)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING
            """,
            system, content.Fact, content.Kind, content.Subject, LaneOf(content), content.StudyInstanceUid, content.AccessionNumber, payload, payload.Length,
            told ? "delivered" : content.Patient is null ? "unlinked" : "waiting", control, Now(), traceParent, told ? Now() : (long?)null).Go();
    }

    /// <summary>Gives messages whose patient was not known another look.</summary>
    public static bool Relink(SqliteConnection db, Func<SqliteConnection, Outgoing, Outgoing> link)
    {
        var found = false;
        foreach (var (pk, payload) in db.Command("SELECT pk, payload FROM outbox WHERE state = 'unlinked' ORDER BY pk LIMIT 1000").Rows(row => (row.GetInt64(0), row.GetString(1))))
        {
            var content = link(db, JsonSerializer.Deserialize(payload, EmrJson.Default.Outgoing)!);
            if (content.Patient is not null)
            {
                var linked = JsonSerializer.Serialize(content, EmrJson.Default.Outgoing);
                db.Command("UPDATE outbox SET state = 'waiting', payload = $2, bytes = $3, lane = $4 WHERE pk = $1", pk, linked, linked.Length, LaneOf(content)).Go();
                found = true;
            }
        }

        return found;
    }

    /// <summary>The oldest message that may be sent now of each patient whom none is on its way about.</summary>
    /// <param name="system">To whom.</param>
    /// <param name="busyLanes">Patients about whom one is on its way.</param>
    /// <param name="most">How many at most.</param>
    /// <param name="inTurn">First what was not tried for longest, where little is tried: else the oldest is due again and again and no other shows that the system works.</param>
    public IReadOnlyList<OutboxMessage> Next(string system, IReadOnlyCollection<string> busyLanes, int most, bool inTurn) => database.Read(db => db.Command(
        $"""
        SELECT pk, fact, control_id, lane, attempts, failing_since_ms, payload, trace_parent FROM outbox o
        WHERE system = $1 AND state = 'waiting' AND next_ms <= $2
          AND NOT EXISTS (SELECT 1 FROM outbox e WHERE e.system = $1 AND e.lane = o.lane AND e.state = 'waiting' AND e.pk < o.pk)
        ORDER BY {(inTurn ? "next_ms, pk" : "pk")} LIMIT $3
        """,
        system, Now(), most + busyLanes.Count).Rows(row => new OutboxMessage(
            row.GetInt64(0), system, row.GetString(1), row.GetString(2), row.GetString(3), row.GetInt32(4), row.IsDBNull(5) ? null : row.GetInt64(5),
            JsonSerializer.Deserialize(row.GetString(6), EmrJson.Default.Outgoing)!, row.IsDBNull(7) ? null : row.GetString(7)))
        .Where(message => !busyLanes.Contains(message.Lane)).Take(most).ToList());

    /// <summary>Milliseconds until the next message may be tried again; null when none waits.</summary>
    public long? NextDueMs(string system) => database.Read(db =>
        db.Command("SELECT min(next_ms) FROM outbox WHERE system = $1 AND state = 'waiting'", system).Single() is long due ? Math.Max(0, due - Now()) : (long?)null);

    /// <summary>Notes how a try ended; true when the message came to its end.</summary>
    public bool Note(OutboxMessage message, SendOutcome outcome) => database.Write(db =>
    {
        var now = Now();
        switch (outcome)
        {
            case SendOutcome.Delivered:
                // What was said is not needed any more, only that it was.
                db.Command("UPDATE outbox SET state = 'delivered', attempts = attempts + 1, reason = '', payload = '', bytes = 0, ended_ms = $2 WHERE pk = $1", message.Pk, now).Go();
                return true;
            case SendOutcome.Refused refused:
                End(db, message, refused.Reason, now);
                return true;
            case SendOutcome.Failed failed:
                var since = message.FailingSinceMs ?? now;
                var takesOthers = db.Command("SELECT 1 FROM outbox WHERE system = $1 AND state = 'delivered' AND ended_ms >= $2 LIMIT 1", message.System, since).Single() is not null;
                if (message.Attempts + 1 >= options.Value.MaxAttempts && (takesOthers || now - since > TimeSpan.FromDays(14).TotalMilliseconds))
                {
                    End(db, message, failed.Reason, now);
                    return true;
                }

                db.Command(
                    "UPDATE outbox SET attempts = attempts + 1, failing_since_ms = $2, next_ms = $3, reason = $4 WHERE pk = $1",
                    message.Pk, since, now + PauseMs(message.Attempts), failed.Reason).Go();
                return false;
            case SendOutcome.Unreachable unreachable:
                db.Command("UPDATE outbox SET reason = $2 WHERE pk = $1 AND reason <> $2", message.Pk, unreachable.Reason).Go();
                return false;
            default:
                throw new System.Diagnostics.UnreachableException($"{outcome.GetType()} is no outcome.");
        }
    });

    /// <summary>Pause after so many failures in a row.</summary>
    public long PauseMs(int failures) => Math.Min(options.Value.MaxPauseMs, options.Value.FirstPauseMs * (1L << Math.Min(failures, 20)));

    /// <summary>True when nothing more may be added for some system.</summary>
    public string? Full() => database.Read(db => db.Command(
        "SELECT system FROM outbox WHERE state IN ('waiting', 'unlinked', 'dead') GROUP BY system HAVING sum(bytes) >= $1 LIMIT 1", options.Value.MaxWaitingBytes).Single() as string);

    /// <summary>Sends a dead letter again, as it is.</summary>
    /// <returns>Why it is not sent; null when it is, and an empty text when there is no such dead letter.</returns>
    public string? Replay(long pk)
    {
        var problem = database.Write(db =>
        {
            var row = db.Command("SELECT system, subject FROM outbox WHERE pk = $1 AND state = 'dead'", pk).Rows(r => (r.GetString(0), r.GetString(1))).FirstOrDefault();
            if (row.Item1 is null)
            {
                return "";
            }

            if (db.Command("SELECT 1 FROM outbox WHERE system = $1 AND subject = $2 AND pk > $3 AND state = 'delivered' LIMIT 1", row.Item1, row.Item2, pk).Single() is not null)
            {
                return "The system has a newer version already; to send this one now would undo it.";
            }

            db.Command("UPDATE outbox SET state = 'waiting', attempts = 0, failing_since_ms = NULL, next_ms = 0, ended_ms = NULL WHERE pk = $1", pk).Go();
            return null;
        });
        Signal();
        return problem;
    }

    /// <summary>Messages, newest first.</summary>
    public IReadOnlyList<EmrMessageView> List(string? system, string? state, string? search, int skip, int most) => database.Read(db => db.Command(
        """
        SELECT pk, system, kind, subject, state, attempts, reason, queued_ms, ended_ms, control_id FROM outbox
        WHERE ($1 IS NULL OR system = $1) AND ($2 IS NULL OR state = $2) AND ($3 IS NULL OR subject = $3 OR study_uid = $3 OR accession = $3 OR lane = $3 OR control_id = $3)
        ORDER BY pk DESC LIMIT $4 OFFSET $5
        """, system, state, search, most, skip).Rows(row => new EmrMessageView(
            row.GetInt64(0), "out", row.GetString(1), row.GetString(2), row.GetString(3), row.GetString(4), row.GetInt32(5), row.GetString(6), row.GetInt64(7),
            row.IsDBNull(8) ? null : row.GetInt64(8), row.GetString(9))));

    /// <summary>What systems were told of studies, the newest message of each kind to each system.</summary>
    public IReadOnlyList<EmrStudyView> OfStudies(IReadOnlyList<string> uids) => database.Read(db => (IReadOnlyList<EmrStudyView>)[.. uids.Distinct(StringComparer.Ordinal).SelectMany(uid => db.Command(
        """
        SELECT system, kind, state, queued_ms, ended_ms, max(pk) FROM outbox
        WHERE study_uid = $1 AND study_uid <> '' AND kind IN ('study', 'report', 'finding') AND state <> 'superseded' GROUP BY system, kind ORDER BY system, kind
        """, uid).Rows(row => new EmrStudyView(uid, row.GetString(0), row.GetString(1), row.GetString(2), row.GetInt64(3), row.IsDBNull(4) ? null : row.GetInt64(4))))]);

    /// <summary>Messages of a system by state.</summary>
    public (long Waiting, long Delivered, long Dead, long Unlinked, long? OldestMs, long Bytes) Count(string system) => database.Read(db =>
    {
        var counts = db.Command("SELECT state, count(*), min(queued_ms), sum(bytes) FROM outbox WHERE system = $1 GROUP BY state", system)
            .Rows(row => (State: row.GetString(0), Count: row.GetInt64(1), Oldest: row.GetInt64(2), Bytes: row.GetInt64(3)));
        long Of(string state) => counts.FirstOrDefault(c => c.State == state).Count;
        return (Of("waiting"), Of("delivered"), Of("dead"), Of("unlinked"), counts.Where(c => c.State == "waiting").Select(c => (long?)c.Oldest).FirstOrDefault(), counts.Sum(c => c.Bytes));
    });

    /// <summary>What a system gave us and we could not take, and that waits for a person.</summary>
    public long Refused(string system) => database.Read(db => db.Command("SELECT count(*) FROM refused WHERE system = $1 AND state = 'dead'", system).Single() as long? ?? 0);

    /// <summary>What a system calls something that we made there; null when we did not.</summary>
    public string? RemoteId(string system, string key) => database.Read(db => db.Command("SELECT id FROM remote WHERE system = $1 AND key = $2", system, key).Single() as string);

    /// <summary>Remembers what a system calls something.</summary>
    public void SetRemoteId(string system, string key, string id) => database.Write(db => db.Command(
        "INSERT INTO remote (system, key, id) VALUES ($1, $2, $3) ON CONFLICT DO UPDATE SET id = excluded.id", system, key, id).Go());

    /// <summary>Forgets what ended long ago.</summary>
    public void Forget() => database.Write(db => db.Command(
        "DELETE FROM outbox WHERE state IN ('delivered', 'superseded') AND ended_ms < $1", Now() - (long)TimeSpan.FromDays(options.Value.RememberDays).TotalMilliseconds).Go());

    private static void End(SqliteConnection db, OutboxMessage message, string reason, long now) => db.Command(
        "UPDATE outbox SET state = 'dead', attempts = attempts + 1, reason = $2, ended_ms = $3 WHERE pk = $1", message.Pk, reason, now).Go();

    private static string LaneOf(Outgoing content) => content.Patient is { } patient ? patient.PatientId : content.Subject;

    private long Now() => clock.GetUtcNow().ToUnixTimeMilliseconds();
}
