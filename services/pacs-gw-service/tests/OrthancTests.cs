using System.Diagnostics;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Nodes;
using Yizhan.Contracts;

namespace Yizhan.PacsGw.Tests;

/// <summary>The changes of a real Orthanc (Debian's), followed.</summary>
public sealed class OrthancTests
{
    [Fact]
    [Trait("Clause", "S2")]
    public async Task What_was_stored_in_Orthanc_while_we_were_down_arrives_once_after_the_start()
    {
        await using var orthanc = await OrthancPeer.StartAsync();
        var gateway = await Gateway.StartAsync(orthanc.Settings);
        try
        {
            await orthanc.StoreAsync(new TestInstance("2.25.1", "2.25.11", "2.25.111"));
            await StoredAsync(gateway, 1);
            await using (var stopped = await gateway.StopAsync())
            {
                // A study over DICOM, as a modality would send it, and one over REST.
                await orthanc.SendAsync([.. Enumerable.Range(1, 3).Select(n => new TestInstance("2.25.2", "2.25.21", $"2.25.21{n}"))]);
                await orthanc.StoreAsync(new TestInstance("2.25.3", "2.25.31", "2.25.311"));
                gateway = await stopped.StartAsync(orthanc.Settings);
            }

            await StoredAsync(gateway, 5);
            await gateway.IndexedAsync();
            Assert.Equal(3, (await gateway.QueryAsync("studies/2.25.2/instances")).Count);
            Assert.Single(await gateway.QueryAsync("studies/2.25.3/instances"));

            // Once more from the same place: nothing is taken twice, and what comes later still comes.
            gateway = await gateway.RestartAsync(orthanc.Settings);
            await orthanc.StoreAsync(new TestInstance("2.25.4", "2.25.41", "2.25.411"));
            await StoredAsync(gateway, 6);
            var stored = await gateway.EntriesAsync(InstanceStored.EventType);
            Assert.Equal(6, stored.Select(e => (string)e["sopInstanceUid"]!).Distinct().Count());
            Assert.Equal(6, stored.Count);
            Assert.All(stored, e => Assert.Equal("ORTHANC", (string)e["callingAeTitle"]!));
        }
        finally
        {
            await gateway.DisposeAsync();
        }
    }

    [Fact]
    public async Task A_feed_that_begins_again_stores_nothing_twice()
    {
        await using var orthanc = await OrthancPeer.StartAsync();
        await orthanc.StoreAsync(new TestInstance("2.25.1", "2.25.11", "2.25.111"));
        await orthanc.StoreAsync(new TestInstance("2.25.1", "2.25.11", "2.25.112"));
        await using var gateway = await Gateway.StartAsync(orthanc.Settings);
        await StoredAsync(gateway, 2);
        gateway.Database.Write(db => db.Command("DELETE FROM cursor").Go());
        await orthanc.StoreAsync(new TestInstance("2.25.1", "2.25.11", "2.25.113"));
        await StoredAsync(gateway, 3);
        Assert.Equal(3, (await gateway.EntriesAsync(InstanceStored.EventType)).Count);
    }

    private static Task StoredAsync(Gateway gateway, int instances) =>
        Wait.UntilAsync(async () => (await gateway.EntriesAsync(InstanceStored.EventType)).Count >= instances, $"{instances} instances are stored");
}

/// <summary>A real Orthanc on loopback ports with a folder of its own.</summary>
internal sealed class OrthancPeer : IAsyncDisposable
{
    private readonly Process _process;
    private readonly string _folder;
    private readonly HttpClient _http;

    private OrthancPeer(Process process, string folder, int httpPort, int dicomPort)
    {
        (_process, _folder, HttpPort, DicomPort) = (process, folder, httpPort, dicomPort);
        _http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{httpPort}/") };
    }

    public int HttpPort { get; }

    public int DicomPort { get; }

    /// <summary>How our gateway follows it.</summary>
    public string[] Settings => [$"--pacs-gw:orthanc:url=http://127.0.0.1:{HttpPort}/", "--pacs-gw:orthanc:pollSeconds=1"];

    public static async Task<OrthancPeer> StartAsync()
    {
        Assert.SkipUnless(File.Exists("/usr/sbin/Orthanc"), "Orthanc is not installed (Debian package orthanc).");
        var folder = Directory.CreateTempSubdirectory("yizhan-orthanc-").FullName;
        var (httpPort, dicomPort) = (FreePorts.Next(), FreePorts.Next());
        var settings = Path.Combine(folder, "orthanc.json");
        await File.WriteAllTextAsync(settings, JsonSerializer.Serialize(new Dictionary<string, object>
        {
            ["StorageDirectory"] = folder,
            ["IndexDirectory"] = folder,
            ["DicomAet"] = "ORTHANC",
            ["DicomPort"] = dicomPort,
            ["HttpPort"] = httpPort,
            ["DicomAlwaysAllowStore"] = true,
            ["UnknownSopClassAccepted"] = true,
            ["AuthenticationEnabled"] = false,
            ["Plugins"] = Array.Empty<string>(),
        }), Gateway.Cancel);
        var process = Process.Start(new ProcessStartInfo("/usr/sbin/Orthanc", [settings])
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        })!;
        process.ErrorDataReceived += (_, _) => { };
        process.OutputDataReceived += (_, _) => { };
        process.BeginErrorReadLine();
        process.BeginOutputReadLine();
        var peer = new OrthancPeer(process, folder, httpPort, dicomPort);
        await Outside.ListensAsync(httpPort);
        await Outside.ListensAsync(dicomPort);
        return peer;
    }

    /// <summary>Stores a file by REST.</summary>
    public async Task StoreAsync(TestInstance instance)
    {
        using var content = new ByteArrayContent(instance.ToFile());
        content.Headers.ContentType = new MediaTypeHeaderValue("application/dicom");
        using var response = await _http.PostAsync(new Uri("instances", UriKind.Relative), content, Gateway.Cancel);
        response.EnsureSuccessStatusCode();
    }

    /// <summary>Sends instances by dcmtk's storescu.</summary>
    public async Task SendAsync(IReadOnlyList<TestInstance> instances)
    {
        var files = new List<string>();
        foreach (var instance in instances)
        {
            files.Add(Path.Combine(_folder, $"{instance.Sop}.dcm"));
            await File.WriteAllBytesAsync(files[^1], instance.ToFile(), Gateway.Cancel);
        }

        var (exitCode, output) = await Outside.DcmtkAsync("storescu", ["-aec", "ORTHANC", "127.0.0.1", $"{DicomPort}", .. files]);
        Assert.True(exitCode == 0, output);
    }

    /// <summary>SOP Instance UIDs that it has.</summary>
    public async Task<IReadOnlyList<string>> InstancesAsync()
    {
        var found = await _http.GetFromJsonAsync<JsonArray>(new Uri("instances?expand", UriKind.Relative), Gateway.Cancel);
        return [.. found!.Select(i => (string)i!["MainDicomTags"]!["SOPInstanceUID"]!)];
    }

    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        _process.Kill();
        await _process.WaitForExitAsync(CancellationToken.None);
        _process.Dispose();
        Directory.Delete(_folder, recursive: true);
    }
}
