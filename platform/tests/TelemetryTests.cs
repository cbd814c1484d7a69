using System.Diagnostics;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Platform.Telemetry;

namespace Yizhan.Platform.Tests;

/// <summary>What a node tells about itself.</summary>
[Collection("process")]
public sealed class TelemetryTests
{
    private const string Trace1 = "0af7651916cd43dd8448eb211c80319c";
    private const string Trace2 = "4bf92f3577b34da6a3ce929d0e0e4736";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Clause", "D6.2")]
    public async Task A_node_shows_its_own_figures_and_not_those_of_another_node_in_its_process()
    {
        await using var one = await StartAsync("one", 1);
        await using var two = await StartAsync("two", 2);
        using var http = new HttpClient();
        var page = await http.GetStringAsync(new Uri(new Uri(one.Urls.First()), "/metrics"), Cancel);
        Assert.Contains("yizhan_sample_entries{", page, StringComparison.Ordinal);
        Assert.Contains("site=\"one\"", page, StringComparison.Ordinal);
        Assert.DoesNotContain("\"two\"", page, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_instrument_with_series_without_end_is_cut()
    {
        await using var node = await StartAsync("many", 1);
        using var meter = node.Services.GetRequiredService<IMeterFactory>().Create("Yizhan.Many");
        var counter = meter.CreateCounter<long>("yizhan.many");
        for (var i = 0; i < 5000; i++)
        {
            counter.Add(1, new KeyValuePair<string, object?>("peer", i));
        }

        using var http = new HttpClient();
        var lines = (await http.GetStringAsync(new Uri(new Uri(node.Urls.First()), "/metrics"), Cancel)).Split('\n').Count(l => l.StartsWith("yizhan_many_total{", StringComparison.Ordinal));
        Assert.InRange(lines, 1000, 2001);
    }

    [Theory]
    [InlineData("otlpUrl=collector:4318", "telemetry:otlpUrl is 'collector:4318'; accepted is the http or https address of a collector")]
    [InlineData("otlpUrl=http://user:secret@127.0.0.1:4318", "without user and password")] // scan:allow what is refused
    [InlineData("traceRatio=2", "telemetry:traceRatio is 2; accepted: 0 to 1.")]
    public void A_wrong_setting_stops_the_start(string setting, string expected)
    {
        var wrong = Assert.Throws<SettingException>(() => new ServiceHost([$"--telemetry:{setting}"]).Build());
        Assert.Contains(expected, wrong.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_batch_goes_on_with_each_of_its_traces_once_and_with_nothing_else()
    {
        var ended = new List<Activity>();
        using var listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name == "Yizhan",
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = ended.Add,
        };
        ActivitySource.AddActivityListener(listener);
        using var loop = new Activity("the loop's own").Start();
        string?[] contexts = [$"00-{Trace1}-b7ad6b7169203331-01", null, "nonsense", $"00-{Trace2}-00f067aa0ba902b7-01", $"00-{Trace1}-b7ad6b7169203332-01", $"00-{Trace1}-b7ad6b7169203331-01"];
        using (Tracing.Continue("ship", ActivityKind.Producer, contexts))
        {
            Assert.Same(loop, Activity.Current);
        }

        Assert.Same(loop, Activity.Current);
        Assert.Equal([(Trace1, 3), (Trace2, 1)], ended.Select(a => (a.TraceId.ToString(), (int)a.GetTagItem("yizhan.entries")!)).Order());
        Assert.All(ended, a => Assert.True(a.HasRemoteParent));
    }

    [Fact]
    public void Of_a_batch_with_many_traces_no_more_than_the_bound_get_spans()
    {
        var ended = 0;
        using var listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name == "Yizhan",
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = _ => ended++,
        };
        ActivitySource.AddActivityListener(listener);
        using (Tracing.Continue("ship", ActivityKind.Producer, Enumerable.Range(1, 100).Select(i => $"00-{i:x32}-b7ad6b7169203331-01")))
        {
        }

        Assert.Equal(Tracing.MaxHops, ended);
    }

    [Fact]
    public void A_trace_that_comes_in_many_batches_has_spans_for_the_first_then_one_in_a_second_and_for_each_that_fails()
    {
        var ended = new List<Activity>();
        using var listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name == "Yizhan",
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = ended.Add,
        };
        ActivitySource.AddActivityListener(listener);
        var clock = new FakeTimeProvider();
        string[] context = [$"00-{ActivityTraceId.CreateRandom()}-b7ad6b7169203331-01"];
        for (var i = 0; i < 3 * Tracing.MaxPieces; i++)
        {
            using var hops = Tracing.Continue("ship", ActivityKind.Producer, context, clock);
        }

        Assert.Equal(Tracing.MaxPieces, ended.Count);
        using (var hops = Tracing.Continue("ship", ActivityKind.Producer, context, clock))
        {
            hops.Fail("The centre refused it.");
        }

        Assert.Equal(Tracing.MaxPieces + 1, ended.Count);
        Assert.Equal((ActivityStatusCode.Error, "The centre refused it."), (ended[^1].Status, ended[^1].StatusDescription));
        clock.Advance(Tracing.Slow);
        using (Tracing.Continue("ship", ActivityKind.Producer, context, clock))
        {
        }

        Assert.Equal(Tracing.MaxPieces + 2, ended.Count);
        using (Tracing.Continue("index", ActivityKind.Consumer, context, clock))
        {
        }

        Assert.Equal(Tracing.MaxPieces + 3, ended.Count);
    }

    private static async Task<Microsoft.AspNetCore.Builder.WebApplication> StartAsync(string site, int value)
    {
        var node = new ServiceHost(["--web:url=http://127.0.0.1:0", $"--node:siteId={site}"]).Build();
        var meter = node.Services.GetRequiredService<IMeterFactory>().Create("Yizhan.Sample");
        meter.CreateObservableGauge("yizhan.sample.entries", () => new Measurement<int>(value, new KeyValuePair<string, object?>("site", site)));
        await node.StartAsync(Cancel);
        return node;
    }
}
