using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;

namespace Yizhan.PacsGw.Tests;

public sealed class StoreTests
{
    private static TestInstance Instance(string sop) => new("1.2.3", "1.2.3.4", sop);

    private static string Hash(byte[] bytes) => Storage.ContentHash.Of(bytes).ToString();

    [Theory]
    [InlineData("charset")]
    [InlineData("deid")]
    [InlineData("derived")]
    [InlineData("identity")]
    [InlineData("jpeg")]
    [InlineData("jpeg2000")]
    [InlineData("jpegls")]
    [InlineData("malformed")]
    [InlineData("multiframe")]
    [InlineData("native")]
    [InlineData("new-ts")]
    [InlineData("non-image")]
    [InlineData("rle")]
    public async Task Every_file_comes_back_byte_for_byte_or_is_refused_with_a_status(string category)
    {
        await using var gateway = await Gateway.StartAsync();
        var sent = Outside.Files(category).Select(Read).OfType<(StoreInstance Instance, byte[] Bytes)>().ToList();
        var statuses = await gateway.SendAsync([.. sent.Select(s => s.Instance)]);
        await gateway.IndexedAsync();
        var stored = sent.Zip(statuses).Where(s => s.Second == 0).Select(s => s.First).ToList();
        Assert.NotEmpty(stored);
        Assert.All(statuses, s => Assert.True(s is 0 or 0xC000 or 0xA900 or 0x0122, $"{s:X4}"));
        Assert.Equal(
            stored.Select(s => Hash(s.Bytes)).Distinct().Count(), (await gateway.EntriesAsync(InstanceStored.EventType)).Count);

        // Of instances with one UID the first answers; the others are kept beside it.
        foreach (var (instance, bytes) in stored.DistinctBy(s => s.Instance.SopInstanceUid))
        {
            var found = (await gateway.QueryAsync($"instances?SOPInstanceUID={instance.SopInstanceUid}")).First();
            var url = new Uri((string)found!["00081190"]!["Value"]![0]!).PathAndQuery.Split("dicom-web/")[1];
            using var response = await gateway.GetAsync(url, "application/dicom; transfer-syntax=*");
            var file = await response.Content.ReadAsByteArrayAsync(Gateway.Cancel);
            var header = DicomFileHeader.Read(file);
            Assert.Equal(instance.TransferSyntaxUid, header.TransferSyntax.Uid);
            Assert.True(file.AsSpan((int)header.DatasetOffset).SequenceEqual(bytes), $"{category}: {url}");
            using var metadata = await gateway.GetAsync(url + "/metadata");
            Assert.Equal(System.Net.HttpStatusCode.OK, metadata.StatusCode);
        }

        static (StoreInstance, byte[])? Read(string path)
        {
            var file = File.ReadAllBytes(path);
            try
            {
                var header = DicomFileHeader.Read(file);
                var bytes = file[(int)header.DatasetOffset..];
                if (bytes.Length % 2 == 1)
                {
                    // A deflated data set that its file did not pad: it is padded to travel (PS3.5 §A.5), and kept as it travelled.
                    bytes = [.. bytes, 0];
                }

                var inspector = new DicomStreamInspector(header.TransferSyntax);
                try
                {
                    inspector.Push(bytes);
                }
                catch (DicomFormatException)
                {
                    // It is sent all the same: refusing it is what is tested.
                }

                return inspector.Header.GetString(DicomTags.SOPClassUID) is { } sopClass
                    && DicomUids.StorageSopClasses.ContainsKey(sopClass)
                    && inspector.Header.GetString(DicomTags.SOPInstanceUID) is { } sop
                    && header.TransferSyntax.IsKnown
                    ? (StoreInstance.FromMemory(sopClass, sop, header.TransferSyntax.Uid, bytes), bytes)
                    : null;
            }
            catch (DicomFormatException)
            {
                return null;
            }
        }
    }

    [Fact]
    public async Task What_dcmtk_sends_comes_back_as_dcmtk_itself_would_have_kept_it()
    {
        await using var gateway = await Gateway.StartAsync();
        var kept = Directory.CreateTempSubdirectory("yizhan-storescp-");
        var port = FreePorts.Next();
        using var witness = Outside.Start("storescp", "+B", "+xa", "-od", kept.FullName, $"{port}");
        try
        {
            var files = Outside.Files("jpeg").Concat(Outside.Files("native")).ToArray();
            await Outside.ListensAsync(port);
            foreach (var to in new[] { port, gateway.DicomPort })
            {
                await Outside.DcmtkAsync("dcmsend", ["-nh", "-dn", "-aet", "CT-1", "-aec", "YIZHAN", "127.0.0.1", $"{to}", .. files]);
            }

            await gateway.IndexedAsync();
            var ours = (await gateway.EntriesAsync(InstanceStored.EventType)).Select(e => (string)e["sha256"]!).ToHashSet();
            var theirs = kept.GetFiles().Select(f =>
            {
                var file = File.ReadAllBytes(f.FullName);
                return Hash(file[(int)DicomFileHeader.Read(file).DatasetOffset..]);
            }).ToHashSet();
            Assert.True(theirs.Count > 10, $"storescp kept {theirs.Count}");
            Assert.Subset(ours, theirs);
        }
        finally
        {
            witness.Kill();
            kept.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task An_echo_is_answered()
    {
        await using var gateway = await Gateway.StartAsync();
        var (exit, output) = await Outside.DcmtkAsync("echoscu", "-aet", "STORESCU", "-aec", "YIZHAN", "127.0.0.1", $"{gateway.DicomPort}");
        Assert.True(exit == 0, output);
    }

    [Fact]
    public async Task Who_is_not_known_or_asks_for_another_is_rejected_with_the_reason()
    {
        await using var gateway = await Gateway.StartAsync();
        var (exit, output) = await Outside.DcmtkAsync("echoscu", "-aet", "STRANGER", "-aec", "YIZHAN", "127.0.0.1", $"{gateway.DicomPort}");
        Assert.NotEqual(0, exit);
        Assert.Contains("Calling AE Title Not Recognized", output, StringComparison.Ordinal);

        (exit, output) = await Outside.DcmtkAsync("echoscu", "-aet", "STORESCU", "-aec", "OTHER", "127.0.0.1", $"{gateway.DicomPort}");
        Assert.NotEqual(0, exit);
        Assert.Contains("Called AE Title Not Recognized", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_known_title_from_another_address_is_rejected()
    {
        await using var gateway = await Gateway.StartAsync("--pacs-gw:peers:1:address=192.0.2.7");
        var rejected = await Assert.ThrowsAsync<AssociationException>(() => gateway.SendAsync(Instance("1.1")));
        Assert.Equal(RejectReason.CallingAeTitleNotRecognized, rejected.Rejection!.Value.Reason);
    }

    [Fact]
    public async Task One_association_too_many_is_told_to_come_later()
    {
        await using var gateway = await Gateway.StartAsync("--pacs-gw:maxAssociations=1");
        var request = new AssociateRequest
        {
            CallingAeTitle = "CT-1",
            CalledAeTitle = "YIZHAN",
            PresentationContexts = [new PresentationContext(1, DicomUids.Verification, [DicomTransferSyntax.ImplicitVrLittleEndian.Uid])],
        };
        var first = await Connector.RequestAsync("127.0.0.1", gateway.DicomPort, request, new(), TimeProvider.System, Gateway.Cancel);
        var rejected = await Assert.ThrowsAsync<AssociationException>(() => gateway.SendAsync(Instance("1.1")));
        Assert.Equal(new Rejection(RejectReason.LocalLimitExceeded, Transient: true), rejected.Rejection);

        await first.ReleaseAsync(Gateway.Cancel);
        await first.DisposeAsync();
        await Wait.UntilAsync(async () =>
        {
            // The place is free once the gateway has seen the connection close.
            try
            {
                Assert.Equal((ushort?)0, await gateway.SendAsync(Instance("1.1")));
                return true;
            }
            catch (AssociationException e) when (e.Rejection is { Transient: true })
            {
                return false;
            }
        }, "the place is free");
    }

    [Fact]
    public async Task A_bad_data_set_gets_its_status_and_the_next_one_is_stored()
    {
        await using var gateway = await Gateway.StartAsync();
        var good = Instance("1.1").ToBytes();
        var cut = good[..^10];
        var wrongLength = (byte[])good.Clone();
        wrongLength[^18] = 0xFF; // Length of Pixel Data: longer than what follows.
        var results = await gateway.SendAsync(
        [
            Raw("1.1", cut),
            Raw("1.1", wrongLength),
            Raw("1.1", "no data set at all, only text that goes on"u8.ToArray()),
            Raw("1.1", Instance("1.2").ToBytes()),
            StoreInstance.FromMemory(DicomUids.MrImageStorage, "1.1", DicomTransferSyntax.ExplicitVrLittleEndian.Uid, good),
            Raw("1.1", DicomWriter.ToArray(Without(DicomTags.StudyInstanceUID), DicomTransferSyntax.ExplicitVrLittleEndian)),
            Raw("1.1", good),
        ]);
        Assert.Equal(
            new ushort?[] { 0xC000, 0xC000, 0xC000, 0xA900, 0xA900, 0xC000, 0x0000 }, results);
        Assert.Single(await gateway.EntriesAsync(InstanceStored.EventType));

        static StoreInstance Raw(string sop, byte[] bytes) =>
            StoreInstance.FromMemory(DicomUids.CtImageStorage, sop, DicomTransferSyntax.ExplicitVrLittleEndian.Uid, bytes);
        static DicomDataset Without(DicomTag tag)
        {
            var dataset = Instance("1.1").ToDataset();
            dataset.Remove(tag);
            return dataset;
        }
    }

    [Fact]
    public async Task Many_stores_of_one_association_may_be_under_way()
    {
        await using var gateway = await Gateway.StartAsync();
        var statuses = await gateway.SendAsync([.. Enumerable.Range(1, 200).Select(i => Instance($"1.{i}").ToSend())], window: 16);
        Assert.All(statuses, s => Assert.Equal((ushort?)0, s));
        await gateway.IndexedAsync();
        Assert.Equal(200, (await gateway.QueryAsync("studies/1.2.3/instances?limit=1000")).Count);
    }

    [Fact]
    public async Task Sending_again_succeeds_and_keeps_one_copy()
    {
        await using var gateway = await Gateway.StartAsync();
        Assert.Equal((ushort?)0, await gateway.SendAsync(Instance("1.1")));
        Assert.Equal((ushort?)0, await gateway.SendAsync(Instance("1.1")));
        await gateway.IndexedAsync();
        Assert.Single(await gateway.EntriesAsync(InstanceStored.EventType));
        Assert.Single(await gateway.QueryAsync("instances"));
    }

    [Fact]
    public async Task The_same_uid_with_other_content_is_kept_beside_and_reported()
    {
        await using var gateway = await Gateway.StartAsync();
        await gateway.SendAsync(Instance("1.1"));
        await gateway.SendAsync(Instance("1.1") with { Number = 7 });
        await gateway.IndexedAsync();
        Assert.Equal(2, (await gateway.EntriesAsync(InstanceStored.EventType)).Count);
        Assert.Single(await gateway.EntriesAsync(AuditRecord.EventType), a => ((string)a["detail"]!).Contains("other content", StringComparison.Ordinal));
        var found = Assert.Single(await gateway.QueryAsync("instances?includefield=InstanceNumber"))!;
        Assert.Equal(1, (int)found["00200013"]!["Value"]![0]!);
    }

    [Fact]
    public async Task Each_study_of_an_association_is_audited_once_with_the_first_instance()
    {
        await using var gateway = await Gateway.StartAsync();
        await gateway.SendAsync([Instance("1.1").ToSend(), Instance("1.2").ToSend(), (Instance("1.3") with { Study = "1.9" }).ToSend()]);
        var records = await gateway.EntriesAsync(AuditRecord.EventType);
        Assert.Equal(["study/1.2.3", "study/1.9"], records.Select(r => (string)r["entity"]!).Order(StringComparer.Ordinal));
        Assert.All(records, r =>
        {
            Assert.Equal("110104", (string)r["eventId"]!);
            Assert.Equal("C", (string)r["action"]!);
            Assert.Equal("CT-1", (string)r["agent"]!);
            Assert.Equal("127.0.0.1", (string)r["agentAddress"]!);
        });
    }

    [Fact]
    public async Task A_full_spool_is_said_before_acceptance_and_the_association_goes_on()
    {
        // 16 MiB is the smallest quota: bulk stops at 92 % of it.
        var gateway = await Gateway.StartAsync("--storage:quotaBytes=16777216", "--storage:segmentBytes=4194304");
        try
        {
            var instances = Enumerable.Range(1, 12).Select(i => (Instance($"1.{i}") with
            {
                Change = d => d.SetBytes(DicomTags.PixelData, new byte[2 * 1024 * 1024 + i], DicomVr.OW),
            }).ToSend()).ToList();
            var statuses = await gateway.SendAsync(instances);
            Assert.Equal((ushort?)0, statuses[0]);
            Assert.Equal((ushort?)0xA700, statuses[^1]);
            Assert.DoesNotContain(statuses, s => s is not (0 or 0xA700));
            Assert.Equal(statuses.Count(s => s == 0), (await gateway.EntriesAsync(InstanceStored.EventType)).Count);

            gateway = await gateway.RestartAsync("--storage:quotaBytes=67108864", "--storage:segmentBytes=4194304");
            Assert.Equal((ushort?)0, (await gateway.SendAsync([instances[^1]])).Single());
        }
        finally
        {
            await gateway.DisposeAsync();
        }
    }
}
