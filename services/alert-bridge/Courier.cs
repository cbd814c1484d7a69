using System.Text.Json;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Storage;

namespace Yizhan.AlertBridge;

/// <summary>Brings what waits to its destinations, one loop for each, until it is stopped.</summary>
internal sealed partial class Courier(
    Outbox outbox, Destinations destinations, IEventLog log, IOptions<AlertBridgeOptions> options, TimeProvider clock, ILogger<Courier> logger)
    : BackgroundService, IHealthCheck
{
    /// <summary>DICOM code of an event that is about security or operation (PS3.15 A.5.3.12, Security Alert).</summary>
    private const string SecurityAlert = "110113";

    /// <summary>Part of a wait by which it may be shorter or longer, so that not all come at once.</summary>
    private const double Spread = 0.2;

    private static readonly TimeSpan Late = TimeSpan.FromMinutes(15);

    private readonly ILogger _logger = logger;

    /// <summary>Degraded while something has been waiting for a quarter of an hour.</summary>
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        var oldestMs = outbox.All().Select(g => (long?)g.SinceMs).Min();
        return Task.FromResult(oldestMs is { } ms && clock.GetUtcNow().ToUnixTimeMilliseconds() - ms > Late.TotalMilliseconds
            ? HealthCheckResult.Degraded("Alerts have been waiting for Feishu or Jira for more than 15 minutes; GET /alert-bridge/queue says why.")
            : HealthCheckResult.Healthy());
    }

    /// <inheritdoc/>
    protected override Task ExecuteAsync(CancellationToken stoppingToken) => Task.WhenAll(destinations.All.Select(d => ServeAsync(d, stoppingToken)));

    private async Task ServeAsync(IDestination destination, CancellationToken cancellationToken)
    {
        while (!cancellationToken.IsCancellationRequested)
        {
            var more = outbox.More;
            var first = outbox.First(destination.Name);
            if (first is not var (group, body) || DueIn(group) is { Ticks: > 0 })
            {
                var wait = first is var (next, _) ? DueIn(next) : Timeout.InfiniteTimeSpan;
                using var sleep = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
                await Task.WhenAny(more, Task.Delay(wait, clock, sleep.Token));
                await sleep.CancelAsync();
                continue;
            }

            try
            {
                await DeliverAsync(destination, group, body, cancellationToken);
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (e is SqliteException or SpoolFullException or IOException)
            {
                // The receipt could not be kept. The delivery is repeated, which has no second effect.
                NotKept(e, destination.Name, group.Hash);
                await Task.Delay(TimeSpan.FromMilliseconds(options.Value.RetryMs), clock, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private async Task DeliverAsync(IDestination destination, QueuedGroup group, byte[] body, CancellationToken cancellationToken)
    {
        var message = JsonSerializer.Deserialize(body, BridgeJson.Default.AlertmanagerMessage)!;
        Delivery delivery;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(options.Value.TimeoutMs);
        try
        {
            delivery = await destination.DeliverAsync(message, limit.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            delivery = new Delivery(DeliveryOutcome.TryAgain, $"no answer in {options.Value.TimeoutMs} ms");
        }
        catch (HttpRequestException e)
        {
            // Its message may hold the address, which for Feishu is a secret.
            delivery = new Delivery(DeliveryOutcome.TryAgain, $"not reached: {e.HttpRequestError}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException)
        {
            // The file with the address or the token: nothing of what is in it is said.
            delivery = new Delivery(DeliveryOutcome.TryAgain, $"the file with its address or token cannot be used ({e.GetType().Name})");
        }

        if (delivery.Outcome == DeliveryOutcome.TryAgain)
        {
            var wait = Math.Min(options.Value.RetryMs * Math.Pow(2, Math.Min(group.Attempts, 20)), options.Value.MaxRetryMs);
            outbox.Failed(group, TimeSpan.FromMilliseconds(wait * (1 - Spread + (Random.Shared.NextDouble() * 2 * Spread))), delivery.Detail);
            Waits(destination.Name, group.Hash, delivery.Detail, (long)wait);
            return;
        }

        var refused = delivery.Outcome == DeliveryOutcome.Refused;
        var nowMs = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var record = new AuditRecord(
            SecurityAlert, "E", refused ? 8 : 0, $"alert-bridge@{log.Site}", null, $"alert-bridge@{log.Site}", $"alert/{group.Hash}",
            $"{destination.Name}, {message.Status}: {delivery.Detail}", nowMs);
        await log.AppendAsync(
            [new Entry(
                Lane.Normal, AuditRecord.EventType, $"alert/{log.Site}/{destination.Name}/{group.Hash}/{group.SinceMs}/{group.Version}", record.Entity, nowMs,
                JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord))],
            cancellationToken);
        outbox.Done(group);
        if (refused)
        {
            Refused(destination.Name, group.Hash, delivery.Detail);
        }
        else
        {
            Delivered(destination.Name, group.Hash, message.Status, delivery.Detail);
        }
    }

    // No wait is longer than the longest and its spread: what is due later than that was written under a clock that was ahead, and is due now.
    private TimeSpan DueIn(QueuedGroup group)
    {
        var ms = group.DueMs - clock.GetUtcNow().ToUnixTimeMilliseconds();
        return ms > options.Value.MaxRetryMs * (1 + Spread) ? TimeSpan.Zero : TimeSpan.FromMilliseconds(Math.Max(0, ms));
    }

    [LoggerMessage(9801, LogLevel.Information, "Alert group {Hash} ({Status}) is at {Destination}: {Detail}.")]
    private partial void Delivered(string destination, string hash, string status, string detail);

    [LoggerMessage(9802, LogLevel.Warning, "Alert group {Hash} is not at {Destination} yet: {Detail}. It is tried again in about {WaitMs} ms.")]
    private partial void Waits(string destination, string hash, string detail, long waitMs);

    [LoggerMessage(9803, LogLevel.Error, "Alert group {Hash} was refused by {Destination} and is given up: {Detail}.")]
    private partial void Refused(string destination, string hash, string detail);

    [LoggerMessage(9804, LogLevel.Error, "The receipt of alert group {Hash} from {Destination} could not be kept; it is delivered again.")]
    private partial void NotKept(Exception exception, string destination, string hash);
}
