namespace Yizhan.NmtAsr.Audio;

/// <summary>Changes the sample rate of a stream of mono samples: a windowed sinc, which also removes what the lower rate cannot carry.</summary>
internal sealed class Resampler
{
    private const int ZeroCrossings = 12;

    private readonly double _step;
    private readonly double _cutoff;
    private readonly int _reach;
    private readonly List<short> _held = [];
    private double _position;

    public Resampler(int from, int to)
    {
        (From, To) = (from, to);
        _step = (double)from / to;
        _cutoff = Math.Min(1.0, (double)to / from);
        _reach = (int)Math.Ceiling(ZeroCrossings / _cutoff);
        _held.AddRange(new short[_reach]);
        _position = _reach;
    }

    public int From { get; }

    public int To { get; }

    /// <summary>Takes samples and gives those of the new rate that they complete.</summary>
    public short[] Push(ReadOnlySpan<short> samples)
    {
        if (From == To)
        {
            return samples.ToArray();
        }

        _held.AddRange(samples);
        var made = new List<short>((int)(samples.Length / _step) + 2);
        for (; _position + _reach < _held.Count; _position += _step)
        {
            made.Add(At(_position));
        }

        var used = (int)_position - _reach;
        if (used > 0)
        {
            _held.RemoveRange(0, used);
            _position -= used;
        }

        return [.. made];
    }

    /// <summary>Ends the stream.</summary>
    public short[] Flush() => From == To ? [] : Push(new short[_reach]);

    private short At(double position)
    {
        var (from, to) = ((int)Math.Ceiling(position - _reach), (int)Math.Floor(position + _reach));
        double sum = 0, weight = 0;
        for (var i = Math.Max(0, from); i <= to && i < _held.Count; i++)
        {
            var x = (i - position) * _cutoff;
            var w = (Math.Abs(x) < 1e-9 ? 1 : Math.Sin(Math.PI * x) / (Math.PI * x)) * (0.5 + 0.5 * Math.Cos(Math.PI * (i - position) / _reach));
            sum += _held[i] * w;
            weight += w;
        }

        return (short)Math.Clamp(Math.Round(weight == 0 ? 0 : sum / weight), short.MinValue, short.MaxValue);
    }
}
