using System.Text;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Yizhan.Inventory.Ledger;

/// <summary>
/// A prepared statement with parameters ?1, ?2 …, used many times by one thread. It calls SQLite itself: the ledger runs three for each movement,
/// and binding through ADO.NET costs more than what SQLite does for them.
/// </summary>
internal sealed class Statement : IDisposable
{
    private const int OnStack = 256;

    private readonly sqlite3 _db;
    private readonly sqlite3_stmt _statement;
    private bool _ended;

    /// <exception cref="SqliteException">It is no SQL, or names what is not there.</exception>
    public Statement(SqliteConnection db, string sql, int parameters)
    {
        _db = db.Handle!;
        Check(raw.sqlite3_prepare_v3(_db, sql, raw.SQLITE_PREPARE_PERSISTENT, out _statement));
        if (raw.sqlite3_bind_parameter_count(_statement) != parameters)
        {
            throw new ArgumentException($"'{sql}' has {raw.sqlite3_bind_parameter_count(_statement)} parameters, not {parameters}.");
        }
    }

    /// <summary>Runs it and returns the rows that it changed.</summary>
    public int Run(params ReadOnlySpan<object> values)
    {
        using var rows = Read(values);
        while (rows.Read())
        {
            // What it returns is not asked for.
        }

        return raw.sqlite3_changes(_db);
    }

    /// <summary>The first value of the first row; null when there is none.</summary>
    public object? Single(params ReadOnlySpan<object> values)
    {
        using var rows = Read(values);
        var value = rows.Read() ? rows.GetValue(0) : null;

        // A statement that changes something has done so only once it has come to its end.
        while (rows.Read())
        {
        }

        return value;
    }

    /// <summary>The rows; dispose them before the next use.</summary>
    public Rows Read(params ReadOnlySpan<object> values)
    {
        for (var i = 0; i < values.Length; i++)
        {
            Bind(i + 1, values[i]);
        }

        _ended = false;
        return new Rows(this);
    }

    public void Dispose() => _statement.Dispose();

    private void Bind(int index, object value)
    {
        Check(value switch
        {
            long number => raw.sqlite3_bind_int64(_statement, index, number),
            int number => raw.sqlite3_bind_int64(_statement, index, number),
            string text => BindText(index, text),
            byte[] bytes => raw.sqlite3_bind_blob(_statement, index, bytes),
            DBNull => raw.sqlite3_bind_null(_statement, index),
            _ => throw new ArgumentException($"A parameter is a {value.GetType()}; accepted: long, int, string, byte[] and DBNull."),
        });
    }

    private int BindText(int index, string text)
    {
        if (Encoding.UTF8.GetMaxByteCount(text.Length) > OnStack)
        {
            return raw.sqlite3_bind_text(_statement, index, Encoding.UTF8.GetBytes(text));
        }

        Span<byte> bytes = stackalloc byte[OnStack];
        return raw.sqlite3_bind_text(_statement, index, bytes[..Encoding.UTF8.GetBytes(text, bytes)]);
    }

    private void Check(int code)
    {
        if (code is not (raw.SQLITE_OK or raw.SQLITE_ROW or raw.SQLITE_DONE))
        {
            SqliteException.ThrowExceptionForRC(code, _db);
        }
    }

    /// <summary>The rows that a statement yields, one at a time.</summary>
    public readonly ref struct Rows(Statement statement)
    {
        /// <summary>Goes to the next row; false when there is none.</summary>
        /// <exception cref="SqliteException">The database could not be read or changed.</exception>
        public bool Read()
        {
            // One that has come to its end would begin again.
            if (statement._ended)
            {
                return false;
            }

            var code = raw.sqlite3_step(statement._statement);
            statement._ended = code != raw.SQLITE_ROW;
            statement.Check(code);
            return !statement._ended;
        }

        public long GetInt64(int column) => raw.sqlite3_column_int64(statement._statement, column);

        public string GetString(int column) => raw.sqlite3_column_text(statement._statement, column).utf8_to_string();

        /// <summary>A number, a text or bytes; null for NULL.</summary>
        public object? GetValue(int column) => raw.sqlite3_column_type(statement._statement, column) switch
        {
            raw.SQLITE_INTEGER => GetInt64(column),
            raw.SQLITE_TEXT => GetString(column),
            raw.SQLITE_BLOB => raw.sqlite3_column_blob(statement._statement, column).ToArray(),
            _ => null,
        };

        public void Dispose() => raw.sqlite3_reset(statement._statement);
    }
}
