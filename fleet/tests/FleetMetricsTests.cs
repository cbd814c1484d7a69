using System.Diagnostics.Metrics;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Contracts;
using Yizhan.Platform;

namespace Yizhan.Fleet.Tests;

/// <summary>What the centre's alerts read of its sites.</summary>
public sealed class FleetMetricsTests : IAsyncDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-fleet-metrics-").FullName;
    private readonly FakeTimeProvider _clock = new(DateTimeOffset.FromUnixTimeSeconds(1_000_000));
    private readonly WebApplication _centre;
    private readonly SiteRegistry _sites;
    private readonly FleetMetrics _metrics;

    public FleetMetricsTests()
    {
        _centre = new ServiceHost([$"--node:dataFolder={_folder}", "--web:url=http://127.0.0.1:0", "--fleet:linkPort=0", "--log:level=Error"])
            .Add<FleetModule>().With(services => services.AddSingleton<TimeProvider>(_clock)).Build();
        _sites = _centre.Services.GetRequiredService<SiteRegistry>();
        _metrics = _centre.Services.GetRequiredService<FleetMetrics>();
    }

    [Fact]
    [Trait("Clause", "D6.2")]
    public void What_a_site_last_said_is_measured_and_goes_on_being_said_when_it_is_silent()
    {
        _sites.Report(Status("hill", sentMs: 1_000_007_000, new SpoolFigures(31.5, 1, 2, 0, 0, 100, 1000), [new("ai-infer", ServiceHealth.Unhealthy), new("audit", ServiceHealth.Degraded)]));
        _clock.Advance(TimeSpan.FromMinutes(10));
        var read = Read();
        Assert.Equal(0, read["yizhan.site.online site=hill"]);
        Assert.Equal(1_000_000, read["yizhan.site.last_contact.timestamp site=hill"]);
        Assert.Equal(7, read["yizhan.site.clock.offset site=hill"]);
        Assert.Equal(31.5, read["yizhan.site.spool.outage_left site=hill"]);
        Assert.Equal(2, read["yizhan.site.spool.quarantined site=hill"]);
        Assert.Equal(0, read["yizhan.site.service.up site=hill service=ai-infer"]);
        Assert.Equal(1, read["yizhan.site.service.up site=hill service=audit"]);
        Assert.Equal(5, read["yizhan.site.spool.entries site=hill lane=urgent"]);
        Assert.Equal(600 + 3, read["yizhan.site.spool.oldest site=hill lane=urgent"]);

        _sites.Contact("hill");
        Assert.Equal(1, Read()["yizhan.site.online site=hill"]);
        Assert.Equal(7, Read()["yizhan.site.clock.offset site=hill"]);
    }

    [Fact]
    public void A_site_that_says_little_has_few_series_and_one_that_says_too_much_is_cut()
    {
        _sites.Report(Status("old", 0, null, null));
        _sites.Report(Status("loud", 0, null, [.. Enumerable.Range(0, 1000).Select(i => new ServiceHealth($"s{i}", ServiceHealth.Healthy))]));
        var read = Read();
        Assert.DoesNotContain(read.Keys, k => k.StartsWith("yizhan.site.service", StringComparison.Ordinal) && k.Contains("site=old", StringComparison.Ordinal));
        Assert.DoesNotContain("yizhan.site.spool.outage_left site=old", read.Keys);
        Assert.Equal(32, read.Keys.Count(k => k.StartsWith("yizhan.site.service.up site=loud", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData("config-26.11.2", 1)]
    [InlineData("config-26.11.1", 0)]
    public void A_site_that_does_not_run_what_it_should_is_seen(string runs, double expected)
    {
        _sites.Wanted = _ => "config-26.11.2";
        _sites.Report(Status("hill", 0, null, null) with { Configuration = new ConfigurationStatus(runs, "d", OnTrial: false, null, null) });
        Assert.Equal(expected, Read()["yizhan.site.configuration.current site=hill"]);
    }

    public async ValueTask DisposeAsync()
    {
        _metrics.Dispose();
        await _centre.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    private static SiteStatus Status(string site, long sentMs, SpoolFigures? spool, IReadOnlyList<ServiceHealth>? services) =>
        new(site, Guid.Empty, "1", sentMs, [new LaneStatus("urgent", 5, 6, 1_000_000_000 - 3000, 7)], null, spool, services);

    private Dictionary<string, double> Read()
    {
        var read = new Dictionary<string, double>(StringComparer.Ordinal);
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, l) =>
            {
                if (ReferenceEquals(instrument.Meter.Scope, _centre.Services.GetRequiredService<IMeterFactory>()))
                {
                    l.EnableMeasurementEvents(instrument);
                }
            },
        };
        listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Note(instrument, value, tags));
        listener.SetMeasurementEventCallback<int>((instrument, value, tags, _) => Note(instrument, value, tags));
        listener.Start();
        listener.RecordObservableInstruments();
        return read;

        void Note(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
        {
            var name = instrument.Name;
            foreach (var tag in tags)
            {
                name += $" {tag.Key}={tag.Value}";
            }

            read.Add(name, value);
        }
    }
}
