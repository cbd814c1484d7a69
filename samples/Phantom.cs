namespace Yizhan.Samples;

/// <summary>A thorax made of ellipsoids: body, lungs, spine, vessels and nodules, in Hounsfield units with scanner-like noise.</summary>
/// <remarks>Deterministic: one seed, one volume, on every machine. Coordinates are millimetres from the centre of the volume.</remarks>
public sealed class Phantom
{
    private readonly uint _seed;
    private readonly Vessel[] _vessels;

    /// <summary>Draws the anatomy of one person.</summary>
    public Phantom(int seed)
    {
        _seed = (uint)seed;
        var random = new Random(seed);
        Nodules = [.. Enumerable.Range(0, 1 + random.Next(4)).Select(_ => DrawNodule(random))];
        _vessels = [.. Enumerable.Range(0, 48).Select(_ => DrawVessel(random))];
    }

    /// <summary>Width of the square field of view, in millimetres.</summary>
    public const double FieldOfViewMm = 360;

    /// <summary>The nodules: what a reader should find.</summary>
    public IReadOnlyList<Nodule> Nodules { get; }

    /// <summary>Fills one axial slice with Hounsfield units, row by row.</summary>
    /// <param name="z">Position of the slice along the body, in millimetres.</param>
    /// <param name="size">Rows and columns.</param>
    /// <param name="pixels">At least <paramref name="size"/> squared.</param>
    public void Slice(double z, int size, Span<short> pixels)
    {
        var mm = FieldOfViewMm / size;
        var nodules = Nodules.Where(n => Math.Abs(n.Z - z) < n.RadiusMm).ToArray();
        var vessels = _vessels.Select(v => v.At(z)).ToArray();
        for (var row = 0; row < size; row++)
        {
            var y = (row - size / 2.0) * mm;
            for (var column = 0; column < size; column++)
            {
                var x = (column - size / 2.0) * mm;
                var tissue = Tissue(x, y, z, nodules, vessels);
                var noise = Noise(_seed, (uint)(row * size + column), (uint)BitConverter.DoubleToInt64Bits(z));
                pixels[row * size + column] = (short)(tissue + noise);
            }
        }
    }

    private static int Tissue(double x, double y, double z, Nodule[] nodules, (double X, double Y, double Radius)[] vessels)
    {
        if (Ellipse(x, y, 160, 115) > 1)
        {
            return -1000;
        }

        if (Ellipse(x, y, 152, 107) > 1)
        {
            return -90;
        }

        var left = Ellipse(x + 70, y + 8, 52 - Math.Abs(z) / 12, 78 - Math.Abs(z) / 10);
        var right = Ellipse(x - 70, y + 8, 52 - Math.Abs(z) / 12, 78 - Math.Abs(z) / 10);
        if (Math.Min(left, right) < 1)
        {
            foreach (var nodule in nodules)
            {
                if (Squared(x - nodule.X) + Squared(y - nodule.Y) + Squared(z - nodule.Z) < Squared(nodule.RadiusMm))
                {
                    return 35;
                }
            }

            foreach (var (vesselX, vesselY, radius) in vessels)
            {
                if (Squared(x - vesselX) + Squared(y - vesselY) < Squared(radius))
                {
                    return 45;
                }
            }

            return -850;
        }

        return Ellipse(x, y - 70, 18, 16) < 1 ? 420 : Ellipse(x + 12, y + 25, 38, 34) < 1 ? 40 : 55;
    }

    /// <summary>The sum of four hashes is close to a normal distribution; about 12 HU wide, as a low-dose scan is.</summary>
    private static int Noise(uint seed, uint pixel, uint slice)
    {
        var h = (seed * 0x9E3779B1u) ^ (slice * 0x85EBCA6Bu) ^ (pixel * 0xC2B2AE35u);
        h ^= h >> 15;
        h *= 0x2C1B3C6Du;
        h ^= h >> 12;
        h *= 0x297A2D39u;
        h ^= h >> 15;
        return (int)((h & 31) + (h >> 8 & 31) + (h >> 16 & 31) + (h >> 24 & 31)) / 2 - 31;
    }

    private static Nodule DrawNodule(Random random)
    {
        var side = random.Next(2) == 0 ? -1 : 1;
        return new Nodule(
            side * (55 + random.NextDouble() * 35),
            -40 + random.NextDouble() * 60,
            -60 + random.NextDouble() * 120,
            3 + random.NextDouble() * 9);
    }

    private static Vessel DrawVessel(Random random)
    {
        var side = random.Next(2) == 0 ? -1 : 1;
        return new Vessel(
            side * (30 + random.NextDouble() * 80), -65 + random.NextDouble() * 115,
            (random.NextDouble() - 0.5) * 0.8, (random.NextDouble() - 0.5) * 0.8,
            0.8 + random.NextDouble() * 2.6);
    }

    private static double Ellipse(double x, double y, double a, double b) => Squared(x / a) + Squared(y / b);

    private static double Squared(double v) => v * v;

    private readonly record struct Vessel(double X, double Y, double SlopeX, double SlopeY, double RadiusMm)
    {
        public (double X, double Y, double Radius) At(double z) =>
            (X + SlopeX * z, Y + SlopeY * z, RadiusMm * Math.Max(0.3, 1 - Math.Abs(z) / 160));
    }
}

/// <summary>A ball of soft tissue in a lung.</summary>
/// <param name="X">Centre, millimetres to the patient's left.</param>
/// <param name="Y">Centre, millimetres towards the back.</param>
/// <param name="Z">Centre, millimetres along the body.</param>
/// <param name="RadiusMm">Radius in millimetres.</param>
public sealed record Nodule(double X, double Y, double Z, double RadiusMm);
