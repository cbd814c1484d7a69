namespace Yizhan.AiInfer.Clinical.Imaging;

/// <summary>
/// Puts an image on the grid that networks of brains are trained on, as FreeSurfer documents for <c>mri_convert --conform</c>: voxels of one size along the patient's own axes,
/// around the middle of the source, values of 0 to 255. MONAI has no transform of this name; <c>Orientation</c> and <c>Spacing</c> alone leave an oblique series oblique.
/// </summary>
/// <param name="Size">Voxels of each axis; FreeSurfer has 256.</param>
/// <param name="SpacingMm">Their distance in millimetres; FreeSurfer has 1.</param>
/// <param name="Codes">Directions in which the indexes grow; FreeSurfer has LIA.</param>
internal sealed record Conform(IReadOnlyList<int> Size, double SpacingMm, string Codes)
{
    private const int Bins = 1000;

    // The brightest thousandth of what is not air may be a vessel or an artefact; it does not set the scale.
    private const double Brightest = 0.001;

    /// <summary>Resamples by trilinear interpolation, zero where the source has nothing, and brings values to 0…255. What has such values already keeps them.</summary>
    public Volume Run(Volume image)
    {
        var m = new double[3, 3];
        for (var axis = 0; axis < 3; axis++)
        {
            var pair = "RLAPSI".IndexOf(Codes[axis], StringComparison.Ordinal);
            m[pair / 2, axis] = pair % 2 == 0 ? SpacingMm : -SpacingMm;
        }

        // FreeSurfer's middle is voxel n/2, of an even number the one after the middle, in the source and in the result.
        var (x, y, z) = image.Affine.At(image.Size[0] / 2, image.Size[1] / 2, image.Size[2] / 2);
        var (dx, dy, dz) = new Affine(m, [0, 0, 0]).At(Size[0] / 2, Size[1] / 2, Size[2] / 2);
        var conformed = SpatialTransforms.Resample(image, [.. Size], new Affine(m, [x - dx, y - dy, z - dz]), nearest: false, outside: 0);
        var (least, scale) = Scale(image.Voxels);
        foreach (ref var value in conformed.Voxels.AsSpan())
        {
            value = MathF.Round((float)Math.Clamp((value - least) * scale, 0, 255), MidpointRounding.ToEven);
        }

        return conformed;
    }

    /// <summary>Value that becomes 0, and the factor that brings the brightest but a thousandth of the values that are not zero to 255.</summary>
    internal static (double Least, double Scale) Scale(ReadOnlySpan<float> values)
    {
        var (least, greatest, notZero, bytes) = (double.MaxValue, double.MinValue, 0L, true);
        foreach (var value in values)
        {
            (least, greatest) = (Math.Min(least, value), Math.Max(greatest, value));
            notZero += value != 0 ? 1 : 0;
            bytes &= value is >= 0 and <= 255 && value == MathF.Floor(value);
        }

        if (bytes || greatest <= least)
        {
            return (0, 1);
        }

        var counts = new long[Bins];
        var width = (greatest - least) / Bins;
        foreach (var value in values)
        {
            counts[Math.Min(Bins - 1, (int)((value - least) / width))]++;
        }

        var (upper, left) = (Bins, (long)(Brightest * notZero));
        while (upper > 1 && counts[upper - 1] <= left)
        {
            left -= counts[--upper];
        }

        return (least, 255 / (upper * width));
    }
}
