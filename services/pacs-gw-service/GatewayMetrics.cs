using System.Collections.Concurrent;
using System.Diagnostics.Metrics;

namespace Yizhan.PacsGw;

/// <summary>
/// Figures of the gateway, meter <c>Yizhan.PacsGw</c>. A peer is named by its AE title; after <see cref="MaxPeers"/> different ones every further is
/// <c>other</c>, so that strangers cannot make series without end. Never an identifier of a patient or study.
/// </summary>
internal sealed class GatewayMetrics : IDisposable
{
    /// <summary>Name of the meter.</summary>
    public const string MeterName = "Yizhan.PacsGw";

    /// <summary>Peers that have figures of their own.</summary>
    public const int MaxPeers = 256;

    private readonly Meter _meter;
    private readonly ConcurrentDictionary<string, string> _peers = new(StringComparer.Ordinal);
    private readonly Counter<long> _associations;
    private readonly Counter<long> _instances;
    private readonly Counter<long> _bytes;
    private readonly Counter<long> _copies;
    private readonly Histogram<double> _stages;

    /// <param name="meters">Where the meter is made.</param>
    public GatewayMetrics(IMeterFactory meters)
    {
        _meter = meters.Create(MeterName);
        _associations = _meter.CreateCounter<long>("yizhan.pacs.associations", "{association}", "Associations that peers asked for, by peer and result.");
        _instances = _meter.CreateCounter<long>("yizhan.pacs.instances", "{instance}", "Instances that were offered to us, by peer and DIMSE status.");
        _bytes = _meter.CreateCounter<long>("yizhan.pacs.received", "By", "Bytes of data sets that became durable, by peer.");
        _copies = _meter.CreateCounter<long>("yizhan.pacs.copies", "{copy}", "Copies that rules sent, by destination and result.");
        _stages = _meter.CreateHistogram<double>("yizhan.pacs.stage.duration", "s", "Time of one instance from its first byte to its answer (receive), of its append (commit), of a batch of copies (send).");
    }

    /// <summary>An association was accepted, or rejected with a reason.</summary>
    public void Association(string peer, string result) => _associations.Add(1, new("peer", Named(peer)), new("result", result));

    /// <summary>An instance came to its end.</summary>
    /// <param name="peer">Who sent it.</param>
    /// <param name="status">What it was answered (PS3.7 Annex C).</param>
    /// <param name="bytes">Bytes that became durable.</param>
    public void Instance(string peer, ushort status, long bytes)
    {
        var name = Named(peer);
        _instances.Add(1, new("peer", name), new("status", status == 0 ? "0000" : $"{status:X4}"));
        _bytes.Add(bytes, new KeyValuePair<string, object?>("peer", name));
    }

    /// <summary>A copy came to its end: <c>delivered</c> or <c>refused</c>. Destinations are those of the rules, so they are few.</summary>
    public void Copy(string destination, string result) => _copies.Add(1, new("destination", destination), new("result", result));

    /// <summary>Something took its time.</summary>
    public void Stage(string stage, TimeSpan time) => _stages.Record(time.TotalSeconds, new KeyValuePair<string, object?>("stage", stage));

    public void Dispose() => _meter.Dispose();

    private string Named(string peer) =>
        _peers.TryGetValue(peer, out var known) ? known
        : _peers.Count >= MaxPeers ? "other"
        : _peers.GetOrAdd(peer, peer);
}
