using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text;
using Yizhan.Contracts;
using Yizhan.Inventory.Collect;
using Yizhan.Inventory.Equipment;
using static Yizhan.Inventory.Tests.Node;

namespace Yizhan.Inventory.Tests;

/// <summary>What equipment says of itself, and which reports are one thing.</summary>
public sealed class EquipmentTests : IDisposable
{
    private readonly Folder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Two_agents_with_one_serial_are_two_until_a_person_says_otherwise_and_then_stay_one()
    {
        await using var node = await StartAsync(_folder.Path);
        await ReportAsync(node, "a1", "serial:S9911");
        await ReportAsync(node, "a2", "serial:S9911", "agent:two");
        var conflict = Assert.Single(node.Queries.Conflicts(Site, 100));
        Assert.Equal(["serial:S9911"], conflict.Shared);
        Assert.Equal(2, Assets(node).Count);

        // The same reports an hour later open nothing new.
        await ReportAsync(node, "b1", "serial:S9911");
        await ReportAsync(node, "b2", "serial:S9911", "agent:two");
        Assert.Single(node.Queries.Conflicts(Site, 100));
        Assert.Equal(2, Assets(node).Count);

        var decision = new AssetDecision(conflict.First, conflict.Second, Same: true, "engineer");
        Assert.True((await node.Http.PostAsJsonAsync("assets/decisions", decision, ContractsJson.Default.AssetDecision, Cancel)).IsSuccessStatusCode);
        await node.Ledger.CaughtUpAsync(Cancel);
        Assert.Equal(["agent:two", "serial:S9911"], Assert.Single(Assets(node)).Keys);
        await ReportAsync(node, "c1", "serial:S9911");
        await ReportAsync(node, "c2", "serial:S9911", "agent:two");
        Assert.Single(Assets(node));
        Assert.Empty(node.Queries.Conflicts(Site, 100));
        Assert.Equal(System.Net.HttpStatusCode.NotFound, (await node.Http.PostAsJsonAsync("assets/decisions", decision, ContractsJson.Default.AssetDecision, Cancel)).StatusCode);
    }

    [Fact]
    public async Task Two_keys_that_agree_are_one_thing_unless_another_contradicts()
    {
        await using var node = await StartAsync(_folder.Path);
        await ReportAsync(node, "1", "serial:S1234", "mac:ACF1DF8E8E01");
        await ReportAsync(node, "2", "serial:S1234", "mac:ACF1DF8E8E01", "uuid:12AB34CD56EF");
        Assert.Single(Assets(node));

        // A cloned disk: name, agent and address of the old machine on a new board.
        await ReportAsync(node, "3", "mac:ACF1DF8E8E01", "host:ws1", "uuid:FFAB34CD56EF");
        Assert.Equal(2, Assets(node).Count);
        Assert.Contains("differ in uuid", Assert.Single(node.Queries.Conflicts(Site, 100)).Reason, StringComparison.Ordinal);

        // Two that only have one name are nobody's question.
        await ReportAsync(node, "4", "host:ws1", "serial:S5678");
        Assert.Equal(3, Assets(node).Count);
        Assert.Single(node.Queries.Conflicts(Site, 100));
    }

    [Theory]
    [InlineData("serial", "To be filled by O.E.M.")]
    [InlineData("serial", "Default string")]
    [InlineData("serial", "System Serial Number")]
    [InlineData("serial", "0000000000")]
    [InlineData("serial", "None")]
    [InlineData("uuid", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF")]
    [InlineData("uuid", "03000200-0400-0500-0006-000700080009")]
    [InlineData("mac", "00:00:00:00:00:00")]
    [InlineData("mac", "02:42:ac:11:00:02")]
    [InlineData("mac", "ff:ff:ff:ff:ff:fe")]
    public void What_only_looks_like_an_identity_is_none(string type, string value) => Assert.Null(AssetKeys.Of(type, value));

    [Fact]
    public void Every_real_inventory_is_read_with_what_it_says()
    {
        var folder = Corpus("inventory-glpi");
        var reports = Directory.GetFiles(folder).Where(f => !f.Contains("schema", StringComparison.Ordinal)).Order(StringComparer.Ordinal)
            .ToDictionary(f => Path.GetFileName(f), f => AgentReport.Read(File.ReadAllBytes(f), "corpus", Path.GetFileName(f), 1)[0]);
        Assert.Equal(21, reports.Count);
        Assert.All(reports, r => Assert.True(r.Value.Keys.Count > 0 || r.Key is "11.xml" or "15.xml", $"{r.Key} has no key."));

        var computer = reports["computer_1.json"];
        Assert.Equal(("computer", "glpixps", "Dell Inc.", "XPS 13 9350"), (computer.Kind, computer.Name, computer.Manufacturer, computer.Model));
        Assert.Contains("serial:640HP72", computer.Keys);
        Assert.Contains("uuid:4C4C45440034301080 48B6C04F503732".Replace(" ", "", StringComparison.Ordinal), computer.Keys);
        Assert.Contains(computer.Software, s => s is { Name: "gitg", Version: "3.32.1-1.fc31" });
        Assert.True(reports["computer_1_partial_softs.json"].Partial);
        Assert.Equal(("network", "SSI1912014B"), (reports["networkequipment_1.json"].Kind, reports["networkequipment_1.json"].Keys.Single(k => k.StartsWith("serial:", StringComparison.Ordinal))[7..]));
        Assert.Equal("printer", reports["printer_1.json"].Kind);
        Assert.Equal(("iMac5,1", "Apple Computer, Inc."), (reports["3.xml"].Model, reports["3.xml"].Manufacturer));
        Assert.Contains("serial:W87051UGVUV", reports["3.xml"].Keys);
    }

    [Fact]
    public async Task A_partial_inventory_leaves_what_it_does_not_name()
    {
        var folder = Corpus("inventory-glpi");
        await using var node = await StartAsync(_folder.Path);
        foreach (var name in new[] { "computer_1.json", "computer_1_partial_cpu.json" })
        {
            await Sink.ReportAsync(node.Events, AgentReport.Read(File.ReadAllBytes(Path.Combine(folder, name)), "agents", name, 1)[0], Cancel);
        }

        await node.Ledger.CaughtUpAsync(Cancel);
        var asset = Assert.Single(Assets(node));
        Assert.Equal("computer_1_partial_cpu.json", asset.Last.ReportId);
        Assert.Contains(asset.Last.Software, s => s.Name == "gitg");
        Assert.Empty(node.Queries.Conflicts(Site, 100));
    }

    [Theory]
    [InlineData("SHA-256", "SHA-256")]
    [InlineData("SHA", "SHA")]
    public async Task An_SNMPv3_device_is_asked_signed_and_encrypted(string device, string ours)
    {
        var port = FreePorts.Next(ProtocolType.Udp);
        using var snmpd = Peer.Snmpd(_folder.Path, port, device);
        await using var node = await StartAsync(_folder["node"]);
        var run = await UntilCompleteAsync(node, Snmp(port, ours));
        Assert.Equal(1, run.Assets);
        await node.Ledger.CaughtUpAsync(Cancel);
        var asset = Assert.Single(Assets(node), a => a.Last.Kind == "network");
        Assert.Equal(("pacs-switch-1", "Ward switch"), (asset.Last.Name, asset.Last.Software[0].Version));
        Assert.Contains(asset.Keys, k => k.StartsWith("engine:80001F88", StringComparison.Ordinal));

        File.WriteAllText(_folder["auth"], "wrong password");
        Assert.Contains("does not take the password of user 'reader'", (await RunAsync(node, Snmp(port, ours))).Problem, StringComparison.Ordinal);
        File.WriteAllText(_folder["auth"], "correct horse");
        File.WriteAllText(_folder["priv"], "wrong password");
        Assert.Equal("failed", (await RunAsync(node, Snmp(port, ours))).Outcome);
        Assert.Contains("no user 'nobody'", (await RunAsync(node, Snmp(port, ours, "nobody"))).Problem, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_modality_that_answers_an_echo_is_alive_and_one_that_does_not_has_failed()
    {
        Peer.Need("storescp", "dcmtk");
        var port = FreePorts.Next();
        await using var node = await StartAsync(_folder["node"]);
        var source = new SourceOptions { Name = "ct", Kind = "dicom", Host = "127.0.0.1", Port = port, AeTitle = "CT1" };
        Assert.Equal("failed", (await RunAsync(node, source)).Outcome);
        using var modality = Peer.Start("/usr/bin/storescp", ["-aet", "CT1", "-od", _folder.Path, port.ToString(System.Globalization.CultureInfo.InvariantCulture)]);
        await UntilCompleteAsync(node, source);
        await node.Ledger.CaughtUpAsync(Cancel);
        Assert.Equal(["ae:CT1127001"], Assert.Single(Assets(node), a => a.Last.Kind == "modality").Keys);
    }

    [Fact]
    public async Task A_management_controller_says_what_systems_it_has()
    {
        await using var server = await StubServer.StartAsync();
        server.Answers["/redfish/v1/"] = (200, """{"Systems":{"@odata.id":"/redfish/v1/Systems"},"Managers":{"@odata.id":"/redfish/v1/Managers"}}""");
        server.Answers["/redfish/v1/Systems"] = (200, """{"Members":[{"@odata.id":"/redfish/v1/Systems/1"}]}""");
        server.Answers["/redfish/v1/Managers"] = (200, """{"Members":[{"@odata.id":"/redfish/v1/Managers/1"}]}""");
        server.Answers["/redfish/v1/Managers/1"] = (200, """{"Id":"BMC","FirmwareVersion":"2.77"}""");
        server.Answers["/redfish/v1/Systems/1"] = (200, """{"Id":"1","HostName":"ai1","Manufacturer":"Inspur","Model":"NF5280","SerialNumber":"219877A","UUID":"4c4c4544-0034-3010-8048-b6c04f503999","BiosVersion":"4.1"}""");
        await using var node = await StartAsync(_folder["node"]);
        var source = new SourceOptions { Name = "bmc", Kind = "redfish", Url = server.Url };
        Assert.Equal("complete", (await RunAsync(node, source)).Outcome);
        await node.Ledger.CaughtUpAsync(Cancel);
        var asset = Assert.Single(Assets(node), a => a.Last.Kind == "server");
        Assert.Equal(("ai1", "Inspur"), (asset.Last.Name, asset.Last.Manufacturer));
        Assert.Contains(asset.Last.Software, s => s is { Name: "BIOS", Version: "4.1" });
        Assert.Contains("serial:219877A", asset.Keys);
        server.Answers.TryRemove("/redfish/v1/Systems/1", out _);
        Assert.Equal("failed", (await RunAsync(node, source)).Outcome);
    }

    [Fact]
    public async Task Debians_agent_posts_its_inventory_as_to_any_server()
    {
        Peer.Need("fusioninventory-agent", "fusioninventory-agent");
        await using var node = await StartAsync(_folder["node"], settings: ["--inventory:sources:0:name=agents", "--inventory:sources:0:kind=push"]);
        File.WriteAllText(_folder["agent.cfg"], "");
        await Peer.RunAsync(
            "/usr/bin/fusioninventory-agent",
            ["--server", $"{node.Http.BaseAddress}agents/agents", "--force", "--no-category=process,environment,software", "--conf-file", _folder["agent.cfg"], "--tasks", "inventory"], Cancel);
        await node.Ledger.CaughtUpAsync(Cancel);
        Assert.Contains(Assets(node), a => a.Last.Source == "agents" && a.Last.Name == Environment.MachineName.Split('.')[0]);
        Assert.Equal(System.Net.HttpStatusCode.NotFound, (await node.Http.PostAsync("agents/other", new StringContent("{}", Encoding.UTF8), Cancel)).StatusCode);
        Assert.Equal(System.Net.HttpStatusCode.BadRequest, (await node.Http.PostAsync("agents/agents", new StringContent("{}", Encoding.UTF8), Cancel)).StatusCode);
    }

    /// <summary>Thirty kilobytes that would become a gigabyte, from somebody who shows no token.</summary>
    [Theory]
    [InlineData("<A/>", 7_000_000, "tags")]
    [InlineData(" a=''", 5_000_000, "signs of equality")]
    public async Task An_inventory_of_millions_of_elements_is_refused_before_it_is_a_tree(string piece, int count, string what)
    {
        await using var node = await StartAsync(_folder["node"], settings: ["--inventory:sources:0:name=agents", "--inventory:sources:0:kind=push"]);
        var bytes = new MemoryStream();
        await using (var zlib = new System.IO.Compression.ZLibStream(bytes, System.IO.Compression.CompressionLevel.Optimal, leaveOpen: true))
        {
            var pieces = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat(piece, 10_000)));
            await zlib.WriteAsync(piece[0] == '<' ? "<REQUEST><DEVICEID>d</DEVICEID><CONTENT>"u8.ToArray() : "<REQUEST "u8.ToArray(), Cancel);
            for (var i = 0; i < count / 10_000; i++)
            {
                await zlib.WriteAsync(pieces, Cancel);
            }

            await zlib.WriteAsync(piece[0] == '<' ? "</CONTENT></REQUEST>"u8.ToArray() : "/>"u8.ToArray(), Cancel);
        }

        using var body = new ByteArrayContent(bytes.ToArray());
        body.Headers.ContentType = new("application/x-compress-zlib");
        using var answer = await node.Http.PostAsync("agents/agents", body, Cancel);
        Assert.Equal(System.Net.HttpStatusCode.BadRequest, answer.StatusCode);
        Assert.Contains(what, await answer.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
    }

    internal static string Corpus(string folder)
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (directory is not null && !Directory.Exists(Path.Combine(directory.FullName, "shared", "corpus", "emr", "given", folder)))
        {
            directory = directory.Parent;
        }

        Assert.SkipUnless(directory is not null, $"shared/corpus/emr/given/{folder} is not beside the tree.");
        return Path.Combine(directory!.FullName, "shared", "corpus", "emr", "given", folder);
    }

    private SourceOptions Snmp(int port, string authentication, string user = "reader")
    {
        if (!File.Exists(_folder["auth"]))
        {
            File.WriteAllText(_folder["auth"], "correct horse\n");
            File.WriteAllText(_folder["priv"], "battery staple\n");
        }

        return new SourceOptions
        {
            Name = "switch",
            Kind = "snmp",
            Host = "127.0.0.1",
            Port = port,
            User = user,
            PasswordPath = _folder["auth"],
            PrivacyPasswordPath = _folder["priv"],
            SnmpAuthentication = authentication,
        };
    }

    private static IReadOnlyList<AssetView> Assets(Node node) => [.. node.Queries.Assets(Site, 100).Where(a => a.Last.Source != SourceOptions.NodeName)];

    private static async Task ReportAsync(Node node, string id, params string[] keys)
    {
        await Sink.ReportAsync(node.Events, new AssetReported("test", id, 1, "computer", "n", "", "", keys, [], []), Cancel);
        await node.Ledger.CaughtUpAsync(Cancel);
    }

    private static Task<SourceCollected> RunAsync(Node node, SourceOptions source) => node.Service<CollectionService>().RunAsync(source, Cancel);

    /// <summary>A peer takes its time to listen.</summary>
    internal static async Task<SourceCollected> UntilCompleteAsync(Node node, SourceOptions source)
    {
        SourceCollected? run = null;
        await Wait.UntilAsync(async () => (run = await RunAsync(node, source)).Outcome == "complete", $"{source.Name} complete");
        return run!;
    }
}
