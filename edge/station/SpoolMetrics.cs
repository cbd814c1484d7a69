using System.Diagnostics.Metrics;
using Yizhan.Contracts;
using Yizhan.Storage;

namespace Yizhan.Station;

/// <summary>
/// What a site measures of its spool: the meter <c>Yizhan.Spool</c>, and the same figures for people in <c>/station/spool</c> and in the status that the
/// centre gets.
/// </summary>
internal sealed class SpoolMetrics : IDisposable
{
    // How long the memory of the rate is: an hour finds today's peak, a day the usual work. The larger of the two counts.
    private static readonly TimeSpan[] Memories = [TimeSpan.FromHours(1), TimeSpan.FromHours(24)];

    private readonly IEventLog _log;
    private readonly Quarantine _quarantine;
    private readonly CommitFigures _commits;
    private readonly TimeProvider _clock;
    private readonly Meter _meter;
    private readonly Lock _lock = new();
    private readonly double[] _bytesPerSecond = new double[Memories.Length];
    private long _sampledAt;
    private long _sampledBytes;

    public SpoolMetrics(IEventLog log, Quarantine quarantine, CommitFigures commits, TimeProvider clock, IMeterFactory meters)
    {
        (_log, _quarantine, _commits, _clock) = (log, quarantine, commits, clock);
        (_sampledAt, _sampledBytes) = (clock.GetTimestamp(), AcceptedBytes());
        _meter = meters.Create("Yizhan.Spool");
        var site = new KeyValuePair<string, object?>("site", log.Site);
        ByLane("yizhan.spool.entries", "{entry}", "Entries that wait for the centre.", u => u.Entries);
        ByLane("yizhan.spool.bytes", "By", "Data and blobs that wait for the centre.", u => u.Bytes);
        ByLane("yizhan.spool.room", "By", "Bytes that the lane would still accept.", u => u.RoomBytes);
        ByLane("yizhan.spool.oldest", "s", "Age of the oldest entry that waits, by the site's clock.", u =>
            u.OldestMs is { } oldest ? Math.Max(0, clock.GetUtcNow().ToUnixTimeMilliseconds() - oldest) / 1000 : 0);
        _meter.CreateObservableCounter<long>("yizhan.spool.accepted", () => Lanes((u, tags) => new Measurement<long>(u.AcceptedEntries, tags)), "{entry}", "Entries accepted in this epoch.");
        _meter.CreateObservableCounter<long>(
            "yizhan.spool.delivered", () => Lanes((u, tags) => new Measurement<long>(u.AcceptedEntries - u.Entries, tags)), "{entry}", "Entries that the centre confirmed.");
        _meter.CreateObservableGauge("yizhan.spool.delivered_ratio", () => new Measurement<double>(Figures().DeliveredRatio, site), "1", "Confirmed of accepted.");
        _meter.CreateObservableGauge("yizhan.spool.quarantined", () => new Measurement<int>(_quarantine.Items(_log.Epoch).Count, site), "{entry}", "Entries that cannot be delivered.");
        _meter.CreateObservableGauge<double>(
            "yizhan.spool.outage_hours", OutageHours, "h",
            "Hours without a link that the remaining room takes at the rate of the last hour or day, whichever is larger.");

        void ByLane(string name, string unit, string description, Func<LaneUsage, long> value) =>
            _meter.CreateObservableGauge<long>(name, () => Lanes((u, tags) => new Measurement<long>(value(u), tags)), unit, description);

        IEnumerable<Measurement<double>> OutageHours() => Figures().OutageHours is { } hours ? [new Measurement<double>(hours, site)] : [];

        IEnumerable<Measurement<long>> Lanes(Func<LaneUsage, KeyValuePair<string, object?>[], Measurement<long>> measure) =>
            [.. Enum.GetValues<Lane>().Select(lane => measure(log.Usage(lane), [site, new("lane", lane.ToString().ToLowerInvariant())]))];
    }

    /// <summary>The figures now.</summary>
    public SpoolFigures Figures()
    {
        var usages = Enum.GetValues<Lane>().Select(_log.Usage).ToArray();
        var accepted = usages.Sum(u => u.AcceptedEntries);
        var (p99, batch) = _commits.Read();
        double rate;
        lock (_lock)
        {
            rate = _bytesPerSecond.Max();
        }

        var space = _log.Space;
        return new SpoolFigures(
            rate > 0 ? Math.Round(usages[(int)Lane.Bulk].RoomBytes / rate / 3600, 1) : null,
            accepted == 0 ? 1 : (double)(accepted - usages.Sum(u => u.Entries)) / accepted,
            _quarantine.Items(_log.Epoch).Count, Math.Round(p99.TotalMilliseconds, 2), Math.Round(batch, 1), space.UsedBytes, space.CapacityBytes);
    }

    /// <summary>Notes how much was accepted since the last call; called about once a minute.</summary>
    public void Sample()
    {
        lock (_lock)
        {
            var (now, bytes) = (_clock.GetTimestamp(), AcceptedBytes());
            var elapsed = _clock.GetElapsedTime(_sampledAt, now);
            if (elapsed <= TimeSpan.Zero)
            {
                return;
            }

            var rate = (bytes - _sampledBytes) / elapsed.TotalSeconds;
            for (var i = 0; i < Memories.Length; i++)
            {
                var weight = 1 - Math.Exp(-(elapsed / Memories[i]));
                _bytesPerSecond[i] += weight * (rate - _bytesPerSecond[i]);
            }

            (_sampledAt, _sampledBytes) = (now, bytes);
        }
    }

    public void Dispose() => _meter.Dispose();

    private long AcceptedBytes() => Enum.GetValues<Lane>().Sum(lane => _log.Usage(lane).AcceptedBytes);
}
