using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Station.Updates;
using Yizhan.Storage;

namespace Yizhan.Station.Tests;

/// <summary>Whether a site may be restarted: the rule by itself, and the answer that an update script gets.</summary>
[Trait("Clause", "D5.4")]
public sealed class IdleGateTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-gate-").FullName;
    private readonly FakeTimeProvider _clock = new(new DateTimeOffset(2026, 3, 1, 15, 0, 0, TimeSpan.Zero));
    private readonly Work _scanner = new();
    private WebApplication _node = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private IdleGate Gate => _node.Services.GetRequiredService<IdleGate>();

    private IEventLog Log => _node.Services.GetRequiredService<IEventLog>();

    public async ValueTask InitializeAsync() => await StartAsync();

    public async ValueTask DisposeAsync()
    {
        await _node.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void What_is_under_way_closes_it_and_so_does_the_pause_after_it()
    {
        Assert.True(Gate.Ask().Open);
        _scanner.Begin();
        Assert.Equal((false, "Under way: 1 association."), (Gate.Ask().Open, Gate.Ask().Reasons.Single()));
        _scanner.End();
        _clock.Advance(TimeSpan.FromSeconds(29));
        Assert.Contains("ended 29 s ago", Assert.Single(Gate.Ask().Reasons), StringComparison.Ordinal);
        _clock.Advance(TimeSpan.FromSeconds(2));
        Assert.True(Gate.Ask().Open);
    }

    [Fact]
    public void Work_that_began_and_ended_between_two_looks_counts()
    {
        Assert.True(Gate.Ask().Open);
        _scanner.Begin();
        _scanner.End();
        Assert.False(Gate.Ask().Open);
    }

    [Fact]
    public void Waiting_is_counted_from_the_first_no_to_the_next_yes_and_looking_is_not_asking()
    {
        _scanner.Begin();
        Assert.Equal(0, Gate.View().WaitingSeconds);
        Gate.Ask();
        _clock.Advance(TimeSpan.FromHours(25));
        Assert.Equal(90_000, Gate.Ask().WaitingSeconds);
        _scanner.End();
        _clock.Advance(TimeSpan.FromMinutes(1));
        Assert.True(Gate.Ask().Open);
        Assert.Equal(0, Gate.View().WaitingSeconds);
    }

    [Fact]
    public async Task An_urgent_entry_that_waits_for_the_centre_closes_it_others_do_not()
    {
        await Log.AppendAsync([new Entry(Lane.Bulk, "t.v1", "b", "", 0, new byte[3])], Cancel);
        Assert.True(Gate.Ask().Open);
        await Log.AppendAsync([new Entry(Lane.Urgent, "t.v1", "u", "", 0, new byte[3])], Cancel);
        Assert.Equal("1 urgent entry waits for the centre.", Assert.Single(Gate.Ask().Reasons));
        await Log.MarkDeliveredAsync(Lane.Urgent, 1, Cancel);
        Assert.True(Gate.Ask().Open);
    }

    [Theory]
    [InlineData("22:00-05:00", 0)]
    [InlineData("22:00-05:00", 5.9)]
    [InlineData("23:00-23:30", 0)]
    public async Task Inside_its_hours_a_site_may_be_restarted(string window, double later)
    {
        // 15:00 UTC is 23:00 in Shanghai.
        await StartAsync($"--station:updateWindow={window}");
        _clock.Advance(TimeSpan.FromHours(later));
        Assert.True(Gate.Ask().Open);
    }

    [Theory]
    [InlineData("22:00-05:00", "Asia/Shanghai", 6)]
    [InlineData("22:00-23:00", "Asia/Shanghai", 0)]
    [InlineData("22:00-05:00", "Asia/Urumqi", -8)]
    public async Task Outside_its_hours_it_may_not(string window, string zone, double at)
    {
        await StartAsync($"--station:updateWindow={window}", $"--station:timeZone={zone}");
        _clock.AdjustTime(_clock.GetUtcNow().AddHours(at));
        Assert.Contains($"in {zone}; this site is restarted between", Assert.Single(Gate.Ask().Reasons), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--station:updateWindow=22-5", "station:updateWindow is '22-5'; accepted is a span of the day such as 22:00-05:00.")]
    [InlineData("--station:updateWindow=22:00-22:00", "station:updateWindow is '22:00-22:00'")]
    [InlineData("--station:timeZone=Mars/Olympus", "station:timeZone is 'Mars/Olympus'; accepted is an IANA name such as Asia/Shanghai.")]
    public async Task A_wrong_setting_stops_the_start(string setting, string message)
    {
        var e = await Assert.ThrowsAsync<SettingException>(() => StartAsync(setting));
        Assert.Contains(message, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_person_opens_it_for_some_minutes_and_the_audit_log_has_it()
    {
        _scanner.Begin();
        await Gate.AllowAsync(new UpdateAllowance("M. Keller", "the scanner hangs", 30), Cancel);
        var view = Gate.Ask();
        Assert.Equal((true, "M. Keller", 1), (view.Open, view.AllowedBy, view.Reasons.Count));
        var entry = (await Log.ReadLaneAsync(Lane.Normal, 0, 10, 1 << 20, Cancel)).Single().Entry;
        var record = JsonSerializer.Deserialize(entry.Data.Span, ContractsJson.Default.AuditRecord)!;
        Assert.Equal(("M. Keller", "restart allowed for 30 min: the scanner hangs"), (record.Agent, record.Detail));
        _clock.Advance(TimeSpan.FromMinutes(30));
        Assert.False(Gate.Ask().Open);
    }

    [Fact]
    public async Task The_binary_asks_the_node_and_its_exit_code_is_the_answer()
    {
        await _node.StartAsync(Cancel);
        using var said = new StringWriter();
        var url = _node.Urls.First();
        Assert.Equal(0, await IdleCheck.RunAsync([url], said, said));
        _scanner.Begin();
        Assert.Equal(21, await IdleCheck.RunAsync([url], said, said));
        Assert.EndsWith("Under way: 1 association.", said.ToString().Trim(), StringComparison.Ordinal);
        await _node.StopAsync(Cancel);
        Assert.Equal(1, await IdleCheck.RunAsync([url], said, said));
        Assert.Equal(1, await IdleCheck.RunAsync(["mars"], said, said));
    }

    [Theory]
    [InlineData("", "why", 30)]
    [InlineData("M. Keller", "", 30)]
    [InlineData("M. Keller", "why", 0)]
    [InlineData("M. Keller", "why", 241)]
    public async Task Leave_without_a_name_a_reason_or_an_end_is_refused(string by, string reason, int minutes)
    {
        await _node.StartAsync(Cancel);
        using var http = Operator.Client(_node);
        using var body = JsonContent.Create(new UpdateAllowance(by, reason, minutes));
        using var answer = await http.PostAsync("/station/updates/allow", body, Cancel);
        Assert.Equal(HttpStatusCode.BadRequest, answer.StatusCode);
        Assert.True(Gate.Ask().Open);
    }

    private async Task StartAsync(params string[] settings)
    {
        if (_node is not null)
        {
            await _node.DisposeAsync();
        }

        _node = new ServiceHost([
            "--node:siteId=lakeside", $"--node:dataFolder={_folder}", "--web:url=http://127.0.0.1:0", "--log:level=error",
            "--storage:freeFloorBytes=0", "--storage:quotaBytes=1000000000", .. settings])
            .Add<StationModule>()
            .With(services => services.AddSingleton<TimeProvider>(_clock).AddSingleton<IClinicalWork>(_scanner))
            .Build();
    }

    private sealed class Work : IClinicalWork
    {
        public string Kind => "association";

        public int UnderWay { get; private set; }

        public long Begun { get; private set; }

        public void Begin()
        {
            UnderWay++;
            Begun++;
        }

        public void End() => UnderWay--;
    }
}
