using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Contracts;
using Yizhan.Dicom;

namespace Yizhan.PacsGw.Tests;

public sealed class WadoTests
{
    private const string Place = "studies/1.2.3/series/1.2.3.4/instances/1.1";

    private static TestInstance Instance(string sop) => new("1.2.3", "1.2.3.4", sop);

    private static byte[] Dataset(byte[] file) => file[(int)DicomFileHeader.Read(file).DatasetOffset..];

    [Fact]
    public async Task A_study_a_series_and_an_instance_come_as_parts()
    {
        await using var gateway = await Gateway.StartAsync();
        TestInstance[] instances = [Instance("1.1"), Instance("1.2"), Instance("1.3") with { Series = "1.2.3.5" }];
        await gateway.SendAsync([.. instances.Select(i => i.ToSend())]);
        await gateway.IndexedAsync();
        foreach (var (path, expected) in new[] { ("studies/1.2.3", 3), ("studies/1.2.3/series/1.2.3.4", 2), (Place, 1) })
        {
            using var response = await gateway.GetAsync(path, "multipart/related; type=\"application/dicom\"");
            var parts = await Gateway.PartsAsync(response);
            Assert.Equal(expected, parts.Count);
            for (var i = 0; i < expected; i++)
            {
                Assert.Equal($"application/dicom; transfer-syntax={DicomTransferSyntax.ExplicitVrLittleEndian.Uid}", parts[i].Type);
                Assert.Equal(instances[i].ToBytes(), Dataset(parts[i].Body));
            }
        }
    }

    [Fact]
    public async Task The_same_instance_is_the_same_file_each_time_and_dcmtk_reads_it()
    {
        await using var gateway = await Gateway.StartAsync();
        await gateway.SendAsync(Instance("1.1"));
        await gateway.IndexedAsync();
        using var first = await gateway.GetAsync(Place, "application/dicom");
        using var second = await gateway.GetAsync(Place, "application/dicom");
        var file = await first.Content.ReadAsByteArrayAsync(Gateway.Cancel);
        Assert.Equal(file, await second.Content.ReadAsByteArrayAsync(Gateway.Cancel));
        Assert.Equal(file.Length, first.Content.Headers.ContentLength);
        var path = Path.GetTempFileName();
        await File.WriteAllBytesAsync(path, file, Gateway.Cancel);
        var (exit, output) = await Outside.DcmtkAsync("dcmdump", path);
        File.Delete(path);
        Assert.True(exit == 0, output);
        Assert.Contains("CT-1", output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(Place, "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50", HttpStatusCode.NotAcceptable)]
    [InlineData(Place, "application/dicom; transfer-syntax=1.2.840.10008.1.2.1", HttpStatusCode.OK)]
    [InlineData(Place, "application/dicom; transfer-syntax=*", HttpStatusCode.OK)]
    [InlineData(Place, "image/jpeg", HttpStatusCode.NotAcceptable)]
    [InlineData(Place, "*/*", HttpStatusCode.OK)]
    [InlineData(Place + "?accept=application/dicom", null, HttpStatusCode.OK)]
    [InlineData("studies/1.2.3", "application/dicom", HttpStatusCode.NotAcceptable)]
    [InlineData(Place + "/metadata", "application/dicom+xml", HttpStatusCode.NotAcceptable)]
    [InlineData("studies/1.2.4", null, HttpStatusCode.NotFound)]
    [InlineData("studies/1.2.4/metadata", null, HttpStatusCode.NotFound)]
    [InlineData("studies/1.2.3/series/1.9/instances/1.1", null, HttpStatusCode.NotFound)]
    [InlineData("studies/..%2F..%2Flog/metadata", null, HttpStatusCode.BadRequest)]
    [InlineData(Place + "/frames/1", "multipart/related; type=\"application/octet-stream\"", HttpStatusCode.OK)]
    [InlineData(Place + "/frames/0", null, HttpStatusCode.BadRequest)]
    [InlineData(Place + "/frames/1,x", null, HttpStatusCode.BadRequest)]
    [InlineData(Place + "/frames/2", null, HttpStatusCode.NotFound)]
    [InlineData(Place + "/bulkdata/7FE00010", null, HttpStatusCode.OK)]
    [InlineData(Place + "/bulkdata/00081140", null, HttpStatusCode.NotFound)]
    [InlineData(Place + "/bulkdata/00081140/0", null, HttpStatusCode.NotFound)]
    [InlineData(Place + "/bulkdata/..%2F..%2F..%2Fetc%2Fpasswd", null, HttpStatusCode.NotFound)]
    public async Task A_request_gets_the_standards_status(string path, string? accept, HttpStatusCode expected)
    {
        await using var gateway = await Gateway.StartAsync();
        await gateway.SendAsync(Instance("1.1"));
        await gateway.IndexedAsync();
        using var response = await gateway.GetAsync(path, accept);
        Assert.Equal(expected, response.StatusCode);
        if (expected != HttpStatusCode.OK)
        {
            Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
        }
    }

    [Fact]
    public async Task Metadata_points_to_its_bulk_data_and_the_bytes_are_there()
    {
        await using var gateway = await Gateway.StartAsync();
        var lut = Enumerable.Range(0, 3000).Select(i => (byte)i).ToArray();
        var pdf = Enumerable.Range(0, 3_000_000).Select(i => (byte)(i * 7)).ToArray();
        await gateway.SendAsync(Instance("1.1") with
        {
            // A value that looks like the key, to fool whoever makes the URIs absolute.
            PatientName = "\"BulkDataURI\":\"x\"",
            Change = d => d
                .SetBytes(DicomTags.EncapsulatedDocument, pdf, DicomVr.OB)
                .Set(new DicomTag(0x0028, 0x3000), new DicomDataset().SetBytes(new DicomTag(0x0028, 0x3006), lut, DicomVr.OW)),
        });
        await gateway.IndexedAsync();
        var metadata = (await gateway.QueryAsync(Place + "/metadata")).Single()!;
        Assert.Equal("\"BulkDataURI\":\"x\"", (string)metadata["00100010"]!["Value"]![0]!["Alphabetic"]!);
        foreach (var (node, expected) in new[]
        {
            (metadata["7FE00010"], Enumerable.Range(0, 16).Select(i => (byte)i).ToArray()),
            (metadata["00420011"], pdf),
            (metadata["00283000"]!["Value"]![0]!["00283006"], lut),
        })
        {
            var uri = new Uri((string)node!["BulkDataURI"]!);
            using var response = await gateway.GetAsync(uri.PathAndQuery.Split("dicom-web/")[1], "application/octet-stream");
            Assert.Equal(HttpStatusCode.OK, response.StatusCode);
            Assert.Equal(expected, await response.Content.ReadAsByteArrayAsync(Gateway.Cancel));
        }
    }

    [Fact]
    public async Task Native_frames_are_slices_in_little_endian_whatever_the_encoding()
    {
        await using var gateway = await Gateway.StartAsync();
        DicomTransferSyntax[] syntaxes =
        [
            DicomTransferSyntax.ExplicitVrLittleEndian, DicomTransferSyntax.ImplicitVrLittleEndian,
            DicomTransferSyntax.ExplicitVrBigEndian, DicomTransferSyntax.DeflatedExplicitVrLittleEndian,
        ];
        await gateway.SendAsync([.. syntaxes.Select((s, i) => (Instance($"1.{i}") with
        {
            Syntax = s,
            Change = d => d.Set(DicomTags.NumberOfFrames, 2).Set(DicomTags.Rows, 2),
        }).ToSend())]);
        await gateway.IndexedAsync();
        for (var i = 0; i < syntaxes.Length; i++)
        {
            using var response = await gateway.GetAsync($"studies/1.2.3/series/1.2.3.4/instances/1.{i}/frames/2,1");
            Assert.Equal(
                [new byte[] { 8, 9, 10, 11, 12, 13, 14, 15 }, [0, 1, 2, 3, 4, 5, 6, 7]],
                (await Gateway.PartsAsync(response)).Select(p => p.Body));
        }
    }

    [Fact]
    public async Task Metadata_that_has_not_changed_is_304_until_its_study_grows()
    {
        await using var gateway = await Gateway.StartAsync();
        await gateway.SendAsync(Instance("1.1"));
        await gateway.IndexedAsync();
        using var first = await gateway.GetAsync("studies/1.2.3/metadata");
        var tag = first.Headers.ETag!;
        Assert.Equal(HttpStatusCode.NotModified, await AgainAsync());
        await gateway.SendAsync(Instance("1.2"));
        await gateway.IndexedAsync();
        Assert.Equal(HttpStatusCode.OK, await AgainAsync());

        async Task<HttpStatusCode> AgainAsync()
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, new Uri("dicom-web/studies/1.2.3/metadata", UriKind.Relative));
            request.Headers.IfNoneMatch.Add(tag);
            using var response = await gateway.Http.SendAsync(request, Gateway.Cancel);
            return response.StatusCode;
        }
    }

    [Theory]
    [InlineData("image/jls", "image/jls; transfer-syntax=1.2.840.10008.1.2.4.80")]
    [InlineData("multipart/related; type=image/jp2", "image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90")]
    [InlineData("multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.5", "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.5")]
    [InlineData("image/jpeg, image/dicom-rle;q=0.1", "image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5")]
    [InlineData("multipart/related; type=application/octet-stream; transfer-syntax=*", "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1")]
    public async Task A_frame_comes_in_the_form_that_is_asked_for(string accept, string expected)
    {
        await using var gateway = await Gateway.StartAsync();
        await gateway.SendAsync(Instance("1.1"));
        await gateway.IndexedAsync();
        using var response = await gateway.GetAsync(Place + "/frames/1", accept);
        var (type, body) = accept.StartsWith("multipart", StringComparison.Ordinal)
            ? (await Gateway.PartsAsync(response)).Single()
            : (response.Content.Headers.ContentType!.ToString(), await response.Content.ReadAsByteArrayAsync(Gateway.Cancel));
        Assert.Equal(expected, type);
        var uid = expected.Split('=')[1];
        var format = Codecs.PixelFormat.Of(Instance("1.1").ToDataset());
        Assert.Equal(Enumerable.Range(0, 16).Select(i => (byte)i), Codecs.PixelCodec.Decode(body, uid, format).Pixels);
    }

    [Fact]
    public async Task Single_bit_frames_that_start_inside_a_byte_are_moved_to_its_start()
    {
        await using var gateway = await Gateway.StartAsync();
        await gateway.SendAsync(Instance("1.1") with
        {
            Change = d => d.Set(DicomTags.Rows, 3).Set(DicomTags.Columns, 1).Set(DicomTags.BitsAllocated, 1).Set(DicomTags.NumberOfFrames, 3)
                .SetBytes(DicomTags.PixelData, new byte[] { 0b10_110_101, 0b0000_0001 }, DicomVr.OB),
        });
        await gateway.IndexedAsync();
        using var response = await gateway.GetAsync(Place + "/frames/1,2,3");
        Assert.Equal([[0b101], [0b110], [0b110]], (await Gateway.PartsAsync(response)).Select(p => p.Body));
    }

    [Theory]
    [InlineData(true, "0102030405 0607")]
    [InlineData(false, "0102030405 0607")]
    public async Task Fragments_of_a_compressed_frame_are_joined(bool offsetTable, string expected)
    {
        await using var gateway = await Gateway.StartAsync();
        byte[] table = offsetTable ? [0, 0, 0, 0, 24, 0, 0, 0] : [];
        byte[] soi = [0xFF, 0xD8, 0xFF, 0xE0];
        byte[][] fragments = offsetTable
            ? [[1, 2, 3, 4], [5, 0, 0, 0], [6, 7, 0, 0]]
            : [[.. soi, 1, 2, 3, 4], [5, 0, 0, 0], [.. soi, 6, 7, 0, 0]];
        await gateway.SendAsync(Instance("1.1") with
        {
            Syntax = DicomTransferSyntax.Get("1.2.840.10008.1.2.4.50"),
            Change = d => d.Set(DicomTags.NumberOfFrames, 2)
                .Set(DicomElement.OfFragments(DicomTags.PixelData, [table, .. fragments.Select(f => (ReadOnlyMemory<byte>)f)])),
        });
        await gateway.IndexedAsync();
        using var response = await gateway.GetAsync(Place + "/frames/1,2", "multipart/related; type=\"image/jpeg\"");
        var parts = await Gateway.PartsAsync(response);
        Assert.All(parts, p => Assert.Equal("image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50", p.Type));
        var joined = parts.Select(p => Convert.ToHexString(offsetTable ? p.Body : p.Body[4..]).TrimEnd('0'));
        Assert.Equal(expected, string.Join(' ', joined));
    }

    [Fact]
    public async Task A_hundred_reads_of_one_study_by_one_viewer_are_one_audit_entry_that_is_there_before_the_answer()
    {
        await using var gateway = await Gateway.StartAsync();
        await gateway.SendAsync(Instance("1.1"));
        await gateway.IndexedAsync();
        await Task.WhenAll(Enumerable.Range(0, 100).Select(async _ =>
        {
            using var response = await gateway.GetAsync(Place + "/frames/1");
            Assert.Contains(await gateway.EntriesAsync(AuditRecord.EventType), IsRead);
        }));
        Assert.Single(await gateway.EntriesAsync(AuditRecord.EventType), IsRead);

        static bool IsRead(JsonNode record) => (string)record["eventId"]! == "110103" && (string)record["entity"]! == "study/1.2.3";
    }

    [Theory]
    [InlineData("P-77", "P-77")]
    [InlineData("", null)]
    public async Task What_was_received_and_read_is_recorded_for_its_patient(string patientId, string? recorded)
    {
        await using var gateway = await Gateway.StartAsync();
        await gateway.SendAsync(Instance("1.1") with { PatientId = patientId });
        await gateway.IndexedAsync();
        using var response = await gateway.GetAsync(Place + "/frames/1");
        Assert.True(response.IsSuccessStatusCode);
        var records = (await gateway.EntriesAsync(AuditRecord.EventType)).Where(r => (string)r["entity"]! == "study/1.2.3").ToList();
        Assert.Equal(["110103", "110104"], records.Select(r => (string)r["eventId"]!).Order(StringComparer.Ordinal));
        Assert.All(records, r => Assert.Equal(recorded, (string?)r["patient"]));
    }

    [Fact]
    public async Task The_console_gets_the_list_and_each_change()
    {
        await using var gateway = await Gateway.StartAsync();
        using var stream = await gateway.Http.GetStreamAsync(new Uri("studies/stream", UriKind.Relative), Gateway.Cancel);
        await gateway.SendAsync(Instance("1.1") with { PatientName = "王^小东" });
        using var lines = new StreamReader(stream, Encoding.UTF8);
        string? line;
        do
        {
            line = await lines.ReadLineAsync(Gateway.Cancel);
        }
        while (line?.StartsWith("data:", StringComparison.Ordinal) == false);

        Assert.Equal("1.2.3", (string)JsonNode.Parse(line!["data:".Length..])!["studyInstanceUid"]!);
        var list = JsonNode.Parse(await gateway.Http.GetStringAsync(new Uri("studies?limit=5", UriKind.Relative), Gateway.Cancel))!.AsArray();
        var study = Assert.Single(list)!;
        Assert.Equal("王^小东", (string)study["patientName"]!);
        Assert.Equal(1, (int)study["instances"]!);
        Assert.Equal("site-a", (string)study["siteId"]!);
    }
}
