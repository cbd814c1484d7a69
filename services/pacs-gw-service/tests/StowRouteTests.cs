using System.Net.Http.Json;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;

namespace Yizhan.PacsGw.Tests;

/// <summary>Copies go to DICOMweb servers by STOW-RS: Orthanc's plugin, and another gateway.</summary>
[Trait("Clause", "S2")]
public sealed class StowRouteTests
{
    private static TestInstance Instance(string study, int number) => new(study, study + ".1", $"{study}.1.{number}");

    [Fact]
    public async Task Copies_wait_for_Orthanc_survive_restarts_before_and_in_the_middle_and_arrive_once()
    {
        const int count = 300;
        var port = FreePorts.Next();
        await using var rules = new RulesFile($$"""
            destinations: { research: { dicomweb: "http://127.0.0.1:{{port}}/dicom-web" } }
            rules: [ { name: institution, when: { StudyInstanceUID: 2.25.2 }, coerce: { InstitutionName: Site A } }, { name: all, when: { Modality: CT }, route: research } ]
            """);
        string[] settings = [rules.Setting, $"--pacs-gw:orthanc:url=http://127.0.0.1:{port}/", "--pacs-gw:orthanc:pollSeconds=1"];
        var gateway = await Gateway.StartAsync(settings);
        try
        {
            await gateway.SendAsync([.. Enumerable.Range(1, count - 1).Select(n => Instance("2.25.1", n).ToSend())], window: 16);
            await gateway.SendAsync(Instance("2.25.2", 1));
            await gateway.SendAsync(Instance("2.25.3", 1) with { Modality = "MR" });
            var away = await RouteTests.UntilAsync(gateway, d => d is { Waiting: count, AwaySinceMs: not null });
            Assert.Equal((0, 0), (away.Delivered, away.Failed));

            gateway = await gateway.RestartAsync(settings);
            await using var orthanc = await DicomWebPeerTests.OrthancDicomWeb.StartAsync("http://127.0.0.1:1/", "none", port);
            await RouteTests.UntilAsync(gateway, d => d is { Delivered: > 0 });
            gateway = await gateway.RestartAsync(settings);
            await RouteTests.UntilAsync(gateway, d => d is { Waiting: 0, Delivered: count, Failed: 0, AwaySinceMs: null });

            Assert.Equal(count, (await orthanc.GetAsync("instances")).AsArray().Count);
            var changes = (await orthanc.GetAsync($"changes?limit={10 * count}"))["Changes"]!.AsArray();
            Assert.Equal(count, changes.Count(c => (string)c!["ChangeType"]! == "NewInstance"));
            var coerced = (await orthanc.PostAsync("tools/find", new() { ["Level"] = "Instance", ["Query"] = new System.Text.Json.Nodes.JsonObject { ["StudyInstanceUID"] = "2.25.2" }, ["Expand"] = true }))!;
            Assert.Equal("Site A", (string)(await orthanc.GetAsync($"instances/{(string)coerced[0]!["ID"]!}/simplified-tags"))["InstitutionName"]!);

            // It is followed too, and what we sent does not come back: the one that is stored after all of it does.
            await orthanc.StoreAsync(Instance("2.25.4", 1).ToFile());
            await Wait.UntilAsync(async () => (await gateway.EntriesAsync(InstanceStored.EventType)).Any(e => (string)e["sopInstanceUid"]! == "2.25.4.1.1"), "2.25.4.1.1 is in the log");
            Assert.Equal(count + 2, (await gateway.EntriesAsync(InstanceStored.EventType)).Count);
        }
        finally
        {
            await gateway.DisposeAsync();
        }
    }

    [Fact]
    public async Task Another_gateway_refuses_one_instance_and_takes_the_others_once_the_token_is_right()
    {
        await using var theirs = new RulesFile("rules: [ { name: no, when: { StudyInstanceUID: 2.25.2 }, reject: Not here. } ]");
        await using var peer = await Gateway.StartAsync(theirs.Setting);
        var folder = Directory.CreateTempSubdirectory("yizhan-routes-");
        var token = Path.Combine(folder.FullName, "token");
        await File.WriteAllTextAsync(token, "wrong\n", Gateway.Cancel);
        await using var rules = new RulesFile($$"""
            destinations: { research: { dicomweb: "{{peer.Http.BaseAddress}}dicom-web/", tokenFile: {{token}} } }
            rules: [ { name: all, route: research } ]
            """);
        try
        {
            await using var gateway = await Gateway.StartAsync(rules.Setting);
            await gateway.SendAsync([Instance("2.25.1", 1).ToSend(), Instance("2.25.2", 1).ToSend(), Instance("2.25.3", 1).ToSend()]);
            var away = await RouteTests.UntilAsync(gateway, d => d is { Waiting: 3, AwayReason: not null });
            Assert.Contains("401", away.AwayReason, StringComparison.Ordinal);
            Assert.DoesNotContain("wrong", away.AwayReason, StringComparison.Ordinal);

            await File.WriteAllTextAsync(token, peer.Services.GetRequiredService<LocalOperator>().Token() + "\n", Gateway.Cancel);
            await RouteTests.UntilAsync(gateway, d => d is { Waiting: 0, Delivered: 2, Failed: 1 });
            var failed = Assert.Single((await gateway.Http.GetFromJsonAsync("routes/failed", ContractsJson.Default.IReadOnlyListDeliveryView, Gateway.Cancel))!);
            Assert.Equal("2.25.2.1.1", failed.SopInstanceUid);
            Assert.Contains("0124", failed.Reason, StringComparison.Ordinal);
            Assert.Equal(
                ["2.25.1.1.1", "2.25.3.1.1"],
                (await peer.EntriesAsync(InstanceStored.EventType)).Select(e => (string)e["sopInstanceUid"]!).Order(StringComparer.Ordinal));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Theory]
    [InlineData("dicomweb: \"ftp://pacs/\"", "accepted is an address such as https://")]
    [InlineData("dicomweb: \"https://me@pacs/dicom-web/\"", "has a user in its address")]
    [InlineData("dicomweb: \"https://pacs/dicom-web/\", port: 104", "'port' does not go with 'dicomweb'")]
    [InlineData("orthanc: \"http://pacs/\", tokenFile: /x", "'tokenFile' does not go with 'orthanc'")]
    [InlineData("dicomweb: \"https://pacs/dicom-web/\", user: me, tokenFile: /x", "not with both")]
    public async Task A_destination_that_is_none_stops_the_start_with_what_would_be_accepted(string destination, string expected)
    {
        await using var rules = new RulesFile($"destinations: {{ research: {{ {destination} }} }}\nrules: [ {{ name: all, route: research }} ]");
        var problem = await Assert.ThrowsAsync<Platform.SettingException>(() => Gateway.StartAsync(rules.Setting));
        Assert.Contains(expected, problem.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", problem.Message, StringComparison.Ordinal);
    }
}
