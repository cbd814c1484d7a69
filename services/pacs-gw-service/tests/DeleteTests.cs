using System.Net;
using System.Text.Json.Nodes;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Contracts;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Tests;

/// <summary>What a person takes out of the archive is gone for every reader, on record, and comes back when it is sent again.</summary>
[Trait("Clause", "S2")]
public sealed class DeleteTests
{
    private static readonly TestInstance First = new("2.25.1", "2.25.11", "2.25.111");
    private static readonly TestInstance Second = new("2.25.1", "2.25.11", "2.25.112") { Number = 2 };
    private static readonly TestInstance Other = new("2.25.1", "2.25.12", "2.25.121") { Modality = "SR" };

    private static async Task<(HttpStatusCode Status, string Detail)> DeleteAsync(Gateway gateway, string path)
    {
        using var response = await gateway.Http.DeleteAsync(new Uri("dicom-web/studies/" + path, UriKind.Relative), Gateway.Cancel);
        var body = await response.Content.ReadAsStringAsync(Gateway.Cancel);
        return (response.StatusCode, body.Length == 0 ? "" : (string?)JsonNode.Parse(body)!["detail"] ?? "");
    }

    private static async Task<Gateway> StartAsync()
    {
        var gateway = await Gateway.StartAsync();
        Assert.Equal([0, 0, 0], (await gateway.SendAsync([First.ToSend(), Second.ToSend(), Other.ToSend()])).Select(s => (int)s!));
        await gateway.IndexedAsync();
        return gateway;
    }

    [Fact]
    public async Task What_the_centre_has_not_confirmed_stays_unless_it_is_forced_with_a_reason()
    {
        await using var gateway = await StartAsync();
        var (status, detail) = await DeleteAsync(gateway, "2.25.1");
        Assert.Equal(HttpStatusCode.Conflict, status);
        Assert.Contains("3 of 3 instances", detail, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.BadRequest, (await DeleteAsync(gateway, "2.25.1?force=true")).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await DeleteAsync(gateway, "2.25.1?force=yes&reason=wrong+patient")).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await DeleteAsync(gateway, "2.25.2?force=true&reason=wrong+patient")).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await DeleteAsync(gateway, "..%2F1")).Status);
        Assert.Equal(3, (await gateway.QueryAsync("studies/2.25.1/instances")).Count);
        Assert.Empty(await gateway.EntriesAsync(InstancesDeleted.EventType));

        Assert.Equal(HttpStatusCode.NoContent, (await DeleteAsync(gateway, "2.25.1?force=true&reason=%E9%94%99%E8%AF%AF%E7%9A%84%E7%97%85%E4%BA%BA")).Status);
        Assert.Empty(await gateway.QueryAsync("studies"));
        Assert.Equal(HttpStatusCode.NotFound, (await gateway.GetAsync("studies/2.25.1/metadata")).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await gateway.GetAsync("studies/2.25.1")).StatusCode);
        var record = Assert.Single(await gateway.EntriesAsync(AuditRecord.EventType), r => (string?)r["action"] == "D");
        Assert.Equal("110105", (string?)record["eventId"]);
        Assert.Equal("P1", (string?)record["patient"]);
        Assert.Contains("错误的病人", (string?)record["detail"], StringComparison.Ordinal);
        Assert.StartsWith("local:", (string?)record["agent"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_the_centre_has_goes_by_instance_series_and_study_and_the_numbers_of_the_rest_are_right()
    {
        await using var gateway = await StartAsync();
        await gateway.Log.MarkDeliveredAsync(Lane.Bulk, 3, Gateway.Cancel);
        var tag = (await gateway.GetAsync("studies/2.25.1/metadata")).Headers.ETag;
        Assert.Equal(HttpStatusCode.NoContent, (await DeleteAsync(gateway, "2.25.1/series/2.25.11/instances/2.25.111")).Status);
        Assert.NotEqual(tag, (await gateway.GetAsync("studies/2.25.1/metadata")).Headers.ETag);
        Assert.Equal(["2.25.112", "2.25.121"], (await gateway.QueryAsync("studies/2.25.1/instances")).Select(i => (string)i!["00080018"]!["Value"]![0]!).Order());
        Assert.Equal(HttpStatusCode.NotFound, (await gateway.GetAsync("studies/2.25.1/series/2.25.11/instances/2.25.111/frames/1")).StatusCode);

        Assert.Equal(HttpStatusCode.NoContent, (await DeleteAsync(gateway, "2.25.1/series/2.25.12")).Status);
        var study = Assert.Single(await gateway.QueryAsync("studies?includefield=ModalitiesInStudy"));
        Assert.Equal(1, (int)study!["00201206"]!["Value"]![0]!);
        Assert.Equal(1, (int)study["00201208"]!["Value"]![0]!);
        Assert.Equal("CT", Assert.Single(study["00080061"]!["Value"]!.AsArray())!.ToString());

        Assert.Equal(HttpStatusCode.NoContent, (await DeleteAsync(gateway, "2.25.1")).Status);
        Assert.Empty(await gateway.QueryAsync("studies"));
        Assert.Equal(3, (await gateway.EntriesAsync(AuditRecord.EventType)).Count(r => (string?)r["action"] == "D"));

        // The bytes go with the log's entries: nothing else holds them.
        var blobs = gateway.Services.GetRequiredService<IBlobStore>();
        await gateway.Log.ReleaseAsync(Lane.Bulk, 3, Gateway.Cancel);
        foreach (var instance in (TestInstance[])[First, Second, Other])
        {
            Assert.Null(await blobs.OpenAsync(ContentHash.Of(instance.ToBytes()), Gateway.Cancel));
        }
    }

    [Fact]
    public async Task What_was_deleted_is_found_by_no_C_FIND_and_comes_back_only_when_it_is_sent_again()
    {
        var gateway = await StartAsync();
        try
        {
            Assert.Equal(HttpStatusCode.NoContent, (await DeleteAsync(gateway, "2.25.1?force=true&reason=test")).Status);
            gateway = await gateway.RestartAsync();
            await gateway.IndexedAsync();
            Assert.Empty(await gateway.QueryAsync("studies"));
            var (_, found) = await Outside.DcmtkAsync(
                "findscu", "-S", "-aet", "STORESCU", "-aec", "YIZHAN", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=2.25.1", "127.0.0.1", $"{gateway.DicomPort}");
            Assert.DoesNotContain("Find Response: 1", found, StringComparison.Ordinal);

            // The log still knows the content, and success must not be said about what is not shown.
            Assert.Equal((ushort)0, await gateway.SendAsync(First));
            Assert.Equal((ushort)0, await gateway.SendAsync(First));
            await gateway.IndexedAsync();
            Assert.Equal("2.25.111", (string)Assert.Single(await gateway.QueryAsync("studies/2.25.1/instances"))!["00080018"]!["Value"]![0]!);
            Assert.Equal(4, (await gateway.EntriesAsync(InstanceStored.EventType)).Count);
            Assert.Single(await Gateway.PartsAsync(await gateway.GetAsync("studies/2.25.1")));
        }
        finally
        {
            await gateway.DisposeAsync();
        }
    }

    [Fact]
    public async Task A_lost_index_is_built_again_without_what_was_deleted_and_another_sites_deletion_counts_there_alone()
    {
        var gateway = await StartAsync();
        try
        {
            Assert.Equal(HttpStatusCode.NoContent, (await DeleteAsync(gateway, "2.25.1/series/2.25.12?force=true&reason=test")).Status);
            var elsewhere = new Entry(
                Lane.Normal, InstancesDeleted.EventType, "deleted/lakeside/1", "2.25.1", 1,
                System.Text.Json.JsonSerializer.SerializeToUtf8Bytes(new InstancesDeleted("2.25.1", null, null), ContractsJson.Default.InstancesDeleted));
            var epoch = Guid.NewGuid();
            await gateway.Log.ReceiveAsync([new LoggedEntry(0, new EntryIdentity("lakeside", epoch, Lane.Normal, 1), elsewhere)], Gateway.Cancel);
            await gateway.IndexedAsync();
            Assert.Equal(2, (await gateway.QueryAsync("studies/2.25.1/instances")).Count);

            var stopped = await gateway.StopAsync();
            stopped.ForgetIndex();
            gateway = await stopped.StartAsync();
            await gateway.IndexedAsync();
            Assert.Equal(["2.25.111", "2.25.112"], (await gateway.QueryAsync("studies/2.25.1/instances")).Select(i => (string)i!["00080018"]!["Value"]![0]!).Order());
        }
        finally
        {
            await gateway.DisposeAsync();
        }
    }
}
