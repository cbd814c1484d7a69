using Microsoft.Data.Sqlite;

namespace Yizhan.Inventory.Ledger;

/// <summary>A prepared statement with parameters $1, $2 …, used many times by one thread.</summary>
internal sealed class Statement : IDisposable
{
    private readonly SqliteCommand _command;

#pragma warning disable CA2100 // The texts are constants of this program.
    public Statement(SqliteConnection db, string sql, int parameters)
    {
        _command = new SqliteCommand(sql, db);
        for (var i = 1; i <= parameters; i++)
        {
            _command.Parameters.Add(new SqliteParameter { ParameterName = $"${i}" });
        }
    }
#pragma warning restore CA2100

    /// <summary>Runs it and returns the rows that it changed.</summary>
    public int Run(params ReadOnlySpan<object> values)
    {
        Bind(values);
        return _command.ExecuteNonQuery();
    }

    /// <summary>The first value of the first row; null when there is none.</summary>
    public object? Single(params ReadOnlySpan<object> values)
    {
        Bind(values);
        return _command.ExecuteScalar() is { } value and not DBNull ? value : null;
    }

    /// <summary>The rows; dispose the reader before the next use.</summary>
    public SqliteDataReader Read(params ReadOnlySpan<object> values)
    {
        Bind(values);
        return _command.ExecuteReader();
    }

    /// <summary>Runs within somebody's transaction from here on.</summary>
    public void Within(SqliteTransaction transaction) => _command.Transaction = transaction;

    public void Dispose() => _command.Dispose();

    private void Bind(ReadOnlySpan<object> values)
    {
        for (var i = 0; i < values.Length; i++)
        {
            _command.Parameters[i].Value = values[i];
        }
    }
}
