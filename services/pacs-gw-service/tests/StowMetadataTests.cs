using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;
using Yizhan.Contracts;
using Yizhan.Dicom;

namespace Yizhan.PacsGw.Tests;

/// <summary>STOW-RS of metadata in JSON with bulk data beside it (PS3.18 §10.5.1).</summary>
[Trait("Clause", "S2")]
public sealed class StowMetadataTests
{
    private static readonly byte[] Pixels = [.. Enumerable.Range(0, 16).Select(i => (byte)i)];

    // Other bytes than those before it, so that each value has to come from its own part.
    private static readonly byte[] Compressed = [.. Enumerable.Range(100, 15).Select(i => (byte)i)];

    private static JsonObject Metadata(string sop, string uri)
    {
        var dataset = new TestInstance("2.25.1", "2.25.11", sop) { PatientName = "Wang^XiaoDong=王^小东" }.ToDataset();
        dataset.Remove(DicomTags.PixelData);
        var json = JsonNode.Parse(DicomJson.ToUtf8Bytes(dataset))!.AsObject();
        json["7FE00010"] = new JsonObject { ["vr"] = "OW", ["BulkDataURI"] = uri };
        return json;
    }

    private static async Task<(HttpStatusCode Status, JsonObject Answer)> StowAsync(
        Gateway gateway, string metadata, params (string Location, string Type, byte[] Body)[] bulk)
    {
        using var content = new MultipartContent("related", "B0UNDARY");
        content.Headers.ContentType!.Parameters.Add(new NameValueHeaderValue("type", "\"application/dicom+json\""));

        // Bulk data first: their order is the client's.
        foreach (var (location, type, body) in bulk)
        {
            var part = new ByteArrayContent(body);
            part.Headers.TryAddWithoutValidation("Content-Type", type);
            part.Headers.TryAddWithoutValidation("Content-Location", location);
            content.Add(part);
        }

        content.Add(new StringContent(metadata, Encoding.UTF8, "application/dicom+json"));
        using var response = await gateway.Http.PostAsync(new Uri("dicom-web/studies", UriKind.Relative), content, Gateway.Cancel);
        return (response.StatusCode, JsonNode.Parse(await response.Content.ReadAsStringAsync(Gateway.Cancel))!.AsObject());
    }

    [Fact]
    public async Task Metadata_and_bulk_data_become_instances_and_one_whose_bulk_data_are_missing_gets_its_reason()
    {
        await using var gateway = await Gateway.StartAsync();
        var (status, answer) = await StowAsync(
            gateway,
            new JsonArray(Metadata("2.25.111", "bulk/1"), Metadata("2.25.112", "bulk/2"), Metadata("2.25.113", "bulk/nowhere")).ToJsonString(),
            ("bulk/1", "application/octet-stream", Pixels), ("bulk/2", "image/jls; transfer-syntax=1.2.840.10008.1.2.4.80", Compressed));
        Assert.Equal(HttpStatusCode.Accepted, status);
        Assert.Equal(["2.25.111", "2.25.112"], answer["00081199"]!["Value"]!.AsArray().Select(i => (string)i!["00081155"]!["Value"]![0]!));
        var failed = Assert.Single(answer["00081198"]!["Value"]!.AsArray())!;
        Assert.Equal("2.25.113", (string)failed["00081155"]!["Value"]![0]!);
        Assert.Equal(0xC000, (int)failed["00081197"]!["Value"]![0]!);

        await gateway.IndexedAsync();
        Assert.Equal(2, (await gateway.QueryAsync("instances?PatientName=%E7%8E%8B*")).Count);
        var frame = Assert.Single(await Gateway.PartsAsync(await gateway.GetAsync("studies/2.25.1/series/2.25.11/instances/2.25.111/frames/1")));
        Assert.Equal(Pixels, frame.Body);
        var stored = await gateway.EntriesAsync(InstanceStored.EventType);
        Assert.Equal(["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.80"], stored.Select(e => (string)e["transferSyntaxUid"]!));
        var compressed = Assert.Single(await Gateway.PartsAsync(await gateway.GetAsync(
            "studies/2.25.1/series/2.25.11/instances/2.25.112/frames/1", "multipart/related; type=\"image/jls\"; transfer-syntax=*, multipart/related; type=\"application/octet-stream\"; transfer-syntax=*")));
        Assert.Equal(Compressed, compressed.Body[..15]);
    }

    [Theory]
    [InlineData("{")]
    [InlineData("[1]")]
    [InlineData("[{}]")]
    [InlineData("""[{"7FE00010":{"vr":"OW","BulkDataURI":"../../../etc/passwd"}}]""")]
    public async Task What_are_no_metadata_are_refused(string metadata)
    {
        await using var gateway = await Gateway.StartAsync();
        Assert.Equal(HttpStatusCode.Conflict, (await StowAsync(gateway, metadata)).Status);
        Assert.Empty(await gateway.EntriesAsync(InstanceStored.EventType));
    }

    [Fact]
    public async Task Who_reads_is_recorded_by_name_with_the_address_beside()
    {
        await using var gateway = await Gateway.StartAsync();
        await gateway.QueryAsync("studies");
        var record = Assert.Single(await gateway.EntriesAsync(AuditRecord.EventType), r => (string?)r["eventId"] == "110112");
        Assert.StartsWith("local:", (string?)record["agent"], StringComparison.Ordinal);
        Assert.Equal("127.0.0.1", (string?)record["agentAddress"]);
    }
}
