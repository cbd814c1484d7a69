using System.Globalization;
using System.Text;
using Npgsql;

namespace Yizhan.Storage;

/// <summary>The tables of the log in PostgreSQL: numbered scripts, forward only, counted in the table <c>version</c> of their schema.</summary>
public static class PostgresSchema
{
    /// <summary>The role that the centre signs in as, and the one that owns the tables, in <see cref="Script"/>.</summary>
    private const string Writer = "yizhan_event_log", Owner = "yizhan_event_log_owner";

    private static readonly string[] Migrations = ["001-event-log.sql"];

    /// <summary>
    /// What an administrator runs once in the centre's database, and again after each upgrade: schema, roles, rights and the migrations that it has not seen.
    /// The centre's role may then read and write rows and nothing else. It holds no password.
    /// </summary>
    /// <param name="schema">Name of the schema.</param>
    public static string Script(string schema)
    {
        var sql = new StringBuilder();
        sql.AppendLine(CultureInfo.InvariantCulture, $"""
            -- Run in the centre's database by a role that may create roles: psql -v ON_ERROR_STOP=1 -1 -d yizhan -f -
            DO $do$ BEGIN
                IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{Owner}') THEN CREATE ROLE {Owner} NOLOGIN; END IF;
                -- Give it a password of your own: ALTER ROLE {Writer} PASSWORD '...'
                IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{Writer}') THEN CREATE ROLE {Writer} LOGIN; END IF;
            END $do$;
            CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {Owner};
            REVOKE ALL ON SCHEMA {schema} FROM PUBLIC;
            GRANT USAGE ON SCHEMA {schema} TO {Writer};
            ALTER DEFAULT PRIVILEGES FOR ROLE {Owner} IN SCHEMA {schema} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {Writer};
            ALTER DEFAULT PRIVILEGES FOR ROLE {Owner} IN SCHEMA {schema} GRANT USAGE ON SEQUENCES TO {Writer};
            SET ROLE {Owner};
            SET search_path = {schema};
            CREATE TABLE IF NOT EXISTS version (number integer PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
            """);
        for (var i = 0; i < Migrations.Length; i++)
        {
            sql.AppendLine(CultureInfo.InvariantCulture, $"""
                DO $do$ BEGIN IF NOT EXISTS (SELECT FROM version WHERE number = {i + 1}) THEN
                {Text(Migrations[i])}
                INSERT INTO version (number) VALUES ({i + 1});
                END IF; END $do$;
                """);
        }

        return sql.AppendLine("RESET search_path;").AppendLine("RESET ROLE;").ToString();
    }

    /// <summary>
    /// Brings the schema forward when this role may: each script in a transaction of its own. A role that may only read and write rows needs the
    /// administrator's script instead, and is told so.
    /// </summary>
    /// <exception cref="InvalidOperationException">The schema is of a newer version, or older and this role may not change it.</exception>
    internal static void Migrate(NpgsqlConnection connection, string schema)
    {
        try
        {
            if (Scalar(connection, $"SELECT to_regclass('{schema}.version') IS NULL") is true)
            {
                Run(connection, $"CREATE SCHEMA IF NOT EXISTS {schema}; CREATE TABLE {schema}.version (number integer PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())");
            }

            var done = Convert.ToInt32(Scalar(connection, $"SELECT coalesce(max(number), 0) FROM {schema}.version"), CultureInfo.InvariantCulture);
            if (done > Migrations.Length)
            {
                throw new InvalidOperationException(
                    $"The schema '{schema}' has version {done}, this program knows {Migrations.Length}: it was written by a newer version.");
            }

            for (var i = done; i < Migrations.Length; i++)
            {
                using var transaction = connection.BeginTransaction();
                Run(connection, Text(Migrations[i]));
                Run(connection, $"INSERT INTO {schema}.version (number) VALUES ({i + 1})");
                transaction.Commit();
            }
        }
        catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.InsufficientPrivilege)
        {
            throw new InvalidOperationException(
                $"The schema '{schema}' is not of version {Migrations.Length}, and this role may not change it: run 'yizhan database sql | psql' as an administrator "
                + $"of the database first. {e.MessageText}", e);
        }
    }

    private static string Text(string name)
    {
        using var stream = typeof(PostgresSchema).Assembly.GetManifestResourceStream(name)!;
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }

#pragma warning disable CA2100 // The texts are constants of this program; the schema's name is checked.
    private static void Run(NpgsqlConnection connection, string sql)
    {
        using var command = new NpgsqlCommand(sql, connection);
        command.ExecuteNonQuery();
    }

    private static object? Scalar(NpgsqlConnection connection, string sql)
    {
        using var command = new NpgsqlCommand(sql, connection);
        return command.ExecuteScalar();
    }
#pragma warning restore CA2100
}
