using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Npgsql;
using NpgsqlTypes;
using Yizhan.Drills;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Bench;

/// <summary>
/// <c>yizhan bench intake</c>: what sites send, received by the centre's log on PostgreSQL, beside the same on SQLite, and beside a loop that only copies such rows into such a
/// table: what this server gives when nobody looks for duplicates, seals, or moves a mark.
/// </summary>
internal static class IntakeBench
{
    private const int RowsOfCopy = 4096;

    private const string Columns = "position, origin, lane, sequence, own, fact, lane_bytes, blob_bytes, time_ms, sealed_by, data_bytes, crc, id, type, key, trace, blobs, data";

    public static Command Create()
    {
        var events = new Option<int>("--events") { Description = "Events of each measurement.", DefaultValueFactory = _ => 400_000 };
        var sites = new Option<int>("--sites") { Description = "Sites that send at once.", DefaultValueFactory = _ => 64 };
        var batch = new Option<int>("--batch") { Description = "Events of one call, as the link sends them.", DefaultValueFactory = _ => 256 };
        var bytes = new Option<int>("--bytes") { Description = "Bytes of an event's data.", DefaultValueFactory = _ => 400 };
        var json = new Option<bool>("--json") { Description = "Print only the JSON object." };
        var command = new Command("intake", """
            Events per second into the centre's log on PostgreSQL, beside SQLite and a bare COPY loop.

            Examples:
              yizhan bench intake
              yizhan bench intake --sites 1000 --events 1000000 --json
            """) { events, sites, batch, bytes, json };
        command.SetAction((parsed, cancellationToken) => RunAsync(
            parsed.GetValue(events), parsed.GetValue(sites), parsed.GetValue(batch), parsed.GetValue(bytes), parsed.GetValue(json), cancellationToken));
        return command;
    }

    private static async Task<int> RunAsync(int events, int sites, int batch, int bytes, bool json, CancellationToken cancellationToken)
    {
        if (events < 1 || sites < 1 || batch is < 1 or > 4096 || bytes is < 1 or > Entry.MaxDataBytes)
        {
            await Console.Error.WriteLineAsync("yizhan: --events and --sites are at least 1, --batch is 1 to 4096, --bytes 1 to 1048576.");
            return 64;
        }

        var folder = Directory.CreateTempSubdirectory("yizhan-bench-intake-").FullName;
        try
        {
            await using var server = await LocalPostgres.StartAsync(cancellationToken);
            var connection = Path.Combine(folder, "connection");
            await File.WriteAllTextAsync(connection, server.ConnectionString, cancellationToken);
            var data = RandomNumberGenerator.GetBytes(bytes);
            var (ours, p99) = await ReceiveAsync(
                ["--storage:store=postgres", $"--storage:postgresConnectionFile={connection}"], Path.Combine(folder, "postgres"), events, sites, batch, data, cancellationToken);
            var (sqlite, sqliteP99) = await ReceiveAsync(["--storage:store=sqlite"], Path.Combine(folder, "sqlite"), events, sites, batch, data, cancellationToken);
            var copy = await CopyAsync(server.ConnectionString, events, data, cancellationToken);
            var load = string.Create(CultureInfo.InvariantCulture, $"{sites} sites, {batch} events a call, {bytes} bytes");
            BenchTable.Print("intake", [
                BenchRow.More($"our log on SQLite, {load}", ours, sqlite, "events/s"),
                BenchRow.More($"bare COPY loop, {RowsOfCopy} rows a commit, {bytes} bytes", ours, copy, "events/s"),
                BenchRow.Less($"our log on SQLite, {load}, p99 of a call", p99, sqliteP99, "ms"),
            ], json);
            return 0;
        }
        catch (InvalidOperationException e)
        {
            await Console.Error.WriteLineAsync($"yizhan: {e.Message}");
            return 1;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>Events per second, and the 99th percentile of a call in milliseconds.</summary>
    private static async Task<(double PerSecond, double P99)> ReceiveAsync(
        string[] store, string folder, int events, int sites, int batch, byte[] data, CancellationToken cancellationToken)
    {
        await using var node = new ServiceHost([$"--node:dataFolder={folder}", "--node:siteId=centre", "--log:level=Warning", "--storage:scrubMiBPerSecond=0", .. store])
            .Add<LogModule>().Build();
        var log = node.Services.GetRequiredService<IEventLog>();
        var each = Math.Max(1, events / sites);
        var started = Stopwatch.GetTimestamp();
        var times = await Task.WhenAll(Enumerable.Range(0, sites).Select(site => Task.Run(async () =>
        {
            var took = new List<double>();
            var epoch = new Guid(RandomNumberGenerator.GetBytes(16));
            for (var sent = 0; sent < each;)
            {
                var call = Enumerable.Range(sent + 1, Math.Min(batch, each - sent)).Select(n => new LoggedEntry(
                    n, new EntryIdentity($"site-{site}", epoch, Lane.Normal, n),
                    new Entry(Lane.Normal, "yizhan.bench.item.v1", string.Create(CultureInfo.InvariantCulture, $"{site}-{n}"), "key", n, data))).ToArray();
                var from = Stopwatch.GetTimestamp();
                var mark = await log.ReceiveAsync(call, cancellationToken);
                took.Add(Stopwatch.GetElapsedTime(from).TotalMilliseconds);
                sent += call.Length;
                if (mark != sent)
                {
                    throw new InvalidOperationException($"The log answered with the mark {mark} where it should be {sent}.");
                }
            }

            return took;
        }, cancellationToken)));
        var seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
        var calls = times.SelectMany(t => t).Order().ToArray();
        return (each * sites / seconds, calls[Math.Min(calls.Length - 1, calls.Length * 99 / 100)]);
    }

    private static async Task<double> CopyAsync(string connectionString, int events, byte[] data, CancellationToken cancellationToken)
    {
        await using var source = NpgsqlDataSource.Create(connectionString);
        await using var connection = await source.OpenConnectionAsync(cancellationToken);
        await using (var create = new NpgsqlCommand("CREATE SCHEMA bare; CREATE TABLE bare.entry (LIKE event_log.entry INCLUDING ALL)", connection))
        {
            await create.ExecuteNonQueryAsync(cancellationToken);
        }

        var started = Stopwatch.GetTimestamp();
        for (var at = 0; at < events; at += RowsOfCopy)
        {
            await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
            await using (var copy = await connection.BeginBinaryImportAsync($"COPY bare.entry ({Columns}) FROM STDIN (FORMAT BINARY)", cancellationToken))
            {
                for (long n = at; n < Math.Min(events, at + RowsOfCopy); n++)
                {
                    Row(copy, n, data);
                }

                await copy.CompleteAsync(cancellationToken);
            }

            await transaction.CommitAsync(cancellationToken);
        }

        return events / Stopwatch.GetElapsedTime(started).TotalSeconds;
    }

    private static void Row(NpgsqlBinaryImporter copy, long n, byte[] data)
    {
        copy.StartRow();
        copy.Write(n, NpgsqlDbType.Bigint);
        copy.Write(1L, NpgsqlDbType.Bigint);
        copy.Write((short)1, NpgsqlDbType.Smallint);
        copy.Write(n, NpgsqlDbType.Bigint);
        copy.Write(false, NpgsqlDbType.Boolean);
        copy.Write(new Guid(RandomNumberGenerator.GetBytes(16)), NpgsqlDbType.Uuid);
        foreach (var number in (ReadOnlySpan<long>)[0, 0, n, 1])
        {
            copy.Write(number, NpgsqlDbType.Bigint);
        }

        copy.Write(data.Length, NpgsqlDbType.Integer);
        copy.Write(1L, NpgsqlDbType.Bigint);
        copy.Write("", NpgsqlDbType.Text);
        copy.Write("yizhan.bench.item.v1", NpgsqlDbType.Text);
        copy.Write("", NpgsqlDbType.Text);
        copy.WriteNull();
        copy.Write(Array.Empty<byte>(), NpgsqlDbType.Bytea);
        copy.Write(data, NpgsqlDbType.Bytea);
    }

    /// <summary>A node that has a log and nothing else.</summary>
    private sealed class LogModule : IServiceModule
    {
        public static string Name => "bench";

        public static void Register(IHostApplicationBuilder builder) => builder.AddEventLog();

        public static void Map(IEndpointRouteBuilder routes)
        {
        }
    }
}
