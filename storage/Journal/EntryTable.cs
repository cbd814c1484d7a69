namespace Yizhan.Storage;

/// <summary>
/// Where the entries of the segments journal are: 4 bytes for each by position, 8 for each own one by lane, and its fact key, about 60 bytes of memory
/// together. Positions are given without gaps, so a file holds a run of them.
/// </summary>
internal sealed class EntryTable
{
    private readonly SortedList<long, Run> _runs = [];
    private Run? _last;
    private readonly FactTable _facts = new();
    private readonly OwnLane[] _lanes = [new(), new(), new(), new()];

    /// <summary>Makes room for so many more entries at once: to grow step by step costs a start of millions seconds.</summary>
    public void Expect(int more) => _facts.Expect(more);

    /// <param name="entry">The entry.</param>
    /// <param name="segment">The file that it is in.</param>
    /// <param name="offset">Where in the file.</param>
    /// <param name="passed">At start: takes the positions of own entries that were released, because later ones follow without them.</param>
    public void Add(IndexedEntry entry, long segment, int offset, List<long>? passed = null)
    {
        if (_last is null || _last.Segment != segment || _last.First + _last.Offsets.Count != entry.Position)
        {
            _runs.Add(entry.Position, _last = new Run(segment, entry.Position));
        }

        _last.Offsets.Add(offset);
        if (passed is null)
        {
            _facts.Put(entry.Fact, entry.Position);
        }
        else
        {
            _facts.PutLater(entry.Fact, entry.Position);
        }

        if (entry.Own)
        {
            _lanes[(int)entry.Lane].Add(entry.RawSequence, entry.Position, passed);
        }
    }

    /// <summary>
    /// At start, when it is known up to where each lane is released: forgets those entries, and the passed ones. Tells the file of each. One pass over all
    /// facts, so that nothing has to be kept for each entry until then.
    /// </summary>
    public void ForgetReleased(ReadOnlySpan<long> throughRawSequence, List<long> passed, Action<long> forgotten)
    {
        for (var lane = 0; lane < _lanes.Length; lane++)
        {
            _lanes[lane].RemoveThrough(throughRawSequence[lane], passed);
        }

        if (passed.Count == 0)
        {
            return;
        }

        _facts.Remove(passed.ToHashSet());
        passed.ForEach(position => forgotten(After(position - 1)!.Value.Segment));
    }

    /// <summary>An entry was released.</summary>
    public void Forget(IndexedEntry entry)
    {
        _facts.Remove(entry.Fact, entry.Position);
        if (entry.Own)
        {
            _lanes[(int)entry.Lane].RemoveThrough(entry.RawSequence);
        }
    }

    /// <summary>Where the first entry after a position is; null when there is none.</summary>
    public Place? After(long position)
    {
        var (low, high) = (0, _runs.Count);
        while (low < high)
        {
            var middle = (low + high) / 2;
            (low, high) = _runs.Values[middle].Last > position ? (low, middle) : (middle + 1, high);
        }

        if (low == _runs.Count)
        {
            return null;
        }

        var run = _runs.Values[low];
        var index = (int)(Math.Max(position + 1, run.First) - run.First);
        return new Place(run.First + index, run.Segment, run.Offsets[index]);
    }

    /// <summary>Position of an entry with this key; null when there is none.</summary>
    public long? Find(FactKey fact) => _facts.Find(fact);

    /// <summary>Position of an own entry; null when it is not kept.</summary>
    public long? Find(Lane lane, long rawSequence) => _lanes[(int)lane].Find(rawSequence);

    /// <summary>No entry of a file is needed any more.</summary>
    public void Gone(long segment)
    {
        foreach (var first in _runs.Where(r => r.Value.Segment == segment).Select(r => r.Key).ToArray())
        {
            _runs.Remove(first);
        }

        _last = _last?.Segment == segment ? null : _last;
    }

    /// <summary>Where an entry is.</summary>
    internal readonly record struct Place(long Position, long Segment, int Offset);

    private sealed class Run(long segment, long first)
    {
        public long Segment { get; } = segment;

        public long First { get; } = first;

        public long Last => First + Offsets.Count - 1;

        public List<int> Offsets { get; } = [];
    }

    /// <summary>Positions of a lane's own entries by sequence. The front is given back in large steps.</summary>
    private sealed class OwnLane
    {
        private readonly List<long> _positions = [];
        private long _first = 1;
        private int _dead;

        public void Add(long rawSequence, long position, List<long>? passed)
        {
            if (rawSequence != _first + _positions.Count)
            {
                // What is missing in between was released, so all before it was.
                passed?.AddRange(_positions[_dead..]);
                _positions.Clear();
                _first = rawSequence;
                _dead = 0;
            }

            _positions.Add(position);
        }

        public long? Find(long rawSequence)
        {
            var index = rawSequence - _first;
            return index >= _dead && index < _positions.Count ? _positions[(int)index] : null;
        }

        public void RemoveThrough(long rawSequence, List<long>? passed = null)
        {
            var dead = (int)Math.Clamp(rawSequence - _first + 1, _dead, _positions.Count);
            passed?.AddRange(_positions[_dead..dead]);
            _dead = dead;
            if (_dead > 4096 && _dead > _positions.Count / 2)
            {
                _positions.RemoveRange(0, _dead);
                _first += _dead;
                _dead = 0;
            }
        }
    }
}
