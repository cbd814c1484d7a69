using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.DependencyInjection;

namespace Yizhan.PacsGw.Tests;

/// <summary>Figures of the gateway: what an operator watches, without names of patients and without end.</summary>
public sealed class MetricsTests
{
    [Fact]
    public async Task What_came_and_what_was_refused_is_counted_by_peer_and_status()
    {
        var seen = new ConcurrentBag<(string Name, double Value, string Tags)>();
        await using var gateway = await Gateway.StartAsync("--pacs-gw:peers:2:aeTitle=METRICS");
        using var listener = Listener(gateway.Services);
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => seen.Add((instrument.Name, value, Text(tags))));
        listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => seen.Add((instrument.Name, value, Text(tags))));
        listener.Start();

        var good = new TestInstance("2.25.1", "2.25.11", "2.25.111");
        var bad = new TestInstance("2.25.1", "2.25.11", "2.25.112") { Change = d => d.Remove(Yizhan.Dicom.DicomTags.StudyInstanceUID) };
        await gateway.SendAsync([good.ToSend(), bad.ToSend()], calling: "METRICS");

        Assert.Equal(1, seen.Where(s => s is { Name: "yizhan.pacs.instances", Tags: "peer=METRICS,status=0000" }).Sum(s => s.Value));
        Assert.Equal(1, seen.Where(s => s is { Name: "yizhan.pacs.instances", Tags: "peer=METRICS,status=C000" }).Sum(s => s.Value));
        Assert.Equal(good.ToBytes().Length, seen.Where(s => s.Name == "yizhan.pacs.received").Sum(s => s.Value));
        Assert.Contains(seen, s => s is { Name: "yizhan.pacs.stage.duration", Tags: "stage=commit" });
        Assert.DoesNotContain(seen, s => s.Tags.Contains("2.25.", StringComparison.Ordinal));
    }

    [Fact]
    public void Strangers_make_no_series_without_end()
    {
        using var services = new ServiceCollection().AddMetrics().BuildServiceProvider();
        using var metrics = new GatewayMetrics(services.GetRequiredService<IMeterFactory>());
        var peers = new ConcurrentDictionary<string, bool>();
        using var listener = Listener(services);
        listener.SetMeasurementEventCallback<long>((instrument, _, tags, _) => peers[(string)tags[0].Value!] = true);
        listener.Start();
        for (var i = 0; i < 1000; i++)
        {
            metrics.Association($"STRANGER{i}", "rejected");
        }

        Assert.Equal(GatewayMetrics.MaxPeers + 1, peers.Count);
    }

    /// <summary>Hears one gateway: other tests run gateways of their own in this process.</summary>
    private static MeterListener Listener(IServiceProvider services)
    {
        var own = services.GetRequiredService<IMeterFactory>();
        return new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Name == GatewayMetrics.MeterName && ReferenceEquals(instrument.Meter.Scope, own))
                {
                    listener.EnableMeasurementEvents(instrument);
                }
            },
        };
    }

    private static string Text(ReadOnlySpan<KeyValuePair<string, object?>> tags) =>
        string.Join(',', tags.ToArray().OrderBy(t => t.Key, StringComparer.Ordinal).Select(t => $"{t.Key}={t.Value}"));
}
