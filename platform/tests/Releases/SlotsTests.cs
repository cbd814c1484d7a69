using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Configuration;
using Yizhan.Platform.Releases;

namespace Yizhan.Platform.Tests.Releases;

public sealed class SlotsTests : IDisposable
{
    private static readonly DateTimeOffset Now = DateTimeOffset.FromUnixTimeMilliseconds(1_795_000_000_000);

    private readonly NodeOptions _node = new() { SiteId = "east", DataFolder = Directory.CreateTempSubdirectory("yizhan-slots-").FullName };

    public void Dispose() => Directory.Delete(_node.DataFolder, recursive: true);

    [Fact]
    [Trait("Clause", "D7.3")]
    public void A_configuration_that_does_not_come_up_in_three_starts_gives_way_to_the_last_good_one()
    {
        Confirmed("config-26.11.1");
        Slots().Install(Release("config-26.11.2"), Now);
        for (var start = 1; start <= ConfigurationSlots.MaxStarts; start++)
        {
            Assert.Equal("config-26.11.2 of east", Slots().Start(Now)!.Name);
        }

        var slots = Slots();
        Assert.Equal("config-26.11.1 of east", slots.Start(Now)!.Name);
        Assert.False(slots.IsOnTrial);
        Assert.Equal("config-26.11.2", slots.State.Newest!.Version);
        Assert.Equal(("config-26.11.2", "the node did not come up in 3 starts"), (slots.State.Refused!.Version, slots.State.Refused.Reason));
        Assert.Equal(["applied config-26.11.1", "rolled back config-26.11.2"], slots.State.Steps.Select(s => $"{s.Step} {s.Version}"));
        Assert.Equal("config-26.11.1 of east", Slots().Start(Now)!.Name);
    }

    [Fact]
    [Trait("Clause", "D7.3")]
    public void The_first_configuration_that_does_not_come_up_gives_way_to_the_nodes_own_settings()
    {
        Slots().Install(Release("config-26.11.1"), Now);
        for (var start = 1; start <= ConfigurationSlots.MaxStarts; start++)
        {
            Assert.NotNull(Slots().Start(Now));
        }

        Assert.Null(Slots().Start(Now));
    }

    [Fact]
    public void A_confirmed_configuration_starts_as_often_as_it_likes()
    {
        Confirmed("config-26.11.1");
        for (var start = 0; start < 10; start++)
        {
            Assert.NotNull(Slots().Start(Now));
        }

        Assert.Equal("applied", Assert.Single(Slots().State.Steps).Step);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void A_damaged_file_gives_way_at_once(int byteOf)
    {
        Confirmed("config-26.11.1");
        Slots().Install(Release("config-26.11.2"), Now);
        var path = Path.Combine(_node.DataFolder, "configuration", Slots().State.Active!.File + ".tar");
        var bytes = File.ReadAllBytes(path);
        bytes[(bytes.Length / 2 * byteOf) + 3] ^= 0xFF;
        File.WriteAllBytes(path, byteOf == 0 ? bytes : bytes[..700]);

        Assert.Equal("config-26.11.1 of east", Slots().Start(Now)!.Name);
        File.Delete(Path.Combine(_node.DataFolder, "configuration", "a.tar"));
        File.Delete(Path.Combine(_node.DataFolder, "configuration", "b.tar"));
        Assert.Null(Slots().Start(Now));
    }

    [Fact]
    public void A_refusal_is_one_step_however_often_it_is_repeated()
    {
        var slots = Slots();
        slots.Refuse("config-26.11.1", "d", "too old", Now);
        slots.Refuse("config-26.11.1", "d", "too old", Now.AddMinutes(1));
        Assert.Single(slots.State.Steps);
        slots.Drop(slots.State.Steps);
        Assert.Empty(Slots().State.Steps);
    }

    [Fact]
    public void An_unreadable_state_leaves_the_node_its_own_settings()
    {
        Confirmed("config-26.11.1");
        File.WriteAllText(Path.Combine(_node.DataFolder, "configuration", "state.json"), "{");
        Assert.Null(Slots().Start(Now));
        Assert.Equal("unreadable", Assert.Single(Slots().State.Steps).Step);
    }

    [Fact]
    [Trait("Clause", "D7.3")]
    public void A_node_runs_with_the_devices_of_its_site_file_beside_its_own()
    {
        Confirmed("config-26.11.1");
        using var app = (IDisposable)Node();
        var configuration = (IConfiguration)((WebApplication)app).Services.GetService(typeof(IConfiguration))!;
        Assert.Equal(["LOCAL", "EAST_CT"], configuration.GetSection("pacs-gw:peers").Get<List<SamplePeer>>()!.Select(p => p.Title.Length > 0 ? p.Title : p.AeTitle));
        Assert.Null(configuration["storage:quotaBytes"]);
    }

    internal static byte[] Yaml(string site, string? name = null) => Encoding.UTF8.GetBytes($"""
        siteId: {site}
        name: {name ?? site + " clinic"}
        contact: {"{"}name: somebody, phone: "+86 10 5555 0100"{"}"}
        hardware: {"{"}profile: x64, memoryGiB: 8, storageGiB: 64{"}"}
        network: {"{"}centreUrl: https://centre.example:8443, uplinkKbps: 1000{"}"}
        modalities:
          - {"{"}name: CT, modality: CT, aeTitle: EAST_CT{"}"}
        lanes: {"{"}quotaGiB: 8{"}"}
        """);

    private WebApplication Node() =>
        new ServiceHost([$"--node:dataFolder={_node.DataFolder}", "--pacs-gw:peers:0:title=LOCAL", "--web:url=http://127.0.0.1:0"]).Add<GatewayModule>().Build();

    private ConfigurationSlots Slots() => ConfigurationSlots.Open(_node);

    private void Confirmed(string version)
    {
        Slots().Install(Release(version), Now);
        var slots = Slots();
        Assert.NotNull(slots.Start(Now));
        slots.Confirm(Now);
    }

    private static ReleaseBundle Release(string version) => ReleaseBundle.Create(
        new(version, 0, 1, "wang", "", [], []), new Dictionary<string, byte[]> { ["sites/east.yaml"] = Yaml("east", $"{version} of east") });
}
