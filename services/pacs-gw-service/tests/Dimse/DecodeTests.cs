using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;

namespace Yizhan.PacsGw.Tests.Dimse;

/// <summary>A peer that takes only uncompressed instances gets a JPEG 2000 one decoded, with the pixels that GDCM decodes.</summary>
[Trait("Clause", "S2")]
public sealed class DecodeTests
{
    [Theory]
    [InlineData("store")]
    [InlineData("move")]
    [InlineData("get")]
    public async Task A_compressed_instance_is_decoded_for_who_takes_only_uncompressed_ones_and_a_broken_one_fails_alone(string operation)
    {
        var file = CorpusFiles.Unique("jpeg2000/VL1_J2KR.dcm")!;
        var (study, series) = (file.Dataset.GetString(DicomTags.StudyInstanceUID)!, file.Dataset.GetString(DicomTags.SeriesInstanceUID)!);
        var broken = new TestInstance(study, series, "1.1.1.1")
        {
            PatientId = file.Dataset.GetString(DicomTags.PatientID)!,
            PatientName = file.Dataset.GetString(DicomTags.PatientName)!,
            Syntax = DicomTransferSyntax.Get("1.2.840.10008.1.2.4.90"),
            Change = d => d.Set(DicomElement.OfFragments(DicomTags.PixelData, [ReadOnlyMemory<byte>.Empty, new byte[64]])),
        };
        var port = FreePorts.Next();
        var folder = Directory.CreateTempSubdirectory("yizhan-decode-");
        var received = folder.CreateSubdirectory("received");
        using var sink = Outside.Start("storescp", "-od", received.FullName, $"{port}");
        try
        {
            await Outside.ListensAsync(port);
            await using var gateway = await Gateway.StartAsync("--pacs-gw:peers:2:aeTitle=SINK", "--pacs-gw:peers:2:host=127.0.0.1", $"--pacs-gw:peers:2:port={port}");
            await gateway.StowAsync([CorpusFiles.Bytes(file), broken.ToFile()]);
            await gateway.IndexedAsync();
            if (operation == "store")
            {
                var result = await ScuWithDcmtk.PostAsync(gateway, "peers/SINK/store", new PeerStudy(study));
                Assert.Equal((1, 1), ((int)result["completed"]!, (int)result["failed"]!));
            }
            else
            {
                string[] how = operation == "move" ? ["movescu", "-aem", "SINK"] : ["getscu", "-od", received.FullName];
                var (_, output) = await Outside.DcmtkAsync(
                    how[0], ["-S", "-v", "-aet", "CT-1", "-aec", "YIZHAN", .. how[1..], "-k", "QueryRetrieveLevel=STUDY", "-k", $"StudyInstanceUID={study}", "127.0.0.1", $"{gateway.DicomPort}"]);
                Assert.True(received.GetFiles().Length == 1, output);
            }

            var source = Path.Combine(folder.FullName, "source.dcm");
            var decoded = Path.Combine(folder.FullName, "decoded.dcm");
            await File.WriteAllBytesAsync(source, CorpusFiles.Bytes(file), Gateway.Cancel);
            var (exit, why) = await Outside.DcmtkAsync("gdcmconv", "--raw", source, decoded);
            Assert.True(exit == 0, why);
            var arrived = DicomFile.Parse(await File.ReadAllBytesAsync(received.GetFiles().Single().FullName, Gateway.Cancel)).Dataset;
            var expected = DicomFile.Parse(await File.ReadAllBytesAsync(decoded, Gateway.Cancel)).Dataset;
            Assert.Equal(expected.GetBytes(DicomTags.PixelData).ToArray(), arrived.GetBytes(DicomTags.PixelData).ToArray());
        }
        finally
        {
            sink.Kill();
            await sink.WaitForExitAsync(CancellationToken.None);
            folder.Delete(recursive: true);
        }
    }

    /// <summary>Nothing is decoded for who takes it as it is, whatever else it proposes beside that, and in whatever order.</summary>
    [Theory]
    [InlineData("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90")]
    [InlineData("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.1")]
    public async Task C_GET_sends_an_instance_as_it_is_stored_where_that_is_accepted(string first, string second)
    {
        var file = CorpusFiles.Unique("jpeg2000/VL1_J2KR.dcm")!;
        var sopClass = file.Dataset.GetString(DicomTags.SOPClassUID)!;
        await using var gateway = await Gateway.StartAsync();
        await gateway.StowAsync([CorpusFiles.Bytes(file)]);
        await gateway.IndexedAsync();
        await using var association = await Connector.RequestAsync(
            "127.0.0.1",
            gateway.DicomPort,
            new AssociateRequest
            {
                CallingAeTitle = "CT-1",
                CalledAeTitle = "YIZHAN",
                PresentationContexts =
                [
                    new PresentationContext(1, DicomUids.StudyRootGet, [DicomTransferSyntax.ExplicitVrLittleEndian.Uid]),
                    new PresentationContext(3, sopClass, [first]),
                    new PresentationContext(5, sopClass, [second]),
                ],
                Roles = [new RoleSelection(sopClass, Scu: false, Scp: true)],
            },
            new AssociationOptions(),
            TimeProvider.System,
            Gateway.Cancel);
        var syntaxes = new List<string>();
        var result = await new DimseScu(association).GetAsync(
            DicomUids.StudyRootGet,
            new DicomDataset().Set(DicomTags.QueryRetrieveLevel, "STUDY").Set(DicomTags.StudyInstanceUID, file.Dataset.GetString(DicomTags.StudyInstanceUID)!),
            async (message, cancellationToken) =>
            {
                syntaxes.Add(message.PresentationContext.TransferSyntax);
                await message.DataSet!.CopyToAsync(Stream.Null, cancellationToken);
                return DimseStatus.Success;
            },
            null,
            Gateway.Cancel);
        await association.ReleaseAsync(Gateway.Cancel);
        Assert.Equal(["1.2.840.10008.1.2.4.90"], syntaxes);
    }
}
