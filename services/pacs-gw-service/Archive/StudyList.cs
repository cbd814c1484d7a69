using System.Runtime.CompilerServices;
using Microsoft.Data.Sqlite;
using Yizhan.Contracts;

namespace Yizhan.PacsGw.Archive;

/// <summary>The studies as people list them.</summary>
internal sealed class StudyList(ArchiveDatabase database, ArchiveChanges changes)
{
    private const int MaxChanged = 1000;

    /// <summary>Studies that changed after a time, newest first.</summary>
    /// <param name="sinceMs">Unix milliseconds UTC; 0 for all.</param>
    /// <param name="limit">At most so many.</param>
    public IReadOnlyList<StudyView> Newest(long sinceMs, int limit)
    {
        using var db = database.OpenReader();
        using var select = db.Command(
            $"SELECT {Columns} FROM study WHERE last_indexed_ms > $1 ORDER BY change DESC LIMIT $2", sinceMs, limit);
        return [.. Read(select).Select(s => s.View)];
    }

    /// <summary>How far studies have come; those that are not here are left out.</summary>
    public IReadOnlyList<StudyProgress> Progress(IReadOnlyList<string> uids)
    {
        using var db = database.OpenReader();
        return [.. uids.Distinct(StringComparer.Ordinal).Select(uid =>
        {
            using var select = db.Command(
                """
                SELECT study.site, study.first_stored_ms, study.last_indexed_ms, study.instances, max(instance.stored_ms),
                       min(CASE WHEN series.modality IN ('SEG', 'SR') THEN instance.stored_ms END)
                FROM study JOIN series ON series.study = study.pk JOIN instance ON instance.series = series.pk
                WHERE study.uid = $1 GROUP BY study.pk
                """, uid);
            using var row = select.ExecuteReader();
            return row.Read()
                ? new StudyProgress(uid, row.GetString(0), row.GetInt64(1), row.GetInt64(4), row.GetInt64(2), row.GetInt32(3), row.IsDBNull(5) ? null : row.GetInt64(5))
                : null;
        }).OfType<StudyProgress>()];
    }

    /// <summary>Each study as it changes, after a place in the order of changes; never ends by itself.</summary>
    public async IAsyncEnumerable<(long Change, StudyView View)> FollowAsync(
        long afterChange, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        while (true)
        {
            var next = changes.Next;
            var changed = Changed(afterChange);
            foreach (var study in changed)
            {
                yield return study;
                afterChange = study.Change;
            }

            if (changed.Count < MaxChanged)
            {
                await next.WaitAsync(cancellationToken);
            }
        }
    }

    /// <summary>The place of the newest change.</summary>
    public long LastChange()
    {
        using var db = database.OpenReader();
        return db.Scalar("SELECT max(change) FROM study") as long? ?? 0;
    }

    private List<(long Change, StudyView View)> Changed(long after)
    {
        using var db = database.OpenReader();
        using var select = db.Command($"SELECT {Columns} FROM study WHERE change > $1 ORDER BY change LIMIT $2", after, MaxChanged);
        return [.. Read(select)];
    }

    private const string Columns =
        "change, uid, patient_id, patient_name, study_date, description, modalities, series, instances, bytes, site, "
        + "first_stored_ms, last_indexed_ms";

    private static IEnumerable<(long Change, StudyView View)> Read(SqliteCommand select)
    {
        using var row = select.ExecuteReader();
        while (row.Read())
        {
            yield return (row.GetInt64(0), new StudyView(
                row.GetString(1), row.GetString(2), row.GetString(3), row.GetString(4), row.GetString(5),
                row.GetString(6).Split('\\', StringSplitOptions.RemoveEmptyEntries), row.GetInt32(7), row.GetInt32(8),
                row.GetInt64(9), row.GetString(10), row.GetInt64(11), row.GetInt64(12)));
        }
    }
}
