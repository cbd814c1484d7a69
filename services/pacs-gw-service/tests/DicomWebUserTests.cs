using System.Net;
using System.Net.Sockets;
using System.Text;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Dicom;
using Yizhan.DicomWeb;
using Yizhan.Platform.Identity;

namespace Yizhan.PacsGw.Tests;

/// <summary>DICOMweb as user, as <c>yizhan dicom web</c> does it: against Debian's Orthanc with its plugin, and against ourselves.</summary>
[Trait("Clause", "S2")]
public sealed class DicomWebUserTests(SharedGateway shared) : IClassFixture<SharedGateway>
{
    private const long Enough = 1 << 30;

    [Theory]
    [InlineData("orthanc")]
    [InlineData("yizhan")]
    public async Task A_server_is_stored_to_searched_and_retrieved_from(string server)
    {
        await using var orthanc = server == "orthanc" ? await DicomWebPeerTests.OrthancDicomWeb.StartAsync("http://127.0.0.1:1/", "none") : null;
        using var http = orthanc is null
            ? new HttpClient(new OperatorTokenHandler(shared.Gateway.Services.GetRequiredService<LocalOperator>().Token, new SocketsHttpHandler()))
            {
                BaseAddress = new Uri(shared.Gateway.Http.BaseAddress!, "dicom-web/"),
            }
            : new HttpClient { BaseAddress = orthanc.DicomWeb };
        var client = new DicomWebClient(http);
        var study = orthanc is null ? "2.25.601" : "2.25.602";
        var files = Enumerable.Range(1, 3)
            .Select(n => new TestInstance(study, study + ".1", $"{study}.1.{n}") { PatientName = "Wang^XiaoDong=王^小东", CharacterSet = "ISO_IR 192", Number = n }.ToFile()).ToList();

        var stored = await client.StoreAsync(null, [.. files.Select(f => (Func<Stream>)(() => new MemoryStream(f))), () => new MemoryStream("no DICOM"u8.ToArray())], Gateway.Cancel);
        Assert.Equal(3, stored.Stored.Count);
        if (orthanc is null)
        {
            Assert.NotNull(Assert.Single(stored.Failed).Reason);
            await shared.Gateway.IndexedAsync();
        }

        var found = Assert.Single(await client.SearchAsync(
            "studies", [new("PatientName", orthanc is null ? "王*" : "WANG*"), new("StudyInstanceUID", study), new("includefield", "NumberOfStudyRelatedInstances")], Gateway.Cancel))!;
        Assert.Equal(3, (int)found["00201208"]!["Value"]![0]!);
        Assert.Empty(await client.SearchAsync("studies", [new("StudyInstanceUID", "2.25.699")], Gateway.Cancel));
        Assert.Equal(2, (await client.SearchAsync($"studies/{study}/instances", [new("limit", "2")], Gateway.Cancel)).Count);

        var retrieved = new List<byte[]>();
        await foreach (var part in client.RetrieveAsync($"studies/{study}", "*", Enough, Gateway.Cancel))
        {
            using var file = new MemoryStream();
            Assert.Equal(await part.CopyToAsync(file, Gateway.Cancel), file.Length);
            retrieved.Add(file.ToArray());
        }

        Assert.Equal(files.Select(Pixels).Order(), retrieved.Select(Pixels).Order());

        // A part that nobody reads is passed over; one byte too many is refused, whichever part it is in.
        var parts = 0;
        await foreach (var part in client.RetrieveAsync($"studies/{study}", "*", Enough, Gateway.Cancel))
        {
            parts++;
        }

        Assert.Equal(3, parts);
        var most = retrieved.Sum(f => (long)f.Length) - 1;
        Assert.Null((await Assert.ThrowsAsync<DicomWebException>(() => DrainAsync(client, $"studies/{study}", most))).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await Assert.ThrowsAsync<DicomWebException>(() => DrainAsync(client, "studies/2.25.699", Enough))).Status);

        static string Pixels(byte[] file)
        {
            var dataset = DicomFile.Parse(file).Dataset;
            return dataset.GetString(DicomTags.SOPInstanceUID) + Convert.ToHexString(dataset.GetBytes(DicomTags.PixelData).Span);
        }
    }

    [Theory]
    [InlineData("HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\ntoo\u0007 late", 503, "too late")]
    [InlineData("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 302, "302")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", null, "text/html")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=b\r\nContent-Length: 7\r\n\r\nnothing", -1, "")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=b\r\nContent-Length: 99\r\n\r\n--b\r\n\r\nnot all of it", -1, "")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=b\r\nContent-Length: 16\r\n\r\n--b\r\n\r\nno end of it", -1, "")]
    public async Task What_is_no_answer_is_an_error_with_the_servers_status(string answer, int? status, string says)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var serving = ServeAsync();
        using var handler = new SocketsHttpHandler { AllowAutoRedirect = false };
        using var http = new HttpClient(handler) { BaseAddress = new Uri($"http://{listener.LocalEndpoint}/") };
        var e = await Assert.ThrowsAnyAsync<Exception>(() => DrainAsync(new DicomWebClient(http), "studies/1.2", Enough));
        if (status == -1)
        {
            Assert.True(e is DicomWebException or IOException, e.ToString());
        }
        else
        {
            Assert.Equal(status, (int?)Assert.IsType<DicomWebException>(e).Status);
            Assert.Contains(says, e.Message, StringComparison.Ordinal);
        }

        await serving;

        async Task ServeAsync()
        {
            using var client = await listener.AcceptTcpClientAsync(Gateway.Cancel);
            var stream = client.GetStream();
            var request = new byte[4096];
            _ = await stream.ReadAsync(request, Gateway.Cancel);
            await stream.WriteAsync(Encoding.UTF8.GetBytes(answer), Gateway.Cancel);
        }
    }

    private static async Task DrainAsync(DicomWebClient client, string resource, long most)
    {
        await foreach (var part in client.RetrieveAsync(resource, "*", most, Gateway.Cancel))
        {
            await part.CopyToAsync(Stream.Null, Gateway.Cancel);
        }
    }
}
