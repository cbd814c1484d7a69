using System.Net.Http.Json;
using System.Runtime.CompilerServices;
using Yizhan.Contracts;
using Yizhan.Dicom;

namespace Yizhan.PacsGw.Tests;

/// <summary>Copies go to real peers, also when those were away, and each once.</summary>
public sealed class RouteTests
{
    [Fact]
    public async Task Copies_wait_for_a_destination_that_is_away_and_survive_a_restart()
    {
        var port = FreePorts.Next();
        var folder = Directory.CreateTempSubdirectory("yizhan-routes-");
        await using var rules = new RulesFile($$"""
            destinations: { research: { aeTitle: RESEARCH, host: 127.0.0.1, port: {{port}} } }
            deidentify: { lung: { project: lung } }
            rules:
              - { name: institution, coerce: { InstitutionName: Site A } }
              - { name: research, when: { Modality: CT }, deidentify: lung, route: research }
            """);
        var gateway = await Gateway.StartAsync(rules.Setting);
        try
        {
            await gateway.SendAsync([.. Enumerable.Range(1, 3).Select(n => new TestInstance("2.25.1", "2.25.11", $"2.25.11{n}") { PatientName = "Secret^Name" }.ToSend())]);
            await gateway.SendAsync([new TestInstance("2.25.2", "2.25.21", "2.25.211") { Modality = "MR" }.ToSend()]);
            var away = await UntilAsync(gateway, d => d is { Waiting: 3, AwaySinceMs: not null });
            Assert.Equal((0, 0), (away.Delivered, away.Failed));
            Assert.NotEmpty(away.AwayReason!);

            gateway = await gateway.RestartAsync(rules.Setting);
            await UntilAsync(gateway, d => d.Waiting == 3);
            using var peer = Outside.Start("storescp", "-od", folder.FullName, "+xa", "-aet", "RESEARCH", $"{port}");
            try
            {
                await UntilAsync(gateway, d => d is { Waiting: 0, Delivered: 3, AwaySinceMs: null });
            }
            finally
            {
                peer.Kill();
            }

            var files = folder.GetFiles().Select(f => DicomFile.Parse(File.ReadAllBytes(f.FullName))).ToList();
            Assert.Equal(3, files.Count);
            Assert.Single(files.Select(f => f.Dataset.GetString(DicomTags.StudyInstanceUID)).Distinct());
            Assert.All(files, f => Assert.Equal("YES", f.Dataset.GetString(DicomTags.PatientIdentityRemoved)));
            Assert.All(files, f => Assert.DoesNotContain("Secret", f.Dataset.GetString(DicomTags.PatientName), StringComparison.Ordinal));
            Assert.DoesNotContain(files, f => f.Dataset.GetString(DicomTags.StudyInstanceUID) == "2.25.1");
        }
        finally
        {
            await gateway.DisposeAsync();
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task A_destination_that_is_a_peer_is_called_over_its_TLS_and_gets_decoded_what_it_takes_only_so()
    {
        using var authority = new Dimse.TestAuthority();
        var (port, own, archive) = (FreePorts.Next(), authority.Issue("yizhan"), authority.Issue("archive"));
        var folder = Directory.CreateTempSubdirectory("yizhan-routes-");
        await using var rules = new RulesFile("""
            destinations: { research: { peer: ARCHIVE } }
            rules: [ { name: all, route: research } ]
            """);
        using var peer = Outside.Start("storescp", "-od", folder.FullName, "+tls", archive.KeyFile, archive.File, "+cf", authority.RootFile, $"{port}");
        try
        {
            await Outside.ListensAsync(port);
            await using var gateway = await Gateway.StartAsync(
                rules.Setting, "--pacs-gw:dicomTlsPort=0", $"--pacs-gw:tlsCertificatePath={own.File}", $"--pacs-gw:tlsKeyPath={own.KeyFile}",
                $"--pacs-gw:tlsRootPath={authority.RootFile}", "--pacs-gw:peers:2:aeTitle=ARCHIVE", "--pacs-gw:peers:2:host=127.0.0.1",
                $"--pacs-gw:peers:2:port={port}", "--pacs-gw:peers:2:tls=true", $"--pacs-gw:peers:2:certificateSha256={archive.Sha256}");

            // storescp without an option takes only uncompressed instances.
            var file = CorpusFiles.Unique("jpeg2000/VL1_J2KR.dcm")!;
            await gateway.StowAsync([CorpusFiles.Bytes(file), new TestInstance("2.25.3", "2.25.31", "2.25.311").ToFile()]);
            var done = await UntilAsync(gateway, d => d is { Delivered: 2 } or { Failed: > 0 });
            Assert.Equal((2, 0, $"ARCHIVE@127.0.0.1:{port}"), (done.Delivered, done.Failed, done.Address));
            Assert.Equal(2, folder.GetFiles().Length);
            Assert.All(folder.GetFiles(), f => Assert.False(DicomFile.Parse(File.ReadAllBytes(f.FullName)).TransferSyntax.IsEncapsulated));
        }
        finally
        {
            peer.Kill();
            await peer.WaitForExitAsync(CancellationToken.None);
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task A_destination_that_is_no_peer_stops_the_start()
    {
        await using var rules = new RulesFile("""
            destinations: { archive: { peer: ARCHIVE } }
            rules: [ { name: all, route: archive } ]
            """);
        var problem = await Assert.ThrowsAsync<Platform.SettingException>(() => Gateway.StartAsync(rules.Setting, "--pacs-gw:peers:2:aeTitle=ARCHIVE"));
        Assert.Contains("'ARCHIVE'", problem.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Orthanc_gets_copies_by_DICOM_and_by_REST_and_following_it_brings_none_back()
    {
        await using var orthanc = await OrthancPeer.StartAsync();
        await using var rules = new RulesFile($$"""
            destinations:
              dicom: { aeTitle: ORTHANC, host: 127.0.0.1, port: {{orthanc.DicomPort}} }
              rest: { orthanc: "http://127.0.0.1:{{orthanc.HttpPort}}/" }
            rules:
              - { name: first, when: { StudyInstanceUID: 2.25.1 }, route: dicom }
              - { name: second, when: { StudyInstanceUID: 2.25.2 }, coerce: { InstitutionName: Site A }, route: rest }
              - { name: third, when: { StudyInstanceUID: 2.25.3 }, route: [rest] }
            """);
        await using var gateway = await Gateway.StartAsync([rules.Setting, .. orthanc.Settings]);
        await gateway.SendAsync([.. Enumerable.Range(1, 3).Select(n => new TestInstance($"2.25.{n}", $"2.25.{n}1", $"2.25.{n}11").ToSend())]);
        await UntilAsync(gateway, d => d.Delivered >= 1, "dicom");
        await UntilAsync(gateway, d => d.Delivered >= 2, "rest");
        Assert.Equal(["2.25.111", "2.25.211", "2.25.311"], (await orthanc.InstancesAsync()).Order());

        // What we sent is in Orthanc's feed before this one, which therefore was read when this one is here.
        await orthanc.StoreAsync(new TestInstance("2.25.4", "2.25.41", "2.25.411"));
        IReadOnlyList<string> uids = [];
        await Wait.UntilAsync(async () =>
        {
            uids = [.. (await gateway.EntriesAsync(InstanceStored.EventType)).Select(e => (string)e["sopInstanceUid"]!)];
            return uids.Contains("2.25.411");
        }, "2.25.411 is in the log");
        Assert.Equal(4, uids.Count);
        Assert.Single(uids, "2.25.111");
        Assert.Single(uids, "2.25.311");
    }

    [Fact]
    public async Task A_copy_that_is_refused_waits_for_a_person_who_may_try_again_or_give_it_up()
    {
        // A storescp that takes no video, which nobody here decodes: its presentation context is not accepted.
        var port = FreePorts.Next();
        var folder = Directory.CreateTempSubdirectory("yizhan-routes-");
        await using var rules = new RulesFile($$"""
            destinations: { research: { aeTitle: RESEARCH, host: 127.0.0.1, port: {{port}} } }
            rules: [{ name: research, route: research }]
            """);
        using var peer = Outside.Start("storescp", "-od", folder.FullName, "+xi", $"{port}");
        try
        {
            await Outside.ListensAsync(port);
            await using var gateway = await Gateway.StartAsync(rules.Setting);
            await gateway.SendAsync(new TestInstance("2.25.1", "2.25.11", "2.25.111")
            {
                Syntax = DicomTransferSyntax.Get("1.2.840.10008.1.2.4.100"),
                Change = d => d.Set(DicomElement.OfFragments(DicomTags.PixelData, [ReadOnlyMemory<byte>.Empty, new byte[64]])),
            });
            await gateway.SendAsync(new TestInstance("2.25.1", "2.25.11", "2.25.112") { Syntax = DicomTransferSyntax.ImplicitVrLittleEndian });
            await UntilAsync(gateway, d => d is { Waiting: 0, Delivered: 1, Failed: 1 });
            var failed = Assert.Single((await gateway.Http.GetFromJsonAsync("routes/failed", ContractsJson.Default.IReadOnlyListDeliveryView, Gateway.Cancel))!);
            Assert.Equal("2.25.111", failed.SopInstanceUid);
            Assert.Contains("no presentation context", failed.Reason, StringComparison.Ordinal);

            using var retried = await gateway.Http.PostAsync(new Uri($"routes/failed/{failed.Key}/retry", UriKind.Relative), null, Gateway.Cancel);
            Assert.True(retried.IsSuccessStatusCode);
            await UntilAsync(gateway, d => d is { Waiting: 0, Failed: 1 });
            using var dropped = await gateway.Http.DeleteAsync(new Uri($"routes/failed/{failed.Key}", UriKind.Relative), Gateway.Cancel);
            Assert.True(dropped.IsSuccessStatusCode);
            await UntilAsync(gateway, d => d is { Waiting: 0, Failed: 0, Delivered: 1 });
            using var unknown = await gateway.Http.DeleteAsync(new Uri($"routes/failed/{failed.Key}", UriKind.Relative), Gateway.Cancel);
            Assert.Equal(System.Net.HttpStatusCode.NotFound, unknown.StatusCode);
        }
        finally
        {
            peer.Kill();
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task Parts_of_compressed_pixels_are_blanked_in_the_copy()
    {
        var original = Outside.Files("jpegls").Single(f => f.EndsWith("MR_small_jpeg_ls_lossless.dcm", StringComparison.Ordinal));
        var file = DicomFile.Parse(await File.ReadAllBytesAsync(original, Gateway.Cancel));
        var port = FreePorts.Next();
        var folder = Directory.CreateTempSubdirectory("yizhan-routes-");
        await using var rules = new RulesFile($$"""
            destinations: { research: { aeTitle: RESEARCH, host: 127.0.0.1, port: {{port}} } }
            deidentify: { lung: { project: lung, blank: ["0 0 64 10"] } }
            rules: [{ name: research, deidentify: lung, route: research }]
            """);
        using var peer = Outside.Start("storescp", "-od", folder.FullName, "+xa", $"{port}");
        try
        {
            await Outside.ListensAsync(port);
            await using var gateway = await Gateway.StartAsync(rules.Setting);
            var instance = Dicom.Network.StoreInstance.FromMemory(
                file.Dataset.GetString(DicomTags.SOPClassUID)!, file.Dataset.GetString(DicomTags.SOPInstanceUID)!, file.TransferSyntax.Uid,
                DicomWriter.ToArray(file.Dataset, file.TransferSyntax));
            Assert.Equal([(ushort)0], await gateway.SendAsync([instance]));
            await UntilAsync(gateway, d => d.Delivered == 1);
            var copy = DicomFile.Parse(await File.ReadAllBytesAsync(folder.GetFiles().Single().FullName, Gateway.Cancel)).Dataset;
            var pixels = copy.GetBytes(DicomTags.PixelData).ToArray();
            Assert.Equal(64 * 64 * 2, pixels.Length);
            var black = pixels.AsSpan(0, 2).ToArray();
            Assert.All(Enumerable.Range(0, 64 * 10), i => Assert.Equal(black, pixels[(2 * i)..((2 * i) + 2)]));
            Assert.Contains(pixels.Chunk(2).Skip(64 * 10), p => !p.AsSpan().SequenceEqual(black));
            Assert.Equal("NO", copy.GetString(DicomTags.BurnedInAnnotation));
        }
        finally
        {
            peer.Kill();
            folder.Delete(recursive: true);
        }
    }

    internal static async Task<DestinationView> UntilAsync(
        Gateway gateway, Func<DestinationView, bool> reached, string name = "research", [CallerArgumentExpression(nameof(reached))] string what = "")
    {
        DestinationView? view = null;
        await Wait.UntilAsync(async () =>
        {
            var routes = await gateway.Http.GetFromJsonAsync("routes", ContractsJson.Default.IReadOnlyListDestinationView, Gateway.Cancel);
            view = routes!.SingleOrDefault(r => r.Name == name);
            return view is not null && reached(view);
        }, $"{name}: {what}");
        return view!;
    }
}
