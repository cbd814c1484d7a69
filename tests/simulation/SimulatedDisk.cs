using Yizhan.Storage;

namespace Yizhan.Simulation;

/// <summary>What a power cut leaves of the operations that no flush covered.</summary>
public enum PowerCut
{
    /// <summary>Nothing: the strictest reading of POSIX.</summary>
    LosesAll,

    /// <summary>Everything: as if the device had caught up.</summary>
    KeepsAll,

    /// <summary>Names but no bytes, which read as zeros.</summary>
    KeepsNames,

    /// <summary>A random part in any order, writes torn at 512 bytes.</summary>
    KeepsSome,
}

/// <summary>
/// A disk in memory that knows what is flushed. It may end at any operation (<see cref="CrashAt"/>), fail one, put one write in the wrong place, or be full;
/// <see cref="AfterPowerCut"/> and <see cref="AfterKill"/> are what the next process finds.
/// </summary>
internal sealed class SimulatedDisk : IDisk
{
    private const int Sector = 512;
    private const int Block = 4096;

    private readonly Lock _gate = new();
    private readonly Dictionary<string, Inode> _names = [];
    private readonly Dictionary<string, Inode?> _unflushedNames = [];
    private Dictionary<string, Inode> _durableNames = [];

    /// <summary>Operations so far.</summary>
    public int Operations { get; private set; }

    /// <summary>Fails this operation and all after it, as seen by a program that is no more.</summary>
    public int CrashAt { get; set; } = int.MaxValue;

    /// <summary>Fails only this operation, with an I/O error. A flush that fails drops what it had to write, as Linux does.</summary>
    public int FailAt { get; set; } = int.MaxValue;

    /// <summary>The first write from this operation on lands somewhere else in its file.</summary>
    public int MisdirectAt { get; set; } = int.MaxValue;

    /// <summary>A hole keeps its bytes: to make one is a hint.</summary>
    public bool KeepsHoles { get; init; }

    /// <summary>Bytes of the disk.</summary>
    public long Capacity { get; set; } = 1L << 40;

    /// <summary>What the operations did, for messages.</summary>
    public List<string> Trace { get; } = [];

    /// <summary>Told each operation.</summary>
    public Action<string>? Observe { get; init; }

    /// <summary>Told once when the power goes at <see cref="CrashAt"/>.</summary>
    public Action? PowerLost { get; set; }

    /// <summary>Told when <see cref="FailAt"/> comes.</summary>
    public Action? Failed { get; set; }

    /// <summary>True when the machine is off, or the process gone.</summary>
    public bool IsOff => Operations >= CrashAt;

    /// <summary>Bytes that files take, holes not counted.</summary>
    public long UsedBytes
    {
        get
        {
            lock (_gate)
            {
                return _names.Values.Distinct().Sum(i => i.Allocated);
            }
        }
    }

    public IDiskFile Open(string path, bool create)
    {
        lock (_gate)
        {
            ThrowIfOff();
            if (!_names.TryGetValue(path, out var inode))
            {
                if (!create)
                {
                    throw new FileNotFoundException(path);
                }

                Step($"create {Path.GetFileName(path)}");
                _names[path] = inode = new Inode();
                _unflushedNames[path] = inode;
            }

            return new SimulatedFile(this, inode, Path.GetFileName(path));
        }
    }

    public void WillRead(string path)
    {
    }

    public IReadOnlyList<string> List(string folder)
    {
        lock (_gate)
        {
            ThrowIfOff();
            return [.. _names.Keys.Where(name => Path.GetDirectoryName(name) == folder).Select(name => Path.GetFileName(name))];
        }
    }

    public void Rename(string from, string to)
    {
        lock (_gate)
        {
            Step($"rename {Path.GetFileName(from)} {Path.GetFileName(to)}");
            _names.Remove(from, out var inode);
            _names[to] = inode!;
            _unflushedNames[from] = null;
            _unflushedNames[to] = inode;
        }
    }

    public void Delete(string path)
    {
        lock (_gate)
        {
            if (_names.ContainsKey(path))
            {
                Step($"delete {Path.GetFileName(path)}");
                _names.Remove(path);
                _unflushedNames[path] = null;
            }
        }
    }

    public void FlushDirectory(string folder)
    {
        lock (_gate)
        {
            Step("flush-directory");
            foreach (var path in _unflushedNames.Keys.Where(path => Path.GetDirectoryName(path) == folder).ToArray())
            {
                _unflushedNames.Remove(path, out var inode);
                Name(_durableNames, path, inode);
            }
        }
    }

    public long FreeBytes(string folder) => Math.Max(0, Capacity - UsedBytes);

    /// <summary>The machine is off, or the process is gone: whoever still has the disk open gets errors.</summary>
    public void TurnOff()
    {
        lock (_gate)
        {
            CrashAt = Math.Min(CrashAt, Operations);
        }
    }

    /// <summary>The disk that the next start finds.</summary>
    public SimulatedDisk AfterPowerCut(PowerCut cut, int seed)
    {
        var random = new SeededRandom((ulong)seed);
        var after = new SimulatedDisk { Capacity = Capacity, Observe = Observe, KeepsHoles = KeepsHoles };
        lock (_gate)
        {
            var names = new Dictionary<string, Inode>(_durableNames);
            foreach (var (path, inode) in _unflushedNames)
            {
                if (cut is PowerCut.KeepsAll or PowerCut.KeepsNames || (cut is PowerCut.KeepsSome && random.Next(2) == 0))
                {
                    Name(names, path, inode);
                }
            }

            // An inode that two names reach (half a rename) stays one.
            var copies = new Dictionary<Inode, Inode>();
            foreach (var (path, inode) in names)
            {
                if (!copies.TryGetValue(inode, out var copy))
                {
                    copies.Add(inode, copy = inode.AfterPowerCut(cut, random));
                }

                after._names[path] = copy;
            }

            after._durableNames = new Dictionary<string, Inode>(after._names);
        }

        return after;
    }

    /// <summary>The disk as the next process finds it when only this one ends: what was not flushed is still in the page cache, and still not flushed.</summary>
    public SimulatedDisk AfterKill()
    {
        lock (_gate)
        {
            TurnOff();
            var after = new SimulatedDisk { Capacity = Capacity, Observe = Observe, KeepsHoles = KeepsHoles, _durableNames = _durableNames };
            foreach (var (path, inode) in _names)
            {
                after._names.Add(path, inode);
            }

            foreach (var (path, inode) in _unflushedNames)
            {
                after._unflushedNames.Add(path, inode);
            }

            return after;
        }
    }

    /// <summary>Changes stored bytes behind everybody's back.</summary>
    public void Rot(string name, long offset)
    {
        _names.Single(n => Path.GetFileName(n.Key) == name).Value.Rot(offset);
    }

    private static void Name(Dictionary<string, Inode> names, string path, Inode? inode)
    {
        if (inode is null)
        {
            names.Remove(path);
        }
        else
        {
            names[path] = inode;
        }
    }

    private void ThrowIfOff()
    {
        if (IsOff)
        {
            throw new IOException($"The power is off since operation {CrashAt}.");
        }
    }

    private void Step(string what)
    {
        var wasOff = IsOff;
        var step = ++Operations;
        if (step >= CrashAt)
        {
            if (!wasOff)
            {
                Trace.Add(what);
                PowerLost?.Invoke();
            }

            throw new IOException($"The power is off (operation {step}, {what}).");
        }

        Trace.Add(what);
        Observe?.Invoke(what);
        if (step == FailAt)
        {
            Failed?.Invoke();
            throw new IOException($"Injected I/O error at operation {step}, {what}.");
        }
    }

    private void Take(long bytes)
    {
        if (bytes > 0 && UsedBytes + bytes > Capacity)
        {
            throw new DiskFullException("The simulated disk is full.");
        }
    }

    private sealed class SimulatedFile(SimulatedDisk disk, Inode inode, string name) : IDiskFile
    {
        public long Length => inode.Length;

        public void Write(ReadOnlySpan<byte> bytes, long offset)
        {
            lock (disk._gate)
            {
                // The last write before the end has reached the cache, so it may be in what is left, torn.
                if (disk.Operations + 1 == disk.CrashAt)
                {
                    inode.Write(bytes, offset);
                }

                disk.Step($"write {name} {offset}+{bytes.Length}");
                disk.Take(inode.Missing(offset, bytes.Length));
                if (disk.Operations >= disk.MisdirectAt && offset >= Block)
                {
                    disk.MisdirectAt = int.MaxValue;
                    offset = offset >= 3 * Block ? offset - (2 * Block) : offset + (2 * Block);
                }

                inode.Write(bytes, offset);
            }
        }

        public int Read(Span<byte> buffer, long offset)
        {
            lock (disk._gate)
            {
                disk.ThrowIfOff();
                return inode.Read(buffer, offset);
            }
        }

        public void FlushData()
        {
            lock (disk._gate)
            {
                if (disk.Operations + 1 == disk.FailAt)
                {
                    inode.DropUnflushed();
                }

                disk.Step($"flush {name}");
                inode.Flush();
            }
        }

        public void Preallocate(long length)
        {
            lock (disk._gate)
            {
                disk.Step($"preallocate {name} {length}");
                disk.Take(inode.Missing(0, length));
                inode.Allocate(length);
            }
        }

        public void StartWriteBack(long offset, long length)
        {
        }

        public void PunchHole(long offset, long length)
        {
            lock (disk._gate)
            {
                disk.Step($"punch {name} {offset}+{length}");
                if (!disk.KeepsHoles)
                {
                    inode.Punch(offset, Math.Max(0, Math.Min(length, inode.Length - offset)));
                }
            }
        }

        public void Dispose()
        {
        }
    }

    /// <summary>Bytes as a program sees them, and as they would be after a power cut, with the writes between the two.</summary>
    private sealed class Inode
    {
        private readonly List<(long Offset, byte[] Bytes)> _unflushed = [];
        private byte[] _now = [];
        private byte[] _durable = [];
        private bool[] _blocks = [];

        // An array that somebody else has too: it is copied before it is written to.
        private bool _nowShared, _durableShared;

        public long Length => _now.Length;

        public long Allocated { get; private set; }

        /// <summary>Bytes of blocks in a range that the disk has still to give.</summary>
        public long Missing(long offset, long length)
        {
            var missing = 0L;
            for (var block = offset / Block; block * Block < offset + length; block++)
            {
                missing += block < _blocks.Length && _blocks[block] ? 0 : Block;
            }

            return missing;
        }

        public void Allocate(long length)
        {
            Grow(length);
            Mark(0, length, true);
        }

        public void Write(ReadOnlySpan<byte> bytes, long offset)
        {
            Grow(offset + bytes.Length);
            Mark(offset, bytes.Length, true);
            OwnNow();
            bytes.CopyTo(_now.AsSpan((int)offset));
            _unflushed.Add((offset, bytes.ToArray()));
        }

        public void Punch(long offset, long length)
        {
            OwnNow();
            _now.AsSpan((int)offset, (int)length).Clear();
            _unflushed.Add((offset, new byte[length]));

            // Only whole blocks are given back.
            var from = (offset + Block - 1) / Block * Block;
            Mark(from, Math.Max(0, ((offset + length) / Block * Block) - from), false);
        }

        public int Read(Span<byte> buffer, long offset)
        {
            var length = (int)Math.Clamp(_now.Length - offset, 0, buffer.Length);
            _now.AsSpan((int)Math.Min(offset, _now.Length), length).CopyTo(buffer);
            return length;
        }

        public void Flush()
        {
            if (_durable.Length < _now.Length)
            {
                Array.Resize(ref _durable, _now.Length);
                _durableShared = false;
            }

            if (_durableShared && _unflushed.Count > 0)
            {
                (_durable, _durableShared) = ([.. _durable], false);
            }

            Keep(_durable, _unflushed.Select(w => (w.Offset, (ReadOnlyMemory<byte>)w.Bytes)));
            _unflushed.Clear();
        }

        public void DropUnflushed() => _unflushed.Clear();

        public void Rot(long offset)
        {
            OwnNow();
            _now[offset] ^= 0x40;
        }

        public Inode AfterPowerCut(PowerCut cut, SeededRandom random)
        {
            if (_unflushed.Count == 0 && _now.Length == _durable.Length)
            {
                _durableShared = true;
                return new Inode { _now = _durable, _durable = _durable, _nowShared = true, _durableShared = true, _blocks = [.. _blocks] }.Counted();
            }

            // Sizes are metadata: they come with the names.
            var left = new byte[cut == PowerCut.LosesAll ? _durable.Length : _now.Length];
            _durable.AsSpan(0, Math.Min(_durable.Length, left.Length)).CopyTo(left);
            Keep(left, cut switch
            {
                PowerCut.KeepsAll => _unflushed.Select(w => (w.Offset, (ReadOnlyMemory<byte>)w.Bytes)),
                PowerCut.KeepsSome => _unflushed.Where(_ => random.Next(2) == 0)
                    .SelectMany(w => Torn(w.Offset, w.Bytes, random)).ToArray(),
                _ => [],
            });
            return new Inode { _now = left, _durable = left, _nowShared = true, _durableShared = true, _blocks = _blocks[..Math.Min(_blocks.Length, (left.Length + Block - 1) / Block)] }.Counted();
        }

        private static (long Offset, ReadOnlyMemory<byte> Bytes)[] Torn(long offset, byte[] bytes, SeededRandom random)
        {
            if (random.Next(3) > 0)
            {
                return [(offset, bytes)];
            }

            // Each sector for itself: the device promises no order.
            return [.. Enumerable.Range(0, (bytes.Length + Sector - 1) / Sector).Where(_ => random.Next(2) == 0)
                .Select(i => (offset + (i * Sector), (ReadOnlyMemory<byte>)bytes.AsMemory(i * Sector, Math.Min(Sector, bytes.Length - (i * Sector)))))];
        }

        private static void Keep(byte[] target, IEnumerable<(long Offset, ReadOnlyMemory<byte> Bytes)> writes)
        {
            foreach (var (offset, bytes) in writes.Where(w => w.Offset < target.Length))
            {
                bytes.Span[..(int)Math.Min(bytes.Length, target.Length - offset)].CopyTo(target.AsSpan((int)offset));
            }
        }

        private Inode Counted()
        {
            Allocated = _blocks.Count(b => b) * (long)Block;
            return this;
        }

        private void OwnNow()
        {
            if (_nowShared)
            {
                (_now, _nowShared) = ([.. _now], false);
            }
        }

        private void Grow(long length)
        {
            if (length > _now.Length)
            {
                Array.Resize(ref _now, (int)length);
                _nowShared = false;
                Array.Resize(ref _blocks, (int)((length + Block - 1) / Block));
            }
        }

        private void Mark(long offset, long length, bool given)
        {
            for (var block = offset / Block; block * Block < offset + length; block++)
            {
                Allocated += _blocks[block] == given ? 0 : given ? Block : -Block;
                _blocks[block] = given;
            }
        }
    }
}
