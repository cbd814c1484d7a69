using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text.Json;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.EmrAdapter.Fhir;
using Yizhan.Platform.Telemetry;
using Yizhan.Storage;

namespace Yizhan.EmrAdapter.Outbox;

/// <summary>
/// Sends what is owed, one loop for each system. A system that is away is asked again after a pause that doubles; while it takes nothing, one message at a time
/// is tried. A message that it refuses is put aside while others go on, but those of its patient wait for it.
/// </summary>
internal sealed partial class OutboxSender(
    EmrOutbox outbox, EmrDrivers drivers, IEventLog log, IBlobStore blobs, IOptions<EmrAdapterOptions> options, EmrMetrics metrics, TimeProvider clock, ILogger<OutboxSender> logger)
    : BackgroundService
{
    /// <summary>So many failures in a row mean the system, not the messages.</summary>
    private const int SystemFailures = 3;

    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(30);

    private const string ToldId = "emr/told/";

    private readonly ILogger _logger = logger;
    private readonly ConcurrentDictionary<string, string> _problems = new();

    /// <summary>Why a system takes nothing; null when it does.</summary>
    public string? Problem(string system) => _problems.GetValueOrDefault(system);

    /// <summary>MSH-10 of the message that an entry of this node's log says was taken; null of any other entry.</summary>
    public static string? ControlIdOf(Entry entry) =>
        entry.Type == AuditRecord.EventType && entry.Id.StartsWith(ToldId, StringComparison.Ordinal) ? entry.Id[ToldId.Length..] : null;

    /// <inheritdoc/>
    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        Task.WhenAll(options.Value.Systems.Select(system => RunAsync(system.Name, system.Connections, stoppingToken)));

    private async Task RunAsync(string system, int connections, CancellationToken stopping)
    {
        await Task.Yield();
        var driver = drivers.For(system);
        var busy = new Dictionary<string, Task<SendOutcome>>();
        var failures = 0;
        try
        {
            await outbox.Begun.WaitAsync(stopping);
            while (true)
            {
                var changed = outbox.Changed;
                var away = failures >= SystemFailures;
                var most = away ? 1 : connections;
                if (busy.Count < most)
                {
                    foreach (var message in outbox.Next(system, busy.Keys, most - busy.Count, inTurn: away))
                    {
                        busy.Add(message.Lane, SendAsync(driver, message, stopping));
                    }
                }

                if (busy.Count == 0)
                {
                    var wait = outbox.NextDueMs(system) is { } due ? TimeSpan.FromMilliseconds(Math.Min(due + 1, LongestWait.TotalMilliseconds)) : LongestWait;
                    await Task.WhenAny(changed, Task.Delay(wait, clock, stopping));
                    stopping.ThrowIfCancellationRequested();
                    continue;
                }

                await Task.WhenAny(busy.Values);
                var worst = 0;
                foreach (var (lane, sent) in busy.Where(b => b.Value.IsCompleted).ToList())
                {
                    busy.Remove(lane);
                    var outcome = await sent;
                    worst = Math.Max(worst, outcome switch { SendOutcome.Delivered or SendOutcome.Refused => 0, SendOutcome.Failed => 1, _ => 2 });
                }

                failures = worst == 0 ? 0 : failures + 1;
                if (worst == 2 || failures >= SystemFailures)
                {
                    var pause = TimeSpan.FromMilliseconds(outbox.PauseMs(failures - 1));
                    metrics.Paused(system);
                    await Task.Delay(pause, clock, stopping);
                }
            }
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            await Task.WhenAll(busy.Values.Select(async t => await ((Task)t).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing)));
        }
    }

    private async Task<SendOutcome> SendAsync(IEmrDriver driver, OutboxMessage message, CancellationToken stopping)
    {
        var began = clock.GetTimestamp();
        using var span = Tracing.Resume("tell", ActivityKind.Client, message.TraceParent);
        span?.SetTag("yizhan.emr.system", message.System);
        SendOutcome outcome;
        try
        {
            outcome = await driver.SendAsync(message, stopping);
            if (outcome is SendOutcome.Delivered)
            {
                await log.AppendAsync([Audit(message)], stopping);
            }
        }
        catch (FhirException e)
        {
            outcome = e.Meaning;
        }
        catch (InvalidDataException e)
        {
            outcome = new SendOutcome.Refused(e.Message);
        }
        catch (SpoolFullException e)
        {
            outcome = new SendOutcome.Unreachable($"The audit record of the delivery has no room: {e.Message}");
        }

        try
        {
            var ended = outbox.Note(message, outcome);
            if (ended && outcome is SendOutcome.Delivered && (message.Content.Report?.PdfSha256 ?? message.Content.Recording?.AudioSha256) is { Length: > 0 } document && ContentHash.TryParse(document, out var hash))
            {
                await blobs.UnpinAsync([hash], EmrFollower.Holder, stopping);
            }
        }
        catch (SqliteException e)
        {
            NotNoted(e, message.System);
            outcome = new SendOutcome.Unreachable(e.Message);
        }

        metrics.Sent(message.System, outcome, clock.GetElapsedTime(began));
        span?.SetStatus(outcome is SendOutcome.Delivered ? ActivityStatusCode.Ok : ActivityStatusCode.Error, outcome.GetType().Name);
        switch (outcome)
        {
            case SendOutcome.Delivered:
                if (_problems.TryRemove(message.System, out _))
                {
                    Working(message.System);
                }

                break;
            case SendOutcome.Refused refused:
                Refused(message.System, message.Content.Kind, message.Pk, refused.Reason);
                break;
            case SendOutcome.Failed failed:
                Say(message.System, failed.Reason);
                break;
            case SendOutcome.Unreachable unreachable:
                Say(message.System, unreachable.Reason);
                break;
        }

        return outcome;
    }

    private void Say(string system, string reason)
    {
        if (_problems.TryGetValue(system, out var known) && known == reason)
        {
            return;
        }

        _problems[system] = reason;
        NotTaken(system, reason);
    }

    private Entry Audit(OutboxMessage message)
    {
        var record = new AuditRecord(
            "110106", "R", 0, $"emr-adapter@{log.Site}", null, $"emr-adapter@{log.Site}", $"{message.Content.Kind}/{message.Content.Subject}",
            $"told to {message.System}", clock.GetUtcNow().ToUnixTimeMilliseconds(),
            message.Content.Patient?.PatientId is { Length: > 0 and <= AuditRecord.MaxPatientLength } patient ? patient : null);
        return new Entry(
            Lane.Normal, AuditRecord.EventType, ToldId + message.ControlId, record.Entity, record.RecordedMs,
            JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord))
        { TraceParent = Tracing.Parent };
    }

    [LoggerMessage(4020, LogLevel.Information, "{System} takes messages again.")]
    private partial void Working(string system);

    [LoggerMessage(4021, LogLevel.Warning, "{System} did not take a message; it is tried again: {Reason}")]
    private partial void NotTaken(string system, string reason);

    [LoggerMessage(4022, LogLevel.Error, "{System} refused a {Kind}, and it waits for a person (dead letter {Key}): {Reason}")]
    private partial void Refused(string system, string kind, long key, string reason);

    [LoggerMessage(4023, LogLevel.Error, "How a message for {System} ended could not be noted; it is sent again.")]
    private partial void NotNoted(Exception exception, string system);
}
