using System.Diagnostics.Metrics;
using Yizhan.EmrAdapter.Outbox;

namespace Yizhan.EmrAdapter;

/// <summary>Figures of the adapter, meter <c>Yizhan.EmrAdapter</c>. Systems are those of the settings, so they are few; never an identifier of a patient.</summary>
internal sealed class EmrMetrics : IDisposable
{
    /// <summary>Name of the meter.</summary>
    public const string MeterName = "Yizhan.EmrAdapter";

    private readonly Meter _meter = new(MeterName);
    private readonly Counter<long> _sent;
    private readonly Counter<long> _paused;
    private readonly Counter<long> _received;
    private readonly Histogram<double> _duration;

    public EmrMetrics()
    {
        _sent = _meter.CreateCounter<long>("yizhan.emr.sent", "{message}", "Tries to tell a system something, by system and result.");
        _paused = _meter.CreateCounter<long>("yizhan.emr.pauses", "{pause}", "Pauses because a system took nothing, by system.");
        _received = _meter.CreateCounter<long>("yizhan.emr.received", "{message}", "Messages and resources that systems gave us, by way and answer.");
        _duration = _meter.CreateHistogram<double>("yizhan.emr.send.duration", "s", "Time of one try, by system.");
    }

    /// <summary>Lets what waits be read, by system and state.</summary>
    public void Observe(IReadOnlyCollection<string> systems, EmrOutbox outbox, TimeProvider clock)
    {
        _meter.CreateObservableGauge(
            "yizhan.emr.messages",
            () => systems.SelectMany(system =>
            {
                var count = outbox.Count(system);
                return (Measurement<long>[])
                [
                    new(count.Waiting, new("system", system), new("state", "waiting")),
                    new(count.Dead, new("system", system), new("state", "dead")),
                    new(outbox.Refused(system), new("system", system), new("state", "refused")),
                    new(count.Unlinked, new("system", system), new("state", "unlinked")),
                ];
            }),
            "{message}", "Messages by system and state: waiting, dead (it refused them), refused (we could not take them of it), unlinked (the patient is not known yet).");
        _meter.CreateObservableGauge(
            "yizhan.emr.waiting.age",
            () => systems.Select(system => new Measurement<double>(
                outbox.Count(system).OldestMs is { } oldest ? Math.Max(0, (clock.GetUtcNow().ToUnixTimeMilliseconds() - oldest) / 1000.0) : 0, new KeyValuePair<string, object?>("system", system))),
            "s", "Age of the oldest message that a system has not taken; 0 when none waits.");
    }

    public void Sent(string system, SendOutcome outcome, TimeSpan time)
    {
        _sent.Add(1, new("system", system), new("result", outcome switch
        {
            SendOutcome.Delivered => "delivered",
            SendOutcome.Refused => "refused",
            SendOutcome.Failed => "failed",
            _ => "unreachable",
        }));
        _duration.Record(time.TotalSeconds, new KeyValuePair<string, object?>("system", system));
    }

    public void Paused(string system) => _paused.Add(1, new KeyValuePair<string, object?>("system", system));

    public void Received(string way, string answer) => _received.Add(1, new("way", way), new("answer", answer));

    public void Dispose() => _meter.Dispose();
}
