using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;
using Yizhan.PacsGw.Commitment;

namespace Yizhan.PacsGw.Tests.Dimse;

/// <summary>Storage commitment in both roles, over the same and over a new association, against our own user of it and against Orthanc.</summary>
[Trait("Clause", "S2")]
public sealed class CommitmentTests
{
    [Fact]
    public async Task A_request_is_reported_over_its_association_with_what_is_kept_and_what_is_not()
    {
        await using var gateway = await Gateway.StartAsync();
        await gateway.SendAsync(new TestInstance("1.1", "1.1.1", "1.1.1.1"));
        await using var association = await AssociateAsync(gateway);
        await RequestAsync(association, "1.7.1", "1.1.1.1", "1.1.1.9");
        var message = (await association.ReceiveAsync(Gateway.Cancel))!;
        Assert.Equal((CommandField.NEventReportRequest, (ushort?)2), (message.Command.Field, message.Command.GetUInt16(CommandElement.EventTypeId)));
        var report = (await DimseScu.ReadAsync(message, Gateway.Cancel))!;
        Assert.Equal("1.7.1", report.GetString(DicomTags.TransactionUID));
        Assert.Equal("1.1.1.1", Assert.Single(report.GetItems(DicomTags.ReferencedSOPSequence)).GetString(DicomTags.ReferencedSOPInstanceUID));
        var failed = Assert.Single(report.GetItems(DicomTags.FailedSOPSequence));
        Assert.Equal(("1.1.1.9", 0x0112), (failed.GetString(DicomTags.ReferencedSOPInstanceUID), failed.GetInt32(DicomTags.FailureReason)));
        await association.SendAsync(1, message.Command.CreateResponse(DimseStatus.Success), Gateway.Cancel);
        await association.ReleaseAsync(Gateway.Cancel);
    }

    [Fact]
    public async Task A_request_survives_a_restart_and_is_reported_when_the_peer_can_be_reached()
    {
        var port = FreePorts.Next();
        string[] peer = ["--pacs-gw:peers:2:aeTitle=STORER", "--pacs-gw:peers:2:host=127.0.0.1", $"--pacs-gw:peers:2:port={port}"];
        var gateway = await Gateway.StartAsync(peer);
        await gateway.SendAsync(new TestInstance("1.1", "1.1.1", "1.1.1.1"));
        await using (var association = await AssociateAsync(gateway, "STORER"))
        {
            await RequestAsync(association, "1.7.2", "1.1.1.1");
            await association.ReleaseAsync(Gateway.Cancel);
        }

        gateway = await gateway.RestartAsync(peer);
        await using (gateway)
        {
            // The peer is another gateway of ours: it takes the report as one about its own request.
            await using var storer = await Gateway.StartAsync(
                "--pacs-gw:aeTitle=STORER", $"--pacs-gw:dicomPort={port}", "--pacs-gw:peers:2:aeTitle=YIZHAN");
            var received = await EventAsync<CommitmentReceived>(storer, CommitmentReceived.EventType);
            Assert.Equal(("YIZHAN", "1.7.2", "1.1.1.1"), (received.PeerAeTitle, received.TransactionUid, Assert.Single(received.Committed)));
            var reported = await EventAsync<CommitmentReported>(gateway, CommitmentReported.EventType);
            Assert.Equal((1, 0, true), (reported.Committed, reported.Failed, reported.Delivered));
        }
    }

    [Fact]
    public async Task Orthanc_commits_for_us_and_we_for_it_and_it_is_searched_and_retrieved_from()
    {
        var (dicom, http, ours) = (FreePorts.Next(), FreePorts.Next(), FreePorts.Next());
        var folder = Directory.CreateTempSubdirectory("yizhan-orthanc-");
        var settings = Path.Combine(folder.FullName, "orthanc.json");
        await File.WriteAllTextAsync(settings, JsonSerializer.Serialize(new Dictionary<string, object>
        {
            ["StorageDirectory"] = Path.Combine(folder.FullName, "db"),
            ["IndexDirectory"] = Path.Combine(folder.FullName, "db"),
            ["DicomAet"] = "ORTHANC",
            ["DicomPort"] = dicom,
            ["HttpPort"] = http,
            ["RemoteAccessAllowed"] = false,
            ["Plugins"] = Array.Empty<string>(),
            ["DicomAlwaysAllowStore"] = true,
            ["DicomCheckModalityHost"] = false,
            ["DicomModalities"] = new Dictionary<string, object>
            {
                ["yizhan"] = new Dictionary<string, object> { ["AET"] = "YIZHAN", ["Host"] = "127.0.0.1", ["Port"] = ours, ["AllowStorageCommitment"] = true },
            },
        }), Gateway.Cancel);
        Assert.SkipUnless(File.Exists("/usr/sbin/Orthanc"), "Orthanc is not installed.");
        using var orthanc = Process.Start(new ProcessStartInfo("/usr/sbin/Orthanc", settings) { RedirectStandardError = true })!;
        orthanc.ErrorDataReceived += (_, _) => { };
        orthanc.BeginErrorReadLine();
        try
        {
            await Outside.ListensAsync(dicom);
            await Outside.ListensAsync(http);
            await using var gateway = await Gateway.StartAsync(
                $"--pacs-gw:dicomPort={ours}", "--pacs-gw:peers:2:aeTitle=ORTHANC", "--pacs-gw:peers:2:host=127.0.0.1", $"--pacs-gw:peers:2:port={dicom}");
            await gateway.SendAsync(new TestInstance("1.1", "1.1.1", "1.1.1.1"));
            await gateway.IndexedAsync();
            Assert.Equal(1, (int)(await ScuWithDcmtk.PostAsync(gateway, "peers/ORTHANC/store", new PeerStudy("1.1")))["completed"]!);

            await ScuWithDcmtk.PostAsync(gateway, "peers/ORTHANC/commit", new PeerStudy("1.1"));
            var received = await EventAsync<CommitmentReceived>(gateway, CommitmentReceived.EventType);
            Assert.Equal(("ORTHANC", "1.1.1.1"), (received.PeerAeTitle, Assert.Single(received.Committed)));

            using var rest = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{http}/") };
            using var asked = await rest.PostAsync(
                new Uri("modalities/yizhan/storage-commitment", UriKind.Relative),
                new StringContent($$"""{"DicomInstances": [{"SOPClassUID": "{{DicomUids.CtImageStorage}}", "SOPInstanceUID": "1.1.1.1"}]}"""), Gateway.Cancel);
            var transaction = (string)JsonNode.Parse(await asked.Content.ReadAsStringAsync(Gateway.Cancel))!["ID"]!;
            var reported = await EventAsync<CommitmentReported>(gateway, CommitmentReported.EventType);
            Assert.Equal((transaction, 1, 0, true), (reported.TransactionUid, reported.Committed, reported.Failed, reported.Delivered));
            var answer = JsonNode.Parse(await rest.GetStringAsync(new Uri($"storage-commitment/{transaction}", UriKind.Relative), Gateway.Cancel))!;
            Assert.Equal("Success", (string)answer["Status"]!);

            // Orthanc as the peer of C-FIND, C-MOVE and C-GET, with what it has and we had not.
            var other = new TestInstance("1.2", "1.2.1", "1.2.1.1") { PatientId = "P2", CharacterSet = "ISO_IR 100" };
            using var uploaded = await rest.PostAsync(new Uri("instances", UriKind.Relative), new ByteArrayContent(other.ToFile()), Gateway.Cancel);
            Assert.True(uploaded.IsSuccessStatusCode);
            var keys = new Dictionary<string, string> { ["StudyInstanceUID"] = "1.2" };
            Assert.Single((await ScuWithDcmtk.PostAsync(gateway, "peers/ORTHANC/find", new PeerQuery("STUDY", keys))).AsArray());
            Assert.Equal(1, (int)(await ScuWithDcmtk.PostAsync(gateway, "peers/ORTHANC/get", new PeerQuery("STUDY", keys)))["completed"]!);
            Assert.Equal(1, (int)(await ScuWithDcmtk.PostAsync(gateway, "peers/ORTHANC/move", new PeerQuery("STUDY", keys)))["completed"]!);
            await gateway.IndexedAsync();
            Assert.Single(await gateway.QueryAsync("studies?StudyInstanceUID=1.2"));
        }
        finally
        {
            orthanc.Kill();
            await orthanc.WaitForExitAsync(CancellationToken.None);
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task A_request_that_is_wrong_gets_the_status_of_the_standard()
    {
        await using var gateway = await Gateway.StartAsync();
        await using var association = await AssociateAsync(gateway);
        var scu = new DimseScu(association);
        var request = CommitmentDataSet.Request("1.7.3", [new SopReferences(DicomUids.CtImageStorage, ["1.1"])]);
        Assert.Equal(0x0112, await StatusAsync("1.2.3", 1, request));
        Assert.Equal(0x0123, await StatusAsync(DicomUids.StorageCommitmentPushModelInstance, 2, request));
        Assert.Equal(0x0115, await StatusAsync(DicomUids.StorageCommitmentPushModelInstance, 1, new DicomDataset().Set(DicomTags.TransactionUID, "1.7.3")));
        await association.ReleaseAsync(Gateway.Cancel);

        async Task<int> StatusAsync(string instance, ushort action, DicomDataset dataset) => (await Assert.ThrowsAsync<DimseException>(() => scu.InvokeAsync(
            id => CommandSet.ActionRequest(id, DicomUids.StorageCommitmentPushModel, instance, action), dataset, Gateway.Cancel))).Status!.Value;
    }

    private static Task<CommandSet> RequestAsync(Association association, string transaction, params string[] instances) => new DimseScu(association).InvokeAsync(
        id => CommandSet.ActionRequest(id, DicomUids.StorageCommitmentPushModel, DicomUids.StorageCommitmentPushModelInstance, 1),
        CommitmentDataSet.Request(transaction, [new SopReferences(DicomUids.CtImageStorage, instances)]), Gateway.Cancel);

    private static Task<Association> AssociateAsync(Gateway gateway, string calling = "CT-1") => Connector.RequestAsync(
        "127.0.0.1",
        gateway.DicomPort,
        new AssociateRequest
        {
            CallingAeTitle = calling,
            CalledAeTitle = "YIZHAN",
            PresentationContexts = [new(1, DicomUids.StorageCommitmentPushModel, [DicomTransferSyntax.ImplicitVrLittleEndian.Uid])],
        },
        new AssociationOptions { MaxOperations = 1 },
        TimeProvider.System,
        Gateway.Cancel);

    /// <summary>The first event of a type, once it is there.</summary>
    private static async Task<T> EventAsync<T>(Gateway gateway, string type)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(Gateway.Cancel);
        limit.CancelAfter(TimeSpan.FromMinutes(3));
        while (true)
        {
            var last = gateway.Log.LastPosition;
            if (await gateway.EntriesAsync(type) is [var found, ..])
            {
                return found.Deserialize<T>(JsonSerializerOptions.Web)!;
            }

            await gateway.Log.WaitForMoreAsync(last, limit.Token);
        }
    }
}
