using System.Buffers.Binary;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Yizhan.Audit.Index;

/// <summary>A leaf that goes into the index.</summary>
internal readonly record struct IndexEntry(long Leaf, long RecordedMs, ulong[] Terms);

/// <summary>
/// The terms of a run of leaves, never changed once made. Leaves are ranked by (time, leaf), so that a list of ranks is a list in the order
/// of time, and the newest of it are at its end.
/// </summary>
/// <remarks>
/// Layout, little endian: header (magic, first leaf, end leaf, counts) · times[n] int64 · terms[t] uint64, ascending · starts[t+1] uint32 ·
/// leaves[n] uint32, from the first leaf · ranks[p] uint32, ascending within a term · SHA-256 of all before.
/// </remarks>
internal sealed unsafe class Segment : IDisposable
{
    /// <summary>A larger segment is not made: two gibibytes are the most that a span has.</summary>
    public const int MaxLeaves = 16_000_000;

    private const ulong Magic = 0x32_58_44_49_54_49_44_41; // "ADITIDX2"
    private const int HeaderBytes = 48;

    private readonly byte[]? _bytes;
    private readonly MemoryMappedFile? _file;
    private readonly MemoryMappedViewAccessor? _view;
    private readonly byte* _pointer;
    private readonly int _length;
    private readonly int _times;
    private readonly int _terms;
    private readonly int _starts;
    private readonly int _leaves;
    private readonly int _ranks;

    private Segment(byte[] bytes)
    {
        (_bytes, _length) = (bytes, bytes.Length);
        (FirstLeaf, EndLeaf, Count, TermCount, PostingCount) = ReadHeader(Bytes);
        (_times, _terms, _starts, _leaves, _ranks, _) = Offsets(Count, TermCount, PostingCount);
    }

    private Segment(MemoryMappedFile file, MemoryMappedViewAccessor view, byte* pointer, int length, string path)
    {
        (_file, _view, _length, Path) = (file, view, length, path);
        _pointer = pointer;
        (FirstLeaf, EndLeaf, Count, TermCount, PostingCount) = ReadHeader(Bytes);
        (_times, _terms, _starts, _leaves, _ranks, _) = Offsets(Count, TermCount, PostingCount);
    }

    /// <summary>The first leaf that it is about.</summary>
    public long FirstLeaf { get; }

    /// <summary>The first leaf after them. Leaves that were forgotten are between and are not in it.</summary>
    public long EndLeaf { get; }

    /// <summary>Leaves in it.</summary>
    public int Count { get; }

    public int TermCount { get; }

    public int PostingCount { get; }

    /// <summary>Its file; null while it is only in memory.</summary>
    public string? Path { get; }

    private ReadOnlySpan<byte> Bytes => _bytes ?? new ReadOnlySpan<byte>(_pointer, _length);

    public ReadOnlySpan<long> Times => MemoryMarshal.Cast<byte, long>(Bytes.Slice(_times, Count * sizeof(long)));

    public ReadOnlySpan<ulong> Terms => MemoryMarshal.Cast<byte, ulong>(Bytes.Slice(_terms, TermCount * sizeof(ulong)));

    /// <summary>Ranks of a term, ascending; empty when no leaf has it.</summary>
    public ReadOnlySpan<uint> Ranks(ulong term)
    {
        var at = Terms.BinarySearch(term);
        return at < 0 ? [] : RanksAt(at);
    }

    /// <summary>The leaf at a rank.</summary>
    public long LeafAt(int rank) => FirstLeaf + Leaves[rank];

    private ReadOnlySpan<uint> Starts => MemoryMarshal.Cast<byte, uint>(Bytes.Slice(_starts, (TermCount + 1) * sizeof(uint)));

    private ReadOnlySpan<uint> Leaves => MemoryMarshal.Cast<byte, uint>(Bytes.Slice(_leaves, Count * sizeof(uint)));

    private ReadOnlySpan<uint> RanksAt(int term)
    {
        var starts = Starts;
        return MemoryMarshal.Cast<byte, uint>(Bytes.Slice(_ranks, PostingCount * sizeof(uint)))[(int)starts[term]..(int)starts[term + 1]];
    }

    /// <summary>Makes a segment of new leaves.</summary>
    public static Segment Of(long firstLeaf, long endLeaf, IReadOnlyList<IndexEntry> entries)
    {
        var order = entries.OrderBy(e => e.RecordedMs).ThenBy(e => e.Leaf).ToArray();
        var postings = new List<(ulong Term, uint Rank)>(order.Length * 12);
        for (var rank = 0; rank < order.Length; rank++)
        {
            foreach (var term in order[rank].Terms)
            {
                postings.Add((term, (uint)rank));
            }
        }

        postings.Sort();
        var terms = 0;
        for (var i = 0; i < postings.Count; i++)
        {
            terms += i == 0 || postings[i].Term != postings[i - 1].Term ? 1 : 0;
        }

        var builder = new Builder(firstLeaf, endLeaf, order.Length, terms, postings.Count);
        for (var rank = 0; rank < order.Length; rank++)
        {
            builder.SetLeaf(rank, order[rank].RecordedMs, order[rank].Leaf);
        }

        for (var i = 0; i < postings.Count; i++)
        {
            if (i == 0 || postings[i].Term != postings[i - 1].Term)
            {
                builder.BeginTerm(postings[i].Term);
            }

            builder.Add(postings[i].Rank);
        }

        return new Segment(builder.Finish());
    }

    /// <summary>Merges two neighbours, without the leaves that are to be forgotten.</summary>
    public static Segment Merge(Segment left, Segment right, IReadOnlySet<long>? forget = null)
    {
        const uint gone = uint.MaxValue;
        var (mapLeft, mapRight) = (new uint[left.Count], new uint[right.Count]);
        var (l, r, n) = (0, 0, 0u);
        while (l < left.Count || r < right.Count)
        {
            var takeLeft = r == right.Count || (l < left.Count && left.Times[l] <= right.Times[r]);
            var leaf = takeLeft ? left.LeafAt(l) : right.LeafAt(r);
            var rank = forget is not null && forget.Contains(leaf) ? gone : n++;
            _ = takeLeft ? mapLeft[l++] = rank : mapRight[r++] = rank;
        }

        // An upper bound of both: what is forgotten leaves less.
        var builder = new Builder(left.FirstLeaf, right.EndLeaf, (int)n, left.TermCount + right.TermCount, left.PostingCount + right.PostingCount);
        Place(left, mapLeft);
        Place(right, mapRight);
        var leftTerms = left.Terms;
        var rightTerms = right.Terms;
        var (a, b) = (0, 0);
        while (a < leftTerms.Length || b < rightTerms.Length)
        {
            var term = b == rightTerms.Length || (a < leftTerms.Length && leftTerms[a] <= rightTerms[b]) ? leftTerms[a] : rightTerms[b];
            var leftRanks = a < leftTerms.Length && leftTerms[a] == term ? left.RanksAt(a++) : [];
            var rightRanks = b < rightTerms.Length && rightTerms[b] == term ? right.RanksAt(b++) : [];
            builder.BeginTerm(term);
            var (i, j) = (0, 0);
            while (i < leftRanks.Length || j < rightRanks.Length)
            {
                var x = i < leftRanks.Length ? mapLeft[leftRanks[i]] : gone;
                var y = j < rightRanks.Length ? mapRight[rightRanks[j]] : gone;
                if (i < leftRanks.Length && x == gone)
                {
                    i++;
                }
                else if (j < rightRanks.Length && y == gone)
                {
                    j++;
                }
                else if (x < y)
                {
                    builder.Add(x);
                    i++;
                }
                else
                {
                    builder.Add(y);
                    j++;
                }
            }

            builder.EndTerm();
        }

        return new Segment(builder.Finish());

        void Place(Segment from, uint[] map)
        {
            for (var rank = 0; rank < from.Count; rank++)
            {
                if (map[rank] != gone)
                {
                    builder.SetLeaf((int)map[rank], from.Times[rank], from.LeafAt(rank));
                }
            }
        }
    }

    /// <summary>The same without some leaves.</summary>
    public Segment Without(IReadOnlySet<long> forget)
    {
        using var nothing = Of(EndLeaf, EndLeaf, []);
        return Merge(this, nothing, forget);
    }

    /// <summary>Writes it to a folder and opens the file. Not flushed: an index that a power cut broke is made again.</summary>
    public Segment Save(string folder)
    {
        var path = System.IO.Path.Combine(folder, $"{FirstLeaf:D12}-{EndLeaf:D12}.seg");
        var options = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, BufferSize = 0 };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        using (var file = new FileStream(path + ".tmp", options))
        {
            file.Write(Bytes);
        }

        File.Move(path + ".tmp", path, overwrite: true);
        return OpenFile(path, verify: false);
    }

    /// <summary>Opens a file of <see cref="Save"/>.</summary>
    /// <exception cref="InvalidDataException">It is not what was written.</exception>
    public static Segment OpenFile(string path, bool verify = true)
    {
        var length = new FileInfo(path).Length;
        if (length is < HeaderBytes + SHA256.HashSizeInBytes or > int.MaxValue)
        {
            throw new InvalidDataException($"'{path}' is no segment of the audit index.");
        }

        var file = MemoryMappedFile.CreateFromFile(path, FileMode.Open, null, 0, MemoryMappedFileAccess.Read);
        var view = file.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
        byte* pointer = null;
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref pointer);
        var bytes = new ReadOnlySpan<byte>(pointer, (int)length);
        if (verify && !SHA256.HashData(bytes[..^SHA256.HashSizeInBytes]).AsSpan().SequenceEqual(bytes[^SHA256.HashSizeInBytes..]))
        {
            view.SafeMemoryMappedViewHandle.ReleasePointer();
            view.Dispose();
            file.Dispose();
            throw new InvalidDataException($"'{path}' is damaged.");
        }

        return new Segment(file, view, pointer, (int)length, path);
    }

    public void Dispose()
    {
        if (_view is not null)
        {
            _view.SafeMemoryMappedViewHandle.ReleasePointer();
            _view.Dispose();
            _file!.Dispose();
        }
    }

    private static (long, long, int, int, int) ReadHeader(ReadOnlySpan<byte> bytes) =>
        BinaryPrimitives.ReadUInt64LittleEndian(bytes) == Magic
            ? (BinaryPrimitives.ReadInt64LittleEndian(bytes[8..]), BinaryPrimitives.ReadInt64LittleEndian(bytes[16..]),
                BinaryPrimitives.ReadInt32LittleEndian(bytes[24..]), BinaryPrimitives.ReadInt32LittleEndian(bytes[28..]), BinaryPrimitives.ReadInt32LittleEndian(bytes[32..]))
            : throw new InvalidDataException("This is no segment of the audit index.");

    private static (int Times, int Terms, int Starts, int Leaves, int Ranks, int End) Offsets(int count, int terms, int postings)
    {
        var at = HeaderBytes;
        var times = at;
        var termsAt = at += count * sizeof(long);
        var starts = at += terms * sizeof(ulong);
        var leaves = at += (terms + 1) * sizeof(uint);
        var ranks = at += count * sizeof(uint);
        return (times, termsAt, starts, leaves, ranks, checked(at + (postings * sizeof(uint))));
    }

    /// <summary>Fills the layout from the left; terms come in order.</summary>
    private sealed class Builder
    {
        private readonly long _firstLeaf;
        private readonly long _endLeaf;
        private readonly long[] _times;
        private readonly uint[] _leaves;
        private readonly ulong[] _terms;
        private readonly uint[] _starts;
        private readonly uint[] _ranks;
        private int _termCount;
        private int _rankCount;

        public Builder(long firstLeaf, long endLeaf, int leaves, int maxTerms, int maxPostings)
        {
            (_firstLeaf, _endLeaf) = (firstLeaf, endLeaf);
            (_times, _leaves, _terms, _starts, _ranks) = (new long[leaves], new uint[leaves], new ulong[maxTerms], new uint[maxTerms + 1], new uint[maxPostings]);
        }

        public void SetLeaf(int rank, long recordedMs, long leaf) => (_times[rank], _leaves[rank]) = (recordedMs, (uint)(leaf - _firstLeaf));

        public void BeginTerm(ulong term)
        {
            (_terms[_termCount], _starts[_termCount]) = (term, (uint)_rankCount);
            _termCount++;
        }

        public void Add(uint rank) => _ranks[_rankCount++] = rank;

        /// <summary>A term that no leaf has any more is not kept.</summary>
        public void EndTerm()
        {
            if (_starts[_termCount - 1] == _rankCount)
            {
                _termCount--;
            }
        }

        public byte[] Finish()
        {
            var (times, terms, starts, leaves, ranks, end) = Offsets(_times.Length, _termCount, _rankCount);
            var bytes = GC.AllocateUninitializedArray<byte>(end + SHA256.HashSizeInBytes);
            bytes.AsSpan(0, HeaderBytes).Clear();
            BinaryPrimitives.WriteUInt64LittleEndian(bytes, Magic);
            BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(8), _firstLeaf);
            BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(16), _endLeaf);
            BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(24), _times.Length);
            BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(28), _termCount);
            BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(32), _rankCount);
            _starts[_termCount] = (uint)_rankCount;
            MemoryMarshal.AsBytes(_times.AsSpan()).CopyTo(bytes.AsSpan(times));
            MemoryMarshal.AsBytes(_terms.AsSpan(0, _termCount)).CopyTo(bytes.AsSpan(terms));
            MemoryMarshal.AsBytes(_starts.AsSpan(0, _termCount + 1)).CopyTo(bytes.AsSpan(starts));
            MemoryMarshal.AsBytes(_leaves.AsSpan()).CopyTo(bytes.AsSpan(leaves));
            MemoryMarshal.AsBytes(_ranks.AsSpan(0, _rankCount)).CopyTo(bytes.AsSpan(ranks));
            SHA256.HashData(bytes.AsSpan(0, end), bytes.AsSpan(end));
            return bytes;
        }
    }
}
