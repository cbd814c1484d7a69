using Microsoft.Data.Sqlite;

namespace Yizhan.PacsGw.Archive;

/// <summary>Takes the rows of a study, a series or an instance out of the index. Their blobs are <see cref="ArchivePins"/>' business.</summary>
internal static class ArchiveRemoval
{
    private const string There =
        """
        SELECT i.pk FROM study t JOIN series s ON s.study = t.pk JOIN instance i ON i.series = s.pk
        WHERE t.uid = $1 AND ($2 IS NULL OR s.uid = $2) AND ($3 IS NULL OR i.sop_uid = $3)
        """;

    /// <summary>Hashes of what is at a place, all variants.</summary>
    public static List<string> Hashes(SqliteConnection db, string study, string? series, string? instance) =>
        db.Command($"SELECT DISTINCT sha256 FROM instance WHERE pk IN ({There})", study, series, instance).Rows(row => row.GetString(0));

    /// <summary>Removes the rows, in the transaction that the connection has. What is not there is no error.</summary>
    /// <param name="db">A writing connection.</param>
    /// <param name="study">Study Instance UID.</param>
    /// <param name="series">Series Instance UID, or null for the whole study.</param>
    /// <param name="instance">SOP Instance UID, or null for all.</param>
    /// <param name="position">Place in the log of what asks for it: a study that keeps some of its instances has changed there.</param>
    public static void Remove(SqliteConnection db, string study, string? series, string? instance, long position)
    {
        if (db.Command("SELECT pk, patient FROM study WHERE uid = $1", study).Rows(row => (Pk: row.GetInt64(0), Patient: row.GetInt64(1))) is not [var (pk, patient)])
        {
            return;
        }

        db.Command($"DELETE FROM metadata WHERE instance IN ({There})", study, series, instance).Go();
        db.Command($"DELETE FROM instance WHERE pk IN ({There})", study, series, instance).Go();
        db.Command("DELETE FROM series WHERE study = $1 AND NOT EXISTS (SELECT 1 FROM instance WHERE instance.series = series.pk)", pk).Go();
        if (db.Command("SELECT 1 FROM series WHERE study = $1 LIMIT 1", pk).Single() is not null)
        {
            db.Command(
                """
                UPDATE series SET instances = (SELECT count(*) FROM instance WHERE instance.series = series.pk AND variant = 0) WHERE study = $1;
                UPDATE study SET
                    series = (SELECT count(*) FROM series WHERE series.study = $1),
                    instances = (SELECT sum(s.instances) FROM series s WHERE s.study = $1),
                    bytes = (SELECT sum(i.length) FROM instance i JOIN series s ON s.pk = i.series WHERE s.study = $1),
                    modalities = (SELECT coalesce(group_concat(modality, '\'), '')
                                  FROM (SELECT DISTINCT modality FROM series WHERE study = $1 AND modality <> '' ORDER BY modality)),
                    change = max(change, $2)
                WHERE pk = $1;
                """, pk, position).Go();
            return;
        }

        // Whatever else belongs to a study, such as words of names.
        foreach (var (table, column) in db.Command(
            """
            SELECT m.name, f."from" FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f WHERE m.type = 'table' AND f."table" = 'study'
            """).Rows(row => (row.GetString(0), row.GetString(1))))
        {
            db.Command($"DELETE FROM \"{table}\" WHERE \"{column}\" = $1", pk).Go();
        }

        db.Command("DELETE FROM study WHERE pk = $1", pk).Go();
        db.Command("DELETE FROM patient WHERE pk = $1 AND NOT EXISTS (SELECT 1 FROM study WHERE study.patient = $1)", patient).Go();
    }
}
