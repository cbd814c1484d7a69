namespace Yizhan.AiInfer.Clinical.Imaging;

/// <summary>Transforms of values. What they mean is what MONAI documents under the same names.</summary>
internal static class IntensityTransforms
{
    /// <summary><c>ScaleIntensityRange</c>: [aMin, aMax] to [bMin, bMax], clipped to it when asked.</summary>
    public static void ScaleRange(Span<float> values, double aMin, double aMax, double bMin, double bMax, bool clip)
    {
        // MONAI: an empty range moves values only.
        var factor = aMax == aMin ? 1 : (bMax - bMin) / (aMax - aMin);
        foreach (ref var value in values)
        {
            var scaled = (value - aMin) * factor + bMin;
            value = (float)(clip ? Math.Clamp(scaled, bMin, bMax) : scaled);
        }
    }

    /// <summary><c>ScaleIntensity</c>: least and greatest value to [bMin, bMax]; an image of one value becomes bMin.</summary>
    public static void Scale(Span<float> values, double bMin, double bMax)
    {
        var (least, greatest) = (float.MaxValue, float.MinValue);
        foreach (var value in values)
        {
            (least, greatest) = (Math.Min(least, value), Math.Max(greatest, value));
        }

        if (least == greatest)
        {
            values.Fill((float)(least * bMin));
            return;
        }

        ScaleRange(values, least, greatest, bMin, bMax, clip: false);
    }

    /// <summary><c>ScaleIntensityRangePercentiles</c>: values at two percentiles to [bMin, bMax].</summary>
    public static void ScalePercentiles(Span<float> values, double lower, double upper, double bMin, double bMax, bool clip)
    {
        var sorted = values.ToArray();
        Array.Sort(sorted);
        ScaleRange(values, Percentile(sorted, lower), Percentile(sorted, upper), bMin, bMax, clip);
    }

    /// <summary><c>NormalizeIntensity</c>: minus mean, over standard deviation (of the population); of non-zero values only when asked.</summary>
    public static void Normalize(Span<float> values, double? subtrahend, double? divisor, bool nonzero)
    {
        var (count, sum) = (0L, 0.0);
        foreach (var value in values)
        {
            if (!nonzero || value != 0)
            {
                count++;
                sum += value;
            }
        }

        if (count == 0)
        {
            return;
        }

        var mean = subtrahend ?? sum / count;
        var squares = 0.0;
        foreach (var value in values)
        {
            squares += !nonzero || value != 0 ? (value - sum / count) * (value - sum / count) : 0;
        }

        var deviation = divisor ?? Math.Sqrt(squares / count);
        foreach (ref var value in values)
        {
            if (!nonzero || value != 0)
            {
                value = (float)((value - mean) / (deviation == 0 ? 1 : deviation));
            }
        }
    }

    /// <summary>A percentile as NumPy has it: linear between neighbours.</summary>
    internal static double Percentile(IReadOnlyList<float> sorted, double percent)
    {
        var at = percent / 100 * (sorted.Count - 1);
        var low = (int)Math.Floor(at);
        var high = Math.Min(low + 1, sorted.Count - 1);
        return sorted[low] + (sorted[high] - sorted[low]) * (at - low);
    }
}
