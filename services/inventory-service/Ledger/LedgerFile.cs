using System.Collections.Concurrent;
using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Inventory.Ledger;

/// <summary>The file <c>inventory/ledger.db</c>: one book that writes, and readers that see what was committed.</summary>
internal sealed class LedgerFile : IDisposable
{
    private const int MaxIdle = 8;

    private readonly string _path;
    private readonly ConcurrentBag<SqliteConnection> _idle = [];
    private bool _disposed;

    /// <summary>Makes the file when there is none, so that it can be read before the first write.</summary>
    public LedgerFile(IOptions<NodeOptions> node)
    {
        _path = node.Value.PathOf("inventory", "ledger.db");
        OpenBook().Dispose();
    }

    /// <summary>For tools: a file by its path.</summary>
    internal LedgerFile(string path)
    {
        _path = path;
        OpenBook().Dispose();
    }

    /// <summary>Opens the writer; there must be no other.</summary>
    public LedgerBook OpenBook(int checkpointEvery = LedgerBook.CheckpointEvery) => new(_path, checkpointEvery);

    /// <summary>Batches that wait for a person.</summary>
    public long CountParked() => Read(db => db.ExecuteScalar<long>("SELECT count(*) FROM parked"));

    /// <summary>Runs a query on a connection that only reads.</summary>
    public T Read<T>(Func<SqliteConnection, T> query)
    {
        if (!_idle.TryTake(out var db))
        {
            db = SqliteFile.OpenReader(_path);
        }

        try
        {
            return query(db);
        }
        finally
        {
            if (_disposed || _idle.Count >= MaxIdle)
            {
                db.Dispose();
            }
            else
            {
                _idle.Add(db);
            }
        }
    }

    public void Dispose()
    {
        _disposed = true;
        while (_idle.TryTake(out var db))
        {
            db.Dispose();
        }
    }
}
