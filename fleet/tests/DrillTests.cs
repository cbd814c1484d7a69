using System.Net;
using System.Net.Http.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Contracts;
using Yizhan.Fleet.Drills;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Fleet.Tests;

/// <summary>Reports of drills come in over HTTP, and the centre knows which are due.</summary>
[Trait("Clause", "D8.3")]
public sealed class DrillTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-drills-").FullName;
    private readonly ShiftedClock _clock = new();
    private WebApplication _app = null!;
    private HttpClient _http = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private long Now => _clock.GetUtcNow().ToUnixTimeMilliseconds();

    public async ValueTask InitializeAsync() => await StartAsync();

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task A_drill_is_never_run_then_passed_then_overdue_then_failed()
    {
        Assert.Equal(DrillKinds.All.Select(kind => (kind, "never")), (await KindsAsync()).Select(k => (k.Kind, k.State)));
        var first = Report("outage-1-first", passed: true);
        await RecordAsync(first, HttpStatusCode.Created);
        var passed = await UntilAsync("outage", k => k.Runs.Count == 1);
        Assert.Equal("passed", passed.State);
        Assert.Equal(92L * 86_400_000, passed.DueMs - passed.LastSuccessMs);
        Assert.Equal(("outage-1-first", "centre", 1.5), (passed.Runs[0].Id, passed.Runs[0].Site, passed.Runs[0].RtoSeconds));

        // A restart of the centre forgets nothing, and the same report again is none more.
        await StopAsync();
        await StartAsync();
        await RecordAsync(first, HttpStatusCode.Created);
        _clock.Shift += TimeSpan.FromDays(93);
        Assert.Equal("overdue", (await UntilAsync("outage", k => k.State == "overdue")).State);

        await RecordAsync(Report("outage-2-second", passed: false) with { Lost = 1, Checks = [new("all there", false, "1 lost")] }, HttpStatusCode.Created);
        var failed = await UntilAsync("outage", k => k.Runs.Count == 2);
        Assert.Equal(("failed", "outage-2-second"), (failed.State, failed.Runs[0].Id));
        var figures = _app.Services.GetRequiredService<DrillBook>().Figures().Single(f => f.Kind == "outage");
        Assert.Equal((first.FinishedMs, false), (figures.LastSuccessMs, figures.Passed));

        var report = await _http.GetFromJsonAsync("/fleet/drills/outage-2-second", ContractsJson.Default.DrillFinished, Cancel);
        Assert.Equal("1 lost", report!.Checks[0].Detail);
        Assert.Equal(HttpStatusCode.NotFound, (await _http.GetAsync("/fleet/drills/outage-3-third", Cancel)).StatusCode);
    }

    [Fact]
    public async Task The_report_and_its_audit_record_are_one_append()
    {
        await RecordAsync(Report("zone-loss-1", passed: true) with { Kind = "zone-loss" }, HttpStatusCode.Created);
        var entries = await _app.Services.GetRequiredService<IEventLog>().ReadAsync(0, 10, Cancel);
        Assert.Equal([DrillFinished.EventType, AuditRecord.EventType], entries.Select(e => e.Entry.Type));
        Assert.Equal(["drill/zone-loss-1", "drill/zone-loss-1"], entries.Select(e => e.Entry.Key));
    }

    [Theory]
    [InlineData("Zone!", "outage", "id is 'Zone!'")]
    [InlineData("outage-0001", "earthquake", "kind is 'earthquake'; accepted: outage,")]
    [InlineData("outage-0002", "outage", "is in the future", 86_400_000)]
    [InlineData("outage-0003", "outage", "passed is true, but something was lost", 0, 3)]
    [InlineData("outage-0004", "outage", "or there is none", 0, 0, false)]
    public async Task A_report_that_cannot_be_is_refused_with_the_reason(string id, string kind, string reason, long later = 0, long lost = 0, bool checks = true)
    {
        var report = Report(id, passed: true) with { Kind = kind, FinishedMs = Now + later, Lost = lost };
        var text = await RecordAsync(checks ? report : report with { Checks = [] }, HttpStatusCode.BadRequest);
        Assert.Contains(reason, text, StringComparison.Ordinal);
        Assert.Empty(await _app.Services.GetRequiredService<IEventLog>().ReadAsync(0, 10, Cancel));
    }

    /// <summary>The time of day of another day; timers run as always.</summary>
    private sealed class ShiftedClock : TimeProvider
    {
        public TimeSpan Shift { get; set; }

        public override DateTimeOffset GetUtcNow() => base.GetUtcNow() + Shift;
    }

    private DrillFinished Report(string id, bool passed) => new(
        id, "outage", "local", passed, Now - 1000, Now, 10, 10, 0, 0, 1.5, 0, "A sentence.", ["limits"], [new("all there", true, "10 of 10")], [new(0.5, "begun")], []);

    private async Task<string> RecordAsync(DrillFinished report, HttpStatusCode expected)
    {
        using var answer = await _http.PostAsJsonAsync("/fleet/log/drills", report, ContractsJson.Default.DrillFinished, Cancel);
        var text = await answer.Content.ReadAsStringAsync(Cancel);
        Assert.True(expected == answer.StatusCode, $"{answer.StatusCode} {text}");
        return text;
    }

    private async Task<IReadOnlyList<DrillView>> KindsAsync() =>
        (await _http.GetFromJsonAsync("/fleet/drills", ContractsJson.Default.IReadOnlyListDrillView, Cancel))!;

    private async Task<DrillView> UntilAsync(string kind, Func<DrillView, bool> holds)
    {
        while (true)
        {
            if ((await KindsAsync()).Single(k => k.Kind == kind) is var view && holds(view))
            {
                return view;
            }

            await Task.Delay(5, Cancel);
        }
    }

    private async Task StartAsync()
    {
        _app = new ServiceHost([$"--node:dataFolder={_folder}", "--web:url=http://127.0.0.1:0", "--fleet:linkPort=0", "--log:level=Error"])
            .Add<FleetModule>().With(services => services.AddSingleton<TimeProvider>(_clock)).Build();
        await _app.StartAsync(Cancel);
        _http = Operator.Client(_app);
    }

    private async Task StopAsync()
    {
        _http.Dispose();
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
    }
}
