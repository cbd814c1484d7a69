using System.Diagnostics;
using Yizhan.Dicom;
using Yizhan.Drills;
using Yizhan.Platform.Identity;
using Yizhan.Samples;

namespace Yizhan.EndToEnd.Tests;

/// <summary><c>yizhan dicom</c> as a process, through a site that is another process, against dcmtk's archive and worklist.</summary>
[Trait("Clause", "S2")]
public sealed class DicomCommandTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_peer_is_echoed_searched_and_retrieved_from_and_stored_to()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/dcmqrscp") && File.Exists("/usr/bin/storescu"), "dcmtk is not installed; ./check installs it.");
        using var folder = new TemporaryFolder();
        var ports = LocalPorts.Free().WithoutRelay();
        var (archivePort, dicom) = (LocalPorts.Free().Dicom, ports.Dicom);
        CtStudy.WriteFiles(folder.In("ct"), instances: 3, studies: 1, seed: 11);
        var file = Directory.GetFiles(folder.In("ct"))[0];
        var study = DicomFile.Parse(await File.ReadAllBytesAsync(file, Cancel)).Dataset.GetString(DicomTags.StudyInstanceUID)!;
        Directory.CreateDirectory(folder.In("db"));
        await File.WriteAllTextAsync(folder.In("dcmqrscp.cfg"), $"""
            NetworkTCPPort = {archivePort}
            MaxPDUSize = 131072
            MaxAssociations = 16
            HostTable BEGIN
            yizhan = ({LocalSite.AeTitle}, 127.0.0.1, {dicom})
            HostTable END
            VendorTable BEGIN
            VendorTable END
            AETable BEGIN
            QR {folder.In("db")} RW (200, 1024mb) ANY
            AETable END

            """, Cancel);
        using var archive = Process.Start(new ProcessStartInfo("dcmqrscp", ["-c", folder.In("dcmqrscp.cfg")]))!;
        try
        {
            var site = LocalSite.Prepare(
                folder.In("nodes"), [.. LocalSite.DcmtkPeers, $"QR@127.0.0.1:{archivePort}", $"DOWN@127.0.0.1:{LocalPorts.Free().Dicom}"], ports);
            await using var node = await site.StartEdgeAsync(Cancel);
            Task<CommandOutcome> Dicom(params string[] arguments) => YizhanCommand.RunAsync(["dicom", .. arguments, "--node", site.Ports.EdgeWeb.ToString(), "--token", LocalOperator.PathIn(site.EdgeFolder)]);
            Task<CommandOutcome> Asked(params string[] arguments) => Dicom([.. arguments, "--json"]);

            var peers = await Asked("peers");
            Assert.Contains(peers.Json.GetProperty("peers").EnumerateArray(), p => p.GetProperty("aeTitle").GetString() == "QR" && p.GetProperty("port").GetInt32() == archivePort);
            await Wait.UntilAsync(async () => (await Asked("echo", "QR")).ExitCode == 0);
            var echo = await Asked("echo", "QR");
            Assert.True(echo.Json.GetProperty("milliseconds").GetDouble() > 0);

            // What only the peer has: found, then fetched both ways.
            using var storescu = Process.Start(new ProcessStartInfo("storescu", ["-aec", "QR", "127.0.0.1", $"{archivePort}", .. Directory.GetFiles(folder.In("ct"))]))!;
            await storescu.WaitForExitAsync(Cancel);
            Assert.Equal(0, storescu.ExitCode);
            var found = await Asked("find", "QR", "-k", $"StudyInstanceUID={study}");
            Assert.Equal(study, Assert.Single(found.Json.GetProperty("answers").EnumerateArray()).GetProperty("0020000D").GetProperty("Value")[0].GetString());
            var table = await Dicom("find", "QR", "--level", "IMAGE", "-k", $"StudyInstanceUID={study}", "-k", "InstanceNumber");
            Assert.Contains("3 found.", table.Output, StringComparison.Ordinal);
            Assert.Contains(DicomFile.Parse(await File.ReadAllBytesAsync(file, Cancel)).Dataset.GetString(DicomTags.SOPInstanceUID)!, table.Output, StringComparison.Ordinal);

            var got = await Asked("get", "QR", "-k", $"StudyInstanceUID={study}");
            Assert.Equal((0, 3, 0), (got.ExitCode, got.Json.GetProperty("completed").GetInt32(), got.Json.GetProperty("failed").GetInt32()));
            var moved = await Asked("move", "QR", "-k", $"StudyInstanceUID={study}");
            Assert.Equal((0, 3), (moved.ExitCode, moved.Json.GetProperty("completed").GetInt32()));
            await Wait.UntilAsync(async () => (await Asked("store", "QR", "--study", study)) is { ExitCode: 0 } o && o.Json.GetProperty("completed").GetInt32() == 3);

            // Who cannot be reached, is not known, was asked for nonsense or knows nobody of that name.
            var down = await Asked("echo", "DOWN");
            Assert.Equal(1, down.ExitCode);
            Assert.Contains("refused", Assert.Single(down.Error.Trim().Split('\n')), StringComparison.OrdinalIgnoreCase);
            Assert.Contains("known are QR, DOWN", (await Asked("echo", "NOBODY")).Error, StringComparison.Ordinal);
            Assert.Contains("'Nonsense' is no attribute", (await Asked("find", "QR", "-k", "Nonsense=1")).Error, StringComparison.Ordinal);
            Assert.Equal(2, (await Asked("find", "QR", "-k", "=1")).ExitCode);
            Assert.Equal(1, (await Asked("move", "QR", "-k", $"StudyInstanceUID={study}", "--to", "NOBODY")).ExitCode);
        }
        finally
        {
            archive.Kill(entireProcessTree: true);
            await archive.WaitForExitAsync(CancellationToken.None);
        }
    }

    [Fact]
    public async Task A_worklist_is_read_and_a_commitment_asked_for()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/wlmscpfs") && File.Exists("/usr/bin/dump2dcm"), "dcmtk is not installed; ./check installs it.");
        using var folder = new TemporaryFolder();
        var risPort = LocalPorts.Free().Dicom;
        Directory.CreateDirectory(folder.In("lists", "RIS"));
        await File.WriteAllTextAsync(folder.In("lists", "RIS", "lockfile"), "", Cancel);
        await File.WriteAllTextAsync(folder.In("order.dump"), """
            (0008,0050) SH [A77]
            (0010,0010) PN [Li^Si]
            (0010,0020) LO [P77]
            (0020,000d) UI [1.7.7]
            (0040,0100) SQ
            (fffe,e000) -
            (0008,0060) CS [CT]
            (0040,0001) AE [CT-1]
            (0040,0002) DA [20260301]
            (0040,0003) TM [0900]
            (fffe,e00d) -
            (fffe,e0dd) -

            """, Cancel);
        using var dump = Process.Start("dump2dcm", [folder.In("order.dump"), folder.In("lists", "RIS", "order.wl")]);
        await dump.WaitForExitAsync(Cancel);
        using var ris = Process.Start(new ProcessStartInfo("wlmscpfs", ["-dfp", folder.In("lists"), "-dfr", $"{risPort}"]))!;
        try
        {
            var site = LocalSite.Prepare(folder.In("nodes"), [$"RIS@127.0.0.1:{risPort}"], LocalPorts.Free().WithoutRelay());
            await using var node = await site.StartEdgeAsync(Cancel);
            Task<CommandOutcome> Dicom(params string[] arguments) => YizhanCommand.RunAsync(["dicom", .. arguments, "--node", site.Ports.EdgeWeb.ToString(), "--token", LocalOperator.PathIn(site.EdgeFolder)]);
            await Wait.UntilAsync(async () => (await Dicom("echo", "RIS")).ExitCode == 0);
            var table = await Dicom("worklist", "RIS", "-k", "ScheduledProcedureStepSequence.Modality=CT");
            Assert.True(table.ExitCode == 0, table.Error);
            foreach (var expected in (string[])["P77", "A77", "CT-1", "20260301", "1 found."])
            {
                Assert.Contains(expected, table.Output, StringComparison.Ordinal);
            }

            // The peer has no storage commitment, and the archive no such study.
            var commit = await Dicom("commit", "RIS", "--study", "1.7.7", "--json");
            Assert.Equal(1, commit.ExitCode);
            Assert.NotEmpty(commit.Error);
        }
        finally
        {
            ris.Kill(entireProcessTree: true);
            await ris.WaitForExitAsync(CancellationToken.None);
        }
    }
}
