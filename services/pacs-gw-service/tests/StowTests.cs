using System.Net;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Platform;

namespace Yizhan.PacsGw.Tests;

public sealed class StowTests
{
    private static TestInstance Instance(string sop) => new("1.2.3", "1.2.3.4", sop);

    [Fact]
    public async Task Good_parts_are_stored_as_they_are_and_a_bad_one_among_them_gets_its_reason()
    {
        await using var gateway = await Gateway.StartAsync();
        var (status, answer) = await gateway.StowAsync(
        [
            Instance("1.1").ToFile(), Instance("1.2").ToFile()[..^4], "<html>no DICOM</html>"u8.ToArray(), [], Instance("1.3").ToFile(),
        ]);
        Assert.Equal(HttpStatusCode.Accepted, status);
        Assert.Equal(["1.1", "1.3"], answer["00081199"]!["Value"]!.AsArray().Select(i => (string)i!["00081155"]!["Value"]![0]!));
        var failed = Assert.Single(answer["00081198"]!["Value"]!.AsArray())!;
        Assert.Equal("1.2", (string)failed["00081155"]!["Value"]![0]!);
        Assert.Equal(0xC000, (int)failed["00081197"]!["Value"]![0]!);
        Assert.Equal(2, answer["0008119A"]!["Value"]!.AsArray().Count);

        await gateway.IndexedAsync();
        using var response = await gateway.GetAsync("studies/1.2.3/series/1.2.3.4/instances/1.1", "application/dicom");
        var file = await response.Content.ReadAsByteArrayAsync(Gateway.Cancel);
        Assert.Equal(Instance("1.1").ToBytes(), file[(int)DicomFileHeader.Read(file).DatasetOffset..]);
        Assert.EndsWith(
            "/dicom-web/studies/1.2.3/series/1.2.3.4/instances/1.1",
            (string)answer["00081199"]!["Value"]![0]!["00081190"]!["Value"]![0]!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task All_good_is_200_all_bad_is_409_another_study_is_refused_and_again_is_no_second_copy()
    {
        await using var gateway = await Gateway.StartAsync();
        Assert.Equal(HttpStatusCode.OK, (await gateway.StowAsync([Instance("1.1").ToFile()], "studies/1.2.3")).Status);
        Assert.Equal(HttpStatusCode.OK, (await gateway.StowAsync([Instance("1.1").ToFile()])).Status);
        var (status, answer) = await gateway.StowAsync([Instance("1.1").ToFile()], "studies/1.2.4");
        Assert.Equal(HttpStatusCode.Conflict, status);
        Assert.Equal(0xA900, (int)answer["00081198"]!["Value"]![0]!["00081197"]!["Value"]![0]!);
        Assert.Single(await gateway.EntriesAsync(InstanceStored.EventType));
    }

    [Fact]
    public async Task An_upload_under_way_keeps_the_site_from_being_restarted_and_a_refused_request_does_not()
    {
        await using var gateway = await Gateway.StartAsync();
        var uploads = Assert.Single(gateway.Services.GetServices<IClinicalWork>(), w => w.Kind == "upload");
        using var refused = await gateway.Http.PostAsync(new Uri("dicom-web/studies", UriKind.Relative), new StringContent("{}"), Gateway.Cancel);
        Assert.Equal((HttpStatusCode.UnsupportedMediaType, 0, 0L), (refused.StatusCode, uploads.UnderWay, uploads.Begun));

        var body = new SlowBody();
        var answer = gateway.Http.PostAsync(new Uri("dicom-web/studies", UriKind.Relative), body, Gateway.Cancel);
        await Wait.UntilAsync(() => Task.FromResult(uploads.UnderWay == 1), "the upload is under way");
        Assert.Equal(1, uploads.Begun);
        body.Rest.SetResult();
        using var stored = await answer;
        Assert.Equal(HttpStatusCode.OK, stored.StatusCode);
        await Wait.UntilAsync(() => Task.FromResult(uploads.UnderWay == 0), "the upload is over");
        Assert.Equal(1, uploads.Begun);
    }

    [Fact]
    public async Task One_bad_part_among_ten_thousand_costs_only_itself()
    {
        const int parts = 10_000;
        const int bad = 6_789;
        await using var gateway = await Gateway.StartAsync();
        var (status, answer) = await gateway.StowAsync(Enumerable.Range(1, parts).Select(i =>
            i == bad ? Instance($"1.{i}").ToFile()[..^4] : Instance($"1.{i}").ToFile()));
        Assert.Equal(HttpStatusCode.Accepted, status);
        Assert.Equal($"1.{bad}", (string)Assert.Single(answer["00081198"]!["Value"]!.AsArray())!["00081155"]!["Value"]![0]!);
        Assert.Equal(parts - 1, answer["00081199"]!["Value"]!.AsArray().Count);
        Assert.Equal(parts - 1, (await gateway.EntriesAsync(InstanceStored.EventType)).Count);
    }

    [Fact]
    public async Task A_transfer_syntax_that_nobody_knows_is_refused_with_the_standards_status_and_the_rest_goes_on()
    {
        await using var gateway = await Gateway.StartAsync();
        var unknown = Instance("1.1") with
        {
            Syntax = DicomTransferSyntax.Get("1.2.840.113619.5.2.9999"),
            Change = d => d.Set(DicomElement.OfFragments(DicomTags.PixelData, [ReadOnlyMemory<byte>.Empty, new byte[64]])),
        };
        var (status, answer) = await gateway.StowAsync([unknown.ToFile(), Instance("1.2").ToFile()]);
        Assert.Equal(HttpStatusCode.Accepted, status);
        Assert.Equal(0xC000, (int)Assert.Single(answer["0008119A"]!["Value"]!.AsArray())!["00081197"]!["Value"]![0]!);
        Assert.Equal("1.2", (string)Assert.Single(answer["00081199"]!["Value"]!.AsArray())!["00081155"]!["Value"]![0]!);

        // By DIMSE its presentation context is not accepted, and the other one of the association is.
        Assert.Equal([null, (ushort?)0], await gateway.SendAsync([unknown.ToSend(), Instance("1.3").ToSend()]));
        Assert.Equal(2, (await gateway.EntriesAsync(InstanceStored.EventType)).Count);
    }

    [Fact]
    public async Task A_full_spool_is_507()
    {
        await using var gateway = await Gateway.StartAsync("--storage:quotaBytes=16777216", "--storage:segmentBytes=4194304");
        var big = (Instance("1.1") with { Change = d => d.SetBytes(DicomTags.PixelData, new byte[20 << 20], DicomVr.OW) }).ToFile();
        var (status, answer) = await gateway.StowAsync([big]);
        Assert.Equal(HttpStatusCode.InsufficientStorage, status);
        Assert.Equal(0xA700, (int)answer["00081198"]!["Value"]![0]!["00081197"]!["Value"]![0]!);
        Assert.Equal(HttpStatusCode.OK, (await gateway.StowAsync([Instance("1.2").ToFile()])).Status);
    }

    [Theory]
    [InlineData("application/dicom", HttpStatusCode.UnsupportedMediaType)]
    [InlineData("multipart/related; type=\"application/dicom+xml\"; boundary=b", HttpStatusCode.UnsupportedMediaType)]
    [InlineData("multipart/related; type=\"application/dicom\"", HttpStatusCode.UnsupportedMediaType)]
    [InlineData("multipart/related; type=\"application/dicom\"; boundary=b", HttpStatusCode.BadRequest)]
    public async Task A_request_that_is_no_store_request_is_refused(string contentType, HttpStatusCode expected)
    {
        await using var gateway = await Gateway.StartAsync();
        using var content = new ByteArrayContent("--b--\r\n"u8.ToArray());
        content.Headers.TryAddWithoutValidation("Content-Type", contentType);
        using var response = await gateway.Http.PostAsync(new Uri("dicom-web/studies", UriKind.Relative), content, Gateway.Cancel);
        Assert.Equal(expected, response.StatusCode);
    }

    /// <summary>One instance, of which the last bytes come when they are asked for.</summary>
    private sealed class SlowBody : HttpContent
    {
        public SlowBody() => Headers.TryAddWithoutValidation("Content-Type", "multipart/related; type=\"application/dicom\"; boundary=b");

        public TaskCompletionSource Rest { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        {
            await stream.WriteAsync("--b\r\nContent-Type: application/dicom\r\n\r\n"u8.ToArray(), Gateway.Cancel);
            await stream.WriteAsync(Instance("1.1").ToFile(), Gateway.Cancel);
            await stream.FlushAsync(Gateway.Cancel);
            await Rest.Task;
            await stream.WriteAsync("\r\n--b--\r\n"u8.ToArray(), Gateway.Cancel);
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
