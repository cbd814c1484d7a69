using System.Text.Json;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.PacsGw.Archive;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Reconcile;

/// <summary>
/// Instances that say another patient than their study does. They are durable and kept, but not in the archive's index until a person decides: a scan
/// under a mistyped identifier must neither vanish nor appear in somebody else's study.
/// </summary>
internal sealed class ConflictDesk(
    GatewayDatabase database, ArchiveDatabase archive, ArchiveChanges changes, IBlobStore blobs, IEventLog log, IOptions<PacsGwOptions> options, TimeProvider clock)
{
    /// <summary>Patient Record (PS3.15 A.5.3.9).</summary>
    private const string PatientRecord = "110110";

    private const uint PatientId = 0x00100020;
    private const uint PatientName = 0x00100010;

    /// <summary>Keeps an instance from the index if its patient is not the study's and no person has said that it is. Idempotent.</summary>
    /// <param name="db">The archive's writing connection, in its transaction: instances of the same batch count.</param>
    /// <param name="instance">The instance.</param>
    /// <returns>True when it must not be indexed.</returns>
    public bool Park(SqliteConnection db, ArchivedInstance instance)
    {
        var stored = instance.Stored;
        var study = db.Command("SELECT patient_id, patient_name FROM study WHERE uid = $1", stored.StudyInstanceUid)
            .Rows(row => (Id: row.GetString(0), Name: row.GetString(1))).FirstOrDefault();
        var (id, name) = (instance.Metadata.Text(PatientId), instance.Metadata.Text(PatientName));
        if (study.Id is null || (SameId(study.Id, id) && SameName(study.Name, name)))
        {
            return false;
        }

        return database.Write(own =>
        {
            var decision = own.Command(
                "SELECT decision FROM parked WHERE study_uid = $1 AND patient_id = $2 AND patient_name = $3 AND decision <> '' LIMIT 1",
                stored.StudyInstanceUid, id, name).Single() as string;
            if (decision == ConflictDecision.SamePatient)
            {
                return false;
            }

            own.Command(
                """
                INSERT INTO parked (study_uid, sop_uid, sha256, transfer_syntax, patient_id, patient_name, study_patient_id, study_patient_name, site, stored_ms, position, event, decision)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING
                """,
                stored.StudyInstanceUid, stored.SopInstanceUid, stored.Sha256, stored.TransferSyntaxUid, id, name, study.Id, study.Name, instance.Site,
                instance.StoredMs, instance.Position, JsonSerializer.Serialize(stored, ContractsJson.Default.InstanceStored), decision ?? "").Go();
            return true;
        });
    }

    /// <summary>Conflicts that wait for a person, oldest first: one for each study and patient that it disagrees with.</summary>
    public IReadOnlyList<ConflictView> Open(int most) => database.Write(db => db.Command(
        """
        SELECT min(pk), study_uid, study_patient_id, study_patient_name, patient_id, patient_name, count(*), min(stored_ms), min(site) FROM parked
        WHERE decision = '' GROUP BY study_uid, patient_id, patient_name ORDER BY min(pk) LIMIT $1
        """, most).Rows(row => new ConflictView(
            row.GetInt64(0), row.GetString(1), row.GetString(2), row.GetString(3), row.GetString(4), row.GetString(5), row.GetInt32(6), row.GetInt64(7),
            row.GetString(8))));

    /// <summary>Records what a person decided, in the audit log first, and does it. False when there is no open conflict with this key.</summary>
    /// <param name="key">Of the conflict.</param>
    /// <param name="decision">One of <see cref="ConflictDecision"/>.</param>
    /// <param name="agent">Who decided.</param>
    /// <param name="cancellationToken">Stops the wait; a decision that was recorded is done at the latest when it is made again.</param>
    public async Task<bool> DecideAsync(long key, string decision, string agent, CancellationToken cancellationToken)
    {
        var conflict = database.Write(db => db.Command(
            "SELECT study_uid, patient_id, patient_name FROM parked WHERE pk = $1 AND decision = ''", key)
            .Rows(row => (Study: row.GetString(0), Id: row.GetString(1), Name: row.GetString(2)))).FirstOrDefault();
        if (conflict.Study is null)
        {
            return false;
        }

        var nowMs = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var record = new AuditRecord(
            PatientRecord, "U", 0, agent, null, $"pacs-gw@{log.Site}", $"study/{conflict.Study}", $"patient conflict {key} decided: {decision}", nowMs);
        await log.AppendAsync([Entries.Of(record, $"conflict/{log.Site}/{key}/{decision}")], cancellationToken);
        if (decision == ConflictDecision.SamePatient)
        {
            await IndexAsync(conflict.Study, conflict.Id, conflict.Name, nowMs, cancellationToken);
        }

        database.Write(db => db.Command(
            "UPDATE parked SET decision = $4, decided_by = $5, decided_ms = $6 WHERE study_uid = $1 AND patient_id = $2 AND patient_name = $3 AND decision = ''",
            conflict.Study, conflict.Id, conflict.Name, decision, agent, nowMs).Go());
        changes.Signal();
        return true;
    }

    /// <summary>Puts what was parked into the index. What is there already stays: this may be repeated.</summary>
    private async Task IndexAsync(string study, string patientId, string patientName, long nowMs, CancellationToken cancellationToken)
    {
        var rows = database.Write(db => db.Command(
            "SELECT event, site, stored_ms, position FROM parked WHERE study_uid = $1 AND patient_id = $2 AND patient_name = $3 AND decision = ''",
            study, patientId, patientName).Rows(row => (Event: row.GetString(0), Site: row.GetString(1), StoredMs: row.GetInt64(2), Position: row.GetInt64(3))));
        var instances = new List<ArchivedInstance>();
        foreach (var row in rows)
        {
            var stored = JsonSerializer.Deserialize(row.Event, ContractsJson.Default.InstanceStored)!;
            _ = ContentHash.TryParse(stored.Sha256, out var hash);
            await using var blob = await blobs.OpenAsync(hash, cancellationToken);
            var json = blob is null
                ? Metadata.Minimal(stored)
                : Metadata.Create(stored, await InstanceHeader.ReadAsync(blob, DicomTransferSyntax.Get(stored.TransferSyntaxUid), options.Value.MaxHeaderBytes, cancellationToken));
            instances.Add(new ArchivedInstance(stored, row.Site, row.StoredMs, row.Position, new JsonAttributes(json), json));
        }

        using var db = archive.OpenWriter();
        using var transaction = db.BeginTransaction();
        using var statements = new ArchiveStatements(db);
        var writer = new ArchiveWriter(statements, transaction, nowMs);
        foreach (var instance in instances)
        {
            writer.Add(instance, out _);
        }

        transaction.Commit();
    }

    /// <summary>An identifier that is missing contradicts nothing.</summary>
    private static bool SameId(string one, string other) => one.Length == 0 || other.Length == 0 || one == other;

    /// <summary>Names agree when one of their component groups does, without regard to case and width: scripts may be missing.</summary>
    private static bool SameName(string one, string other)
    {
        var groups = PersonName.FoldGroups(one).ToHashSet();
        return groups.Count == 0 || !PersonName.FoldGroups(other).Any() || PersonName.FoldGroups(other).Any(groups.Contains);
    }
}
