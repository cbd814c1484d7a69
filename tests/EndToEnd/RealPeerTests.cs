using System.Diagnostics;
using System.Net.Http.Headers;
using System.Text.Json;
using Yizhan.Dicom;
using Yizhan.Drills;
using Yizhan.Samples;

namespace Yizhan.EndToEnd.Tests;

/// <summary>What `yizhan up` starts, seen by somebody else's tools.</summary>
public sealed class RealPeerTests
{
    [Fact]
    [Trait("Clause", "S2")]
    public async Task What_storescu_sends_to_the_site_comes_back_from_the_centre_byte_for_byte()
    {
        var cancellationToken = TestContext.Current.CancellationToken;
        Assert.SkipUnless(File.Exists("/usr/bin/storescu"), "dcmtk is not installed; ./check installs it.");
        using var folder = new TemporaryFolder();
        CtStudy.WriteFiles(folder.In("ct"), instances: 6, studies: 2, seed: 7);
        var site = LocalSite.Prepare(folder.In("nodes"), LocalSite.DcmtkPeers, LocalPorts.Free().WithoutRelay());
        await using (await site.StartAllAsync(cancellationToken))
        {
            var files = Directory.GetFiles(folder.In("ct")).Order(StringComparer.Ordinal).ToArray();
            var sent = await RunAsync("storescu", ["-aec", LocalSite.AeTitle, "127.0.0.1", $"{site.Ports.Dicom}", .. files], cancellationToken);
            Assert.True(sent.ExitCode == 0, sent.Output);

            using var http = site.CentreClient();
            http.BaseAddress = new Uri(site.Ports.CentreWeb, "pacs-gw/dicom-web/");
            foreach (var path in files)
            {
                var original = DicomFile.Parse(await File.ReadAllBytesAsync(path, cancellationToken));
                var sop = original.Dataset.GetString(DicomTags.SOPInstanceUID)!;
                var found = await PollAsync(http, $"instances?SOPInstanceUID={sop}", cancellationToken);
                var (study, series) = (Uid(found, "0020000D"), Uid(found, "0020000E"));
                using var request = new HttpRequestMessage(HttpMethod.Get, $"studies/{study}/series/{series}/instances/{sop}");
                request.Headers.Accept.Add(MediaTypeWithQualityHeaderValue.Parse("application/dicom; transfer-syntax=*"));
                using var answer = await http.SendAsync(request, cancellationToken);
                answer.EnsureSuccessStatusCode();
                var returned = await answer.Content.ReadAsByteArrayAsync(cancellationToken);
                var header = DicomFileHeader.Read(returned);
                var bytes = await File.ReadAllBytesAsync(path, cancellationToken);
                Assert.Equal(original.TransferSyntax.Uid, header.TransferSyntax.Uid);
                Assert.True(
                    bytes.AsSpan((int)original.Header.DatasetOffset).SequenceEqual(returned.AsSpan((int)header.DatasetOffset)),
                    $"The data set of {Path.GetFileName(path)} changed on the way.");
            }

            // A name that only GB18030 could carry is found by its characters, and shown in UTF-8.
            var patient = await PollAsync(http, "studies?PatientName=" + Uri.EscapeDataString("*王*") + "&includefield=00100010", cancellationToken);
            Assert.Equal("王^小东", patient.GetProperty("00100010").GetProperty("Value")[0].GetProperty("Ideographic").GetString());

            var stranger = await RunAsync(
                "storescu", ["-v", "-aet", "STRANGER", "-aec", LocalSite.AeTitle, "127.0.0.1", $"{site.Ports.Dicom}", files[0]], cancellationToken);
            Assert.NotEqual(0, stranger.ExitCode);
            Assert.Contains("Calling AE Title Not Recognized", stranger.Output, StringComparison.Ordinal);
        }

        var log = await File.ReadAllTextAsync(site.LogPath("all"), cancellationToken);
        Assert.NotEmpty(log);
        foreach (var patientData in new[] { "Wang^", "XiaoDong", "王", "小东", "李", "SYN0007", "19580317" })
        {
            Assert.DoesNotContain(patientData, log, StringComparison.Ordinal);
        }
    }

    private static string Uid(JsonElement instance, string tag) => instance.GetProperty(tag).GetProperty("Value")[0].GetString()!;

    /// <summary>The first match of a QIDO-RS query, once the centre has indexed it.</summary>
    private static async Task<JsonElement> PollAsync(HttpClient http, string query, CancellationToken cancellationToken)
    {
        var body = "";
        await Wait.UntilAsync(
            async () =>
            {
                using var answer = await http.GetAsync(query, cancellationToken);
                answer.EnsureSuccessStatusCode();
                body = await answer.Content.ReadAsStringAsync(cancellationToken);
                return body.Length > 2;
            },
            $"'{query}' finds something at the centre");
        return JsonDocument.Parse(body).RootElement[0];
    }

    private static async Task<(int ExitCode, string Output)> RunAsync(string program, string[] arguments, CancellationToken cancellationToken)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        var output = process.StandardOutput.ReadToEndAsync(cancellationToken);
        var errors = process.StandardError.ReadToEndAsync(cancellationToken);
        await process.WaitForExitAsync(cancellationToken);
        return (process.ExitCode, await output + await errors);
    }
}
