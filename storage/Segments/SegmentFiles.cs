using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;

namespace Yizhan.Storage;

/// <summary>
/// The segment files of one log: space is allocated at the end of the current file and given back record by record; a file
/// in which nothing lives is recycled. What is live is decided by the journal, never by the files.
/// </summary>
internal sealed class SegmentFiles : IDisposable
{
    public const int FileHeaderBytes = Record.Alignment;
    private const uint Magic = 0x46475359; // "YSGF"
    private const int Format = 2;
    private const string SpareExtension = ".free";
    private const int MaxSpares = 2;

    private readonly Lock _gate = new();
    private readonly IDisk _disk;
    private readonly string _folder;
    private readonly int _segmentBytes;
    private readonly SortedDictionary<long, Segment> _segments = [];
    private readonly Queue<string> _spares = [];
    private readonly Queue<Segment> _closing = [];
    private readonly BufferPool _buffers = new(Record.MaxDiskBytes);
    private readonly List<(long Segment, int Offset, int Bytes)> _heldHoles = [];
    private readonly Dictionary<long, ulong> _emptyAway = [];
    private Segment? _current;
    private int _holds;
    private long _nextNumber = 1;
    private long _liveBytes;

    /// <param name="disk">Where the files are.</param>
    /// <param name="folder">Their folder.</param>
    /// <param name="segmentBytes">Size of new files.</param>
    /// <param name="keys">What the pieces of blobs are sealed with; null: they are not.</param>
    /// <exception cref="InvalidOperationException">A file was written by a newer version.</exception>
    public SegmentFiles(IDisk disk, string folder, int segmentBytes, KeyRing? keys = null)
    {
        Keys = keys ?? new KeyRing();
        _disk = disk;
        _folder = folder;
        _segmentBytes = segmentBytes;
        Open();
    }

    /// <summary>The keys of days.</summary>
    public KeyRing Keys { get; }

    /// <summary>Bytes of all live records here, and of those being written; what is only in the object store is not among them.</summary>
    public long LiveBytes => Interlocked.Read(ref _liveBytes);

    /// <summary>Bytes that the disk has given us already and that no record uses: they need not be free.</summary>
    public long ReadyBytes
    {
        get
        {
            lock (_gate)
            {
                return ((long)_spares.Count * _segmentBytes) + (_current is null ? 0 : _current.Size - _current.Tail);
            }
        }
    }

    /// <summary>Told the number of each file whose name is durably gone. Called on the committer thread, and at start.</summary>
    public Action<long>? Retired { get; set; }

    /// <summary>Buffers for <see cref="Record.MaxDiskBytes"/>; the payload goes to <see cref="Record.HeaderBytes"/>.</summary>
    public BufferPool Buffers => _buffers;

    /// <summary>
    /// Writes one record: <paramref name="payload"/> bytes that the caller has put into the buffer after the space for the header. It is durable
    /// after the next <see cref="FlushDirty"/> and counts as live until <see cref="Free(Extent)"/>. A piece of a blob is sealed in the buffer.
    /// </summary>
    /// <returns>Segment and offset of the record.</returns>
    /// <exception cref="DiskFullException">No new file could be made; nothing was written.</exception>
    public (long Segment, int Offset) Write(RecordKind kind, byte[] buffer, int payload, long serial)
    {
        var bytes = Record.DiskBytes(payload);
        Segment segment;
        int offset;
        lock (_gate)
        {
            var key = kind == RecordKind.Extent ? Keys.Current() : _current?.Key;
            if (_current is null || _current.Tail + bytes > _current.Size || _current.Key != key)
            {
                _current = Roll_NeedsLock();
            }

            segment = _current;
            offset = segment.Tail;
            segment.Tail += bytes;
            segment.LiveBytes += bytes;
            segment.Writing++;
            _liveBytes += bytes;
        }

        try
        {
            Record.Seal(buffer, kind, payload, segment.Epoch, offset, serial, kind == RecordKind.Extent && segment.Key != 0 ? Keys.Get(segment.Key) : null);
            segment.File.Write(buffer.AsSpan(0, bytes), offset);
        }
        catch
        {
            Free(segment.Number, offset, bytes);
            throw;
        }
        finally
        {
            lock (_gate)
            {
                segment.Writing--;
            }
        }

        segment.MarkDirty();
        if (bytes >= 256 * 1024)
        {
            segment.File.StartWriteBack(offset, bytes);
        }

        return (segment.Number, offset);
    }

    /// <summary>Makes all records written so far durable: one fdatasync for each file that was written to, which is nearly always one.</summary>
    public void FlushDirty()
    {
        Segment[] dirty;
        lock (_gate)
        {
            dirty = [.. _segments.Values.Where(s => s.TakeDirty())];
        }

        foreach (var segment in dirty)
        {
            segment.File.FlushData();
        }

        Reclaim();
    }

    /// <summary>Makes spares of the files in which nothing lives, or deletes them. On the committer thread, like <see cref="FlushDirty"/>.</summary>
    public void Reclaim()
    {
        lock (_gate)
        {
            CloseRetired_NeedsLock();
        }
    }

    /// <summary>Reads into the buffer from within a record; less than asked for only at the end of the file.</summary>
    /// <exception cref="InvalidDataException">There is no such segment.</exception>
    public int Read(long segment, long offset, Span<byte> buffer) => Get(segment).File.Read(buffer, offset);

    /// <summary>The epoch that valid records of a segment carry.</summary>
    public ulong EpochOf(long segment) => Get(segment).Epoch;

    /// <summary>Bytes of a record's header in a file.</summary>
    public int HeaderBytesOf(long segment) => Get(segment).HeaderBytes;

    /// <summary>The key of the pieces of blobs in a file.</summary>
    /// <exception cref="InvalidDataException">It is not there, or was destroyed on purpose.</exception>
    public DataKey KeyOf(long segment) => Keys.Get(Get(segment).Key);

    /// <summary>True when the pieces of blobs in a file have to be sealed.</summary>
    public bool IsSealed(long segment) => Get(segment).Key != 0;

    /// <summary>True when the pieces of blobs in a file cannot be read any more, on purpose.</summary>
    public bool IsShredded(long segment) => Get(segment).Key is not 0 and var key && Keys.ShreddedDay(key) is not null;

    /// <summary>The files whose key is one of these.</summary>
    public HashSet<long> Under(IReadOnlyCollection<ulong> keys)
    {
        lock (_gate)
        {
            return [.. _segments.Values.Where(s => keys.Contains(s.Key)).Select(s => s.Number)];
        }
    }

    /// <summary>Says at start that the object store has a file. The copy here is used when there is one.</summary>
    public void Adopt(AwaySegment away)
    {
        lock (_gate)
        {
            if (!_segments.TryGetValue(away.Number, out var segment) || segment.Epoch != away.Epoch)
            {
                _segments[away.Number] = segment = new Segment(
                    away.Number, away.Epoch, away.Key, away.HeaderBytes, away.Size, "", new AwayFile(away.Bytes))
                { Tail = away.Bytes };
            }

            segment.Away = true;
            _nextNumber = Math.Max(_nextNumber, away.Number + 1);
        }
    }

    /// <summary>Files that are full and that the object store does not have, the oldest first.</summary>
    public IReadOnlyList<Segment> Movable()
    {
        lock (_gate)
        {
            return [.. _segments.Values.Where(s => s is { Away: false, Writing: 0, LiveBytes: > 0 } && s != _current)];
        }
    }

    /// <summary>The object store has a file, and the journal says so.</summary>
    public void MarkAway(Segment segment)
    {
        lock (_gate)
        {
            segment.Away = true;
            if (!_segments.ContainsKey(segment.Number))
            {
                _emptyAway[segment.Number] = segment.Epoch;
            }
        }
    }

    /// <summary>Takes away the oldest local copy of what the object store has; false when there is none.</summary>
    public bool DropOldestLocal()
    {
        lock (_gate)
        {
            var segment = _segments.Values.FirstOrDefault(s => s is { Away: true, OnlyAway: false } && s != _current);
            if (segment is null || _holds > 0)
            {
                return false;
            }

            _segments[segment.Number] = new Segment(segment.Number, segment.Epoch, segment.Key, segment.HeaderBytes, segment.Size, "", new AwayFile(segment.Tail))
            {
                Tail = segment.Tail,
                LiveBytes = segment.LiveBytes,
                Away = true,
            };
            _liveBytes -= segment.LiveBytes;
            _closing.Enqueue(segment);
            return true;
        }
    }

    /// <summary>Files of the object store in which nothing lives any more.</summary>
    public IReadOnlyList<(long Number, ulong Epoch)> EmptyAway()
    {
        lock (_gate)
        {
            return [.. _emptyAway.Select(e => (e.Key, e.Value))];
        }
    }

    /// <summary>The object store does not have it any more, and the journal says so.</summary>
    public void ForgetAway(long segment)
    {
        lock (_gate)
        {
            _emptyAway.Remove(segment);
        }
    }

    /// <summary>True when a file is in the object store alone.</summary>
    public bool IsAway(long segment) => Get(segment).OnlyAway;

    /// <summary>True when a piece is where an index says that is older or younger than the files: readable, and here with a header of its own or in the object store.</summary>
    public bool Holds(Extent extent)
    {
        Segment? segment;
        lock (_gate)
        {
            segment = _segments.GetValueOrDefault(extent.Segment);
        }

        if (segment is null || (segment.Key != 0 && !Keys.Knows(segment.Key)))
        {
            return false;
        }

        var header = new byte[segment.HeaderBytes];
        return segment.OnlyAway
            || (segment.File.Read(header, extent.Offset) == header.Length
                && Record.TryParse(header, header.Length, segment.Epoch, extent.Offset, out var parsed)
                && parsed.Kind == RecordKind.Extent && parsed.Payload == extent.Length);
    }

    /// <summary>Says at start that a piece of a blob lives.</summary>
    public void Adopt(Extent extent) => Adopt(extent.Segment, extent.Offset, Record.DiskBytes(extent.Length, HeaderBytesOf(extent.Segment)));

    /// <summary>Says at start that a record lives. Everything that is not said is space to be used again.</summary>
    public void Adopt(long segment, int offset, int bytes)
    {
        lock (_gate)
        {
            var found = Get(segment);
            found.LiveBytes += bytes;
            found.Tail = Math.Max(found.Tail, offset + bytes);
            _liveBytes += found.OnlyAway ? 0 : bytes;
        }
    }

    /// <summary>Ends the start: files without a live record become spares.</summary>
    /// <param name="goOn">
    /// Write on behind the last live record. Only for a journal that never looks for records in the files: what a crash left there may be
    /// half overwritten.
    /// </param>
    public void Adopted(bool goOn)
    {
        lock (_gate)
        {
            foreach (var segment in _segments.Values.Where(s => s.LiveBytes == 0).ToArray())
            {
                Retire_NeedsLock(segment);
            }

            foreach (var segment in _segments.Values.Where(s => s.Tail < s.Size))
            {
                segment.File.PunchHole(segment.Tail, segment.Size - segment.Tail);
            }

            if (goOn && _segments.Count > 0)
            {
                _current = _segments.Values.Last();
                _current.File.Preallocate(_current.Size);
            }

            CloseRetired_NeedsLock();
        }
    }

    /// <summary>Gives the space of a piece of a blob back. Only when no durable state names it: after the commit that released it.</summary>
    public void Free(Extent extent) => Free(extent.Segment, extent.Offset, Record.DiskBytes(extent.Length, HeaderBytesOf(extent.Segment)));

    private void Free(long segment, int offset, int bytes)
    {
        lock (_gate)
        {
            var found = Get(segment);
            if (Forget_NeedsLock(found, bytes) || bytes < Record.ChunkBytes)
            {
                return;
            }

            if (_holds > 0)
            {
                _heldHoles.Add((segment, offset, bytes));
            }
            else
            {
                found.File.PunchHole(offset, bytes);
            }
        }
    }

    /// <summary>Until <see cref="EndHold"/> no byte that was written is taken away: a copy of the files can be made.</summary>
    public void BeginHold()
    {
        lock (_gate)
        {
            _holds++;
        }
    }

    /// <summary>Gives back what was freed meanwhile; files in which nothing lives go with the next <see cref="Reclaim"/>.</summary>
    public void EndHold()
    {
        lock (_gate)
        {
            if (--_holds > 0)
            {
                return;
            }

            foreach (var (number, offset, bytes) in _heldHoles)
            {
                _segments.GetValueOrDefault(number)?.File.PunchHole(offset, bytes);
            }

            _heldHoles.Clear();
        }
    }

    /// <summary>The files and how far each is written. On the committer thread, what is before the end is what its commits have made durable.</summary>
    public IReadOnlyList<SegmentCut> Cut()
    {
        lock (_gate)
        {
            return [.. _segments.Values.Select(s => new SegmentCut(Path.GetFileName(s.Path), s.Epoch, s.Size, s.Tail))];
        }
    }

    /// <summary>Says that records of some bytes no longer live, without giving their space back before all of the file is free.</summary>
    public void Forget(long segment, long bytes)
    {
        lock (_gate)
        {
            Forget_NeedsLock(Get(segment), bytes);
        }
    }

    /// <summary>The files that there are: number and length, by number.</summary>
    public IReadOnlyList<(long Number, int Size)> List()
    {
        lock (_gate)
        {
            return [.. _segments.Values.Select(s => (s.Number, s.Size))];
        }
    }

    /// <summary>True when there is a file of this number.</summary>
    public bool Has(long segment)
    {
        lock (_gate)
        {
            return _segments.ContainsKey(segment);
        }
    }

    /// <summary>Overwrites the header of a record with zeros, durably: it was never acknowledged and must not be found again.</summary>
    public void Strike(long segment, int offset)
    {
        var file = Get(segment).File;
        file.Write(new byte[HeaderBytesOf(segment)], offset);
        file.FlushData();
    }

    /// <summary>
    /// Writes a record and the header of its file again as they were found, for the next <see cref="FlushDirty"/>: what an ended process left may be in
    /// the page cache only, and after a flush that failed the kernel takes such pages for clean.
    /// </summary>
    public void Rewrite(long segment, int offset, int bytes)
    {
        var found = Get(segment);
        foreach (var (from, length) in new[] { (0, FileHeaderBytes), (offset, bytes) })
        {
            var record = new byte[length];
            found.File.Write(record.AsSpan(0, found.File.Read(record, from)), from);
        }

        found.MarkDirty();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate)
        {
            CloseRetired_NeedsLock();
            foreach (var segment in _segments.Values)
            {
                segment.File.Dispose();
            }

            _segments.Clear();
        }
    }

    private Segment Get(long number)
    {
        lock (_gate)
        {
            return _segments.GetValueOrDefault(number)
                ?? throw new InvalidDataException($"Segment {number} is not in {_folder}.");
        }
    }

    private void Open()
    {
        Span<byte> header = stackalloc byte[48];
        foreach (var name in _disk.List(_folder).Order(StringComparer.Ordinal))
        {
            var path = Path.Combine(_folder, name);
            if (name.EndsWith(SpareExtension, StringComparison.Ordinal))
            {
                Discard(path, name);
                continue;
            }

            if (!name.EndsWith(".seg", StringComparison.Ordinal)
                || !long.TryParse(name.AsSpan(0, name.Length - 4), NumberStyles.None, CultureInfo.InvariantCulture, out var number))
            {
                continue;
            }

            _nextNumber = Math.Max(_nextNumber, number + 1);
            var file = _disk.Open(path, create: false);
            if (file.Read(header, 0) == header.Length
                && BinaryPrimitives.ReadUInt32LittleEndian(header) == Magic
                && BinaryPrimitives.ReadInt64LittleEndian(header[8..]) == number
                && BinaryPrimitives.ReadUInt32LittleEndian(header[24..]) == Record.Crc32C(header[..24]))
            {
                var format = BinaryPrimitives.ReadInt32LittleEndian(header[4..]);
                if (format > Format)
                {
                    file.Dispose();
                    throw new InvalidOperationException($"{path} has format {format}, this program knows {Format}: it was written by a newer version.");
                }

                var epoch = BinaryPrimitives.ReadUInt64LittleEndian(header[16..]);
                var key = format == 1 ? 0 : BinaryPrimitives.ReadUInt64LittleEndian(header[32..]);
                if (format > 1 && BinaryPrimitives.ReadUInt32LittleEndian(header[40..]) != Record.Crc32C(header[..40]))
                {
                    file.Dispose();
                    throw new InvalidDataException($"The header of {path} is damaged: put back a backup.");
                }

                _segments[number] = new Segment(
                    number, epoch, key, format == 1 ? Record.OldHeaderBytes : Record.HeaderBytes, (int)Math.Min(file.Length, int.MaxValue), path, file);
            }
            else
            {
                // Cut off between its creation and its first commit, so nothing can be in it.
                file.Dispose();
                _disk.Delete(path);
            }
        }
    }

    /// <summary>
    /// A spare of an earlier run is not used: a power cut in the middle of a rename may have left a second name for it, and it would be two files at once.
    /// </summary>
    private void Discard(string spare, string name)
    {
        // Its number was given once; a file of that number must not come back.
        if (long.TryParse(Path.GetFileNameWithoutExtension(name.AsSpan()), NumberStyles.None, CultureInfo.InvariantCulture, out var number))
        {
            _nextNumber = Math.Max(_nextNumber, number + 1);
        }

        _disk.Delete(spare);
    }

    private Segment Roll_NeedsLock()
    {
        var number = _nextNumber++;
        var path = Path.Combine(_folder, string.Create(CultureInfo.InvariantCulture, $"{number:D10}.seg"));
        var recycled = _spares.TryDequeue(out var spare);
        if (recycled)
        {
            _disk.Rename(spare!, path);
        }

        var file = _disk.Open(path, create: !recycled);
        try
        {
            file.Preallocate(_segmentBytes);
            var epoch = BinaryPrimitives.ReadUInt64LittleEndian(RandomNumberGenerator.GetBytes(8));
            var key = Keys.Current();
            WriteFileHeader(file, number, epoch, key);

            // The name must be durable before anything in the file is called durable.
            _disk.FlushDirectory(_folder);
            var segment = new Segment(number, epoch, key, Record.HeaderBytes, _segmentBytes, path, file);
            segment.MarkDirty();
            _segments.Add(number, segment);
            var full = _current;
            if (full is { LiveBytes: 0 })
            {
                Retire_NeedsLock(full);
            }
            else if (full is not null && full.Size - full.Tail > Record.MaxDiskBytes)
            {
                // The day ended before the file was full.
                full.File.PunchHole(full.Tail, full.Size - full.Tail);
            }

            return segment;
        }
        catch
        {
            file.Dispose();
            _disk.Delete(path);
            throw;
        }
    }

    /// <summary>0 magic u32   4 format u32   8 number u64   16 epoch u64   24 crc u32, as in format 1   28 zero   32 key u64   40 crc u32   44 zero</summary>
    private static void WriteFileHeader(IDiskFile file, long number, ulong epoch, ulong key)
    {
        Span<byte> header = stackalloc byte[48];
        header.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(header, Magic);
        BinaryPrimitives.WriteInt32LittleEndian(header[4..], Format);
        BinaryPrimitives.WriteInt64LittleEndian(header[8..], number);
        BinaryPrimitives.WriteUInt64LittleEndian(header[16..], epoch);
        BinaryPrimitives.WriteUInt32LittleEndian(header[24..], Record.Crc32C(header[..24]));
        BinaryPrimitives.WriteUInt64LittleEndian(header[32..], key);
        BinaryPrimitives.WriteUInt32LittleEndian(header[40..], Record.Crc32C(header[..40]));
        file.Write(header, 0);
    }

    /// <summary>True when the file is free of live records and retired.</summary>
    private bool Forget_NeedsLock(Segment segment, long bytes)
    {
        segment.LiveBytes -= bytes;
        _liveBytes -= segment.OnlyAway ? 0 : bytes;
        if (segment.LiveBytes > 0 || segment == _current)
        {
            return false;
        }

        Retire_NeedsLock(segment);
        return true;
    }

    /// <summary>Nothing in the file lives. It is closed later, because a flush on the committer thread may just have it in its hands.</summary>
    private void Retire_NeedsLock(Segment segment)
    {
        _segments.Remove(segment.Number);
        if (segment.Away)
        {
            _emptyAway[segment.Number] = segment.Epoch;
        }

        if (!segment.OnlyAway)
        {
            _closing.Enqueue(segment);
        }
    }

    /// <summary>
    /// Renames retired files, so that no start takes them for live ones, and keeps a few for recycling. The names are durable before
    /// anything relies on the files being gone.
    /// </summary>
    private void CloseRetired_NeedsLock()
    {
        if (_closing.Count == 0 || _holds > 0)
        {
            return;
        }

        var gone = new List<long>();
        while (_closing.TryDequeue(out var segment))
        {
            segment.File.Dispose();
            if (_spares.Count < MaxSpares && segment.Size == _segmentBytes)
            {
                var spare = Path.ChangeExtension(segment.Path, SpareExtension);
                _disk.Rename(segment.Path, spare);
                _spares.Enqueue(spare);
            }
            else
            {
                _disk.Delete(segment.Path);
            }

            gone.Add(segment.Number);
        }

        _disk.FlushDirectory(_folder);
        gone.ForEach(number => Retired?.Invoke(number));
    }
}
