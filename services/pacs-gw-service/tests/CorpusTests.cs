using System.Net;
using Yizhan.Dicom;

namespace Yizhan.PacsGw.Tests;

/// <summary>Each file of the corpus as it is: stored, queried, retrieved and rendered, or refused with its reason. The rest goes on.</summary>
[Trait("Clause", "S2")]
public sealed class CorpusTests(SharedGateway shared) : IClassFixture<SharedGateway>
{
    public static TheoryData<string> Files => CorpusFiles.All();

    [Theory]
    [MemberData(nameof(Files))]
    public async Task A_file_is_served_or_refused_with_its_reason(string name)
    {
        var gateway = shared.Gateway;
        var bytes = await File.ReadAllBytesAsync(CorpusFiles.PathOf(name), Gateway.Cancel);
        var (status, answer) = await gateway.StowAsync([bytes]);
        if (status != HttpStatusCode.OK)
        {
            var failures = answer["00081198"] ?? answer["0008119A"];
            var reason = (int)failures!["Value"]![0]!["00081197"]!["Value"]![0]!;
            Assert.True(status == HttpStatusCode.Conflict && reason is 0xC000 or 0xA900 or 0x0122, $"{status} {reason:X4}");
            TestContext.Current.TestOutputHelper?.WriteLine($"refused with {reason:X4}");
            return;
        }

        await gateway.IndexedAsync();
        var file = DicomFile.Parse(bytes);
        var (study, sop) = (file.Dataset.GetString(DicomTags.StudyInstanceUID)!, file.Dataset.GetString(DicomTags.SOPInstanceUID)!);
        var place = $"studies/{study}/series/{file.Dataset.GetString(DicomTags.SeriesInstanceUID)}/instances/{sop}";
        Assert.Single(await gateway.QueryAsync($"studies/{study}/instances?SOPInstanceUID={sop}"));
        Assert.Single(await gateway.QueryAsync(place + "/metadata"));

        // As stored, by its content: several files of the corpus share a SOP Instance UID.
        var dataset = bytes[(int)DicomFileHeader.Read(bytes).DatasetOffset..];
        var hash = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(dataset));
        Assert.Equal(dataset, await gateway.Http.GetByteArrayAsync(new Uri("data-sets/" + hash, UriKind.Relative), Gateway.Cancel));
        using (var native = await gateway.GetAsync(place, "application/dicom"))
        {
            await AcceptedOrExplainedAsync(native, body => DicomFile.Parse(body));
        }

        using var picture = await gateway.GetAsync(place + "/rendered");
        await AcceptedOrExplainedAsync(picture, body => Assert.Equal([0xFF, 0xD8, 0xFF], body[..3]));
    }

    private static async Task AcceptedOrExplainedAsync(HttpResponseMessage response, Action<byte[]> check)
    {
        byte[] body;
        try
        {
            body = await response.Content.ReadAsByteArrayAsync(Gateway.Cancel);
        }
        catch (HttpRequestException) when (response.StatusCode == HttpStatusCode.OK && response.Content.Headers.ContentLength is null)
        {
            TestContext.Current.TestOutputHelper?.WriteLine("broke off at a damaged frame");
            return;
        }

        if (response.StatusCode == HttpStatusCode.OK)
        {
            check(body);
            return;
        }

        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
        Assert.Contains(response.StatusCode, (HttpStatusCode[])[HttpStatusCode.NotAcceptable, HttpStatusCode.NotFound]);
        TestContext.Current.TestOutputHelper?.WriteLine(System.Text.Encoding.UTF8.GetString(body));
    }
}
