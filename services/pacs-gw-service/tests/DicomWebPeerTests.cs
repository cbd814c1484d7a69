using System.Diagnostics;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Dicom;
using Yizhan.Platform.Identity;

namespace Yizhan.PacsGw.Tests;

/// <summary>Orthanc's DICOMweb plugin as client of ours: it stores, searches and retrieves.</summary>
[Trait("Clause", "S2")]
public sealed class DicomWebPeerTests(SharedGateway shared) : IClassFixture<SharedGateway>
{
    private const string Plugin = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so";

    private static TestInstance Instance(string study, int number) => new(study, study + ".1", $"{study}.1.{number}")
    {
        PatientName = "Wang^XiaoDong=王^小东",
        Change = d => d.Set(DicomTags.PhotometricInterpretation, "MONOCHROME2").Set(DicomTags.BitsStored, 16).Set(DicomTags.HighBit, 15)
            .Set(DicomTags.PixelRepresentation, 0L),
    };

    [Fact]
    public async Task Orthanc_stores_searches_and_retrieves()
    {
        var gateway = shared.Gateway;
        await using var orthanc = await OrthancDicomWeb.StartAsync(gateway.Http.BaseAddress! + "dicom-web/", gateway.Services.GetRequiredService<LocalOperator>().Token());

        // STOW-RS: its instance, the same bytes, is ours.
        var id = await orthanc.StoreAsync(Instance("2.25.501", 1).ToFile());
        await orthanc.PostAsync("dicom-web/servers/yizhan/stow", new JsonObject { ["Resources"] = new JsonArray(id), ["Synchronous"] = true });
        await gateway.IndexedAsync();
        Assert.Single(await gateway.QueryAsync("studies/2.25.501/instances"));

        // QIDO-RS, by a name that is not Latin.
        var found = await orthanc.PostAsync("dicom-web/servers/yizhan/qido", new JsonObject
        {
            ["Uri"] = "/studies",
            ["Arguments"] = new JsonObject { ["PatientName"] = "王*" },
        });
        Assert.Contains("2.25.501", Assert.Single(found!.AsArray())!.ToJsonString(), StringComparison.Ordinal);

        // WADO-RS: a study that only we have.
        await gateway.SendAsync([Instance("2.25.502", 1).ToSend(), (Instance("2.25.502", 2) with { Syntax = DicomTransferSyntax.ImplicitVrLittleEndian }).ToSend()]);
        await gateway.IndexedAsync();
        var retrieved = await orthanc.PostAsync("dicom-web/servers/yizhan/retrieve", new JsonObject
        {
            ["Resources"] = new JsonArray(new JsonObject { ["Study"] = "2.25.502" }),
            ["Synchronous"] = true,
        });
        Assert.Equal("2", (string)retrieved!["ReceivedInstancesCount"]!);
    }

    /// <summary>Debian's Orthanc with the DICOMweb plugin and one server: ours.</summary>
    internal sealed class OrthancDicomWeb(Process process, string folder, int port) : IAsyncDisposable
    {
        private readonly HttpClient _http = new() { BaseAddress = new Uri($"http://127.0.0.1:{port}/") };

        /// <summary>Its own service.</summary>
        public Uri DicomWeb { get; } = new($"http://127.0.0.1:{port}/dicom-web/");

        public static async Task<OrthancDicomWeb> StartAsync(string ours, string token, int? port = null)
        {
            Assert.SkipUnless(File.Exists("/usr/sbin/Orthanc") && File.Exists(Plugin), "Orthanc or its DICOMweb plugin is not installed (Debian packages orthanc, orthanc-dicomweb).");
            var folder = Directory.CreateTempSubdirectory("yizhan-orthanc-").FullName;
            var (http, dicom) = (port ?? FreePorts.Next(), FreePorts.Next());
            var settings = Path.Combine(folder, "orthanc.json");
            await File.WriteAllTextAsync(settings, JsonSerializer.Serialize(new Dictionary<string, object>
            {
                ["StorageDirectory"] = folder,
                ["IndexDirectory"] = folder,
                ["DicomPort"] = dicom,
                ["HttpPort"] = http,
                ["AuthenticationEnabled"] = false,
                ["Plugins"] = new[] { Plugin },
                ["DicomWeb"] = new Dictionary<string, object>
                {
                    ["Enable"] = true,
                    ["Root"] = "/dicom-web/",
                    ["Servers"] = new Dictionary<string, object> { ["yizhan"] = new { Url = ours, HttpHeaders = new { Authorization = "Bearer " + token } } },
                },
            }), Gateway.Cancel);
            var process = Process.Start(new ProcessStartInfo("/usr/sbin/Orthanc", [settings]) { RedirectStandardError = true, RedirectStandardOutput = true })!;
            process.ErrorDataReceived += (_, _) => { };
            process.OutputDataReceived += (_, _) => { };
            process.BeginErrorReadLine();
            process.BeginOutputReadLine();
            await Outside.ListensAsync(http);
            return new OrthancDicomWeb(process, folder, http);
        }

        public async Task<string> StoreAsync(byte[] file)
        {
            using var content = new ByteArrayContent(file);
            using var response = await _http.PostAsync(new Uri("instances", UriKind.Relative), content, Gateway.Cancel);
            return (string)JsonNode.Parse(await response.Content.ReadAsStringAsync(Gateway.Cancel))!["ID"]!;
        }

        public async Task<JsonNode> GetAsync(string path) => JsonNode.Parse(await _http.GetStringAsync(new Uri(path, UriKind.Relative), Gateway.Cancel))!;

        public async Task<JsonNode?> PostAsync(string path, JsonObject body)
        {
            using var response = await _http.PostAsJsonAsync(new Uri(path, UriKind.Relative), body, Gateway.Cancel);
            var text = await response.Content.ReadAsStringAsync(Gateway.Cancel);
            Assert.True(response.IsSuccessStatusCode, $"{path}: {response.StatusCode} {text}");
            return JsonNode.Parse(text);
        }

        public async ValueTask DisposeAsync()
        {
            _http.Dispose();
            process.Kill();
            await process.WaitForExitAsync(CancellationToken.None);
            process.Dispose();
            Directory.Delete(folder, recursive: true);
        }
    }
}
