using Microsoft.Data.Sqlite;

namespace Yizhan.PacsGw.Archive;

/// <summary>
/// The index's statements on one connection, each compiled once: an instance needs some ten of them, and compiling them anew costs more than running them.
/// Dispose it before the connection. Not for concurrent use.
/// </summary>
internal sealed class ArchiveStatements(SqliteConnection connection) : IDisposable
{
    private readonly Dictionary<string, SqliteCommand> _commands = new(StringComparer.Ordinal);

    /// <summary>The connection.</summary>
    public SqliteConnection Connection => connection;

    /// <summary>A statement with its values. It is good until the same text is asked for again.</summary>
    public SqliteCommand Prepare(string sql, SqliteTransaction transaction, ReadOnlySpan<object?> values)
    {
        if (!_commands.TryGetValue(sql, out var command))
        {
            command = connection.Command(sql, values);
            _commands.Add(sql, command);
        }
        else
        {
            for (var i = 0; i < values.Length; i++)
            {
                command.Parameters[i].Value = values[i] ?? DBNull.Value;
            }
        }

        command.Transaction = transaction;
        return command;
    }

    public void Dispose()
    {
        foreach (var command in _commands.Values)
        {
            command.Dispose();
        }
    }
}
