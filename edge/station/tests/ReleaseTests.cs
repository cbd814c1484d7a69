using System.Text;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Contracts;
using Yizhan.Fleet.Releases;
using Yizhan.Platform;
using Yizhan.Platform.Releases;
using Yizhan.Station.Configuration;
using Yizhan.Station.Updates;

namespace Yizhan.Station.Tests;

/// <summary>Releases over a real link, from the centre to the site and back as reports and audit records.</summary>
public sealed class ReleaseTests : IAsyncLifetime
{
    private readonly ReleaseKey _wang = ReleaseKey.Create("wang");
    private readonly ReleaseKey _li = ReleaseKey.Create("li");
    private readonly ReleaseKey _zhao = ReleaseKey.Create("zhao");
    private readonly string _trust = Path.GetTempFileName();
    private TwoNodes _nodes = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private ReleaseCentre Centre => _nodes.Centre.Services.GetRequiredService<ReleaseCentre>();

    private SiteConfiguration Site => _nodes.Edge.Services.GetRequiredService<SiteConfiguration>();

    public async ValueTask InitializeAsync()
    {
        WriteTrust(new ReleaseTrust(1, 2, [_wang.Public, _li.Public, _zhao.Public]));
        _nodes = await TwoNodes.StartAsync(
            edge: [$"--station:releaseTrustPath={_trust}", "--station:configurationPollSeconds=1", "--station:heartbeatSeconds=1"],
            centre: [$"--fleet:releaseTrustPath={_trust}", "--fleet:ringSoakSeconds=0"]);
    }

    public async ValueTask DisposeAsync()
    {
        await _nodes.DisposeAsync();
        File.Delete(_trust);
        _wang.Dispose();
        _li.Dispose();
        _zhao.Dispose();
    }

    [Fact]
    [Trait("Clause", "D7.3")]
    public async Task A_signed_release_is_installed_confirmed_after_a_restart_and_reported()
    {
        Centre.Propose(Release("config-26.11.1", approved: false));
        Assert.Null(Centre.Offer(TwoNodes.Site, null, null));
        var view = Centre.Propose(Release("config-26.11.1", approved: true));
        Assert.Equal(("rolling out", 10), (view.State, view.RingPercent));

        await RestartAsync();
        await Wait.UntilAsync(() => Centre.List()[0].State == "complete");
        Assert.Equal("config-26.11.1", Centre.List()[0].Sites.Single().Runs);
        Assert.Equal("config-26.11.1", Site.Slots.State.Good?.Version);
        var steps = new List<string>();
        await Wait.UntilAsync(async () =>
        {
            steps = [.. (await _nodes.ArrivedAsync()).Where(e => e.Entry.Key == "config/config-26.11.1").Select(e => e.Entry.Id.Split('/')[2])];
            return steps.Contains("applied") && steps.Contains("offered");
        });
        Assert.Equal(["proposed", "approved", "approved", "signed", "offered"], steps.Where(step => step is not ("applied" or "promoted")));
        Assert.All((await _nodes.ArrivedAsync()).Where(e => e.Entry.Key == "config/config-26.11.1"), e => Assert.Equal(AuditRecord.EventType, e.Entry.Type));
    }

    [Fact]
    [Trait("Clause", "D7.3")]
    public void Who_proposed_a_release_approves_it_with_no_key_and_two_keys_of_another_are_one_approval()
    {
        using var further = ReleaseKey.Create("further");
        Trust("wang");
        var release = Release("config-26.11.1", approved: false);
        Centre.Propose(release);
        foreach (var key in new[] { _wang, further })
        {
            var refused = Assert.Throws<ReleaseRefusedException>(() => Centre.Approve(release.Version, key.Name, key.Sign(release)));
            Assert.Equal((ReleaseRefusal.OwnProposal, $"'{key.Name}' is a key of 'wang', who proposed config-26.11.1; accepted: the key of somebody else."), (refused.Reason, refused.Message));
        }

        Trust("li");
        Centre.Approve(release.Version, "li", _li.Sign(release));
        var view = Centre.Approve(release.Version, "further", further.Sign(release))!;
        Assert.Equal("proposed", view.State);
        Assert.Equal(["li"], view.Approvers);
        Assert.Equal("rolling out", Centre.Approve(release.Version, "zhao", _zhao.Sign(release))!.State);

        void Trust(string person) => WriteTrust(new ReleaseTrust(1, 2, [_wang.Public, _li.Public, _zhao.Public, further.Public with { Of = person }]));
    }

    [Fact]
    [Trait("Clause", "D7.3")]
    public async Task A_release_of_a_key_that_the_site_has_revoked_is_refused_reported_and_stops_the_rollout_while_the_site_runs_on()
    {
        await InstalledAsync("config-26.11.1");
        WriteTrust(new ReleaseTrust(2, 2, [_wang.Public, _li.Public, _zhao.Public with { Revoked = true }]));

        // In one step: the site reads the file every second.
        File.Move(_trust, _nodes.PathOf("edge", "configuration", "trust.json"), overwrite: true);
        WriteTrust(new ReleaseTrust(1, 2, [_wang.Public, _li.Public, _zhao.Public]));

        Centre.Propose(Release("config-26.11.2", approved: true));
        await Wait.UntilAsync(() => Centre.List()[0].State == "stopped");
        Assert.Equal($"{TwoNodes.Site}: config-26.11.2 is signed by 'zhao', whose key was revoked.", Centre.List()[0].Waits);
        Assert.Equal("config-26.11.1", Site.Slots.State.Active?.Version);
        Assert.False(_nodes.Edge.Services.GetRequiredService<NodeRestart>().Requested);
        await Wait.UntilAsync(async () => (await _nodes.ArrivedAsync()).Any(e => e.Entry.Id.StartsWith("config/config-26.11.2/refused/", StringComparison.Ordinal)));
    }

    [Fact]
    [Trait("Clause", "D7.3")]
    public async Task A_configuration_with_which_the_node_does_not_start_gives_way_and_the_centre_is_told()
    {
        await InstalledAsync("config-26.11.1");
        Centre.Propose(Release("config-26.11.2", approved: true));
        await Wait.UntilAsync(() => _nodes.Edge.Services.GetRequiredService<NodeRestart>().Requested);
        await TwoNodes.StopAsync(_nodes.Edge);
        for (var start = 0; start < ConfigurationSlots.MaxStarts; start++)
        {
            // As the node's program does when it starts, and dies before it is up.
            Assert.Equal("config-26.11.2", ConfigurationSlots.Open(EdgeNode).Start(TimeProvider.System.GetUtcNow())!.Name);
        }

        await _nodes.StartEdgeAsync();
        Assert.Equal("config-26.11.1", Site.Runs?.Version);
        await Wait.UntilAsync(() => Centre.List()[0].State == "stopped");
        Assert.Contains("did not come up in 3 starts", Centre.List()[0].Waits, StringComparison.Ordinal);
        await Wait.UntilAsync(async () => (await _nodes.ArrivedAsync()).Any(e => e.Entry.Id.StartsWith("config/config-26.11.2/rolled-back/", StringComparison.Ordinal)));
    }

    [Fact]
    [Trait("Clause", "D7.3")]
    public async Task A_site_that_has_seen_a_newer_release_refuses_what_a_restored_centre_offers()
    {
        await InstalledAsync("config-26.11.1");
        await TwoNodes.StopAsync(_nodes.Edge);
        var state = _nodes.PathOf("edge", "configuration", "state.json");
        await File.WriteAllTextAsync(
            state, (await File.ReadAllTextAsync(state, Cancel)).Replace("\"newest\": {\n    \"version\": \"config-26.11.1\"", "\"newest\": {\n    \"version\": \"config-27.01.1\"", StringComparison.Ordinal), Cancel);
        await _nodes.StartEdgeAsync();
        Centre.Propose(Release("config-26.11.2", approved: true));
        await Wait.UntilAsync(() => Centre.List()[0].State == "stopped");
        Assert.Contains("config-26.11.2 is not newer than config-27.01.1", Centre.List()[0].Waits, StringComparison.Ordinal);
        Assert.Equal("config-26.11.1", Site.Slots.State.Active?.Version);
    }

    [Theory]
    [InlineData("config-26.11.1", false, "There is another config-26.11.1 already")]
    [InlineData("config-26.10.9", false, "config-26.10.9 is not newer than config-26.11.1")]
    [InlineData("config-26.11.2", true, "expires in -1 days")]
    public void The_centre_refuses_what_a_site_would_refuse(string version, bool expired, string message)
    {
        Centre.Propose(Release("config-26.11.1", approved: true));
        var refused = Assert.Throws<ReleaseRefusedException>(() => Centre.Propose(Release(version, approved: true, days: expired ? -1 : 40)));
        Assert.Contains(message, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_centre_refuses_a_site_file_with_a_fault_by_its_place()
    {
        var refused = Assert.Throws<ReleaseRefusedException>(() => Centre.Propose(Release("config-26.11.1", approved: true, yaml: "siteId: lakeside\nnam: x\n")));
        Assert.Equal(ReleaseRefusal.InvalidSite, refused.Reason);
        Assert.Contains("sites/lakeside.yaml:", refused.Message, StringComparison.Ordinal);
    }

    private NodeOptions EdgeNode => new() { SiteId = TwoNodes.Site, DataFolder = _nodes.PathOf("edge") };

    [Fact]
    [Trait("Clause", "D5.4")]
    public async Task A_release_waits_until_the_site_may_be_restarted_and_a_person_may_say_now()
    {
        // Some other hour than this one.
        var now = TimeProvider.System.GetUtcNow();
        var other = $"{now.AddHours(3):HH:00}-{now.AddHours(4):HH:00}";
        await _nodes.DisposeAsync();
        _nodes = await TwoNodes.StartAsync(
            edge: [$"--station:releaseTrustPath={_trust}", "--station:configurationPollSeconds=1", "--station:heartbeatSeconds=1", $"--station:updateWindow={other}", "--station:timeZone=UTC"],
            centre: [$"--fleet:releaseTrustPath={_trust}", "--fleet:ringSoakSeconds=0"]);
        Centre.Propose(Release("config-26.11.1", approved: true));
        var gate = _nodes.Edge.Services.GetRequiredService<IdleGate>();
        await Wait.UntilAsync(() => gate.View().WaitingSeconds > 0);
        Assert.False(_nodes.Edge.Services.GetRequiredService<NodeRestart>().Requested);
        Assert.Null(Site.Slots.State.Newest);

        await gate.AllowAsync(new UpdateAllowance("M. Keller", "nobody is there", 30), TestContext.Current.CancellationToken);
        await RestartAsync();
        await Wait.UntilAsync(() => Centre.List()[0].State == "complete");
    }

    private async Task InstalledAsync(string version)
    {
        Centre.Propose(Release(version, approved: true));
        await RestartAsync();
        await Wait.UntilAsync(() => Centre.List()[0].State == "complete");
    }

    private async Task RestartAsync()
    {
        await Wait.UntilAsync(() => _nodes.Edge.Services.GetRequiredService<NodeRestart>().Requested);
        await TwoNodes.StopAsync(_nodes.Edge);
        await _nodes.StartEdgeAsync();
    }

    private void WriteTrust(ReleaseTrust trust) => File.WriteAllBytes(_trust, trust.ToBytes());

    private ReleaseBundle Release(string version, bool approved, int days = 30, string? yaml = null)
    {
        var now = TimeProvider.System.GetUtcNow();
        var text = yaml ?? $$"""
            siteId: lakeside
            name: {{version}}
            contact: {name: somebody, phone: "+86 10 5555 0100"}
            hardware: {profile: x64, memoryGiB: 8, storageGiB: 64}
            network: {centreUrl: "https://centre.example:8443", uplinkKbps: 2000}
            """;
        var created = days == 30 ? _created : now;
        var release = ReleaseBundle.Create(
            new(version, created.ToUnixTimeMilliseconds(), created.AddDays(days).ToUnixTimeMilliseconds(), "wang", "why", [], []),
            new Dictionary<string, byte[]> { ["sites/lakeside.yaml"] = Encoding.UTF8.GetBytes(text) });
        release = release.With("wang", _wang.Sign(release));
        return approved ? release.With("li", _li.Sign(release)).With("zhao", _zhao.Sign(release)) : release;
    }

    private readonly DateTimeOffset _created = TimeProvider.System.GetUtcNow();
}
