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

    /// <summary>Two millimetres a voxel, axes to the right, the front and up, to the grid of FreeSurfer in small: voxel n/2 of the source is voxel n/2 of the result.</summary>
    [Fact]
    [Trait("Clause", "S3")]
    public void Conform_puts_the_middle_on_the_middle_along_the_patients_own_axes()
    {
        var volume = Numbered([4, 4, 4], [[2, 0, 0], [0, 2, 0], [0, 0, 2]], [10, 20, 30]);
        var conformed = new Conform([8, 8, 8], 1, "LIA").Run(volume);
        Assert.Equal("LIA", conformed.AxisCodes);
        Assert.Equal([1.0, 1, 1], Enumerable.Range(0, 3).Select(conformed.Affine.Spacing));
        Assert.Equal(volume.Affine.At(2, 2, 2), conformed.Affine.At(4, 4, 4));
        Assert.Equal(volume[2, 2, 2], conformed[4, 4, 4]);

        // One millimetre to the right is half a voxel of the source: 42 + 16/2.
        Assert.Equal(50, conformed[3, 4, 4]);

        // One down: 42 − 1/2, and of two whole numbers the even one.
        Assert.Equal(42, conformed[4, 5, 4]);

        // Beyond the source there is nothing; its voxels reach half a voxel beyond their middles.
        Assert.Equal(0, conformed[0, 4, 7]);
    }

    [Fact]
    [Trait("Clause", "S3")]
    public void An_oblique_series_is_conformed_along_the_patients_axes()
    {
        // Planes that are turned by 30° about the vertical axis, and a ramp of one grey level for each millimetre to the right.
        var (c, s) = (Math.Cos(Math.PI / 6), Math.Sin(Math.PI / 6));
        var turned = Numbered([24, 24, 24], [[c, -s, 0], [s, c, 0], [0, 0, 1]], [0, 0, 0]);
        foreach (var (i, j, k) in Indexes(turned.Size))
        {
            turned.Voxels[(i * 24 + j) * 24 + k] = (float)Math.Round(turned.Affine.At(i, j, k).X + 100);
        }

        var conformed = new Conform([8, 8, 8], 1, "RAS").Run(turned);
        Assert.Equal("RAS", conformed.AxisCodes);
        foreach (var (i, j, k) in Indexes(conformed.Size))
        {
            Assert.Equal(conformed.Affine.At(i, j, k).X + 100, conformed[i, j, k], 1.01);
        }
    }

    [Fact]
    public void Conform_keeps_bytes_and_brings_other_values_to_bytes_by_all_but_the_brightest_thousandth()
    {
        Assert.Equal((0, 1), Conform.Scale([0, 17, 255]));

        // 2000 values up to 1999 and one artefact of 100 000: it does not set the scale.
        var (least, scale) = Conform.Scale([.. Enumerable.Range(0, 2000).Select(i => (float)i), 100_000]);
        Assert.Equal(0, least);
        Assert.InRange(255 / scale, 1900, 2100);
        Assert.Equal(255.0 / 100_000, Conform.Scale([0, 50_000, 100_000]).Scale, 9);
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

    [Theory]
    [InlineData(0, 4, false)]
    [InlineData(0.25, 4, true)]
    [InlineData(0, 3, true)]
    [InlineData(0.25, 8, false)]
    public void Windows_overlap_unless_they_divide_the_image(double overlap, int roi, bool expected) =>
        Assert.Equal(expected, new SlidingWindow([roi, roi, roi], overlap, false).Overlaps([8, 8, 8]));

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
    [InlineData("""{"_target_":"yizhan.transforms.Conformd","spatial_size":[256,256]}""", "accepted are a spatial_size of 8 to 512")]
    [InlineData("""{"_target_":"yizhan.transforms.Conformd","spatial_size":256,"pixdim":0}""", "pixdim of 0.1 to 10 mm")]
    [InlineData("""{"_target_":"yizhan.transforms.Conformd","spatial_size":256,"axcodes":"LIR"}""", "axcodes 'LIR'")]
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
