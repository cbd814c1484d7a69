namespace Yizhan.Storage.Tests.Crash;

/// <summary>What a power cut leaves of the operations that no flush covered.</summary>
public enum PowerCut
{
    /// <summary>Nothing: the strictest reading of POSIX.</summary>
    LosesAll,

    /// <summary>Everything: as if the device had caught up.</summary>
    KeepsAll,

    /// <summary>Names but no bytes, which read as zeros.</summary>
    KeepsNames,

    /// <summary>A random part, writes torn at 512 bytes.</summary>
    KeepsSome,
}

/// <summary>
/// A disk in memory that knows what is flushed. It may end at any operation (<see cref="CrashAt"/>), fail one, or be full; <see cref="AfterPowerCut"/> is what a
/// machine finds then.
/// </summary>
internal sealed class SimulatedDisk : IDisk
{
    private const int Sector = 512;

    private readonly Lock _gate = new();
    private readonly Dictionary<string, Inode> _names = [];
    private readonly Dictionary<string, Inode?> _unflushedNames = [];
    private Dictionary<string, Inode> _durableNames = [];

    /// <summary>Operations so far.</summary>
    public int Operations { get; private set; }

    /// <summary>Fails this operation and all after it, as seen by a program that is no more.</summary>
    public int CrashAt { get; set; } = int.MaxValue;

    /// <summary>Fails only this operation, with an I/O error.</summary>
    public int FailAt { get; set; } = int.MaxValue;

    /// <summary>Bytes of the disk.</summary>
    public long Capacity { get; set; } = 1L << 40;

    /// <summary>What the operations did, for messages.</summary>
    public List<string> Trace { get; } = [];

    public IDiskFile Open(string path, bool create)
    {
        lock (_gate)
        {
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

    public IReadOnlyList<string> List(string folder)
    {
        lock (_gate)
        {
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

    public long FreeBytes(string folder) => Math.Max(0, Capacity - Used());

    /// <summary>The disk that the next start finds.</summary>
    public SimulatedDisk AfterPowerCut(PowerCut cut, int seed)
    {
        var random = new Random(seed);
        var after = new SimulatedDisk { Capacity = Capacity };
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

    private long Used() => _names.Values.Distinct().Sum(i => i.Length);

    private void Step(string what)
    {
        var step = ++Operations;
        Trace.Add(what);
        if (step >= CrashAt)
        {
            throw new IOException($"The power is off (operation {step}, {what}).");
        }

        if (step == FailAt)
        {
            throw new IOException($"Injected I/O error at operation {step}, {what}.");
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
                if (disk.Used() + Math.Max(0, offset + bytes.Length - inode.Length) > disk.Capacity)
                {
                    throw new DiskFullException("The simulated disk is full.");
                }

                inode.Write(bytes, offset);
            }
        }

        public int Read(Span<byte> buffer, long offset)
        {
            lock (disk._gate)
            {
                return inode.Read(buffer, offset);
            }
        }

        public void FlushData()
        {
            lock (disk._gate)
            {
                disk.Step($"flush {name}");
                inode.Flush();
            }
        }

        public void Preallocate(long length)
        {
            lock (disk._gate)
            {
                disk.Step($"preallocate {name} {length}");
                if (disk.Used() + Math.Max(0, length - inode.Length) > disk.Capacity)
                {
                    throw new DiskFullException("The simulated disk is full.");
                }

                inode.Grow(length);
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
                inode.Write(new byte[Math.Max(0, Math.Min(length, inode.Length - offset))], offset);
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

        public long Length => _now.Length;

        public void Grow(long length)
        {
            if (length > _now.Length)
            {
                Array.Resize(ref _now, (int)length);
            }
        }

        public void Write(ReadOnlySpan<byte> bytes, long offset)
        {
            Grow(offset + bytes.Length);
            bytes.CopyTo(_now.AsSpan((int)offset));
            _unflushed.Add((offset, bytes.ToArray()));
        }

        public int Read(Span<byte> buffer, long offset)
        {
            var length = (int)Math.Clamp(_now.Length - offset, 0, buffer.Length);
            _now.AsSpan((int)Math.Min(offset, _now.Length), length).CopyTo(buffer);
            return length;
        }

        public void Flush()
        {
            Keep(_durable = Sized(_durable, _now.Length), _unflushed.Select(w => (w.Offset, w.Bytes.Length, w.Bytes)));
            _unflushed.Clear();
        }

        public void Rot(long offset) => _now[offset] ^= 0x40;

        public Inode AfterPowerCut(PowerCut cut, Random random)
        {
            // Sizes are metadata: they come with the names.
            var length = cut == PowerCut.LosesAll ? _durable.Length : _now.Length;
            var left = Sized(_durable, length);
            Keep(left, cut switch
            {
                PowerCut.KeepsAll => _unflushed.Select(w => (w.Offset, w.Bytes.Length, w.Bytes)),
                PowerCut.KeepsSome => _unflushed.Where(_ => random.Next(2) == 0)
                    .SelectMany(w => Torn(w.Offset, w.Bytes, random)).ToArray(),
                _ => [],
            });
            return new Inode { _now = left, _durable = [.. left] };
        }

        private static IEnumerable<(long Offset, int Length, byte[] Bytes)> Torn(long offset, byte[] bytes, Random random)
        {
            if (random.Next(3) > 0)
            {
                return [(offset, bytes.Length, bytes)];
            }

            // Each sector for itself: the device promises no order.
            return Enumerable.Range(0, (bytes.Length + Sector - 1) / Sector).Where(_ => random.Next(2) == 0)
                .Select(i => (offset + (i * Sector), Math.Min(Sector, bytes.Length - (i * Sector)), bytes[(i * Sector)..]));
        }

        private static void Keep(byte[] target, IEnumerable<(long Offset, int Length, byte[] Bytes)> writes)
        {
            foreach (var (offset, length, bytes) in writes)
            {
                bytes.AsSpan(0, length).CopyTo(target.AsSpan((int)offset));
            }
        }

        private static byte[] Sized(byte[] bytes, int length)
        {
            var copy = new byte[length];
            bytes.AsSpan(0, Math.Min(bytes.Length, length)).CopyTo(copy);
            return copy;
        }
    }
}
