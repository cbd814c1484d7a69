using System.Globalization;
using System.Net.Sockets;
using System.Security.Cryptography;
using Npgsql;

namespace Yizhan.Storage;

/// <summary>
/// The one writing session of a log. While it is connected it holds an advisory lock that no other session can have; the server gives the lock away
/// only after the session's last statement has ended. So whoever has the lock knows what became of everything before it.
/// </summary>
internal sealed class PostgresLease : IDisposable
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(250);

    private readonly string _connectionString;
    private readonly string _schema;
    private readonly string _name;
    private readonly TimeSpan _patience;
    private readonly TimeProvider _clock;
    private readonly ManualResetEventSlim _never = new();

    /// <param name="connectionString">Where the database is.</param>
    /// <param name="schema">Schema of the log.</param>
    /// <param name="patience">How long a database that is away is waited for.</param>
    /// <param name="clock">For the waiting.</param>
    public PostgresLease(string connectionString, string schema, TimeSpan patience, TimeProvider clock)
    {
        (_schema, _patience, _clock) = (schema, patience, clock);

        // Who holds a log is read by a person who started two centres: host and process first. The server cuts it at 63 bytes.
        _name = string.Create(
            CultureInfo.InvariantCulture,
            $"yizhan {Environment.MachineName[..Math.Min(24, Environment.MachineName.Length)]} pid {Environment.ProcessId} {Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(4))}");
        _connectionString = new NpgsqlConnectionStringBuilder(connectionString) { ApplicationName = _name, Pooling = false }.ToString();
    }

    /// <summary>Who holds the lease: host, process and a number that no other start has.</summary>
    public string Name => _name;

    /// <summary>The session; open after <see cref="Take"/>.</summary>
    public NpgsqlConnection Session { get; private set; } = null!;

    /// <summary>True for what says that the session or the server is gone, and nothing about what was asked.</summary>
    public static bool IsLost(Exception e) => e switch
    {
        PostgresException { SqlState: var state } => state.StartsWith("57P", StringComparison.Ordinal) || state.StartsWith("08", StringComparison.Ordinal)
            || state is PostgresErrorCodes.TooManyConnections or PostgresErrorCodes.SerializationFailure or PostgresErrorCodes.DeadlockDetected
                or PostgresErrorCodes.ReadOnlySqlTransaction or PostgresErrorCodes.QueryCanceled,
        NpgsqlException or SocketException or IOException or TimeoutException => true,

        // Npgsql's own words for a connection that broke between two calls.
        InvalidOperationException and not ObjectDisposedException => e.Source == "Npgsql",
        _ => false,
    };

    /// <summary>Connects anew and takes the lock; waits for a database that is away, and for the end of an earlier session of ours.</summary>
    /// <exception cref="IOException">Another centre has the log, or the database stayed away.</exception>
    /// <exception cref="InvalidOperationException">The server would not keep what it confirms.</exception>
    public void Take()
    {
        var from = _clock.GetTimestamp();
        while (true)
        {
            try
            {
                Session?.Dispose();
                Session = new NpgsqlConnection(_connectionString);
                Session.Open();
                Require();
                if (TryLock())
                {
                    return;
                }

                // Of an ended process the server may not know yet: it is given a moment. One that lives keeps what it has.
                var (holder, pid) = Holder();
                if (holder == _name)
                {
                    Run($"SELECT pg_terminate_backend({pid})");
                }
                else if (holder is not null && _clock.GetElapsedTime(from) > TimeSpan.FromSeconds(Math.Min(5, _patience.TotalSeconds)))
                {
                    throw new PostgresHeldException(
                        $"The log in schema '{_schema}' of this database is open in another centre: {holder}. Stop that one first, or give this one a database or "
                        + "storage:postgresSchema of its own.");
                }
            }
            catch (Exception e) when (IsLost(e) && e is not PostgresHeldException)
            {
                if (_clock.GetElapsedTime(from) > _patience)
                {
                    throw new IOException($"PostgreSQL could not be reached for {_patience.TotalSeconds:0} s: {e.Message}", e);
                }
            }

            Wait();
        }
    }

    /// <summary>A moment before the next attempt. On the committer thread, or at start.</summary>
    public void Wait() => _never.Wait(Pause);

    /// <inheritdoc/>
    public void Dispose()
    {
        Session?.Dispose();
        _never.Dispose();
    }

    /// <summary>What PostgreSQL needs so that a COMMIT survives a power cut. <c>synchronous_commit</c> is asked for by the connection.</summary>
    private void Require()
    {
        if (Session.PostgreSqlVersion < new Version(15, 0))
        {
            throw new InvalidOperationException($"This is PostgreSQL {Session.PostgreSqlVersion}; 15 or newer is needed.");
        }

        foreach (var (setting, allowed) in new[]
        {
            ("fsync", new[] { "on" }), ("full_page_writes", ["on"]), ("synchronous_commit", ["on", "remote_apply"]), ("server_encoding", ["UTF8"]),
        })
        {
            using var command = new NpgsqlCommand("SELECT current_setting($1)", Session) { Parameters = { new() { Value = setting } } };
            var actual = (string)command.ExecuteScalar()!;
            if (!allowed.Contains(actual))
            {
                throw new InvalidOperationException(
                    $"PostgreSQL's {setting} is {actual}; {string.Join(" or ", allowed)} is needed, or a power cut loses what was acknowledged.");
            }
        }
    }

    private bool TryLock()
    {
        using var command = new NpgsqlCommand("SELECT pg_try_advisory_lock(hashtextextended('yizhan log ' || $1, 0))", Session) { Parameters = { new() { Value = _schema } } };
        return (bool)command.ExecuteScalar()!;
    }

    private (string? Name, int Pid) Holder()
    {
        using var command = new NpgsqlCommand("""
            SELECT a.application_name || coalesce(' at ' || host(a.client_addr), '') || ', since ' || to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC',
                a.application_name, l.pid
            FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
            WHERE l.locktype = 'advisory' AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended('yizhan log ' || $1, 0)
            """, Session) { Parameters = { new() { Value = _schema } } };
        using var row = command.ExecuteReader();
        return !row.Read() ? (null, 0) : row.GetString(1) == _name ? (_name, row.GetInt32(2)) : (row.GetString(0), row.GetInt32(2));
    }

    private void Run(string sql)
    {
#pragma warning disable CA2100 // A number is all that is put in.
        using var command = new NpgsqlCommand(sql, Session);
#pragma warning restore CA2100
        command.ExecuteNonQuery();
    }
}

/// <summary>Another centre has the log.</summary>
internal sealed class PostgresHeldException(string message) : IOException(message);
