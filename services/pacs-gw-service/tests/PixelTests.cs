using System.Net;
using Yizhan.Dicom;
using Yizhan.PacsGw.Codecs;

namespace Yizhan.PacsGw.Tests;

/// <summary>One node for all files: each has a SOP Instance UID of its own.</summary>
public sealed class SharedGateway : IAsyncLifetime
{
    internal Gateway Gateway { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Gateway = await Gateway.StartAsync();

    public async ValueTask DisposeAsync() => await Gateway.DisposeAsync();
}

/// <summary>What we decode is what dcmtk and GDCM decode, for every file of the corpus.</summary>
[Trait("Clause", "S2")]
public sealed class PixelTests(SharedGateway shared) : IClassFixture<SharedGateway>
{
    private const string Jpeg = "1.2.840.10008.1.2.4.";

    /// <summary>
    /// DCT with 12 bits: the standard asks of a decoder an accuracy, not a result (ISO/IEC 10918-2); theirs and ours round differently.
    /// JPEG 2000 lossy (9-7): floating point, GDCM's own copy of the library is older.
    /// </summary>
    private static int Tolerance(string transferSyntaxUid, int bitsStored) => transferSyntaxUid switch
    {
        Jpeg + "51" when bitsStored > 8 => 2,
        Jpeg + "91" => 1,
        _ => 0,
    };

    /// <summary>The files whose pixel data is compressed or native, not those without.</summary>
    public static TheoryData<string> Files =>
        [.. CorpusFiles.All().Select(row => row.Data).Where(name => !CorpusFiles.IsHere(name)
            || CorpusFiles.Unique(name) is { } file && file.Dataset.Contains(DicomTags.PixelData) && PixelCodec.Decodes(file.TransferSyntax.Uid))];

    [Theory]
    [MemberData(nameof(Files))]
    public async Task Pixels_are_equal_to_another_decoder(string name)
    {
        var file = CorpusFiles.Unique(name)!;
        var uid = file.TransferSyntax.Uid;
        var folder = Directory.CreateTempSubdirectory("yizhan-pixels-").FullName;
        try
        {
            var source = Path.Combine(folder, "source.dcm");
            await File.WriteAllBytesAsync(source, CorpusFiles.Bytes(file), Gateway.Cancel);
            var other = await DecodeAsync(source, uid, folder);
            var ours = await RetrieveAsync(file);
            if (ours is null)
            {
                Assert.True(other is null || Refused.Contains(Path.GetFileName(name)), "Another decoder decodes it and we do not.");
                return;
            }

            Assert.SkipWhen(other is null, "No other decoder here decodes it.");
            Equal(other, ours, Tolerance(uid, file.Dataset.GetInt32(DicomTags.BitsStored) ?? 8));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>Another decoder takes a frame of another size than the data set says; we refuse the instance.</summary>
    private static readonly HashSet<string> Refused = ["multiframe.dcm"];

    private async Task<DicomDataset?> RetrieveAsync(DicomFile file)
    {
        var gateway = shared.Gateway;
        var (status, answer) = await gateway.StowAsync([CorpusFiles.Bytes(file)]);
        Assert.SkipWhen(status == HttpStatusCode.Conflict, "It is refused: " + answer.ToJsonString());
        Assert.Equal(HttpStatusCode.OK, status);
        await gateway.IndexedAsync();
        var d = file.Dataset;
        using var response = await gateway.GetAsync(
            $"studies/{d.GetString(DicomTags.StudyInstanceUID)}/series/{d.GetString(DicomTags.SeriesInstanceUID)}/instances/{d.GetString(DicomTags.SOPInstanceUID)}",
            $"application/dicom; transfer-syntax={DicomTransferSyntax.ExplicitVrLittleEndian.Uid}");
        byte[] body;
        try
        {
            body = await response.Content.ReadAsByteArrayAsync(Gateway.Cancel);
        }
        catch (HttpRequestException)
        {
            return null; // A frame after the first is damaged.
        }

        if (response.StatusCode == HttpStatusCode.NotAcceptable)
        {
            TestContext.Current.TestOutputHelper?.WriteLine(System.Text.Encoding.UTF8.GetString(body));
            return null;
        }

        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        return DicomFile.Parse(body).Dataset;
    }

    private static async Task<DicomDataset?> DecodeAsync(string source, string uid, string folder)
    {
        var target = Path.Combine(folder, "target.dcm");
        var (program, arguments) = uid switch
        {
            Jpeg + "50" or Jpeg + "51" or Jpeg + "57" or Jpeg + "70" => ("dcmdjpeg", (string[])[source, target]),
            Jpeg + "80" or Jpeg + "81" => ("dcmdjpls", [source, target]),
            Jpeg + "90" or Jpeg + "91" => ("gdcmconv", ["--raw", source, target]),
            "1.2.840.10008.1.2.5" => ("dcmdrle", [source, target]),
            _ => ("dcmconv", ["+te", source, target]),
        };
        var (exit, output) = await Outside.DcmtkAsync(program, arguments);
        TestContext.Current.TestOutputHelper?.WriteLine(output);
        return exit == 0 && File.Exists(target) ? DicomFile.Parse(await File.ReadAllBytesAsync(target, Gateway.Cancel)).Dataset : null;
    }

    private static void Equal(DicomDataset other, DicomDataset ours, int tolerance)
    {
        foreach (var tag in (DicomTag[])[DicomTags.Rows, DicomTags.Columns, DicomTags.BitsAllocated, DicomTags.SamplesPerPixel])
        {
            Assert.Equal(other.GetString(tag), ours.GetString(tag));
        }

        var (theirs, mine) = (Pixels(other), Pixels(ours));
        Assert.Equal(theirs.Length, mine.Length);
        var bits = ours.GetInt32(DicomTags.BitsStored) ?? 8;
        var worst = 0;
        var step = ours.GetInt32(DicomTags.BitsAllocated) == 16 ? 2 : 1;
        for (var i = 0; i < theirs.Length; i += step)
        {
            var difference = step == 2
                ? Math.Abs(Sample(theirs, i, bits) - Sample(mine, i, bits))
                : Math.Abs(theirs[i] - mine[i]);
            worst = Math.Max(worst, difference);
        }

        Assert.True(
            worst <= tolerance,
            $"The largest difference is {worst}; accepted is {tolerance}. Photometric interpretation theirs "
            + $"{other.GetString(DicomTags.PhotometricInterpretation)}, ours {ours.GetString(DicomTags.PhotometricInterpretation)}.");
    }

    private static int Sample(byte[] pixels, int at, int bits) => BitConverter.ToUInt16(pixels, at) & ((1 << bits) - 1);

    private static byte[] Pixels(DicomDataset dataset)
    {
        var bytes = dataset.GetBytes(DicomTags.PixelData).ToArray();
        if (dataset.GetInt32(DicomTags.PlanarConfiguration) != 1 || dataset.GetInt32(DicomTags.SamplesPerPixel) != 3)
        {
            return bytes;
        }

        var size = (dataset.GetInt32(DicomTags.BitsAllocated) ?? 8) / 8;
        var count = (dataset.GetInt32(DicomTags.Rows) ?? 0) * (dataset.GetInt32(DicomTags.Columns) ?? 0);
        var pixels = new byte[bytes.Length];
        for (var i = 0; i < bytes.Length / size; i++)
        {
            var (frame, rest) = Math.DivRem(i, count * 3);
            if ((frame + 1) * count * 3 * size > bytes.Length)
            {
                break;
            }

            bytes.AsSpan(((frame * count * 3) + (rest % 3 * count) + (rest / 3)) * size, size).CopyTo(pixels.AsSpan(i * size));
        }

        return pixels;
    }
}
