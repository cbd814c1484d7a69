using System.Net;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Dicom;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.Codecs;

namespace Yizhan.PacsGw.Tests;

/// <summary>What we write in another transfer syntax: dcmtk and GDCM read the same pixels out of it, and dciodvfy finds nothing new.</summary>
[Trait("Clause", "S2")]
public sealed class TranscoderTests(SharedGateway shared) : IClassFixture<SharedGateway>
{
    private const string JpegLs = "1.2.840.10008.1.2.4.80";
    private const string Jpeg2000 = "1.2.840.10008.1.2.4.90";
    private const string Rle = "1.2.840.10008.1.2.5";

    private static readonly string[] Sources =
    [
        "native/CT_small.dcm", "native/MR_small_expb.dcm", "native/examples_rgb_color.dcm", "native/examples_palette.dcm",
        "native/SC_rgb_small_odd_big_endian.dcm", "native/image_dfl.dcm", "multiframe/emri_small.dcm", "jpeg/SC_rgb_jpeg_gdcm.dcm", "jpegls/MR_small_jpeg_ls_lossless.dcm",
        "rle/SC_rgb_rle_16bit_2frame.dcm", "jpeg2000/VL1_J2KR.dcm",
    ];

    public static TheoryData<string, string> Rows =>
        [..
            from file in Sources
            from uid in (string[])[JpegLs, Jpeg2000, Rle, "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"]
            // GDCM does not write 16-bit colour out of JPEG 2000.
            where !(file.EndsWith("16bit_2frame.dcm", StringComparison.Ordinal) && uid == Jpeg2000)
            select (file, uid)];

    [Theory]
    [MemberData(nameof(Rows))]
    public async Task Lossless_there_and_nothing_new_is_wrong(string name, string uid)
    {
        var file = CorpusFiles.Unique(name)!;
        var gateway = shared.Gateway;
        var d = file.Dataset;
        var (study, series, sop) = (d.GetString(DicomTags.StudyInstanceUID)!, d.GetString(DicomTags.SeriesInstanceUID)!, d.GetString(DicomTags.SOPInstanceUID)!);
        await gateway.StowAsync([CorpusFiles.Bytes(file)]);
        await gateway.IndexedAsync();
        var place = $"studies/{study}/series/{series}/instances/{sop}";
        var native = await RetrieveAsync(place, DicomTransferSyntax.ExplicitVrLittleEndian.Uid);
        var made = await RetrieveAsync(place, uid);
        Assert.Equal(uid, DicomFileHeader.Read(made).TransferSyntax.Uid);
        var folder = Directory.CreateTempSubdirectory("yizhan-made-").FullName;
        try
        {
            var (before, after, decoded) = (Path.Combine(folder, "before"), Path.Combine(folder, "after"), Path.Combine(folder, "decoded"));
            await File.WriteAllBytesAsync(before, native, Gateway.Cancel);
            await File.WriteAllBytesAsync(after, made, Gateway.Cancel);
            var (program, arguments) = uid switch
            {
                JpegLs => ("dcmdjpls", (string[])[after, decoded]),
                Jpeg2000 => ("gdcmconv", ["--raw", after, decoded]),
                Rle => ("dcmdrle", [after, decoded]),
                _ => ("dcmconv", ["+te", after, decoded]),
            };
            var (exit, output) = await Outside.DcmtkAsync(program, arguments);
            Assert.True(exit == 0, output);
            var pixels = DicomFile.Parse(await File.ReadAllBytesAsync(decoded, Gateway.Cancel)).Dataset.GetBytes(DicomTags.PixelData);
            Assert.Equal(DicomFile.Parse(native).Dataset.GetBytes(DicomTags.PixelData).ToArray(), pixels.ToArray());
            if (uid == "1.2.840.10008.1.2.1.99")
            {
                return; // Debian's dciodvfy does not inflate.
            }

            Assert.Empty((await ErrorsAsync(after)).Except(await ErrorsAsync(before)));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task A_stream_for_a_sender_has_the_same_bytes_and_fails_when_it_is_read()
    {
        var gateway = shared.Gateway;
        var instance = new TestInstance("2.25.601", "2.25.601.1", "2.25.601.1.1");
        await gateway.SendAsync(instance);
        await gateway.IndexedAsync();
        var stored = gateway.Services.GetRequiredService<StoredInstances>().After(0, instance.Study, null, null).Single();
        var transcoder = gateway.Services.GetRequiredService<Transcoder>();
        await using (var stream = transcoder.OpenRead(stored, DicomTransferSyntax.ImplicitVrLittleEndian.Uid, Gateway.Cancel))
        {
            using var bytes = new MemoryStream();
            await stream.CopyToAsync(bytes, Gateway.Cancel);
            Assert.Equal(DicomWriter.ToArray(instance.ToDataset(), DicomTransferSyntax.ImplicitVrLittleEndian), bytes.ToArray());
        }

        await using var impossible = transcoder.OpenRead(stored, "1.2.840.10008.1.2.4.50", Gateway.Cancel);
        await Assert.ThrowsAsync<CodecException>(async () => await impossible.ReadExactlyAsync(new byte[1], Gateway.Cancel));
    }

    [Fact]
    public async Task A_tiny_file_that_announces_65535_by_65535_pixels_is_refused_before_anything_is_allocated()
    {
        var gateway = shared.Gateway;
        var bomb = new TestInstance("2.25.602", "2.25.602.1", "2.25.602.1.1")
        {
            Syntax = DicomTransferSyntax.Get(Rle),
            Change = d => d.Set(DicomTags.Rows, 65535).Set(DicomTags.Columns, 65535)
                .Set(DicomElement.OfFragments(DicomTags.PixelData, [ReadOnlyMemory<byte>.Empty, new byte[64]])),
        };
        await gateway.SendAsync(bomb);
        await gateway.IndexedAsync();
        using var response = await gateway.GetAsync("studies/2.25.602/series/2.25.602.1/instances/2.25.602.1.1/rendered");
        Assert.Equal(HttpStatusCode.NotAcceptable, response.StatusCode);
        Assert.Contains("65535x65535", await response.Content.ReadAsStringAsync(Gateway.Cancel), StringComparison.Ordinal);
    }

    private async Task<byte[]> RetrieveAsync(string place, string uid)
    {
        using var response = await shared.Gateway.GetAsync(place, "application/dicom; transfer-syntax=" + uid);
        var body = await response.Content.ReadAsByteArrayAsync(Gateway.Cancel);
        Assert.True(response.StatusCode == HttpStatusCode.OK, System.Text.Encoding.UTF8.GetString(body));
        return body;
    }

    private static async Task<HashSet<string>> ErrorsAsync(string path)
    {
        var (_, output) = await Outside.DcmtkAsync("dciodvfy", path);
        return [.. output.Split('\n').Where(line => line.StartsWith("Error", StringComparison.Ordinal))];
    }
}
