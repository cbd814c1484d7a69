using System.Buffers.Binary;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;

namespace Yizhan.PacsGw.Tests.Dimse;

/// <summary>Instances on their way out: the same bytes whatever was negotiated, as many at a time as was agreed, and never damaged ones.</summary>
[Trait("Clause", "S2")]
public sealed class RetrieveTests
{
    private const int RecordHeaderBytes = 384;

    private static readonly int[] Lengths = [2, 65_000, 131_072, 262_144, 700_000, 2_500_000];

    [Theory]
    [InlineData(4096, 1)]
    [InlineData(16_384, 1)]
    [InlineData(131_072, 1)]
    [InlineData(131_072, 16)]
    [InlineData(1_048_576, 3)]
    public async Task C_GET_gives_the_bytes_that_were_stored(int pduBytes, int window)
    {
        await using var gateway = await Gateway.StartAsync();
        TestInstance[] instances = [.. Lengths.Select((length, i) => Instance(i, length))];
        await StoreAsync(gateway, instances);
        await using var association = await AssociateAsync(gateway, window, pduBytes);
        var got = new Dictionary<string, byte[]>();
        var result = await new DimseScu(association).GetAsync(
            DicomUids.StudyRootGet,
            Study(),
            async (message, cancellationToken) =>
            {
                var bytes = new MemoryStream();
                await message.DataSet!.CopyToAsync(bytes, cancellationToken);
                got.Add(message.Command.SopInstanceUid!, bytes.ToArray());
                return DimseStatus.Success;
            },
            null,
            Gateway.Cancel);
        await association.ReleaseAsync(Gateway.Cancel);
        Assert.Equal(new SubOperations(0, instances.Length, 0, 0), result.Counts with { Remaining = 0 });
        Assert.All(instances, i => Assert.True(i.ToBytes().AsSpan().SequenceEqual(got[i.Sop])));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task C_GET_has_as_many_instances_unanswered_as_was_agreed_and_sends_no_other_after_a_cancel(int window)
    {
        await using var gateway = await Gateway.StartAsync();
        await StoreAsync(gateway, [.. Enumerable.Range(0, 7).Select(i => Instance(i, 1000 + (2 * i)))]);
        await using var association = await AssociateAsync(gateway, window);
        var context = association.PresentationContexts[1];
        await association.SendAsync(1, CommandSet.GetRequest(1, DicomUids.StudyRootGet), DimseScu.Encode(context, Study()), Gateway.Cancel);
        var stores = new List<DimseMessage>();
        while (stores.Count < window)
        {
            // The limit only ends a test that would wait for what never comes.
            var message = (await association.ReceiveAsync(Gateway.Cancel).AsTask().WaitAsync(TimeSpan.FromMinutes(3), Gateway.Cancel))!;
            Assert.Equal(CommandField.CStoreRequest, message.Command.Field);
            await message.DataSet!.CopyToAsync(Stream.Null, Gateway.Cancel);
            stores.Add(message);
        }

        await association.SendAsync(1, CommandSet.CancelRequest(1), Gateway.Cancel);
        foreach (var store in stores)
        {
            await association.SendAsync(store.PresentationContext.Id, store.Command.CreateResponse(DimseStatus.Success), Gateway.Cancel);
        }

        var last = (await association.ReceiveAsync(Gateway.Cancel))!.Command;
        Assert.Equal((CommandField.CGetResponse, DimseStatus.Cancel), (last.Field, last.Status));
        Assert.Equal(new SubOperations(7 - window, window, 0, 0), last.GetSubOperations());
        await association.ReleaseAsync(Gateway.Cancel);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public async Task An_instance_that_fails_its_checksum_is_a_failed_sub_operation_and_the_others_arrive(int window)
    {
        var folder = Directory.CreateTempSubdirectory("yizhan-pacs-").FullName;
        await using var gateway = await Gateway.StartInAsync(folder);
        TestInstance[] instances = [.. Enumerable.Range(0, 5).Select(i => Instance(i, 100_000 + (2 * i)))];
        await StoreAsync(gateway, instances);
        Damage(folder, instances[2].ToBytes().Length, at: 70_000);
        await using var association = await AssociateAsync(gateway, window);
        var got = new List<string>();
        var result = await new DimseScu(association).GetAsync(DicomUids.StudyRootGet, Study(), (message, cancellationToken) => TakeAsync(message, got, cancellationToken), null, Gateway.Cancel);
        await association.ReleaseAsync(Gateway.Cancel);
        Assert.Equal((4, 1, instances[2].Sop), (result.Counts.Completed, result.Counts.Failed, result.FailedInstances.Single()));
        Assert.Equal(instances.Where(i => i != instances[2]).Select(i => i.Sop), got);
    }

    [Fact]
    public async Task An_instance_that_turns_out_damaged_when_a_part_of_it_was_sent_aborts_and_is_never_complete()
    {
        var folder = Directory.CreateTempSubdirectory("yizhan-pacs-").FullName;
        await using var gateway = await Gateway.StartInAsync(folder);
        TestInstance[] instances = [Instance(0, 900_000), Instance(1, 900_002)];
        await StoreAsync(gateway, instances);
        Damage(folder, instances[1].ToBytes().Length, at: 899_000);
        await using var association = await AssociateAsync(gateway, 4);
        var got = new List<string>();
        var ended = await Assert.ThrowsAsync<AssociationException>(() => new DimseScu(association).GetAsync(
            DicomUids.StudyRootGet, Study(), (message, cancellationToken) => TakeAsync(message, got, cancellationToken), null, Gateway.Cancel));
        Assert.Equal(AssociationEnd.AbortedByPeer, ended.End);
        Assert.Equal([instances[0].Sop], got);

        using var response = await gateway.GetAsync($"studies/{instances[0].Study}", "multipart/related; type=\"application/dicom\"");
        await Assert.ThrowsAnyAsync<Exception>(() => response.Content.ReadAsByteArrayAsync(Gateway.Cancel));

        // The node is as well as before.
        await using var next = await AssociateAsync(gateway, 1);
        await new DimseScu(next).EchoAsync(Gateway.Cancel);
        await next.ReleaseAsync(Gateway.Cancel);
    }

    private static TestInstance Instance(int number, int pixelBytes)
    {
        var pixels = new byte[pixelBytes];
        new Random(number + pixelBytes).NextBytes(pixels);
        return new TestInstance("1.2.3", "1.2.3.4", $"1.2.3.4.{number + 1}") { Number = number + 1, Change = d => d.SetBytes(DicomTags.PixelData, pixels, DicomVr.OW) };
    }

    private static DicomDataset Study() => new DicomDataset().Set(DicomTags.QueryRetrieveLevel, "STUDY").Set(DicomTags.StudyInstanceUID, "1.2.3");

    private static async Task StoreAsync(Gateway gateway, TestInstance[] instances)
    {
        Assert.All(await gateway.SendAsync([.. instances.Select(i => i.ToSend())]), status => Assert.Equal((ushort?)0, status));
        await gateway.IndexedAsync();
    }

    private static async Task<ushort> TakeAsync(DimseMessage message, List<string> got, CancellationToken cancellationToken)
    {
        await message.DataSet!.CopyToAsync(Stream.Null, cancellationToken);
        got.Add(message.Command.SopInstanceUid!);
        return DimseStatus.Success;
    }

    /// <summary>Turns one bit of the only stored blob that has this length, of less than 1 MiB: in the file, as a disk would.</summary>
    private static void Damage(string folder, int blobBytes, int at)
    {
        var found = 0;
        foreach (var path in Directory.GetFiles(folder, "*.seg", SearchOption.AllDirectories))
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
            var header = new byte[16];
            for (var record = 0L; record + header.Length <= file.Length; record += 4096)
            {
                file.Position = record;
                file.ReadExactly(header);
                if (header.AsSpan(0, 4).SequenceEqual("YSG2"u8) && header[8] == 1 && BinaryPrimitives.ReadInt32LittleEndian(header.AsSpan(12)) == blobBytes)
                {
                    file.Position = record + RecordHeaderBytes + at;
                    var bit = (byte)(file.ReadByte() ^ 1);
                    file.Position--;
                    file.WriteByte(bit);
                    found++;
                }
            }
        }

        Assert.Equal(1, found);
    }

    private static Task<Association> AssociateAsync(Gateway gateway, int window, int pduBytes = 131_072) => Connector.RequestAsync(
        "127.0.0.1",
        gateway.DicomPort,
        new AssociateRequest
        {
            CallingAeTitle = "CT-1",
            CalledAeTitle = "YIZHAN",
            PresentationContexts =
            [
                new PresentationContext(1, DicomUids.StudyRootGet, [DicomTransferSyntax.ExplicitVrLittleEndian.Uid]),
                new PresentationContext(3, DicomUids.CtImageStorage, [DicomTransferSyntax.ExplicitVrLittleEndian.Uid]),
                new PresentationContext(5, DicomUids.Verification, [DicomTransferSyntax.ExplicitVrLittleEndian.Uid]),
            ],
            Roles = [new RoleSelection(DicomUids.CtImageStorage, Scu: false, Scp: true)],
        },
        new AssociationOptions { MaxOperations = window, MaxPduBytes = pduBytes },
        TimeProvider.System,
        Gateway.Cancel);
}
