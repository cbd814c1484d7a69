using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Yizhan.Contracts;

namespace Yizhan.PacsGw.Tests.Dimse;

/// <summary>Each service that we use, against dcmtk's archive (dcmqrscp) and worklist (wlmscpfs), through the HTTP endpoints that the command uses.</summary>
[Trait("Clause", "S2")]
public sealed class ScuWithDcmtk
{
    [Fact]
    public async Task Echo_find_store_move_and_get()
    {
        var port = FreePorts.Next();
        var dicomPort = FreePorts.Next();
        var folder = Directory.CreateTempSubdirectory("yizhan-dcmqrscp-");
        Directory.CreateDirectory(Path.Combine(folder.FullName, "db"));
        var settings = Path.Combine(folder.FullName, "dcmqrscp.cfg");
        await File.WriteAllTextAsync(settings, $"""
            NetworkTCPPort = {port}
            MaxPDUSize = 131072
            MaxAssociations = 16
            HostTable BEGIN
            yizhan = (YIZHAN, 127.0.0.1, {dicomPort})
            HostTable END
            VendorTable BEGIN
            VendorTable END
            AETable BEGIN
            QR {Path.Combine(folder.FullName, "db")} RW (200, 1024mb) ANY
            AETable END

            """, Gateway.Cancel);
        using var archive = Outside.Start("dcmqrscp", "-c", settings);
        try
        {
            await using var gateway = await Gateway.StartAsync(
                $"--pacs-gw:dicomPort={dicomPort}", "--pacs-gw:peers:2:aeTitle=QR", "--pacs-gw:peers:2:host=127.0.0.1", $"--pacs-gw:peers:2:port={port}");
            await Outside.ListensAsync(port);
            Assert.True((double)(await PostAsync(gateway, "peers/QR/echo", null))["milliseconds"]! > 0);

            // Ours goes there.
            await gateway.SendAsync([.. Enumerable.Range(1, 3).Select(i => new TestInstance("1.9", "1.9.1", $"1.9.1.{i}") { PatientName = "王^五", Number = i }.ToSend())]);
            await gateway.IndexedAsync();
            var stored = await PostAsync(gateway, "peers/QR/store", new PeerStudy("1.9"));
            Assert.Equal((3, 0), ((int)stored["completed"]!, (int)stored["failed"]!));

            // What only it has comes here.
            var other = new TestInstance("1.8", "1.8.1", "1.8.1.1") { PatientId = "P8" };
            var file = Path.Combine(folder.FullName, "other.dcm");
            await File.WriteAllBytesAsync(file, other.ToFile(), Gateway.Cancel);
            var (exit, output) = await Outside.DcmtkAsync("storescu", "-aec", "QR", "127.0.0.1", $"{port}", file);
            Assert.True(exit == 0, output);
            var found = (await PostAsync(gateway, "peers/QR/find", new PeerQuery("STUDY", new Dictionary<string, string> { ["PatientID"] = "P8", ["StudyInstanceUID"] = "" }))).AsArray();
            Assert.Equal("1.8", (string)Assert.Single(found)!["0020000D"]!["Value"]![0]!);
            var got = await PostAsync(gateway, "peers/QR/get", new PeerQuery("STUDY", new Dictionary<string, string> { ["StudyInstanceUID"] = "1.8" }));
            Assert.Equal((1, 0), ((int)got["completed"]!, (int)got["failed"]!));
            await gateway.IndexedAsync();
            Assert.Single(await gateway.QueryAsync("studies?StudyInstanceUID=1.8"));

            var moved = await PostAsync(gateway, "peers/QR/move", new PeerQuery("STUDY", new Dictionary<string, string> { ["StudyInstanceUID"] = "1.9" }));
            Assert.Equal((3, 0), ((int)moved["completed"]!, (int)moved["failed"]!));
        }
        finally
        {
            archive.Kill(entireProcessTree: true);
            await archive.WaitForExitAsync(CancellationToken.None);
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task Worklist()
    {
        var port = FreePorts.Next();
        var folder = Directory.CreateTempSubdirectory("yizhan-wlm-");
        var list = folder.CreateSubdirectory("RIS");
        await File.WriteAllTextAsync(Path.Combine(list.FullName, "lockfile"), "", Gateway.Cancel);
        var dump = Path.Combine(folder.FullName, "order.dump");
        await File.WriteAllTextAsync(dump, """
            (0008,0050) SH [A77]
            (0010,0010) PN [Li^Si]
            (0010,0020) LO [P77]
            (0020,000d) UI [1.7.7]
            (0032,1060) LO [Chest]
            (0040,0100) SQ
            (fffe,e000) -
            (0008,0060) CS [CT]
            (0040,0001) AE [CT-1]
            (0040,0002) DA [20260301]
            (0040,0003) TM [0900]
            (0040,0009) SH [S77]
            (fffe,e00d) -
            (fffe,e0dd) -
            (0040,1001) SH [R77]

            """, Gateway.Cancel);
        var (exit, output) = await Outside.DcmtkAsync("dump2dcm", dump, Path.Combine(list.FullName, "order.wl"));
        Assert.True(exit == 0, output);
        using var ris = Outside.Start("wlmscpfs", "-dfp", folder.FullName, "-dfr", $"{port}");
        try
        {
            await using var gateway = await Gateway.StartAsync(
                "--pacs-gw:peers:2:aeTitle=RIS", "--pacs-gw:peers:2:host=127.0.0.1", $"--pacs-gw:peers:2:port={port}");
            await Outside.ListensAsync(port);
            var found = (await PostAsync(gateway, "peers/RIS/worklist", new PeerQuery(null, new Dictionary<string, string>
            {
                ["PatientID"] = "",
                ["ScheduledProcedureStepSequence.Modality"] = "CT",
                ["ScheduledProcedureStepSequence.ScheduledProcedureStepStartDate"] = "20260101-20261231",
            }))).AsArray();
            Assert.Equal("P77", (string)Assert.Single(found)!["00100020"]!["Value"]![0]!);
        }
        finally
        {
            ris.Kill(entireProcessTree: true);
            await ris.WaitForExitAsync(CancellationToken.None);
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task A_peer_that_is_down_or_unknown_or_refuses_is_told_with_its_reason()
    {
        await using var gateway = await Gateway.StartAsync(
            "--pacs-gw:peers:2:aeTitle=DOWN", "--pacs-gw:peers:2:host=127.0.0.1", $"--pacs-gw:peers:2:port={FreePorts.Next()}");
        using var down = await gateway.Http.PostAsync(new Uri("peers/DOWN/echo", UriKind.Relative), null, Gateway.Cancel);
        Assert.Equal(HttpStatusCode.BadGateway, down.StatusCode);
        Assert.Contains("Connection refused", await down.Content.ReadAsStringAsync(Gateway.Cancel), StringComparison.Ordinal);
        using var unknown = await gateway.Http.PostAsync(new Uri("peers/NOBODY/echo", UriKind.Relative), null, Gateway.Cancel);
        Assert.Equal(HttpStatusCode.NotFound, unknown.StatusCode);
        using var bad = await gateway.Http.PostAsJsonAsync(
            new Uri("peers/DOWN/find", UriKind.Relative), new PeerQuery("STUDY", new Dictionary<string, string> { ["Nonsense"] = "" }), Gateway.Cancel);
        Assert.Equal(HttpStatusCode.BadRequest, bad.StatusCode);
    }

    internal static async Task<JsonNode> PostAsync(Gateway gateway, string path, object? body)
    {
        using var response = body is null
            ? await gateway.Http.PostAsync(new Uri(path, UriKind.Relative), null, Gateway.Cancel)
            : await gateway.Http.PostAsJsonAsync(new Uri(path, UriKind.Relative), body, Gateway.Cancel);
        var text = await response.Content.ReadAsStringAsync(Gateway.Cancel);
        Assert.True(response.IsSuccessStatusCode, $"{path}: {response.StatusCode} {text}");
        return JsonNode.Parse(text)!;
    }
}
