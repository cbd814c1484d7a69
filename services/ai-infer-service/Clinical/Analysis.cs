using System.Runtime.InteropServices;
using Yizhan.AiInfer.Clinical.Imaging;
using Yizhan.AiInfer.Engine;
using Yizhan.AiInfer.Repository;
using Yizhan.OpenInference;

namespace Yizhan.AiInfer.Clinical;

/// <summary>One thing that was found.</summary>
/// <param name="Number">From 1; its segment number.</param>
/// <param name="Segment">What it is.</param>
/// <param name="VolumeMl">Volume in millilitres.</param>
/// <param name="Mean">Mean of the modality values in it.</param>
internal sealed record Finding(int Number, SegmentSettings Segment, double VolumeMl, double Mean);

/// <summary>What a model found in a series.</summary>
/// <param name="Findings">Largest first.</param>
/// <param name="Map">Number of the finding of each voxel of the source image, 0 for none.</param>
/// <param name="TotalMl">Volume of all findings.</param>
/// <param name="InputMean">Mean of what went into the network: watched for drift.</param>
/// <param name="LeftOut">Findings beyond the bound, the smallest ones.</param>
internal sealed record Analysis(IReadOnlyList<Finding> Findings, byte[] Map, double TotalMl, double InputMean, int LeftOut)
{
    /// <summary>Findings of one series that are reported.</summary>
    public const int MaxFindings = 64;

    /// <summary>Analyses a series: prepares it, runs the network over it, and measures on the source's own voxels.</summary>
    /// <exception cref="ModelFailedException">The model could not answer, or answered what is no segmentation of its input.</exception>
    public static async Task<Analysis> RunAsync(ModelRunner runner, Recipe recipe, ClinicalSettings settings, SeriesImage series, CancellationToken cancellationToken)
    {
        var prepared = recipe.Prepare(series.Image);
        var window = recipe.Window ?? new SlidingWindow(prepared.Size, 0, Gaussian: false);
        var areLabels = false;
        var channels = await window.RunAsync(
            prepared,
            async (values, roi) =>
            {
                var (result, labels) = await NetworkAsync(runner, values, roi, recipe.SliceAxis is not null, cancellationToken);
                areLabels = labels;
                return labels && window.Overlaps(prepared.Size)
                    ? throw new ModelFailedException("The model answers labels, which have no average where windows overlap; accepted: SimpleInferer, or windows that divide the image with overlap 0.")
                    : result;
            },
            cancellationToken);
        var labels = recipe.Finish(channels, areLabels, prepared.Size);
        var onSource = SpatialTransforms.Resample(prepared.With(Array.ConvertAll(labels, l => (float)l)), series.Image.Size, series.Image.Affine, nearest: true, outside: 0);
        return Measure(Array.ConvertAll(onSource.Voxels, v => (byte)v), series.Image, settings, prepared.Voxels.Average(v => (double)v));
    }

    private static async Task<(float[][] Channels, bool Labels)> NetworkAsync(ModelRunner runner, float[] values, int[] roi, bool flat, CancellationToken cancellationToken)
    {
        long[] shape = flat ? [1, 1, roi[0], roi[1]] : [1, 1, roi[0], roi[1], roi[2]];
        var input = new InferenceTensor(runner.Engine.Inputs[0].Name, TensorDatatype.Fp32, shape, MemoryMarshal.AsBytes(values.AsSpan()).ToArray());
        var answer = await runner.InferAsync(new InferenceRequest(null, [input], [], true), cancellationToken);
        var output = answer.Outputs[0];
        if (output.Datatype == TensorDatatype.Int64)
        {
            return output.Count == values.Length ? ([Array.ConvertAll(MemoryMarshal.Cast<byte, long>(output.Data.Span).ToArray(), l => (float)l)], true) : throw Wrong(output, shape);
        }

        if (output.Datatype != TensorDatatype.Fp32 || output.Count == 0 || output.Count % values.Length != 0)
        {
            throw Wrong(output, shape);
        }

        if (InputChecks.FirstNotFinite(output) is { } at)
        {
            throw new ModelFailedException($"Element {at} of the model's output '{output.Name}' is not a finite number.");
        }

        var all = MemoryMarshal.Cast<byte, float>(output.Data.Span);
        var channels = new float[all.Length / values.Length][];
        for (var c = 0; c < channels.Length; c++)
        {
            channels[c] = all.Slice(c * values.Length, values.Length).ToArray();
        }

        return (channels, false);
    }

    private static ModelFailedException Wrong(InferenceTensor output, long[] shape) =>
        new($"The model answered {output.Datatype}[{string.Join(",", output.Shape)}] to an input of [{string.Join(",", shape)}]; accepted: a value of FP32 for each channel, or a label of INT64, for each voxel.");

    private static Analysis Measure(byte[] labels, Volume image, ClinicalSettings settings, double inputMean)
    {
        var candidates = new List<(SegmentSettings Segment, int[] Numbers, int Number, int Voxels, double Sum)>();
        foreach (var segment in settings.Segments)
        {
            var (numbers, count) = segment.Components ? Components.Find(labels, image.Size, (byte)segment.Value) : (Array.ConvertAll(labels, l => l == segment.Value ? 1 : 0), 1);
            var (voxels, sums) = (new int[count + 1], new double[count + 1]);
            for (var n = 0; n < numbers.Length; n++)
            {
                voxels[numbers[n]]++;
                sums[numbers[n]] += image.Voxels[n];
            }

            candidates.AddRange(Enumerable.Range(1, count).Where(n => voxels[n] > 0 && voxels[n] * image.VoxelMl >= settings.MinFindingMl).Select(n => (segment, numbers, n, voxels[n], sums[n])));
        }

        var kept = candidates.OrderByDescending(c => c.Voxels).Take(MaxFindings).ToArray();
        var map = new byte[labels.Length];
        foreach (var ofSegment in kept.Index().GroupBy(k => k.Item.Numbers))
        {
            // One pass for all components of a segment.
            var finding = new byte[ofSegment.Key.Max() + 1];
            foreach (var (i, one) in ofSegment)
            {
                finding[one.Number] = (byte)(i + 1);
            }

            for (var n = 0; n < map.Length; n++)
            {
                map[n] = finding[ofSegment.Key[n]] is > 0 and var number ? number : map[n];
            }
        }

        return new Analysis(
            [.. kept.Select((c, i) => new Finding(i + 1, c.Segment, c.Voxels * image.VoxelMl, c.Sum / c.Voxels))],
            map, kept.Sum(c => c.Voxels * image.VoxelMl), inputMean, candidates.Count - kept.Length);
    }
}
