namespace Yizhan.NmtAsr.Ctc;

/// <summary>
/// What a network hears: the logarithm of 40 mel bands (60 to 7600 Hz, 2595 log10(1 + f/700), triangles of height 1) of the power spectrum of 512 points, of windows of 25 ms
/// (Hann) every 10 ms, of sound at 16 kHz between -1 and 1; at least 1e-7. <c>models/training/mandarin/train.py</c> has the same. Not for concurrent use.
/// </summary>
internal sealed class LogMel
{
    /// <summary>Values of a window.</summary>
    public const int Bands = 40;

    private const int SampleRate = 16_000, Window = 400, Hop = 160, Points = 512;
    private const double Lowest = 60, Highest = 7600, Floor = 1e-7;

    private static readonly double[] s_window = [.. Enumerable.Range(0, Window).Select(i => 0.5 - 0.5 * Math.Cos(2 * Math.PI * i / Window))];
    private static readonly (double Cos, double Sin)[] s_turns = [.. Enumerable.Range(0, Points / 2).Select(i => (Math.Cos(2 * Math.PI * i / Points), -Math.Sin(2 * Math.PI * i / Points)))];
    private static readonly (int First, float[] Weights)[] s_bands = MakeBands();

    private readonly float[] _held = new float[Window];
    private readonly double[] _real = new double[Points], _imaginary = new double[Points];
    private int _count;

    /// <summary>Begins anew.</summary>
    public void Reset() => _count = 0;

    /// <summary>Takes samples and adds the windows that they complete.</summary>
    public void Push(ReadOnlySpan<short> samples, List<float> windows)
    {
        foreach (var sample in samples)
        {
            _held[_count++] = sample / 32768f;
            if (_count == Window)
            {
                Add(windows);
                Array.Copy(_held, Hop, _held, 0, Window - Hop);
                _count = Window - Hop;
            }
        }
    }

    private void Add(List<float> windows)
    {
        Array.Clear(_imaginary);
        Array.Clear(_real, Window, Points - Window);
        for (var i = 0; i < Window; i++)
        {
            _real[i] = _held[i] * s_window[i];
        }

        Transform(_real, _imaginary);
        foreach (var (first, weights) in s_bands)
        {
            double sum = 0;
            for (var i = 0; i < weights.Length; i++)
            {
                var (re, im) = (_real[first + i], _imaginary[first + i]);
                sum += weights[i] * (re * re + im * im);
            }

            windows.Add((float)Math.Log(Math.Max(sum, Floor)));
        }
    }

    /// <summary>The discrete Fourier transform in place (Cooley and Tukey, radix 2).</summary>
    private static void Transform(double[] real, double[] imaginary)
    {
        for (int i = 1, j = 0; i < Points; i++)
        {
            var bit = Points >> 1;
            for (; (j & bit) != 0; bit >>= 1)
            {
                j ^= bit;
            }

            j ^= bit;
            if (i < j)
            {
                (real[i], real[j], imaginary[i], imaginary[j]) = (real[j], real[i], imaginary[j], imaginary[i]);
            }
        }

        for (var length = 2; length <= Points; length <<= 1)
        {
            var (half, step) = (length / 2, Points / length);
            for (var from = 0; from < Points; from += length)
            {
                for (var k = 0; k < half; k++)
                {
                    var (cos, sin) = s_turns[k * step];
                    var (a, b) = (from + k, from + k + half);
                    var (re, im) = (real[b] * cos - imaginary[b] * sin, real[b] * sin + imaginary[b] * cos);
                    (real[b], imaginary[b]) = (real[a] - re, imaginary[a] - im);
                    (real[a], imaginary[a]) = (real[a] + re, imaginary[a] + im);
                }
            }
        }
    }

    private static (int, float[])[] MakeBands()
    {
        static double Mel(double hertz) => 2595 * Math.Log10(1 + hertz / 700);
        var (low, high) = (Mel(Lowest), Mel(Highest));
        var edges = Enumerable.Range(0, Bands + 2).Select(i => 700 * (Math.Pow(10, (low + (high - low) * i / (Bands + 1)) / 2595) - 1)).ToArray();
        return [.. Enumerable.Range(0, Bands).Select(m =>
        {
            var weights = Enumerable.Range(0, Points / 2 + 1).Select(bin => bin * (double)SampleRate / Points)
                .Select(f => Math.Max(0, Math.Min((f - edges[m]) / (edges[m + 1] - edges[m]), (edges[m + 2] - f) / (edges[m + 2] - edges[m + 1])))).ToArray();
            var first = Array.FindIndex(weights, w => w > 0);
            return (first, weights[first..(Array.FindLastIndex(weights, w => w > 0) + 1)].Select(w => (float)w).ToArray());
        })];
    }
}
