namespace Yizhan.AiInfer.Clinical.Imaging;

/// <summary>
/// <c>SlidingWindowInferer</c> and <c>SliceInferer</c> of MONAI: an image is cut into windows that overlap, and where results overlap they are averaged, with equal weights or
/// with those of a Gaussian.
/// </summary>
/// <param name="Roi">Size of a window; 1 in the axis of slices for a network of two dimensions.</param>
/// <param name="Overlap">Part of a window that it shares with the next.</param>
/// <param name="Gaussian">Weights fall towards the border of a window.</param>
/// <param name="SigmaScale">Width of the Gaussian, as a part of the window.</param>
internal sealed record SlidingWindow(IReadOnlyList<int> Roi, double Overlap, bool Gaussian, double SigmaScale = 0.125)
{
    /// <summary>Runs a network over an image.</summary>
    /// <param name="image">The image.</param>
    /// <param name="run">One window in C order and its size to one image for each channel; called in turn.</param>
    /// <param name="cancellationToken">Ends it between two windows.</param>
    /// <returns>One image for each channel, of the size of <paramref name="image"/>.</returns>
    public async Task<float[][]> RunAsync(Volume image, Func<float[], int[], Task<float[][]>> run, CancellationToken cancellationToken)
    {
        var roi = Enumerable.Range(0, 3).Select(a => a < Roi.Count && Roi[a] > 0 ? Roi[a] : image.Size[a]).ToArray();

        if (roi.SequenceEqual(image.Size))
        {
            // One window is the image: nothing to cut or to average, and none of the four copies that both would need.
            return await run(image.Voxels, roi);
        }

        // A window larger than the image is filled with zeros around it, the smaller half first.
        var padded = Enumerable.Range(0, 3).Select(a => Math.Max(image.Size[a], roi[a])).ToArray();
        var before = Enumerable.Range(0, 3).Select(a => (padded[a] - image.Size[a]) / 2).ToArray();
        var source = padded.SequenceEqual(image.Size) ? image : SpatialTransforms.PadOrCrop(image, padded);
        var weights = Weights(roi);
        float[][]? sums = null;
        var total = new float[source.Voxels.Length];
        var window = new float[weights.Length];
        foreach (var (i, j, k) in Starts(padded, roi))
        {
            cancellationToken.ThrowIfCancellationRequested();
            ForEachRow(source.Size, roi, (i, j, k), (at, n) => source.Voxels.AsSpan(at, roi[2]).CopyTo(window.AsSpan(n)));
            var result = await run(window, roi);
            sums ??= [.. result.Select(_ => new float[source.Voxels.Length])];
            ForEachRow(source.Size, roi, (i, j, k), (at, n) =>
            {
                for (var x = 0; x < roi[2]; x++)
                {
                    total[at + x] += weights[n + x];
                    for (var channel = 0; channel < sums.Length; channel++)
                    {
                        sums[channel][at + x] += weights[n + x] * result[channel][n + x];
                    }
                }
            });
        }

        return [.. sums!.Select(sum =>
        {
            for (var n = 0; n < sum.Length; n++)
            {
                sum[n] /= total[n];
            }

            return source == image ? sum : Crop(sum, source.Size, before, image.Size);
        })];
    }

    /// <summary>Whether a voxel of an image of this size is in more than one window.</summary>
    public bool Overlaps(int[] size) => Enumerable.Range(0, 3).Any(a => a < Roi.Count && Roi[a] > 0 && Roi[a] < size[a] && (Overlap > 0 || size[a] % Roi[a] != 0));

    /// <summary>Where windows begin: every roi·(1 − overlap), the last one moved back to end with the image.</summary>
    internal IEnumerable<(int I, int J, int K)> Starts(int[] size, int[] roi)
    {
        var starts = Enumerable.Range(0, 3).Select(a =>
        {
            var interval = roi[a] == size[a] ? roi[a] : Math.Max(1, (int)(roi[a] * (1 - Overlap)));
            var list = new List<int>();
            for (var at = 0; ; at += interval)
            {
                list.Add(Math.Min(at, size[a] - roi[a]));
                if (at + roi[a] >= size[a])
                {
                    return list;
                }
            }
        }).ToArray();
        return from i in starts[0] from j in starts[1] from k in starts[2] select (i, j, k);
    }

    /// <summary>Weights of a window. A Gaussian is never less than a thousandth, so that no voxel is divided by zero.</summary>
    internal float[] Weights(int[] roi)
    {
        var weights = new float[roi[0] * roi[1] * roi[2]];
        if (!Gaussian)
        {
            Array.Fill(weights, 1);
            return weights;
        }

        var axes = roi.Select(n => Enumerable.Range(0, n).Select(x =>
        {
            var distance = x - (n - 1) / 2.0;
            var sigma = SigmaScale * n;
            return Math.Exp(-distance * distance / (2 * sigma * sigma));
        }).ToArray()).ToArray();
        for (int i = 0, n = 0; i < roi[0]; i++)
        {
            for (var j = 0; j < roi[1]; j++)
            {
                for (var k = 0; k < roi[2]; k++)
                {
                    weights[n++] = (float)Math.Max(1e-3, axes[0][i] * axes[1][j] * axes[2][k]);
                }
            }
        }

        return weights;
    }

    private static void ForEachRow(int[] size, int[] roi, (int I, int J, int K) start, Action<int, int> row)
    {
        for (int i = 0, n = 0; i < roi[0]; i++)
        {
            for (var j = 0; j < roi[1]; j++, n += roi[2])
            {
                row(((start.I + i) * size[1] + start.J + j) * size[2] + start.K, n);
            }
        }
    }

    private static float[] Crop(float[] from, int[] size, int[] before, int[] want)
    {
        var to = new float[want[0] * want[1] * want[2]];
        ForEachRow(size, want, (before[0], before[1], before[2]), (at, n) => from.AsSpan(at, want[2]).CopyTo(to.AsSpan(n)));
        return to;
    }
}
