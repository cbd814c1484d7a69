namespace Yizhan.AiInfer.Clinical.Imaging;

/// <summary>Transforms that move voxels. What they mean is what MONAI documents for <c>Orientation</c>, <c>Spacing</c> and <c>ResizeWithPadOrCrop</c>.</summary>
internal static class SpatialTransforms
{
    /// <summary>Permutes and flips axes, so that the indexes grow in the directions of <paramref name="codes"/>. No value changes.</summary>
    public static Volume Orient(Volume volume, string codes)
    {
        var have = volume.AxisCodes;
        if (have == codes)
        {
            return volume;
        }

        var (from, flip) = (new int[3], new bool[3]);
        for (var axis = 0; axis < 3; axis++)
        {
            var pair = "RLAPSI".IndexOf(codes[axis], StringComparison.Ordinal) / 2;
            from[axis] = Enumerable.Range(0, 3).Single(a => "RLAPSI".IndexOf(have[a], StringComparison.Ordinal) / 2 == pair);
            flip[axis] = have[from[axis]] != codes[axis];
        }

        var size = from.Select(a => volume.Size[a]).ToArray();
        var m = new double[3, 3];
        var t = new double[3];
        for (var axis = 0; axis < 3; axis++)
        {
            m[from[axis], axis] = flip[axis] ? -1 : 1;
            t[from[axis]] = flip[axis] ? volume.Size[from[axis]] - 1 : 0;
        }

        var voxels = new float[volume.Voxels.Length];
        var at = new int[3];
        var n = 0;
        for (var i = 0; i < size[0]; i++)
        {
            for (var j = 0; j < size[1]; j++)
            {
                for (var k = 0; k < size[2]; k++)
                {
                    at[from[0]] = flip[0] ? size[0] - 1 - i : i;
                    at[from[1]] = flip[1] ? size[1] - 1 - j : j;
                    at[from[2]] = flip[2] ? size[2] - 1 - k : k;
                    voxels[n++] = volume[at[0], at[1], at[2]];
                }
            }
        }

        return new Volume(size, volume.Affine.After(new Affine(m, t)), voxels);
    }

    /// <summary>
    /// Resamples to other distances between voxels. The first voxel stays where it is, the size is round((n − 1)·from/to + 1), and values beyond the border are those of
    /// the border.
    /// </summary>
    /// <param name="volume">The image.</param>
    /// <param name="pixdim">Millimetres for each axis; 0 or less keeps what is.</param>
    /// <param name="nearest">Nearest value instead of linear interpolation.</param>
    public static Volume Space(Volume volume, IReadOnlyList<double> pixdim, bool nearest)
    {
        var have = Enumerable.Range(0, 3).Select(volume.Affine.Spacing).ToArray();
        var want = Enumerable.Range(0, 3).Select(a => a < pixdim.Count && pixdim[a] > 0 ? pixdim[a] : have[a]).ToArray();
        var size = Enumerable.Range(0, 3).Select(a => (int)Math.Round((volume.Size[a] - 1) * have[a] / want[a] + 1, MidpointRounding.ToEven)).ToArray();
        var step = new Affine(new[,] { { want[0] / have[0], 0, 0 }, { 0, want[1] / have[1], 0 }, { 0, 0, want[2] / have[2] } }, [0, 0, 0]);
        return Resample(volume, size, volume.Affine.After(step), nearest, null);
    }

    /// <summary>Values at the voxels of another grid; <paramref name="outside"/> where this image has none, or its border when that is null.</summary>
    public static Volume Resample(Volume volume, int[] size, Affine affine, bool nearest, float? outside)
    {
        var map = volume.Affine.Inverse().After(affine);
        var voxels = new float[(long)size[0] * size[1] * size[2]];
        Parallel.For(0, size[0], i =>
        {
            var n = i * size[1] * size[2];
            for (var j = 0; j < size[1]; j++)
            {
                for (var k = 0; k < size[2]; k++)
                {
                    var (x, y, z) = map.At(i, j, k);
                    voxels[n++] = nearest ? Nearest(volume, x, y, z, outside) : Linear(volume, x, y, z, outside);
                }
            }
        });
        return new Volume(size, affine, voxels);
    }

    /// <summary>Pads with zeros or crops around the middle: of an odd difference the smaller half comes first.</summary>
    public static Volume PadOrCrop(Volume volume, IReadOnlyList<int> spatialSize)
    {
        var size = Enumerable.Range(0, 3).Select(a => a < spatialSize.Count && spatialSize[a] > 0 ? spatialSize[a] : volume.Size[a]).ToArray();
        var shift = Enumerable.Range(0, 3).Select(a => size[a] >= volume.Size[a] ? -((size[a] - volume.Size[a]) / 2) : volume.Size[a] / 2 - size[a] / 2).ToArray();
        var voxels = new float[(long)size[0] * size[1] * size[2]];
        var n = 0;
        for (var i = shift[0]; i < shift[0] + size[0]; i++)
        {
            for (var j = shift[1]; j < shift[1] + size[1]; j++)
            {
                for (var k = shift[2]; k < shift[2] + size[2]; k++, n++)
                {
                    voxels[n] = Inside(volume, i, j, k) ? volume[i, j, k] : 0;
                }
            }
        }

        return new Volume(size, volume.Affine.After(new Affine(new double[,] { { 1, 0, 0 }, { 0, 1, 0 }, { 0, 0, 1 } }, [shift[0], shift[1], shift[2]])), voxels);
    }

    private static bool Inside(Volume v, int i, int j, int k) => i >= 0 && j >= 0 && k >= 0 && i < v.Size[0] && j < v.Size[1] && k < v.Size[2];

    private static float Nearest(Volume v, double x, double y, double z, float? outside)
    {
        int i = (int)Math.Round(x), j = (int)Math.Round(y), k = (int)Math.Round(z);
        return Inside(v, i, j, k) ? v[i, j, k] : outside ?? v[Math.Clamp(i, 0, v.Size[0] - 1), Math.Clamp(j, 0, v.Size[1] - 1), Math.Clamp(k, 0, v.Size[2] - 1)];
    }

    private static float Linear(Volume v, double x, double y, double z, float? outside)
    {
        if (outside is { } value && (x < -0.5 || y < -0.5 || z < -0.5 || x > v.Size[0] - 0.5 || y > v.Size[1] - 0.5 || z > v.Size[2] - 0.5))
        {
            return value;
        }

        var (i, fi) = Cell(x, v.Size[0]);
        var (j, fj) = Cell(y, v.Size[1]);
        var (k, fk) = Cell(z, v.Size[2]);
        int i1 = Math.Min(i + 1, v.Size[0] - 1), j1 = Math.Min(j + 1, v.Size[1] - 1), k1 = Math.Min(k + 1, v.Size[2] - 1);
        var front = Mix(Mix(v[i, j, k], v[i, j, k1], fk), Mix(v[i, j1, k], v[i, j1, k1], fk), fj);
        var back = Mix(Mix(v[i1, j, k], v[i1, j, k1], fk), Mix(v[i1, j1, k], v[i1, j1, k1], fk), fj);
        return Mix(front, back, fi);
    }

    private static (int Index, float Part) Cell(double x, int size)
    {
        var clamped = Math.Clamp(x, 0, size - 1);
        var index = (int)clamped;
        return (index, (float)(clamped - index));
    }

    private static float Mix(float a, float b, float part) => a + (b - a) * part;
}
