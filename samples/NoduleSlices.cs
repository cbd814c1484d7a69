namespace Yizhan.Samples;

/// <summary>
/// Slices of drawn thoraxes with and without nodules, by the rules of <c>models/training/phantom.py</c>: the test set of the bundle <c>nodule</c>. Random
/// numbers come from another generator than there, so the slices are others of the same kind.
/// </summary>
public static class NoduleSlices
{
    /// <summary>Rows and columns of a slice.</summary>
    public const int Size = 96;

    /// <summary>One slice.</summary>
    /// <param name="Image">Intensities, 0 to 1 for −1000 to 400 HU, row by row.</param>
    /// <param name="Truth">Whether a pixel is of a nodule.</param>
    public sealed record Slice(float[] Image, bool[] Truth);

    /// <summary>Draws slices; equal seeds give equal ones.</summary>
    public static IEnumerable<Slice> Draw(int seed, int count)
    {
        var random = new Source(seed);
        for (var i = 0; i < count; i++)
        {
            yield return Draw(random);
        }
    }

    /// <summary>Figures of answers, as the training script computes them.</summary>
    /// <param name="slices">What was drawn.</param>
    /// <param name="answers">What the model answered to each: probabilities; more than 0.5 is a nodule.</param>
    /// <returns><c>meanDice</c> of slices with nodules, <c>lesionSensitivity</c> (touched nodules of all) and <c>falsePositivesPerSlice</c>.</returns>
    public static IReadOnlyDictionary<string, double> Figures(IReadOnlyList<Slice> slices, IReadOnlyList<float[]> answers)
    {
        var dice = new List<double>();
        int touched = 0, lesions = 0, wrong = 0;
        foreach (var (slice, answer) in slices.Zip(answers))
        {
            var found = Array.ConvertAll(answer, p => p > 0.5f);
            if (slice.Truth.Contains(true))
            {
                dice.Add(2.0 * slice.Truth.Zip(found).Count(p => p is (true, true)) / (slice.Truth.Count(t => t) + found.Count(f => f)));
            }

            foreach (var lesion in Components(slice.Truth))
            {
                lesions++;
                touched += lesion.Any(at => found[at]) ? 1 : 0;
            }

            wrong += Components(found).Count(component => !component.Any(at => slice.Truth[at]));
        }

        return new Dictionary<string, double>
        {
            ["meanDice"] = dice.Count == 0 ? 0 : dice.Average(),
            ["lesionSensitivity"] = lesions == 0 ? 0 : (double)touched / lesions,
            ["falsePositivesPerSlice"] = (double)wrong / slices.Count,
        };
    }

    private static Slice Draw(Source random)
    {
        var hu = new double[Size * Size];
        Array.Fill(hu, -1000);
        var body = Ellipse(48, 48, random.Uniform(40, 46), random.Uniform(32, 40), random.Normal(0, 0.05));
        Fill(hu, body, random.Normal(40, 10));
        var left = Ellipse(30 + random.Normal(0, 2), 47, random.Uniform(11, 15), random.Uniform(19, 25), random.Normal(0, 0.1));
        var right = Ellipse(66 + random.Normal(0, 2), 47, random.Uniform(11, 15), random.Uniform(19, 25), random.Normal(0, 0.1));
        bool[] lungs = [.. body.Select((inside, at) => inside && (left[at] || right[at]))];
        Fill(hu, lungs, random.Normal(-820, 30));
        int[] places = [.. Enumerable.Range(0, lungs.Length).Where(at => lungs[at])];

        // Vessels: thin bright tubes.
        for (var left2 = random.Integer(8, 20); left2 > 0; left2--)
        {
            var at = places[random.Integer(0, places.Length)];
            var (angle, length, width) = (random.Uniform(0, Math.PI), random.Uniform(4, 14), random.Uniform(0.5, 1.2));
            Fill(hu, Where((u, v) => Math.Abs(u) < length / 2 && Math.Abs(v) < width, at % Size, at / Size, angle, lungs), random.Normal(-60, 80));
        }

        Fill(hu, Ellipse(48, 70, 5, 5, 0), random.Normal(500, 80));
        var truth = new bool[hu.Length];
        var nodules = random.Uniform(0, 1) switch { < 0.3 => 0, < 0.8 => 1, _ => 2 };
        for (; nodules > 0; nodules--)
        {
            var at = places[random.Integer(0, places.Length)];
            var radius = random.Uniform(1.8, 5);
            var other = radius * random.Uniform(0.75, 1.25);
            var nodule = Where((u, v) => u * u / (radius * radius) + v * v / (other * other) < 1, at % Size, at / Size, random.Uniform(0, 3), lungs);
            Fill(hu, nodule, random.Uniform(0, 1) < 0.7 ? random.Normal(20, 60) : random.Normal(-500, 60));
            truth = [.. truth.Zip(nodule, (a, b) => a || b)];
        }

        var smooth = Smooth(hu, random.Uniform(0.5, 0.9));
        var noise = random.Uniform(20, 60);
        return new Slice([.. smooth.Select(value => (float)Math.Clamp((value + random.Normal(0, noise) + 1000) / 1400, 0, 1))], truth);
    }

    private static bool[] Ellipse(double x, double y, double a, double b, double angle) =>
        Where((u, v) => u * u / (a * a) + v * v / (b * b) < 1, x, y, angle, null);

    private static bool[] Where(Func<double, double, bool> holds, double x, double y, double angle, bool[]? within)
    {
        var (sine, cosine) = Math.SinCos(angle);
        return [.. Enumerable.Range(0, Size * Size).Select(at =>
        {
            var (dx, dy) = (at % Size - x, at / Size - y);
            return within?[at] != false && holds(dx * cosine + dy * sine, dy * cosine - dx * sine);
        })];
    }

    private static void Fill(double[] hu, bool[] where, double value)
    {
        for (var at = 0; at < hu.Length; at++)
        {
            hu[at] = where[at] ? value : hu[at];
        }
    }

    /// <summary>A Gaussian of four standard deviations each way, mirrored at the border.</summary>
    private static double[] Smooth(double[] image, double sigma)
    {
        var radius = (int)(4 * sigma + 0.5);
        double[] kernel = [.. Enumerable.Range(-radius, 2 * radius + 1).Select(i => Math.Exp(-0.5 * i * i / (sigma * sigma)))];
        var sum = kernel.Sum();
        foreach (var step in new[] { 1, Size })
        {
            image = [.. image.Select((_, at) =>
            {
                var place = at / step % Size;
                return Enumerable.Range(-radius, kernel.Length).Sum(i => kernel[i + radius] / sum * image[at + (Mirror(place + i) - place) * step]);
            })];
        }

        return image;
    }

    private static int Mirror(int at) => at < 0 ? -1 - at : at >= Size ? 2 * Size - 1 - at : at;

    /// <summary>Pixels that touch by an edge.</summary>
    private static List<List<int>> Components(bool[] mask)
    {
        var components = new List<List<int>>();
        var seen = new bool[mask.Length];
        for (var start = 0; start < mask.Length; start++)
        {
            if (!mask[start] || seen[start])
            {
                continue;
            }

            var component = new List<int> { start };
            seen[start] = true;
            for (var i = 0; i < component.Count; i++)
            {
                var at = component[i];
                foreach (var (next, inside) in new[] { (at - 1, at % Size > 0), (at + 1, at % Size < Size - 1), (at - Size, at >= Size), (at + Size, at < Size * (Size - 1)) })
                {
                    if (inside && mask[next] && !seen[next])
                    {
                        seen[next] = true;
                        component.Add(next);
                    }
                }
            }

            components.Add(component);
        }

        return components;
    }

    private sealed class Source(int seed)
    {
        private readonly Random _random = new(seed);

        public double Uniform(double low, double high) => low + (high - low) * _random.NextDouble();

        public int Integer(int low, int high) => _random.Next(low, high);

        public double Normal(double mean, double deviation) =>
            mean + deviation * Math.Sqrt(-2 * Math.Log(1 - _random.NextDouble())) * Math.Cos(2 * Math.PI * _random.NextDouble());
    }
}
