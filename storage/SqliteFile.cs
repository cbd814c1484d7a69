using System.Globalization;
using Microsoft.Data.Sqlite;

namespace Yizhan.Storage;

/// <summary>Opens SQLite databases so that a commit survives a power cut, and checks that it is so.</summary>
public static class SqliteFile
{
    // Before it, a checkpoint could race with a WAL reset and corrupt the database (fixed in 3.51.3).
    private static readonly Version Oldest = new(3, 51, 3);

    /// <summary>
    /// Opens the one writing connection of a database: WAL, <c>synchronous=FULL</c>, foreign keys on. Creates the file when missing and
    /// runs the migrations that it has not seen, each in its own transaction.
    /// </summary>
    /// <param name="path">The database file.</param>
    /// <param name="migrations">All scripts since the first version, in order; the database counts them in <c>user_version</c>. Append only.</param>
    /// <exception cref="InvalidOperationException">This SQLite is too old, a setting was not taken, or the database is newer than this program.</exception>
    public static SqliteConnection OpenWriter(string path, params IReadOnlyList<string> migrations)
    {
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Pooling = false }.ToString());
        try
        {
            connection.Open();
            Execute(connection, "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 4000; PRAGMA busy_timeout = 10000;");
            var version = Version.Parse(Scalar(connection, "SELECT sqlite_version()"));
            if (version < Oldest)
            {
                throw new InvalidOperationException($"SQLite {version} can corrupt a WAL database; {Oldest} or newer is needed.");
            }

            Require(connection, "journal_mode", "wal");
            Require(connection, "synchronous", "2");
            Migrate(connection, path, migrations);
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <summary>Opens a connection that only reads. Any number of them may be open beside the writer.</summary>
    public static SqliteConnection OpenReader(string path)
    {
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Pooling = false }.ToString());
        connection.Open();
        Execute(connection, "PRAGMA query_only = ON; PRAGMA busy_timeout = 10000;");
        return connection;
    }

    private static void Migrate(SqliteConnection connection, string path, IReadOnlyList<string> migrations)
    {
        var done = int.Parse(Scalar(connection, "PRAGMA user_version"), CultureInfo.InvariantCulture);
        if (done > migrations.Count)
        {
            throw new InvalidOperationException($"{path} has schema {done}, this program knows {migrations.Count}: it was written by a newer version.");
        }

        for (var i = done; i < migrations.Count; i++)
        {
            using var transaction = connection.BeginTransaction();
            Execute(connection, $"{migrations[i]}; PRAGMA user_version = {i + 1};", transaction);
            transaction.Commit();
        }
    }

    private static void Require(SqliteConnection connection, string pragma, string value)
    {
        var actual = Scalar(connection, $"PRAGMA {pragma}");
        if (actual != value)
        {
            throw new InvalidOperationException($"SQLite's {pragma} is {actual}; {value} is needed, or a power cut loses what was acknowledged.");
        }
    }

#pragma warning disable CA2100 // The texts are constants of this program.
    private static void Execute(SqliteConnection connection, string sql, SqliteTransaction? transaction = null)
    {
        using var command = new SqliteCommand(sql, connection, transaction);
        command.ExecuteNonQuery();
    }

    private static string Scalar(SqliteConnection connection, string sql)
    {
        using var command = new SqliteCommand(sql, connection);
        return Convert.ToString(command.ExecuteScalar(), CultureInfo.InvariantCulture)!;
    }
#pragma warning restore CA2100
}
