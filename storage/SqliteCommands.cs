using Microsoft.Data.Sqlite;

namespace Yizhan.Storage;

/// <summary>Commands that are used once, with parameters <c>$1</c>, <c>$2</c>… NULL is null both ways: a null binds NULL, and NULL reads as null.</summary>
public static class SqliteCommands
{
    /// <summary>A command with its parameters.</summary>
    /// <param name="connection">Where it runs.</param>
    /// <param name="sql">A constant text; values go into parameters only.</param>
    /// <param name="values">The parameters in order.</param>
    public static SqliteCommand Command(this SqliteConnection connection, string sql, params ReadOnlySpan<object?> values)
    {
        var command = connection.CreateCommand();
#pragma warning disable CA2100 // The texts are constants of the services.
        command.CommandText = sql;
#pragma warning restore CA2100
        for (var i = 0; i < values.Length; i++)
        {
            command.Parameters.AddWithValue($"${i + 1}", values[i] ?? DBNull.Value);
        }

        return command;
    }

    /// <summary>Runs it, disposes it and returns the rows that it changed.</summary>
    public static int Go(this SqliteCommand command)
    {
        using (command)
        {
            return command.ExecuteNonQuery();
        }
    }

    /// <summary>Runs it, disposes it and returns the first value; null when there is none.</summary>
#pragma warning disable CA1720 // The one value, not the type of that name.
    public static object? Single(this SqliteCommand command)
#pragma warning restore CA1720
    {
        using (command)
        {
            return command.ExecuteScalar() is { } value and not DBNull ? value : null;
        }
    }

    /// <summary>Runs it, disposes it and returns its rows.</summary>
    public static List<T> Rows<T>(this SqliteCommand command, Func<SqliteDataReader, T> read)
    {
        using (command)
        using (var row = command.ExecuteReader())
        {
            var rows = new List<T>();
            while (row.Read())
            {
                rows.Add(read(row));
            }

            return rows;
        }
    }
}
