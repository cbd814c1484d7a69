using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Inventory.Equipment;
using Yizhan.Inventory.Ledger;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Inventory.Collect;

/// <summary>
/// Follows what devices of this site said over MQTT (events of the mqtt-bridge). What names an item or a quantity is a count of stock, named by the message's own id, so that each
/// counts once, wherever the process ends and when a restored log is read from its beginning. Everything else says that the device is alive: one report for each device and interval.
/// </summary>
internal sealed partial class MqttFollower(
    IEventLog log, LedgerWriter ledger, LedgerQueries queries, Passive passive, IOptions<NodeOptions> node, IOptions<InventoryOptions> options, TimeProvider clock,
    ILogger<MqttFollower> logger) : BackgroundService, ILogConsumer
{
    private const int MaxRead = 256;
    private static readonly TimeSpan Retry = TimeSpan.FromSeconds(5);
    private readonly Dictionary<string, SourceOptions> _sources =
        options.Value.Sources.Where(s => s.Kind == "mqtt").GroupBy(s => s.EventType!).ToDictionary(g => g.Key, g => g.First(), StringComparer.Ordinal);

    private readonly string _site = node.Value.SiteId;
    private readonly ILogger _logger = logger;
    private long _readThrough;

    /// <inheritdoc/>
    public string Name => "inventory-mqtt";

    /// <inheritdoc/>
    public ValueTask<long> ReadThroughAsync(CancellationToken cancellationToken) => new(_sources.Count == 0 ? long.MaxValue : Volatile.Read(ref _readThrough));

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (_sources.Count > 0 && !stoppingToken.IsCancellationRequested)
        {
            try
            {
                await FollowAsync(stoppingToken);
            }
            catch (Exception e) when (e is IOException or SqliteException && !stoppingToken.IsCancellationRequested)
            {
                Stalled(e, (int)Retry.TotalSeconds);
                await Task.Delay(Retry, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private async Task FollowAsync(CancellationToken cancellationToken)
    {
        var feed = $"mqtt/{log.Epoch}";
        var position = queries.Cursor(feed);
        while (true)
        {
            Volatile.Write(ref _readThrough, position);
            var entries = await log.ReadAsync(position, MaxRead, cancellationToken);
            if (entries.Count == 0)
            {
                await log.WaitForMoreAsync(position, cancellationToken);
                continue;
            }

            var ours = entries.Where(e => e.Identity.Site == _site && !e.Entry.IsCopy && _sources.ContainsKey(e.Entry.Type)).ToList();
            foreach (var entry in ours)
            {
                await RecordAsync(_sources[entry.Entry.Type], entry, cancellationToken);
            }

            position = entries[^1].Position;
            if (ours.Count > 0)
            {
                await ledger.RememberAsync(feed, position, cancellationToken);
            }
        }
    }

    private async Task RecordAsync(SourceOptions source, LoggedEntry entry, CancellationToken cancellationToken)
    {
        MovementBatch batch;
        try
        {
            var message = JsonSerializer.Deserialize(entry.Entry.Data.Span, ContractsJson.Default.DeviceMessage)!;
            var rows = message.Json is { } json ? json.ValueKind == JsonValueKind.Array ? json.EnumerateArray().ToList() : [json] : [];
            if (!rows.Any(row => row.Text("item").Length > 0 || row.Text("quantity").Length > 0))
            {
                await AliveAsync(source, message, entry.Entry.TimeMs, cancellationToken);
                return;
            }

            // Not by its place in the log, which a restore numbers anew; a digest, because a batch's name is shorter than an id may be.
            var name = $"{source.Name}/{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(entry.Entry.Id)).AsSpan(0, 16))}";
            batch = new MovementBatch(name, source.Name, message.ClientId, [.. rows.Select(row => MovementOf(source, row, entry.Entry.TimeMs))]);
        }
        catch (Exception e) when (e is FormatException or JsonException or InvalidOperationException)
        {
            // The last: a text in it is no text (half of a surrogate pair).
            passive.Bad(source.Name, e.Message);
            return;
        }

        switch (await ledger.RecordAsync(batch, cancellationToken))
        {
            case ApplyResult.NoRoom { Problem: var full }:
                throw new IOException(full);
            case ApplyResult.Refused { Problem: var problem }:
                passive.Bad(source.Name, problem);
                break;
            default:
                passive.Good(source.Name);
                break;
        }
    }

    private async Task AliveAsync(SourceOptions source, DeviceMessage message, long timeMs, CancellationToken cancellationToken)
    {
        var interval = timeMs / (source.EveryMinutes * 60_000L);
        var device = message.ClientId.Length > 0 ? message.ClientId : message.Topic;
        await Sink.ReportAsync(
            log,
            new AssetReported(
                source.Name, string.Create(CultureInfo.InvariantCulture, $"{device}/{interval}"), timeMs, "device", device, "", "", AssetKeys.All(("agent", $"mqtt/{source.Name}/{device}")), [], []),
            cancellationToken);
        passive.Good(source.Name);
    }

    /// <summary><c>{"item": …, "quantity": …}</c> and, as it likes, kind (count), unit, lot, expiry, location, time.</summary>
    private static Movement MovementOf(SourceOptions source, JsonElement row, long timeMs) =>
        row.Text("item") is { Length: > 0 } item && decimal.TryParse(row.Text("quantity"), NumberStyles.Float, CultureInfo.InvariantCulture, out var quantity)
            ? new Movement(
                row.Text("kind") is { Length: > 0 } kind ? kind : "count", item, quantity, row.Text("unit"), Lenient.Ms(row.Text("time")) ?? timeMs, row.Text("lot"), row.Text("expiry"),
                row.Text("location") is { Length: > 0 } place ? place : source.Location)
            : throw new FormatException("the payload has no item or no quantity; accepted: {\"item\": \"…\", \"quantity\": 12}, or an array of such.");

    [LoggerMessage(6020, LogLevel.Error, "What devices counted could not be recorded. It goes on in {Seconds} s; the event log keeps everything meanwhile.")]
    private partial void Stalled(Exception exception, int seconds);
}
