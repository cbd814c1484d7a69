using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Station.Tests;

/// <summary>The figures of the spool: as metrics and for people.</summary>
public sealed class SpoolMetricsTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-metrics-").FullName;
    private readonly FakeTimeProvider _clock = new(new DateTimeOffset(2026, 3, 1, 0, 0, 0, TimeSpan.Zero));
    private WebApplication _node = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private IEventLog Log => _node.Services.GetRequiredService<IEventLog>();

    public ValueTask InitializeAsync()
    {
        _node = new ServiceHost([
            "--node:siteId=lakeside", $"--node:dataFolder={_folder}", "--web:url=http://127.0.0.1:0", "--log:level=error",
            "--storage:freeFloorBytes=0", "--storage:quotaBytes=1000000000"])
            .Add<StationModule>().With(services => services.AddSingleton<TimeProvider>(_clock)).Build();
        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        await _node.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task The_meter_tells_depth_bytes_age_ratio_commits_and_hours()
    {
        var metrics = _node.Services.GetRequiredService<SpoolMetrics>();
        var seen = new ConcurrentDictionary<string, double>();
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, l) =>
        {
            // Other tests have nodes of their own in this process.
            if (instrument.Meter.Name == "Yizhan.Spool" && ReferenceEquals(instrument.Meter.Scope, _node.Services.GetRequiredService<IMeterFactory>()))
            {
                l.EnableMeasurementEvents(instrument);
            }
        };
        listener.SetMeasurementEventCallback<long>((i, value, tags, _) => Note(i, value, tags));
        listener.SetMeasurementEventCallback<int>((i, value, tags, _) => Note(i, value, tags));
        listener.SetMeasurementEventCallback<double>((i, value, tags, _) => Note(i, value, tags));
        listener.Start();

        for (var i = 0; i < 4; i++)
        {
            await Log.AppendAsync([.. Enumerable.Range(0, 5).Select(j =>
                new Entry(Lane.Bulk, "t.v1", $"{i}.{j}", "", _clock.GetUtcNow().ToUnixTimeMilliseconds(), new byte[50_000]))], Cancel);
        }

        await Log.MarkDeliveredAsync(Lane.Bulk, 15, Cancel);
        _clock.Advance(TimeSpan.FromSeconds(1000));
        metrics.Sample();
        listener.RecordObservableInstruments();
        Assert.Equal(5, seen["yizhan.spool.entries/bulk"]);
        Assert.Equal(250_000, seen["yizhan.spool.bytes/bulk"]);
        Assert.Equal(1000, seen["yizhan.spool.oldest/bulk"]);
        Assert.Equal(20, seen["yizhan.spool.accepted/bulk"]);
        Assert.Equal(15, seen["yizhan.spool.delivered/bulk"]);
        Assert.Equal(0.75, seen["yizhan.spool.delivered_ratio/"]);
        Assert.Equal(0, seen["yizhan.spool.quarantined/"]);
        Assert.Equal(5, seen["yizhan.spool.commit.entries/"]);
        Assert.True(seen.ContainsKey("yizhan.spool.commit.duration/"));

        // 1 MB in 1000 s, remembered for an hour: 1 kB/s times 1 - e^(-1000/3600). The bulk lane has 92 % of 1 GB, less what is used.
        var hours = seen["yizhan.spool.outage_hours/"];
        Assert.InRange(hours, 900, 1070);
        Assert.Equal(hours, metrics.Figures().OutageHours);
        Assert.Equal(5, metrics.Figures().BatchEntries);

        void Note(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
        {
            var lane = "";
            foreach (var (key, tag) in tags)
            {
                lane = key == "lane" ? (string)tag! : lane;
            }

            seen[$"{instrument.Name}/{lane}"] = value;
        }
    }

    [Fact]
    public void Nothing_was_accepted_so_nobody_knows_how_long_the_room_lasts()
    {
        var metrics = _node.Services.GetRequiredService<SpoolMetrics>();
        _clock.Advance(TimeSpan.FromHours(1));
        metrics.Sample();
        Assert.Equal((null, 1.0, 0L), (metrics.Figures().OutageHours, metrics.Figures().DeliveredRatio, metrics.Figures().Quarantined));
    }
}
