namespace Yizhan.Fuzz;

/// <summary>Random numbers (SplitMix64) that depend on the seed and the iteration alone, so that any single case can be made again.</summary>
internal sealed class Chance
{
    private ulong _state;

    /// <summary>Starts the sequence of one iteration.</summary>
    public void Start(long seed, long iteration)
    {
        _state = ((ulong)seed * 0x9E3779B97F4A7C15) ^ ((ulong)iteration * 0xD1B54A32D192ED03);
        Next();
    }

    /// <summary>At least 0 and less than a bound above 0.</summary>
    public int Below(int bound) => (int)((Next() >> 32) * (ulong)bound >> 32);

    /// <summary>True once in so many times.</summary>
    public bool OneIn(int times) => Below(times) == 0;

    /// <summary>One of several.</summary>
    public T Of<T>(ReadOnlySpan<T> choices) => choices[Below(choices.Length)];

    /// <summary>A length: mostly small, sometimes at a bound, rarely huge.</summary>
    public uint Length() => Below(6) switch
    {
        0 => 0,
        1 => (uint)Below(16),
        2 => (uint)Below(70_000),
        3 => 0xFFFFFFFF,
        4 => 0xFFFFFFFE - (uint)Below(4),
        _ => 0x7FFFFFFE + (uint)Below(4),
    };

    private ulong Next()
    {
        var z = _state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
