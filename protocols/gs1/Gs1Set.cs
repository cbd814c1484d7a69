using System.Runtime.CompilerServices;

namespace Yizhan.Gs1;

/// <summary>Which application identifiers a scan has: one bit for each of the table.</summary>
internal struct Gs1Set
{
    /// <summary>Most identifiers of the table.</summary>
    public const int Capacity = Words * 64;

    private const int Words = 16;
    private Bits _bits;

    public void Add(int index) => _bits[index >> 6] |= 1UL << index;

    public readonly bool HasAny(int[] indexes)
    {
        foreach (var index in indexes)
        {
            if ((_bits[index >> 6] & (1UL << index)) != 0)
            {
                return true;
            }
        }

        return false;
    }

    [InlineArray(Words)]
    private struct Bits
    {
        private ulong _first;
    }
}
