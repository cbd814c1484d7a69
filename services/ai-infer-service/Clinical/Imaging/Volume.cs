namespace Yizhan.AiInfer.Clinical.Imaging;

/// <summary>A scalar image of three axes; the last axis runs fastest, as in MONAI's arrays.</summary>
/// <param name="Size">Length of each axis.</param>
/// <param name="Affine">Where its voxels are.</param>
/// <param name="Voxels">Values.</param>
internal sealed record Volume(int[] Size, Affine Affine, float[] Voxels)
{
    /// <summary>Value at an index.</summary>
    public float this[int i, int j, int k] => Voxels[(i * Size[1] + j) * Size[2] + k];

    /// <summary>Volume of a voxel in millilitres.</summary>
    public double VoxelMl => Affine.Spacing(0) * Affine.Spacing(1) * Affine.Spacing(2) / 1000;

    /// <summary>Letters of the direction in which each index grows, such as <c>RAS</c>.</summary>
    public string AxisCodes => string.Concat(Enumerable.Range(0, 3).Select(Code));

    /// <summary>Another image on the same grid.</summary>
    public Volume With(float[] voxels) => this with { Voxels = voxels };

    private char Code(int axis)
    {
        var world = Enumerable.Range(0, 3).MaxBy(r => Math.Abs(Affine.M[r, axis]));
        return Affine.M[world, axis] > 0 ? "RAS"[world] : "LPI"[world];
    }
}
