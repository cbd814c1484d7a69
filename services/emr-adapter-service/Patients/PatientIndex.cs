using System.Text.Json;
using Microsoft.Data.Sqlite;
using Yizhan.Contracts;

namespace Yizhan.EmrAdapter.Patients;

/// <summary>Who is who: patients by identifier, merges, and identifiers that contradict each other. Inside the caller's transaction.</summary>
internal static class PatientIndex
{
    /// <summary>More merges in a row than any register makes; a longer chain is a loop.</summary>
    private const int MaxMerges = 64;

    /// <summary>Takes what was said about a patient. An older fact than the known one changes nothing.</summary>
    public static void Update(SqliteConnection db, EmrPatient patient, long changedMs, long nowMs)
    {
        Check(db, patient, nowMs);
        db.Command(
            """
            INSERT INTO patient (id, issuer, changed_ms, event) VALUES ($1, $2, $3, $4)
            ON CONFLICT (id, issuer) DO UPDATE SET changed_ms = excluded.changed_ms, event = excluded.event WHERE excluded.changed_ms >= patient.changed_ms OR patient.event IS NULL
            """,
            patient.PatientId, patient.Issuer, changedMs, JsonSerializer.Serialize(patient, ContractsJson.Default.EmrPatient)).Go();
        foreach (var identifier in patient.Identifiers)
        {
            var owner = db.Command("SELECT patient_id, issuer FROM identifier WHERE value = $1 AND system = $2", identifier.Value, identifier.Issuer)
                .Rows(row => (row.GetString(0), row.GetString(1))).FirstOrDefault();
            if (owner.Item1 is null)
            {
                db.Command("INSERT INTO identifier (value, system, patient_id, issuer) VALUES ($1, $2, $3, $4)", identifier.Value, identifier.Issuer, patient.PatientId, patient.Issuer).Go();
            }
            else if (Survivor(db, owner.Item1, owner.Item2) != Survivor(db, patient.PatientId, patient.Issuer))
            {
                Conflict(db, patient, $"Another patient has the same identifier of {Name(identifier)}.", nowMs, Survivor(db, owner.Item1, owner.Item2));
            }
        }
    }

    /// <summary>Why a merge cannot be; null when it can. A loop would leave both without a survivor.</summary>
    public static string? MergeProblem(SqliteConnection db, PatientChanged merge)
    {
        var retired = (merge.Retired!.Value, merge.Retired.Issuer);
        return retired == (merge.Patient.PatientId, merge.Patient.Issuer) ? "MRG-1 and PID-3 are one identifier: a patient cannot be merged with himself."
            : Survivor(db, merge.Patient.PatientId, merge.Patient.Issuer) == retired ? "The patient of PID-3 was merged into that of MRG-1 before: the merge would be a loop."
            : null;
    }

    /// <summary>Takes a merge; false when it would be a loop, which is then a conflict for a person.</summary>
    public static bool Merge(SqliteConnection db, PatientChanged merge, long nowMs)
    {
        Update(db, merge.Patient, merge.ChangedMs, nowMs);
        if (MergeProblem(db, merge) is { } problem)
        {
            Conflict(db, merge.Patient, problem, nowMs);
            return false;
        }

        db.Command(
            """
            INSERT INTO patient (id, issuer, changed_ms, event, merged_id, merged_issuer) VALUES ($1, $2, $3, NULL, $4, $5)
            ON CONFLICT (id, issuer) DO UPDATE SET merged_id = excluded.merged_id, merged_issuer = excluded.merged_issuer
            """,
            merge.Retired!.Value, merge.Retired.Issuer, merge.ChangedMs, merge.Patient.PatientId, merge.Patient.Issuer).Go();

        // Whether the two are one is decided now.
        db.Command(
            "DELETE FROM conflict WHERE (patient_id, issuer, other_id, other_issuer) IN (VALUES ($1, $2, $3, $4), ($3, $4, $1, $2))",
            merge.Retired.Value, merge.Retired.Issuer, merge.Patient.PatientId, merge.Patient.Issuer).Go();
        return true;
    }

    /// <summary>The identifier that an identifier was merged into, at last.</summary>
    public static (string Id, string Issuer) Survivor(SqliteConnection db, string id, string issuer)
    {
        for (var i = 0; i < MaxMerges; i++)
        {
            var next = db.Command("SELECT merged_id, merged_issuer FROM patient WHERE id = $1 AND issuer = $2 AND merged_id IS NOT NULL", id, issuer)
                .Rows(row => (row.GetString(0), row.GetString(1))).FirstOrDefault();
            if (next.Item1 is null)
            {
                break;
            }

            (id, issuer) = next;
        }

        return (id, issuer);
    }

    /// <summary>The patient that an identifier stands for now; null when nothing is known of him.</summary>
    public static EmrPatient? Find(SqliteConnection db, string id, string issuer)
    {
        (id, issuer) = Survivor(db, id, issuer);
        return db.Command("SELECT event FROM patient WHERE id = $1 AND issuer = $2", id, issuer).Single() is string found
            ? JsonSerializer.Deserialize(found, ContractsJson.Default.EmrPatient)
            : null;
    }

    /// <summary>The one patient with an identifier, whoever gave it out; null when there is none, or more than one.</summary>
    public static EmrPatient? Find(SqliteConnection db, string id)
    {
        var found = db.Command("SELECT DISTINCT patient_id, issuer FROM identifier WHERE value = $1 LIMIT 8", id)
            .Rows(row => Survivor(db, row.GetString(0), row.GetString(1))).Distinct().ToList();
        return found.Count == 1 ? Find(db, found[0].Id, found[0].Issuer) : null;
    }

    private static void Check(SqliteConnection db, EmrPatient patient, long nowMs)
    {
        foreach (var identifier in patient.Identifiers.Where(i => ResidentIdentity.IsMeant(i.Issuer, i.Type)))
        {
            if (ResidentIdentity.Problem(identifier.Value) is { } problem)
            {
                Conflict(db, patient, problem, nowMs);
            }
            else if (identifier.Value.Length == 18)
            {
                var (birth, sex) = ResidentIdentity.Read(identifier.Value);
                if (patient.BirthDate.Length == 8 && patient.BirthDate != birth)
                {
                    Conflict(db, patient, "The birth date is not that of the resident identity number.", nowMs);
                }

                if (patient.Sex is "M" or "F" && patient.Sex != sex)
                {
                    Conflict(db, patient, "The sex is not that of the resident identity number.", nowMs);
                }
            }
        }
    }

    private static void Conflict(SqliteConnection db, EmrPatient patient, string problem, long nowMs, (string Id, string Issuer) other = default) => db.Command(
        "INSERT INTO conflict (patient_id, issuer, problem, first_ms, other_id, other_issuer) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        patient.PatientId, patient.Issuer, problem, nowMs, other.Id ?? "", other.Issuer ?? "").Go();

    private static string Name(EmrIdentifier identifier) =>
        identifier.Issuer.Length > 0 ? $"'{identifier.Issuer}'" : identifier.Type.Length > 0 ? $"type {identifier.Type}" : "unknown origin";
}
