using System.Diagnostics;
using Npgsql;
using NpgsqlTypes;
using Yizhan.Contracts;

namespace Yizhan.Bench;

/// <summary>Debian's PostgreSQL with a cluster of its own on a socket in a folder: durable as it comes (fsync and synchronous commit on).</summary>
internal sealed class AuditBenchPostgres : IAsyncDisposable
{
    private const string Schema = """
        CREATE TABLE audit (id bigserial PRIMARY KEY, event_id text NOT NULL, action text NOT NULL, outcome int NOT NULL, agent text NOT NULL, address text,
            source text NOT NULL, entity text NOT NULL, patient text, detail text, recorded_ms bigint NOT NULL);
        CREATE INDEX by_patient ON audit (patient, recorded_ms);
        CREATE INDEX by_agent ON audit (agent, recorded_ms);
        CREATE INDEX by_entity ON audit (entity, recorded_ms);
        CREATE INDEX by_time ON audit (recorded_ms)
        """;

    private const string Insert =
        "INSERT INTO audit (event_id, action, outcome, agent, address, source, entity, patient, detail, recorded_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

    private readonly string _folder;
    private readonly string _programs;

    private AuditBenchPostgres(string folder, string programs, NpgsqlDataSource source) => (_folder, _programs, Source) = (folder, programs, source);

    public NpgsqlDataSource Source { get; }

    /// <exception cref="InvalidOperationException">PostgreSQL is not installed or did not start.</exception>
    public static async Task<AuditBenchPostgres> StartAsync(CancellationToken cancellationToken)
    {
        var programs = Directory.Exists("/usr/lib/postgresql") ? Directory.GetDirectories("/usr/lib/postgresql").Order(StringComparer.Ordinal).Select(d => Path.Combine(d, "bin")).LastOrDefault() : null;
        if (programs is null)
        {
            throw new InvalidOperationException("PostgreSQL is not installed: apt-get install postgresql");
        }

        // The server refuses to run as root, and its user may not look into the folders of others.
        var folder = Directory.CreateTempSubdirectory("yizhan-bench-pg-").FullName;
        if (Environment.IsPrivilegedProcess)
        {
            await RunAsync("chown", ["postgres", folder], cancellationToken);
        }

        await AsServerUserAsync(Path.Combine(programs, "initdb"), ["-D", $"{folder}/data", "-A", "trust", "-U", "bench", "-E", "UTF8", "--no-instructions"], cancellationToken);
        await AsServerUserAsync(
            Path.Combine(programs, "pg_ctl"),
            ["-D", $"{folder}/data", "-w", "-t", "60", "-l", $"{folder}/log", "-o", $"-c listen_addresses='' -c unix_socket_directories={folder} -c max_wal_size=4GB -c shared_buffers=256MB", "start"],
            cancellationToken);
        var source = NpgsqlDataSource.Create($"Host={folder};Username=bench;Database=postgres;Maximum Pool Size=64;Max Auto Prepare=10");
        await using var create = source.CreateCommand(Schema);
        await create.ExecuteNonQueryAsync(cancellationToken);
        return new AuditBenchPostgres(folder, programs, source);
    }

    /// <summary>One row, one transaction.</summary>
    public async Task InsertAsync(AuditRecord record, CancellationToken cancellationToken)
    {
        await using var command = Source.CreateCommand(Insert);
        Bind(command.Parameters, record);
        await command.ExecuteNonQueryAsync(cancellationToken);
    }

    /// <summary>Many rows in one transaction and one round trip.</summary>
    public async Task InsertAsync(IEnumerable<AuditRecord> records, CancellationToken cancellationToken)
    {
        await using var batch = Source.CreateBatch();
        foreach (var record in records)
        {
            var command = batch.CreateBatchCommand();
            command.CommandText = Insert;
            Bind((NpgsqlParameterCollection)command.Parameters, record);
            batch.BatchCommands.Add(command);
        }

        await batch.ExecuteNonQueryAsync(cancellationToken);
    }

    /// <summary>COPY, one transaction.</summary>
    public async Task CopyAsync(IEnumerable<AuditRecord> records, CancellationToken cancellationToken)
    {
        await using var connection = await Source.OpenConnectionAsync(cancellationToken);
        await using var copy = await connection.BeginBinaryImportAsync(
            "COPY audit (event_id, action, outcome, agent, address, source, entity, patient, detail, recorded_ms) FROM STDIN (FORMAT BINARY)", cancellationToken);
        foreach (var record in records)
        {
            await copy.StartRowAsync(cancellationToken);
            foreach (var text in new[] { record.EventId, record.Action })
            {
                await copy.WriteAsync(text, NpgsqlDbType.Text, cancellationToken);
            }

            await copy.WriteAsync(record.Outcome, NpgsqlDbType.Integer, cancellationToken);
            foreach (var text in new[] { record.Agent, record.AgentAddress!, record.Source, record.Entity, record.Patient!, record.Detail! })
            {
                await copy.WriteAsync(text, NpgsqlDbType.Text, cancellationToken);
            }

            await copy.WriteAsync(record.RecordedMs, NpgsqlDbType.Bigint, cancellationToken);
        }

        await copy.CompleteAsync(cancellationToken);
    }

    /// <summary>Who looked at this patient: the newest rows, all columns.</summary>
    public async Task<int> SearchAsync(string patient, int limit, CancellationToken cancellationToken)
    {
        await using var command = Source.CreateCommand("SELECT * FROM audit WHERE patient = $1 ORDER BY recorded_ms DESC LIMIT $2");
        command.Parameters.AddWithValue(patient);
        command.Parameters.AddWithValue(limit);
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        var rows = 0;
        while (await reader.ReadAsync(cancellationToken))
        {
            rows += reader.GetString(4).Length > 0 ? 1 : 0;
        }

        return rows;
    }

    public async ValueTask DisposeAsync()
    {
        await Source.DisposeAsync();
        await AsServerUserAsync(Path.Combine(_programs, "pg_ctl"), ["-D", $"{_folder}/data", "-m", "immediate", "stop"], CancellationToken.None);
        Directory.Delete(_folder, recursive: true);
    }

    private static void Bind(NpgsqlParameterCollection parameters, AuditRecord record)
    {
        foreach (object value in new object[]
        {
            record.EventId, record.Action, record.Outcome, record.Agent, record.AgentAddress!, record.Source, record.Entity, record.Patient!, record.Detail!, record.RecordedMs,
        })
        {
            parameters.AddWithValue(value);
        }
    }

    private static Task AsServerUserAsync(string program, string[] arguments, CancellationToken cancellationToken) =>
        Environment.IsPrivilegedProcess ? RunAsync("runuser", ["-u", "postgres", "--", program, .. arguments], cancellationToken) : RunAsync(program, arguments, cancellationToken);

    private static async Task RunAsync(string program, string[] arguments, CancellationToken cancellationToken)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { WorkingDirectory = "/", RedirectStandardOutput = true })!;
        await process.WaitForExitAsync(cancellationToken);
        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException($"{program} ended with {process.ExitCode}.");
        }
    }
}
