using System.Globalization;
using System.Text.Json;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Storage;

namespace Yizhan.Audit;

/// <summary>
/// Lets entries expire whose time is over: whole tiles of 256 whose youngest is old enough and that no legal hold names. The deletion is
/// a record of the log first; then the tombstone is durable; then the bytes go.
/// </summary>
internal sealed partial class Retention(
    AuditConsumer consumer, IEventLog events, IOptions<AuditOptions> options, TimeProvider clock, ILogger<Retention> logger) : BackgroundService
{
    private static readonly TimeSpan Period = TimeSpan.FromHours(6);
    private readonly ILogger _logger = logger;

    /// <summary>Lets expire what may, now; returns the number of entries.</summary>
    public async Task<long> RunOnceAsync(AuditLog log, CancellationToken cancellationToken)
    {
        var now = clock.GetUtcNow();
        var cutoff = now.AddDays(-options.Value.RetentionDays).ToUnixTimeMilliseconds();
        long expired = 0;
        foreach (var (first, end) in log.Expirable(cutoff))
        {
            var reason = string.Create(CultureInfo.InvariantCulture, $"older than {options.Value.RetentionDays} days");
            var record = new AuditRecord(
                "110101", "D", 0, "retention", null, $"audit@{events.Site}", string.Create(CultureInfo.InvariantCulture, $"audit/{first}-{end}"), reason, now.ToUnixTimeMilliseconds());
            await events.AppendAsync(
                [new Entry(Lane.Normal, AuditRecord.EventType, $"audit/expired/{events.Site}/{first}-{end}", "audit", record.RecordedMs, JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord))],
                cancellationToken);
            log.Expire(first, end, now, reason);
            Expired(end - first, first);
            expired += end - first;
        }

        return expired;
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Period, clock);
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                if (options.Value.RetentionDays > 0 && consumer.Log is { } log)
                {
                    await RunOnceAsync(log, stoppingToken);
                }
            }
            catch (Exception e) when (e is IOException or InvalidDataException or ObjectDisposedException)
            {
                Failed(e);
            }

            await timer.WaitForNextTickAsync(stoppingToken);
        }
    }

    [LoggerMessage(7010, LogLevel.Information, "{Count} audit entries from {First} on have expired; a signed tombstone is in their place.")]
    private partial void Expired(long count, long first);

    [LoggerMessage(7011, LogLevel.Error, "Audit entries could not expire; it is tried again.")]
    private partial void Failed(Exception exception);
}
