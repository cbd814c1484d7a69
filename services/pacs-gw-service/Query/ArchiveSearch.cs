using System.Diagnostics.CodeAnalysis;
using Microsoft.Data.Sqlite;
using SQLitePCL;
using Yizhan.PacsGw.Archive;

namespace Yizhan.PacsGw.Query;

/// <summary>
/// One search under way: rows come as they are read, and the search ends when it takes too long or its asker gives up, also in the middle of a
/// row that takes minutes to find.
/// </summary>
internal sealed class ArchiveSearch : IDisposable
{
    private const int SqliteInterrupt = 9;

    private readonly SqliteConnection _db;
    private readonly TimeSpan _limit;
    private readonly CancellationToken _cancellationToken;
    private readonly CancellationTokenSource _end;
    private readonly CancellationTokenRegistration _interrupting;
    private SqliteCommand? _command;

    /// <summary>Opens a connection for one search.</summary>
    /// <param name="database">The index.</param>
    /// <param name="limit">Time that the search may take, answers included.</param>
    /// <param name="cancellationToken">The asker gives up.</param>
    public ArchiveSearch(ArchiveDatabase database, TimeSpan limit, CancellationToken cancellationToken)
    {
        _db = database.OpenSearcher();
        _limit = limit;
        _cancellationToken = cancellationToken;
        _end = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        _end.CancelAfter(limit);
        _interrupting = _end.Token.Register(() => raw.sqlite3_interrupt(_db.Handle));
    }

    /// <summary>Starts the search; see <see cref="QuerySql.Build"/> for the columns.</summary>
    /// <exception cref="QueryException">It cannot be made, or finding the first row took too long.</exception>
    public SqliteDataReader Open(ArchiveQuery query) => Open(QuerySql.Build(_db, query));

    /// <summary>Starts the search for instances to retrieve.</summary>
    /// <exception cref="QueryException">It cannot be made, or finding the first row took too long.</exception>
    public SqliteDataReader OpenInstances(ArchiveQuery query) => Open(QuerySql.BuildInstances(_db, query));

    /// <summary>Starts the search of the worklist.</summary>
    /// <exception cref="QueryException">It cannot be made, or finding the first row took too long.</exception>
    public SqliteDataReader OpenWorklist(ArchiveQuery query) => Open(QuerySql.BuildWorklist(_db, query));

    /// <summary>Moves to the next row; false at the end.</summary>
    /// <exception cref="QueryException">The search took too long.</exception>
    /// <exception cref="OperationCanceledException">The asker gave up.</exception>
    public bool Read(SqliteDataReader rows)
    {
        try
        {
            return rows.Read();
        }
        catch (SqliteException e) when (e.SqliteErrorCode == SqliteInterrupt)
        {
            Ended();
            throw;
        }
    }

    /// <summary>The SOP classes of a study's instances.</summary>
    public IReadOnlyList<string> SopClasses(string study)
    {
        using var command = _db.Command("""
            SELECT DISTINCT instance.sop_class FROM study CROSS JOIN series ON series.study = study.pk
            CROSS JOIN instance ON instance.series = series.pk WHERE study.uid = $1 ORDER BY 1
            """, study);
        using var row = command.ExecuteReader();
        var found = new List<string>();
        while (row.Read())
        {
            found.Add(row.GetString(0));
        }

        return found;
    }

    /// <summary>Studies, series and instances of the patient of a study.</summary>
    public (long Studies, long Series, long Instances) PatientTotals(string study)
    {
        using var command = _db.Command(
            "SELECT count(*), sum(series), sum(instances) FROM study WHERE patient = (SELECT patient FROM study WHERE uid = $1)", study);
        using var row = command.ExecuteReader();
        return row.Read() ? (row.GetInt64(0), row.GetInt64(1), row.GetInt64(2)) : default;
    }

    public void Dispose()
    {
        // First, and it waits: nobody may interrupt the connection once the pool gives it to somebody else.
        _interrupting.Dispose();
        _end.Dispose();
        _command?.Dispose();
        _db.Dispose();
    }

    private SqliteDataReader Open(SqliteCommand command)
    {
        _command = command;
        try
        {
            return command.ExecuteReader();
        }
        catch (SqliteException e) when (e.SqliteErrorCode == SqliteInterrupt)
        {
            Ended();
            throw;
        }
    }

    [DoesNotReturn]
    private void Ended()
    {
        _cancellationToken.ThrowIfCancellationRequested();
        throw new QueryException($"The search took more than {_limit.TotalSeconds:0} s and was ended: narrow it by a date, an identifier or a UID.");
    }
}
