using System.Runtime.InteropServices;

namespace Yizhan.Storage;

/// <summary>
/// Fact keys and the positions of their entries: one array, open addressing with linear probing, 24 bytes a place, at most four fifths full. A lookup is one
/// miss of the cache where the library's dictionary has two, and a start can have many misses under way at once.
/// </summary>
internal sealed class FactTable
{
    private const int AtOnce = 128;

    private readonly List<Slot> _later = new(AtOnce);
    private Slot[] _slots = new Slot[16];
    private long _touched;

    /// <summary>How many keys there are; those that were put later and are not in yet are not counted.</summary>
    public int Count { get; private set; }

    /// <summary>Makes room for so many more at once.</summary>
    public void Expect(int more) => Grow((long)Count + more);

    /// <summary>Sets the position of a key. It is above 0.</summary>
    public void Put(FactKey fact, long position)
    {
        Settle();
        Insert(new Slot(fact, position));
    }

    /// <summary>As <see cref="Put"/>, in steps of many: their places in a large table come from memory all at the same time instead of one after the other.</summary>
    public void PutLater(FactKey fact, long position)
    {
        _later.Add(new Slot(fact, position));
        if (_later.Count == AtOnce)
        {
            Settle();
        }
    }

    /// <summary>The position of a key; null when there is none.</summary>
    public long? Find(FactKey fact)
    {
        Settle();
        var at = Seek(fact);
        return _slots[at].Position == 0 ? null : _slots[at].Position;
    }

    /// <summary>Removes a key, if it still has this position.</summary>
    public void Remove(FactKey fact, long position)
    {
        Settle();
        var at = Seek(fact);
        if (_slots[at].Position != position || position == 0)
        {
            return;
        }

        // What follows without a gap moves up when its own place is at the hole or before it, so that no search ends early.
        var hole = at;
        for (var next = Next(hole); _slots[next].Position != 0; next = Next(next))
        {
            if (Distance(Home(_slots[next].Fact), next) >= Distance(hole, next))
            {
                _slots[hole] = _slots[next];
                hole = next;
            }
        }

        _slots[hole] = default;
        Count--;
    }

    /// <summary>Removes all keys with these positions: one pass over the table.</summary>
    public void Remove(IReadOnlySet<long> positions)
    {
        Settle();
        foreach (var slot in _slots.Where(slot => slot.Position != 0 && positions.Contains(slot.Position)).ToArray())
        {
            Remove(slot.Fact, slot.Position);
        }
    }

    private void Settle()
    {
        if (_later.Count == 0)
        {
            return;
        }

        Grow((long)Count + _later.Count);

        // Reads that do not depend on each other: the processor has as many under way as it can.
        var later = CollectionsMarshal.AsSpan(_later);
        foreach (ref readonly var slot in later)
        {
            _touched += _slots[Home(slot.Fact)].Position;
        }

        foreach (ref readonly var slot in later)
        {
            Insert(slot);
        }

        _later.Clear();
    }

    private void Insert(Slot slot)
    {
        Grow((long)Count + 1);
        ref var place = ref _slots[Seek(slot.Fact)];
        Count += place.Position == 0 ? 1 : 0;
        place = slot;
    }

    private void Grow(long count)
    {
        if (count * 5 <= _slots.Length * 4L)
        {
            return;
        }

        var old = _slots;
        _slots = new Slot[(int)Math.Min(Array.MaxLength, Math.Max(count * 5 / 4, old.Length * 3L / 2) + 16)];
        foreach (var slot in old)
        {
            if (slot.Position != 0)
            {
                _slots[Seek(slot.Fact)] = slot;
            }
        }
    }

    /// <summary>Where a key is, or the free place where it would be.</summary>
    private int Seek(FactKey fact)
    {
        var at = Home(fact);
        while (_slots[at].Position != 0 && _slots[at].Fact != fact)
        {
            at = Next(at);
        }

        return at;
    }

    /// <summary>Its bits are random already: their share of the table, without a division.</summary>
    private int Home(FactKey fact) => (int)Math.BigMul(fact.High, (ulong)_slots.Length, out _);

    private int Next(int at) => at + 1 == _slots.Length ? 0 : at + 1;

    private int Distance(int from, int to) => to >= from ? to - from : to - from + _slots.Length;

    private readonly record struct Slot(FactKey Fact, long Position);
}
