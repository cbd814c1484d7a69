namespace Yizhan.AiInfer.Clinical.Imaging;

/// <summary>Where a voxel is: position = M·index + T, in millimetres, axes to the Right-to-left, Posterior-to-anterior and Inferior-to-superior (RAS, as MONAI).</summary>
/// <param name="M">3×3, by rows.</param>
/// <param name="T">Position of voxel (0, 0, 0).</param>
internal sealed record Affine(double[,] M, double[] T)
{
    /// <summary>Length of a step along an axis of the array, in millimetres.</summary>
    public double Spacing(int axis) => Math.Sqrt(M[0, axis] * M[0, axis] + M[1, axis] * M[1, axis] + M[2, axis] * M[2, axis]);

    /// <summary>Position of an index.</summary>
    public (double X, double Y, double Z) At(double i, double j, double k) => (
        M[0, 0] * i + M[0, 1] * j + M[0, 2] * k + T[0],
        M[1, 0] * i + M[1, 1] * j + M[1, 2] * k + T[1],
        M[2, 0] * i + M[2, 1] * j + M[2, 2] * k + T[2]);

    /// <summary>The inverse: indexes of positions.</summary>
    public Affine Inverse()
    {
        var m = M;
        var determinant = m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1]) - m[0, 1] * (m[1, 0] * m[2, 2] - m[1, 2] * m[2, 0]) + m[0, 2] * (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0]);
        var inverse = new double[3, 3];
        for (var r = 0; r < 3; r++)
        {
            for (var c = 0; c < 3; c++)
            {
                int a = (c + 1) % 3, b = (c + 2) % 3, d = (r + 1) % 3, e = (r + 2) % 3;
                inverse[r, c] = (m[a, d] * m[b, e] - m[a, e] * m[b, d]) / determinant;
            }
        }

        var t = new double[3];
        for (var r = 0; r < 3; r++)
        {
            t[r] = -(inverse[r, 0] * T[0] + inverse[r, 1] * T[1] + inverse[r, 2] * T[2]);
        }

        return new Affine(inverse, t);
    }

    /// <summary>This after another one: index of the other's output is this one's input.</summary>
    public Affine After(Affine first)
    {
        var m = new double[3, 3];
        for (var r = 0; r < 3; r++)
        {
            for (var c = 0; c < 3; c++)
            {
                m[r, c] = M[r, 0] * first.M[0, c] + M[r, 1] * first.M[1, c] + M[r, 2] * first.M[2, c];
            }
        }

        var (x, y, z) = At(first.T[0], first.T[1], first.T[2]);
        return new Affine(m, [x, y, z]);
    }
}
