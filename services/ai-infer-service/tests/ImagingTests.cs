using System.Text.Json.Nodes;
using Yizhan.AiInfer.Clinical;
using Yizhan.AiInfer.Clinical.Imaging;
using Yizhan.Platform.Bundles;

namespace Yizhan.AiInfer.Tests;

/// <summary>Transforms against what MONAI documents of those with the same names.</summary>
public sealed class ImagingTests
{
    [Fact]
    public void Orientation_permutes_and_flips_and_every_voxel_stays_where_it_is()
    {
        var volume = Numbered([2, 3, 4], [[0, -0.5, 0], [0, 0, 2], [3, 0, 0]], [7, 8, 9]);
        Assert.Equal("SLA", volume.AxisCodes);
        var oriented = SpatialTransforms.Orient(volume, "RAS");
        Assert.Equal("RAS", oriented.AxisCodes);
        Assert.Equal([3, 4, 2], oriented.Size);
        foreach (var (i, j, k) in Indexes(volume.Size))
        {
            // Where the voxel was, the new image has the same value.
            var (x, y, z) = volume.Affine.At(i, j, k);
            var (a, b, c) = oriented.Affine.Inverse().At(x, y, z);
            Assert.Equal(volume[i, j, k], oriented[(int)Math.Round(a), (int)Math.Round(b), (int)Math.Round(c)]);
        }
    }

    [Fact]
    public void Spacing_keeps_the_first_voxel_and_interpolates_linearly()
    {
        var volume = Numbered([1, 1, 5], [[1, 0, 0], [0, 1, 0], [0, 0, 1]], [0, 0, 0]);

        // MONAI: size = round((5 − 1)·1/0.5 + 1) = 9.
        var fine = SpatialTransforms.Space(volume, [-1, -1, 0.5], nearest: false);
        Assert.Equal([1, 1, 9], fine.Size);
        Assert.Equal([0, 0.5f, 1, 1.5f, 2, 2.5f, 3, 3.5f, 4], fine.Voxels);
        Assert.Equal(0.5, fine.Affine.Spacing(2));

        var coarse = SpatialTransforms.Space(volume, [-1, -1, 1.5], nearest: true);
        Assert.Equal([1, 1, 4], coarse.Size);
        Assert.Equal([0, 2, 3, 4], coarse.Voxels);
    }

    [Fact]
    public void ResizeWithPadOrCrop_works_around_the_middle()
    {
        var volume = Numbered([1, 1, 3], [[1, 0, 0], [0, 1, 0], [0, 0, 1]], [0, 0, 0]);
        var padded = SpatialTransforms.PadOrCrop(volume, [1, 1, 6]);
        Assert.Equal([0, 0, 1, 2, 0, 0], padded.Voxels);
        Assert.Equal(-1, padded.Affine.T[2]);
        Assert.Equal([1f], SpatialTransforms.PadOrCrop(volume, [1, 1, 1]).Voxels);
    }

    [Fact]
    public void Intensities_follow_their_formulas()
    {
        float[] range = [-1200, -1000, 400, 600];
        IntensityTransforms.ScaleRange(range, -1000, 400, 0, 1, clip: true);
        Assert.Equal([0, 0, 1, 1], range);

        float[] unclipped = [-1700, 400];
        IntensityTransforms.ScaleRange(unclipped, -1000, 400, 0, 1, clip: false);
        Assert.Equal([-0.5f, 1], unclipped);

        float[] scaled = [2, 4, 6];
        IntensityTransforms.Scale(scaled, 0, 1);
        Assert.Equal([0, 0.5f, 1], scaled);

        float[] normal = [0, 2, 4];
        IntensityTransforms.Normalize(normal, null, null, nonzero: true);
        Assert.Equal([0, -1, 1], normal);

        // numpy.percentile([0…10], 5) is 0.5 and of 95 it is 9.5.
        float[] percentiles = [.. Enumerable.Range(0, 11).Select(i => (float)i)];
        IntensityTransforms.ScalePercentiles(percentiles, 5, 95, 0, 1, clip: true);
        Assert.Equal((0, 1), (percentiles[0], percentiles[10]));
        Assert.Equal(0.5, percentiles[5], 5);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Windows_that_overlap_give_the_image_back_that_they_saw(bool gaussian)
    {
        var volume = Numbered([7, 9, 3], [[1, 0, 0], [0, 1, 0], [0, 0, 1]], [0, 0, 0]);
        var calls = 0;
        var result = await new SlidingWindow([4, 4, 1], 0.5, gaussian).RunAsync(volume, (window, roi) =>
        {
            calls++;
            Assert.Equal([4, 4, 1], roi);
            return Task.FromResult(new[] { Array.ConvertAll(window, v => v * 2) });
        }, Node.Cancel);
        Assert.All(result.Single().Zip(volume.Voxels), p => Assert.Equal(p.Second * 2, p.First, 3));

        // Starts of the axis of 7: 0, 2, 3; of 9: 0, 2, 4, 5; of 3: each.
        Assert.Equal(3 * 4 * 3, calls);
    }

    [Fact]
    public async Task A_window_larger_than_the_image_is_filled_with_zeros()
    {
        var volume = Numbered([2, 2, 1], [[1, 0, 0], [0, 1, 0], [0, 0, 1]], [0, 0, 0]);
        var result = await new SlidingWindow([4, 4, 1], 0.25, false).RunAsync(volume, (window, _) =>
        {
            Assert.Equal([0, 0, 0, 0, 0, 0, 1, 0, 0, 2, 3, 0, 0, 0, 0, 0], window);
            return Task.FromResult(new[] { window.ToArray() });
        }, Node.Cancel);
        Assert.Equal(volume.Voxels, result.Single());
    }

    [Fact]
    public void Gaussian_weights_are_those_of_MONAI()
    {
        var weights = new SlidingWindow([4, 1, 1], 0.25, true).Weights([4, 1, 1]);

        // σ = 0.125·4 = 0.5: exp(−1.5²/0.5) and exp(−0.5²/0.5).
        Assert.Equal([0.0111f, 0.6065f, 0.6065f, 0.0111f], weights.Select(w => MathF.Round(w, 4)));
    }

    [Fact]
    public void Components_share_faces_and_the_largest_stays()
    {
        byte[] labels = [1, 0, 1, 1, 0, 0, 0, 1, 1];
        Assert.Equal(3, Components.Find(labels, [1, 3, 3], 1).Count);
        Components.KeepLargest(labels, [1, 3, 3], 1);
        Assert.Equal([1, 0, 0, 1, 0, 0, 0, 0, 0], labels);
    }

    [Theory]
    [InlineData("""{"_target_":"RandFlipd"}""", "'RandFlip' is not understood; accepted: Orientation")]
    [InlineData("""{"_target_":"Orientationd","axcodes":"RAX"}""", "axcodes 'RAX'")]
    [InlineData("""{"_target_":"Spacingd","pixdim":"$@spacing"}""", "is the expression '$@spacing', and none is ever evaluated")]
    [InlineData("""{"_target_":"ScaleIntensityRanged","a_min":"low"}""", "a_min is \"low\"; accepted: a number")]
    [InlineData("""{"_target_":"ScaleIntensityRanged","a_min":1}""", "a_max is missing")]
    public void What_a_recipe_asks_that_is_not_understood_is_named(string transform, string reason)
    {
        var inference = (JsonObject)JsonNode.Parse("{\"preprocessing\":{\"transforms\":[" + transform + "]}}")!;
        Assert.Contains(reason, Assert.Throws<BundleRefusedException>(() => Recipe.Parse(inference)).Message, StringComparison.Ordinal);
    }

    private static Volume Numbered(int[] size, double[][] rows, double[] origin)
    {
        var m = new double[3, 3];
        for (var r = 0; r < 3; r++)
        {
            for (var c = 0; c < 3; c++)
            {
                m[r, c] = rows[r][c];
            }
        }

        return new Volume(size, new Affine(m, origin), [.. Enumerable.Range(0, size[0] * size[1] * size[2]).Select(i => (float)i)]);
    }

    private static IEnumerable<(int I, int J, int K)> Indexes(int[] size) =>
        from i in Enumerable.Range(0, size[0]) from j in Enumerable.Range(0, size[1]) from k in Enumerable.Range(0, size[2]) select (i, j, k);
}
