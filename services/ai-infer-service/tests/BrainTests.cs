using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Yizhan.AiInfer.Clinical.Imaging;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.OpenInference;

namespace Yizhan.AiInfer.Tests;

/// <summary>A model of others by the way of any bundle: an MR of a head in DICOM, MeshNet of the brainchop project, segmentation and volumes.</summary>
public sealed class BrainTests : IDisposable
{
    private static readonly DicomTag PerFrame = DicomTag.Parse("5200,9230"), Derivation = DicomTag.Parse("0008,9124"), Source = DicomTag.Parse("0008,2112"), ReferencedSop = DicomTag.Parse("0008,1155");

    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-brain-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>
    /// White and grey matter in millilitres as the network finds them on the volume itself (519 and 735). The second series is what a scanner would make of the same
    /// head: other values, thicker slices, and planes that follow the nod of the patient, so every voxel of the conformed image is interpolated twice.
    /// </summary>
    [Fact]
    [Trait("Clause", "S3")]
    public async Task A_head_comes_back_with_the_volumes_that_the_network_finds_without_DICOM()
    {
        var (onnx, nifti) = (SharedFile.Require("brainchop/model5_gw_ae.onnx"), SharedFile.Require("brainchop/t1_crop.nii.gz"));
        Verifier.Require();
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        await using var archive = await Archive.StartAsync();
        await using var node = await Node.StartAsync(
            _ => { }, "--ai-infer:allowUnsigned=false", $"--ai-infer:trustPath={TestBundle.Trust(Path.Combine(_folder, "trust.json"), "li", key)}",
            "--ai-infer:rules:0:model=brain-tissue", "--ai-infer:quietSeconds=0", $"--ai-infer:dicomWebUrl={archive.Url}");
        using (var added = await node.Http.PostAsync("/ai-infer/models", new ByteArrayContent(Bundle(onnx, key)), Node.Cancel))
        {
            Assert.True(added.IsSuccessStatusCode, await added.Content.ReadAsStringAsync(Node.Cancel));
        }

        var head = BrainSeries.Read(nifti);
        long[]? expected = null;
        foreach (var (slices, spacingMm, tilt, gain, tolerance, leastDice) in new[] { (256, 1.0, 0.0, 1.0, 0.005, 0.99), (170, 1.2, 8, 11, 0.1, 0.9) })
        {
            var series = BrainSeries.Sagittal(head, slices, spacingMm, tilt, gain);
            archive.Stored.Clear();
            await archive.AddAsync(node, series);
            AnalysisFinished? result;
            while ((result = await ResultAsync(node, $"1.2.40.{slices}")) is null)
            {
                await Task.Delay(100, Node.Cancel);
            }

            Assert.Equal(("findings", null), (result.Outcome, result.Reason));
            foreach (var finding in result.Findings)
            {
                TestContext.Current.SendDiagnosticMessage(string.Create(CultureInfo.InvariantCulture, $"{finding.Label}: {finding.VolumeMl:0.0} ml"));
            }

            Assert.Equal(["Grey matter", "White matter"], result.Findings.Select(f => f.Label));
            Assert.Equal(["389081007", "389080008"], result.Findings.Select(f => f.Code));
            Assert.InRange(result.Findings[0].VolumeMl, 735 * (1 - tolerance), 735 * (1 + tolerance));
            Assert.InRange(result.Findings[1].VolumeMl, 519 * (1 - tolerance), 519 * (1 + tolerance));

            // What the segmentation marks is where the network, asked without DICOM, finds it: once, since each time is half a minute of a processor.
            expected ??= await DirectAsync(node, head);
            var segmentation = archive.Stored.Single(f => f.Dataset.GetString(DicomTags.Modality) == "SEG").Dataset;
            foreach (var (number, label) in new[] { (1, 2), (2, 1) })
            {
                var dice = Dice(segmentation, series, number, head, expected, label);
                TestContext.Current.SendDiagnosticMessage(string.Create(CultureInfo.InvariantCulture, $"segment {number}: Dice {dice:0.0000} with the network's own labels"));
                Assert.InRange(dice, leastDice, 1);
            }

            await Verifier.AcceptedAsync(segmentation, _folder, $"brain-{slices}/seg.dcm", "Segmentation");
            await Verifier.AcceptedAsync(archive.Stored.Single(f => f.Dataset.GetString(DicomTags.Modality) == "SR").Dataset, _folder, $"brain-{slices}/sr.dcm", "Comprehensive3DSR");
        }
    }

    /// <summary>The bundle of the tree with the network, as models/README.md puts it together.</summary>
    private byte[] Bundle(string onnx, ECDsa key)
    {
        var folder = Path.Combine(_folder, "brain-tissue", "1.0.0");
        foreach (var file in Directory.GetFiles(Path.Combine(SharedFile.Root, "models", "others", "brain-tissue", "1.0.0"), "*", SearchOption.AllDirectories))
        {
            var to = Path.Combine(folder, Path.GetRelativePath(Path.Combine(SharedFile.Root, "models", "others", "brain-tissue", "1.0.0"), file));
            Directory.CreateDirectory(Path.GetDirectoryName(to)!);
            File.Copy(file, to);
        }

        Directory.CreateDirectory(Path.Combine(folder, "models"));
        File.Copy(onnx, Path.Combine(folder, "models", "model.onnx"));
        TestBundle.Seal(folder, "brain-tissue", "1.0.0");
        TestBundle.Sign(folder, "li", key);
        return TestBundle.Zip(folder);
    }

    /// <summary>Labels of the network on the volume as it lies beside the tree, 0 to 1, by REST.</summary>
    private static async Task<long[]> DirectAsync(Node node, Volume head)
    {
        Assert.Equal("LIA", head.AxisCodes);
        var values = head.Voxels.ToArray();
        IntensityTransforms.Scale(values, 0, 1);
        var spec = (await node.GetAsync("/v2/models/brain-tissue")).GetProperty("inputs")[0].GetProperty("name").GetString()!;
        var input = new InferenceTensor(spec, "FP32", [1, 1, 256, 256, 256], MemoryMarshal.AsBytes(values.AsSpan()).ToArray());
        return MemoryMarshal.Cast<byte, long>((await node.InferBinaryAsync("brain-tissue", input)).Single().Data.Span).ToArray();
    }

    private static double Dice(DicomDataset segmentation, List<DicomDataset> series, int number, Volume head, long[] expected, int label)
    {
        var bits = segmentation.GetBytes(DicomTags.PixelData).Span;
        var frames = segmentation.GetItems(PerFrame);
        var inverse = head.Affine.Inverse();
        var voxelMm = series[0].GetDoubles(DicomTags.SliceThickness)[0];
        double marked = 0, both = 0;
        for (var f = 0; f < frames.Count; f++)
        {
            if (frames[f].GetItems(DicomTag.Parse("0062,000A"))[0].GetInt64(DicomTag.Parse("0062,000B")) != number)
            {
                continue;
            }

            var source = frames[f].GetItems(Derivation)[0].GetItems(Source)[0].GetString(ReferencedSop);
            var slice = series.Single(s => s.GetString(DicomTags.SOPInstanceUID) == source);
            var (at, turned) = (slice.GetDoubles(DicomTags.ImagePositionPatient), slice.GetDoubles(DicomTags.ImageOrientationPatient));
            for (var n = 0; n < 65_536; n++)
            {
                var bit = f * 65_536L + n;
                if ((bits[(int)(bit >> 3)] >> (int)(bit & 7) & 1) == 0)
                {
                    continue;
                }

                marked++;
                var (r, c) = (n / 256, n % 256);
                double Position(int axis) => at[axis] + c * turned[axis] + r * turned[3 + axis];
                var (i, j, k) = inverse.At(-Position(0), -Position(1), Position(2));
                var (x, y, z) = ((int)Math.Round(i), (int)Math.Round(j), (int)Math.Round(k));
                both += x is >= 0 and < 256 && y is >= 0 and < 256 && z is >= 0 and < 256 && expected[(x * 256 + y) * 256 + z] == label ? 1 : 0;
            }
        }

        return 2 * both * voxelMm / (marked * voxelMm + expected.Count(v => v == label));
    }

    private static async Task<AnalysisFinished?> ResultAsync(Node node, string study) => await System.Net.Http.Json.HttpClientJsonExtensions.GetFromJsonAsync(
        node.Http, $"/ai-infer/results?study={study}", ContractsJson.Default.IReadOnlyListAnalysisFinished, Node.Cancel) is [var newest, ..] ? newest : null;
}
