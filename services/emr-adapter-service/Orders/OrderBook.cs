using System.Globalization;
using System.Numerics;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.Data.Sqlite;
using Yizhan.Contracts;
using Yizhan.EmrAdapter.Patients;
using Yizhan.EmrAdapter.Terms;

namespace Yizhan.EmrAdapter.Orders;

/// <summary>
/// Folds what was said about orders into what they are now, whatever the sequence in which it arrived, and says what the worklist must learn. Inside the
/// caller's transaction.
/// </summary>
internal sealed class OrderBook(TermMaps terms)
{
    private const int MaxAccessionNumber = 16;

    /// <summary>Takes one event about an order.</summary>
    /// <returns>Steps whose entry in the worklist changes: of this order, and of one that it replaces.</returns>
    public IReadOnlyList<ProcedureScheduled> Apply(SqliteConnection db, ImagingOrder order, string site, long nowMs)
    {
        var changed = new List<ProcedureScheduled>();
        if (order.Action is "REVISE" && order.PreviousOrderId.Length > 0 && order.PreviousOrderId != order.OrderId)
        {
            End(db, order.PreviousOrderId, order, site, "replaced", changed, nowMs);
        }

        if (order.Action is "CANCEL" or "COMPLETE")
        {
            End(db, order.OrderId, order, site, order.Action == "CANCEL" ? "cancelled" : "completed", changed, nowMs);
            return changed;
        }

        PatientIndex.Update(db, order.Patient, order.OrderedMs, nowMs);

        // Clocks of some EMRs count hours: at one instant a revision comes after the order itself.
        var rank = order.Action == "NEW" ? 0 : 1;
        var known = db.Command("SELECT state, ordered_ms, rank FROM orders WHERE id = $1", order.OrderId)
            .Rows(row => (State: row.GetString(0), OrderedMs: row.GetInt64(1), Rank: row.GetInt32(2))).FirstOrDefault();
        var isNewer = known.State is null || (order.OrderedMs, rank).CompareTo((known.OrderedMs, known.Rank)) >= 0;
        var state = known.State ?? "active";
        if (!isNewer && known.State is "active")
        {
            return changed;
        }

        // What was ended before it arrived keeps its end, but is known from now on: results may still come.
        var accession = Accession(order);
        db.Command(
            """
            INSERT INTO orders (id, source, site, state, ordered_ms, rank, placer, accession, patient_id, issuer, study_uid, code_system, code, event, worklist, changed_ms)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, NULL, $15)
            ON CONFLICT (id) DO UPDATE SET source = $2, ordered_ms = $5, rank = $6, placer = $7, accession = $8, patient_id = $9, issuer = $10, study_uid = $11,
                code_system = $12, code = $13, event = $14, changed_ms = $15
            """,
            order.OrderId, order.Source, site, state, order.OrderedMs, rank, order.PlacerOrderNumber, accession, order.Patient.PatientId, order.Patient.Issuer, StudyOf(order),
            order.CodeSystem, order.Code, JsonSerializer.Serialize(order, ContractsJson.Default.ImagingOrder), nowMs).Go();
        if (state == "active")
        {
            Announce(db, order, "SCHEDULED", changed, nowMs);
        }

        return changed;
    }

    /// <summary>What the worklist must learn of a patient's open orders after he was corrected or merged.</summary>
    public IReadOnlyList<ProcedureScheduled> PatientChanged(SqliteConnection db, PatientChanged change, string site, long nowMs)
    {
        var changed = new List<ProcedureScheduled>();
        string[] ids = change.Retired is { } retired ? [change.Patient.PatientId, retired.Value] : [change.Patient.PatientId];
        foreach (var id in ids)
        {
            foreach (var order in Open(db, site, "patient_id = $2", id))
            {
                Announce(db, order, "SCHEDULED", changed, nowMs);
            }
        }

        return changed;
    }

    /// <summary>Takes what a person decided about a code.</summary>
    public void Learn(SqliteConnection db, TermMapped mapped) => terms.Learn(db, mapped);

    /// <summary>What the worklist must learn once a map has codes that it lacked.</summary>
    public IReadOnlyList<ProcedureScheduled> TermsChanged(SqliteConnection db, string site, long nowMs)
    {
        var changed = new List<ProcedureScheduled>();
        foreach (var (map, system, code) in db.Command("SELECT map, system, code FROM unmapped").Rows(row => (row.GetString(0), row.GetString(1), row.GetString(2))))
        {
            if (terms.Find(map, system, code) is null)
            {
                continue;
            }

            db.Command("DELETE FROM unmapped WHERE map = $1 AND system = $2 AND code = $3", map, system, code).Go();
            if (map != TermMaps.Procedures)
            {
                continue;
            }

            foreach (var order in Open(db, site, "code_system = $2 AND code = $3", system, code))
            {
                Announce(db, order, "SCHEDULED", changed, nowMs);
            }
        }

        return changed;
    }

    /// <summary>The order of a study, by its UID or else its accession number; null when none is known.</summary>
    public static ImagingOrder? OfStudy(SqliteConnection db, string studyUid, string accession)
    {
        var found = studyUid.Length > 0 ? db.Command("SELECT event FROM orders WHERE study_uid = $1 AND event IS NOT NULL", studyUid).Single() as string : null;
        if (found is null && accession.Length > 0)
        {
            var events = db.Command("SELECT event FROM orders WHERE accession = $1 AND event IS NOT NULL LIMIT 2", accession).Rows(row => row.GetString(0));
            found = events.Count == 1 ? events[0] : null;
        }

        return found is null ? null : JsonSerializer.Deserialize(found, ContractsJson.Default.ImagingOrder);
    }

    /// <summary>Study Instance UID of an order's study: the source's, or one made of the order's identity.</summary>
    public static string StudyOf(ImagingOrder order) =>
        order.StudyInstanceUid.Length > 0 ? order.StudyInstanceUid
            : "2.25." + new BigInteger(SHA256.HashData(Encoding.UTF8.GetBytes("yizhan order " + order.OrderId)).AsSpan(0, 16), isUnsigned: true, isBigEndian: true)
                .ToString(CultureInfo.InvariantCulture);

    /// <summary>Accession number of at most 16 characters: the source's, else the placer's number, else one made of the order's identity.</summary>
    public static string Accession(ImagingOrder order) =>
        order.AccessionNumber.Length is > 0 and <= MaxAccessionNumber ? order.AccessionNumber
            : order.AccessionNumber.Length == 0 && order.PlacerOrderNumber.Length is > 0 and <= MaxAccessionNumber ? order.PlacerOrderNumber
            : "Y" + Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(order.OrderId)))[..(MaxAccessionNumber - 1)];

    /// <summary>The order's entry of the worklist.</summary>
    public ProcedureScheduled ToStep(ImagingOrder order, EmrPatient patient, string status)
    {
        var modality = order.Modality.Length > 0 ? order.Modality : terms.Find(TermMaps.Procedures, order.CodeSystem, order.Code)?.Target ?? "";
        var text = order.CodeText.Length > 0 ? order.CodeText : terms.Find(TermMaps.Procedures, order.CodeSystem, order.Code)?.Text ?? order.Code;
        return new ProcedureScheduled(
            order.OrderId, status, Clean(Accession(order), 16), Clean(patient.PatientId, 64), Clean(patient.Issuer, 64), Clean(patient.Name.Length > 0 ? patient.Name : patient.PatientId, 192),
            patient.BirthDate, patient.Sex, StudyOf(order), Clean(order.RequestedProcedureId.Length > 0 ? order.RequestedProcedureId : Accession(order), 16), Clean(text, 64),
            Clean(order.ReferringPhysicianName, 192), Clean(order.ScheduledStationAeTitle, 16), Clean(modality, 16), order.ScheduledStart, Clean(order.ScheduledProcedureStepId, 16),
            Clean(text, 64));
    }

    /// <summary>True when the order's code says no modality and no map does.</summary>
    public bool IsUnmapped(ImagingOrder order) => order.Modality.Length == 0 && terms.Find(TermMaps.Procedures, order.CodeSystem, order.Code) is null;

    /// <summary>Queues what a model found in a code that is neither SNOMED CT nor in a map; the EMR is told it as it is.</summary>
    public void QueueUnmapped(SqliteConnection db, AnalysisFinished analysis, long nowMs)
    {
        foreach (var finding in analysis.Findings.DistinctBy(f => (f.CodeSystem, f.Code)).Where(f => f.Code.Length > 0 && f.CodeSystem != TermMaps.Snomed && terms.Find(TermMaps.Findings, f.CodeSystem, f.Code) is null))
        {
            QueueUnmapped(db, TermMaps.Findings, finding.CodeSystem, finding.Code, finding.Label, nowMs);
        }
    }

    private static void QueueUnmapped(SqliteConnection db, string map, string system, string code, string text, long nowMs) => db.Command(
        "INSERT INTO unmapped (map, system, code, text, orders, first_ms) VALUES ($1, $2, $3, $4, 1, $5) ON CONFLICT DO UPDATE SET orders = orders + 1",
        map, system, code, text, nowMs).Go();

    private static List<ImagingOrder> Open(SqliteConnection db, string site, string where, params string[] values) =>
        db.Command($"SELECT event FROM orders WHERE site = $1 AND state = 'active' AND event IS NOT NULL AND {where}", [site, .. values])
            .Rows(row => JsonSerializer.Deserialize(row.GetString(0), ContractsJson.Default.ImagingOrder)!);

    private void Announce(SqliteConnection db, ImagingOrder order, string status, List<ProcedureScheduled> changed, long nowMs)
    {
        var patient = PatientIndex.Find(db, order.Patient.PatientId, order.Patient.Issuer) ?? order.Patient;
        var step = ToStep(order, patient, status);
        var json = JsonSerializer.Serialize(step, ContractsJson.Default.ProcedureScheduled);
        if (db.Command("UPDATE orders SET worklist = $2 WHERE id = $1 AND worklist IS NOT $2", order.OrderId, json).Go() > 0)
        {
            changed.Add(step);
        }

        if (IsUnmapped(order))
        {
            QueueUnmapped(db, TermMaps.Procedures, order.CodeSystem, order.Code, order.CodeText, nowMs);
        }
    }

    /// <summary>Ends an order. One that is not known yet is remembered as ended, so that it does not begin when it arrives.</summary>
    private static void End(SqliteConnection db, string id, ImagingOrder by, string site, string state, List<ProcedureScheduled> changed, long nowMs)
    {
        var worklist = db.Command("SELECT worklist FROM orders WHERE id = $1 AND state = 'active'", id).Single() as string;
        db.Command(
            """
            INSERT INTO orders (id, source, site, state, ordered_ms, rank, placer, accession, patient_id, issuer, study_uid, code_system, code, event, worklist, changed_ms)
            VALUES ($1, $2, $3, $4, $5, 2, '', '', '', '', '', '', '', NULL, NULL, $6)
            ON CONFLICT (id) DO UPDATE SET state = $4, changed_ms = $6 WHERE state = 'active'
            """,
            id, by.Source, site, state, by.OrderedMs, nowMs).Go();
        if (worklist is not null)
        {
            var step = JsonSerializer.Deserialize(worklist, ContractsJson.Default.ProcedureScheduled)! with { Status = state == "completed" ? "COMPLETED" : "CANCELLED" };
            db.Command("UPDATE orders SET worklist = $2 WHERE id = $1", id, JsonSerializer.Serialize(step, ContractsJson.Default.ProcedureScheduled)).Go();
            changed.Add(step);
        }
    }

    // Names cannot be refused any more when they are in the worklist's way; what DICOM has no room for is cut.
    private static string Clean(string text, int most)
    {
        var clean = new string([.. text.Select(c => c == '\\' || char.IsControl(c) ? ' ' : c)]);
        return clean.Length <= most ? clean : clean[..(char.IsHighSurrogate(clean[most - 1]) ? most - 1 : most)];
    }
}
