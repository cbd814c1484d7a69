using System.Text;
using Microsoft.Data.Sqlite;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.PacsGw.Worklist;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Archive;

/// <summary>An instance to index: what the event says and the header as DICOM JSON.</summary>
/// <param name="Stored">The event.</param>
/// <param name="Site">Site that received it.</param>
/// <param name="StoredMs">When it became durable there, Unix milliseconds UTC.</param>
/// <param name="Position">Place of the event in this node's log.</param>
/// <param name="Metadata">Its attributes without bulk data.</param>
/// <param name="MetadataJson">The same as bytes.</param>
internal sealed record ArchivedInstance(
    InstanceStored Stored, string Site, long StoredMs, long Position, JsonAttributes Metadata, ReadOnlyMemory<byte> MetadataJson);

/// <summary>What indexing one instance found.</summary>
internal enum IndexOutcome
{
    /// <summary>New here.</summary>
    Added,

    /// <summary>The same content under the same UIDs was here already; nothing changed.</summary>
    Known,

    /// <summary>New here, and other content has the same SOP Instance UID. Both are kept.</summary>
    AddedBesideOther,
}

/// <summary>Writes a batch of instances and the cursor in one transaction. Not for concurrent use.</summary>
internal sealed class ArchiveWriter(ArchiveStatements statements, SqliteTransaction transaction, long nowMs)
{
    /// <summary>Tags whose disagreement within one study is counted as a conflict.</summary>
    private static readonly uint[] StudyIdentity = [0x00100010, 0x00100020, 0x00100030, 0x00100040, 0x00080020, 0x00080050];

    /// <summary>Names that can be searched for; see <c>person_name</c>.</summary>
    private static readonly uint[] Names = [0x00100010, 0x00080090];

    /// <summary>Where reading of this log goes on; 0 for a log that was never read or that began anew since.</summary>
    public static long Cursor(SqliteConnection db, Guid epoch)
    {
        using var select = db.Command("SELECT position FROM cursor WHERE epoch = $1", epoch.ToString());
        return (long?)select.ExecuteScalar() ?? 0;
    }

    /// <summary>Remembers how far the log was read.</summary>
    public void MoveCursor(Guid epoch, long position) => Execute(
        """
        INSERT INTO cursor (id, epoch, position) VALUES (1, $1, $2)
        ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, position = excluded.position
        """, epoch.ToString(), position);

    /// <summary>Adds one instance to the index.</summary>
    /// <param name="instance">The instance.</param>
    /// <param name="conflict">True when it disagrees with its study about who or what the study is.</param>
    public IndexOutcome Add(ArchivedInstance instance, out bool conflict)
    {
        var (study, isNew) = FindOrAddStudy(instance);
        conflict = !isNew && CountConflict(study, instance);
        var series = FindOrAddSeries(study, instance);
        var stored = instance.Stored;
        if (Exists("SELECT 1 FROM instance WHERE series = $1 AND sop_uid = $2 AND sha256 = $3 AND transfer_syntax = $4",
                series, stored.SopInstanceUid, stored.Sha256, stored.TransferSyntaxUid))
        {
            // Its newest entry is what has to be released before the study may go.
            Execute("UPDATE study SET change = max(change, $2) WHERE pk = $1", study, instance.Position);
            return IndexOutcome.Known;
        }

        var beside = Exists("SELECT 1 FROM instance WHERE sop_uid = $1", stored.SopInstanceUid);
        var variant = (long)Scalar(
            "SELECT count(*) FROM instance WHERE series = $1 AND sop_uid = $2", series, stored.SopInstanceUid)!;
        var pk = (long)Scalar(
            """
            INSERT INTO instance (series, sop_uid, variant, sop_class, number, transfer_syntax, sha256, length,
                                  site, calling_ae, stored_ms, position)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING pk
            """,
            series, stored.SopInstanceUid, variant, stored.SopClassUid, instance.Metadata.Number(0x00200013),
            stored.TransferSyntaxUid, stored.Sha256, stored.Length, instance.Site, stored.CallingAeTitle, instance.StoredMs,
            instance.Position)!;
        Execute("INSERT INTO metadata (instance, json) VALUES ($1, CAST($2 AS TEXT))", pk, instance.MetadataJson.ToArray());
        Execute(
            """
            UPDATE series SET instances = instances + $2 WHERE pk = $1;
            UPDATE study SET instances = instances + $2, bytes = bytes + $4, last_indexed_ms = $5, change = $6 WHERE pk = $3;
            """, series, variant == 0 ? 1 : 0, study, stored.Length, nowMs, instance.Position);
        return beside ? IndexOutcome.AddedBesideOther : IndexOutcome.Added;
    }

    /// <summary>Takes out what a person deleted, as far as it is there. Returns the hashes of what went.</summary>
    public List<string> Remove(InstancesDeleted deleted, long position)
    {
        var hashes = ArchiveRemoval.Hashes(statements.Connection, deleted.StudyInstanceUid, deleted.SeriesInstanceUid, deleted.SopInstanceUid);
        ArchiveRemoval.Remove(statements.Connection, deleted.StudyInstanceUid, deleted.SeriesInstanceUid, deleted.SopInstanceUid, position);
        return hashes;
    }

    /// <summary>A peer waits to be told what is kept.</summary>
    public void AddCommitment(CommitmentRequested request, LoggedEntry entry) => Execute(
        """
        INSERT INTO commitment (peer, transaction_uid, position, event) VALUES ($1, $2, $3, $4)
        ON CONFLICT (peer, transaction_uid) DO UPDATE SET position = excluded.position, event = excluded.event
        """, request.PeerAeTitle, request.TransactionUid, entry.Position, Text(entry));

    /// <summary>The peer was told.</summary>
    public void EndCommitment(CommitmentReported reported) => Execute(
        "DELETE FROM commitment WHERE peer = $1 AND transaction_uid = $2", reported.PeerAeTitle, reported.TransactionUid);

    /// <summary>A peer told us what it keeps.</summary>
    public void AddReceived(CommitmentReceived received, LoggedEntry entry) => Execute(
        "INSERT OR REPLACE INTO commitment_received (transaction_uid, event) VALUES ($1, $2)", received.TransactionUid, Text(entry));

    /// <summary>The newest state of a procedure step.</summary>
    public void SetProcedureStep(PerformedProcedureStep step, LoggedEntry entry) => Execute(
        "INSERT OR REPLACE INTO procedure_step (sop_uid, status, event) VALUES ($1, $2, $3)", step.SopInstanceUid, step.Status, Text(entry));

    /// <summary>Adds an order to the worklist, changes it, or takes it off.</summary>
    /// <exception cref="ArgumentException">The order is none that can be listed.</exception>
    public void Schedule(ProcedureScheduled order)
    {
        if (WorklistItem.Problem(order) is { } problem)
        {
            throw new ArgumentException(problem);
        }

        Execute(
            """
            INSERT INTO worklist (id, open, start, study, accession, step, modality, json)
            VALUES ($1, CASE WHEN $2 = 1 AND EXISTS (
                        SELECT 1 FROM study JOIN series ON series.study = study.pk
                        WHERE (study.uid = $4 OR (study.accession_number = $5 AND $5 <> '')) AND $7 IN ('', series.modality)) THEN -1 ELSE $2 END,
                    $3, $4, $5, $6, $7, CAST($8 AS TEXT))
            ON CONFLICT (id) DO UPDATE SET open = CASE worklist.open WHEN -1 THEN -1 ELSE excluded.open END, start = excluded.start,
                study = excluded.study, accession = excluded.accession, step = excluded.step, modality = excluded.modality, json = excluded.json
            """,
            order.Id, order.Status == "SCHEDULED" ? 1 : 0, order.ScheduledStart, WorklistItem.StudyOf(order), order.AccessionNumber,
            WorklistItem.StepOf(order), order.Modality, DicomJson.ToUtf8Bytes(WorklistItem.ToDataset(order)));
    }

    /// <summary>A procedure step of the worklist was done.</summary>
    public void CloseStep(string study, string step) => Execute("UPDATE worklist SET open = -1 WHERE study = $1 AND step = $2", study, step);

    private static string Text(LoggedEntry entry) => Encoding.UTF8.GetString(entry.Entry.Data.Span);

    private (long Pk, bool IsNew) FindOrAddStudy(ArchivedInstance instance)
    {
        if (Scalar("SELECT pk FROM study WHERE uid = $1", instance.Stored.StudyInstanceUid) is long known)
        {
            return (known, false);
        }

        var metadata = instance.Metadata;
        var study = (long)Scalar(
            """
            INSERT INTO study (patient, uid, patient_id, patient_name, birth_date, sex, study_date, study_time, accession_number,
                               study_id, description, site, first_stored_ms, last_indexed_ms, change, json)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, CAST($16 AS TEXT)) RETURNING pk
            """,
            FindOrAddPatient(metadata), instance.Stored.StudyInstanceUid, metadata.Text(0x00100020), metadata.Text(0x00100010),
            DicomDate.Normalize(metadata.Text(0x00100030)), metadata.Text(0x00100040),
            DicomDate.Normalize(metadata.Text(0x00080020)), DicomTime.Normalize(metadata.Text(0x00080030)),
            metadata.Text(0x00080050), metadata.Text(0x00200010), metadata.Text(0x00081030), instance.Site, instance.StoredMs,
            nowMs, instance.Position, metadata.Select(tag => ArchiveLevels.Of(tag) == ArchiveLevel.Study))!;
        IndexNames(study, metadata);
        return (study, true);
    }

    /// <summary>Makes the index of names anew from what the studies say.</summary>
    public void IndexNamesAgain()
    {
        Execute("DELETE FROM person_name; DELETE FROM person_word;");
        var last = 0L;
        while (Scalar("SELECT min(pk) FROM study WHERE pk > $1", last) is long study)
        {
            IndexNames(study, new JsonAttributes((byte[])Scalar("SELECT CAST(json AS BLOB) FROM study WHERE pk = $1", study)!));
            last = study;
        }
    }

    private void IndexNames(long study, JsonAttributes metadata)
    {
        foreach (var tag in Names)
        {
            var name = metadata.Text(tag);
            foreach (var folded in PersonName.FoldGroups(name))
            {
                Execute("INSERT OR IGNORE INTO person_name (study, tag, folded) VALUES ($1, $2, $3)", study, (long)tag, folded);
            }

            foreach (var word in PersonName.SearchWords(name))
            {
                Execute("INSERT OR IGNORE INTO person_word (study, tag, word) VALUES ($1, $2, $3)", study, (long)tag, word);
            }
        }
    }

    /// <summary>
    /// The patient by identifier and issuer. Who the patient is stays as first seen: another name under the same identifier is
    /// counted, for a person to decide, and the study keeps its own.
    /// </summary>
    private long FindOrAddPatient(JsonAttributes metadata)
    {
        var (id, issuer) = (metadata.Text(0x00100020), metadata.Text(0x00100021));
        var (name, birthDate, sex) =
            (metadata.Text(0x00100010), DicomDate.Normalize(metadata.Text(0x00100030)), metadata.Text(0x00100040));
        return (long)Scalar(
            """
            INSERT INTO patient (patient_id, issuer, name, birth_date, sex) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (patient_id, issuer) DO UPDATE
            SET conflicts = conflicts + (name <> excluded.name OR birth_date <> excluded.birth_date)
            RETURNING pk
            """, id, issuer, name, birthDate, sex)!;
    }

    private long FindOrAddSeries(long study, ArchivedInstance instance)
    {
        if (Scalar("SELECT pk FROM series WHERE study = $1 AND uid = $2", study, instance.Stored.SeriesInstanceUid) is long known)
        {
            return known;
        }

        var metadata = instance.Metadata;
        var series = (long)Scalar(
            """
            INSERT INTO series (study, uid, modality, number, json) VALUES ($1, $2, $3, $4, CAST($5 AS TEXT)) RETURNING pk
            """,
            study, instance.Stored.SeriesInstanceUid, metadata.Text(0x00080060), metadata.Number(0x00200011),
            metadata.Select(tag => ArchiveLevels.Of(tag) == ArchiveLevel.Series))!;
        Execute(
            """
            UPDATE study SET
                series = series + 1,
                modalities = (SELECT coalesce(group_concat(modality, '\'), '')
                              FROM (SELECT DISTINCT modality FROM series WHERE study = $1 AND modality <> '' ORDER BY modality))
            WHERE pk = $1
            """, study);

        // Its first instance shows that the modality does what was ordered: by the study's UID, or by the number that both carry.
        Execute(
            """
            UPDATE worklist SET open = -1
            WHERE (study = $1 OR (accession = $2 AND $2 <> '')) AND modality IN ('', $3)
            """, instance.Stored.StudyInstanceUid, metadata.Text(0x00080050), metadata.Text(0x00080060));
        return series;
    }

    private bool CountConflict(long study, ArchivedInstance instance)
    {
        var known = new JsonAttributes((byte[])Scalar("SELECT CAST(json AS BLOB) FROM study WHERE pk = $1", study)!);
        if (!StudyIdentity.Any(tag => known.Text(tag) != instance.Metadata.Text(tag)))
        {
            return false;
        }

        Execute("UPDATE study SET conflicts = conflicts + 1 WHERE pk = $1", study);
        return true;
    }

    private void Execute(string sql, params ReadOnlySpan<object?> values) => statements.Prepare(sql, transaction, values).ExecuteNonQuery();

    private object? Scalar(string sql, params ReadOnlySpan<object?> values) => statements.Prepare(sql, transaction, values).ExecuteScalar();

    private bool Exists(string sql, params ReadOnlySpan<object?> values) => Scalar(sql, values) is not null;
}
