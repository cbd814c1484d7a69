using System.Buffers.Binary;

namespace Yizhan.Simulation;

/// <summary>SplitMix64: the same numbers for the same seed on every machine and version, and bytes at memory speed.</summary>
internal sealed class SeededRandom(ulong seed) : Random
{
    private ulong _state = seed;

    /// <summary>A stream of its own, so that one component's draws do not shift another's.</summary>
    public SeededRandom Split() => new(NextUInt64());

    public ulong NextUInt64()
    {
        var z = _state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }

    public bool Chance(double probability) => NextDouble() < probability;

    /// <summary>Exponential: the time to the next of events that come at random.</summary>
    public TimeSpan Next(TimeSpan mean) => mean * -Math.Log(1 - NextDouble());

    public TimeSpan Next(TimeSpan least, TimeSpan most) => least + ((most - least) * NextDouble());

    public override double NextDouble() => (NextUInt64() >> 11) * (1.0 / (1UL << 53));

    public override int Next() => (int)(NextUInt64() >> 33);

    public override int Next(int maxValue) => (int)(NextUInt64() % (ulong)Math.Max(1, maxValue));

    public override int Next(int minValue, int maxValue) => minValue + Next(maxValue - minValue);

    public override void NextBytes(Span<byte> buffer)
    {
        for (; buffer.Length >= 8; buffer = buffer[8..])
        {
            BinaryPrimitives.WriteUInt64LittleEndian(buffer, NextUInt64());
        }

        for (var i = 0; i < buffer.Length; i++)
        {
            buffer[i] = (byte)NextUInt64();
        }
    }

    public override void NextBytes(byte[] buffer) => NextBytes(buffer.AsSpan());

    protected override double Sample() => NextDouble();
}
