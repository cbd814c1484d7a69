using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;

namespace Yizhan.Storage;

/// <summary>
/// The keys of days, each in a file of its own, wrapped by the site key: <c>keys/2026-05-04-1.key</c>. A key is durable before anything is sealed
/// with it. When a day is shredded its files say so in place of the key, so that what cannot be read any more is known to be gone on purpose.
/// </summary>
/// <remarks>
/// The day is the clock's, UTC: a name for what may be destroyed together, nothing more. A clock that is wrong makes keys of wrong days.
/// <code>
/// 0 magic u32   4 crc u32   8 state u32 (1 key, 2 shredded)   12 day i32 (days since 0001-01-01)   16 id u64   24 time ms i64
/// 32 id of the site key, 16 hex digits   48 length of the wrapped key u32   52 wrapped key      twice: at 0 and at 4096
/// </code>
/// </remarks>
internal sealed class KeyRing : IDisposable
{
    private const uint Magic = 0x4B475359; // "YSGK"
    private const int SlotBytes = 512;
    private const int SecondSlot = 4096;
    private const int MaxWrapped = 256;
    private const string Extension = ".key";

    private readonly Lock _gate = new();
    private readonly IDisk? _disk;
    private readonly string _folder = "";
    private readonly bool _seals;
    private readonly TimeProvider _clock = TimeProvider.System;
    private readonly ISiteKey? _site;
    private readonly Dictionary<ulong, DayKey> _all = [];
    private readonly HashSet<string> _names = [];
    private DayKey? _current;
    private volatile bool _anyShredded;
    private ulong _noncePrefix;
    private uint _nonces = uint.MaxValue;

    /// <summary>Seals nothing and has no keys.</summary>
    public KeyRing()
    {
    }

    /// <param name="disk">Where the keys are.</param>
    /// <param name="folder">Their folder; it exists, durably.</param>
    /// <param name="siteKey">Opens the site key; its argument is whether a new one may be made.</param>
    /// <param name="seals">False: what is written is not sealed; what was sealed can still be read.</param>
    /// <param name="clock">Says which day it is.</param>
    /// <exception cref="InvalidOperationException">The keys are wrapped by another site key, or there is none.</exception>
    public KeyRing(IDisk disk, string folder, Func<bool, ISiteKey> siteKey, bool seals, TimeProvider clock)
    {
        (_disk, _folder, _seals, _clock) = (disk, folder, seals, clock);
        foreach (var name in disk.List(folder).Where(name => name.EndsWith(Extension, StringComparison.Ordinal)).Order(StringComparer.Ordinal))
        {
            _names.Add(name);
            Load(disk, Path.Combine(folder, name));
        }

        var alive = _all.Values.Where(key => !key.Shredded).ToList();
        if (!seals && alive.Count == 0)
        {
            return;
        }

        _site = siteKey(alive.Count == 0);
        if (alive.Find(key => key.SiteKey != _site.Id) is { } other)
        {
            throw new InvalidOperationException(
                $"{other.Path} is wrapped by the site key {other.SiteKey}; the site key that is set is {_site.Id}. Set storage:siteKeyFile to the right one.");
        }
    }

    /// <summary>Id of the site key; null when nothing is sealed.</summary>
    public string? SiteKey => _site?.Id;

    /// <summary>The days that have keys, and whether they were shredded; oldest first.</summary>
    public IReadOnlyList<SealedDay> Days
    {
        get
        {
            lock (_gate)
            {
                return [.. _all.Values.GroupBy(key => key.Day).OrderBy(day => day.Key)
                    .Select(day => new SealedDay(day.Key, day.Count(), day.All(key => key.Shredded)))];
            }
        }
    }

    /// <summary>Names of the key files.</summary>
    public IReadOnlyList<string> Files
    {
        get
        {
            lock (_gate)
            {
                return [.. _all.Values.Select(key => Path.GetFileName(key.Path))];
            }
        }
    }

    /// <summary>Today's key, made durable if it is new; 0 when nothing is sealed.</summary>
    /// <exception cref="DiskFullException">It could not be made.</exception>
    public ulong Current()
    {
        if (!_seals)
        {
            return 0;
        }

        var today = DateOnly.FromDateTime(_clock.GetUtcNow().UtcDateTime);
        lock (_gate)
        {
            if (_current is not { Shredded: false } current || current.Day != today)
            {
                var known = _all.Values.FirstOrDefault(key => key.Day == today && !key.Shredded);
                current = known ?? New(today);

                // A known one is from an earlier run, which may have left it in the page cache only.
                Write_NeedsLock(current, create: known is null);
                _all[current.Id] = current;
                _current = current;
            }

            return current.Id;
        }
    }

    /// <summary>A key.</summary>
    /// <exception cref="InvalidDataException">It is not there, or damaged; or it was destroyed on purpose, and the inner one is a <see cref="ShreddedException"/>.</exception>
    public DataKey Get(ulong id)
    {
        lock (_gate)
        {
            if (!_all.TryGetValue(id, out var key))
            {
                throw new InvalidDataException($"It is sealed with the key {id:x16}, which is not in {_folder}: put the file back from a backup.");
            }

            if (key.Shredded)
            {
                var gone = new ShreddedException(key.Day);
                throw new InvalidDataException(gone.Message, gone);
            }

            return key.Opened ??= new DataKey(Unwrap(key));
        }
    }

    /// <summary>True when a key is here, or was destroyed on purpose.</summary>
    public bool Knows(ulong id)
    {
        lock (_gate)
        {
            return _all.ContainsKey(id);
        }
    }

    /// <summary>The day of a key that was destroyed on purpose; null for any other.</summary>
    public DateOnly? ShreddedDay(ulong id)
    {
        if (!_anyShredded)
        {
            return null;
        }

        lock (_gate)
        {
            return _all.TryGetValue(id, out var key) && key.Shredded ? key.Day : null;
        }
    }

    /// <summary>The keys of a day that were not destroyed, and their files.</summary>
    public IReadOnlyDictionary<ulong, string> Of(DateOnly day)
    {
        lock (_gate)
        {
            return _all.Values.Where(key => key.Day == day && !key.Shredded).ToDictionary(key => key.Id, key => Path.GetFileName(key.Path));
        }
    }

    /// <summary>Destroys the keys of a day; durable on return. What they sealed is gone.</summary>
    public void Shred(DateOnly day)
    {
        lock (_gate)
        {
            foreach (var key in _all.Values.Where(key => key.Day == day && !key.Shredded))
            {
                key.Shredded = true;
                key.Wrapped = [];
                key.TimeMs = _clock.GetUtcNow().ToUnixTimeMilliseconds();
                key.Opened?.Dispose();
                key.Opened = null;
                _anyShredded = true;
                Write_NeedsLock(key, create: false);
            }
        }
    }

    /// <summary>Fills a nonce for an entry: random for each run, counted within it. Pieces of blobs take theirs from their place, whose epoch is as random.</summary>
    public void NextNonce(Span<byte> nonce)
    {
        lock (_gate)
        {
            if (_nonces == uint.MaxValue)
            {
                _noncePrefix = BinaryPrimitives.ReadUInt64LittleEndian(RandomNumberGenerator.GetBytes(8));
                _nonces = 0;
            }

            BinaryPrimitives.WriteUInt64LittleEndian(nonce, _noncePrefix);
            BinaryPrimitives.WriteUInt32LittleEndian(nonce[8..], _nonces++);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate)
        {
            foreach (var key in _all.Values)
            {
                key.Opened?.Dispose();
                key.Opened = null;
            }
        }
    }

    private DayKey New(DateOnly day)
    {
        var id = BinaryPrimitives.ReadUInt64LittleEndian(RandomNumberGenerator.GetBytes(8)) | 1;
        var number = 1;
        string name;
        do
        {
            name = string.Create(CultureInfo.InvariantCulture, $"{day:yyyy-MM-dd}-{number++}{Extension}");
        }
        while (!_names.Add(name));

        var secret = RandomNumberGenerator.GetBytes(DataKey.KeyBytes);
        return new DayKey(Path.Combine(_folder, name), day, id, _site!.Id)
        {
            TimeMs = _clock.GetUtcNow().ToUnixTimeMilliseconds(),
            Wrapped = _site.Wrap(secret, Label(day, id)),
            Opened = new DataKey(secret),
        };
    }

    private byte[] Unwrap(DayKey key)
    {
        try
        {
            return _site!.Unwrap(key.Wrapped, Label(key.Day, key.Id));
        }
        catch (CryptographicException e)
        {
            throw new InvalidDataException($"{key.Path} is damaged: the site key does not open it.", e);
        }
    }

    private static byte[] Label(DateOnly day, ulong id)
    {
        var label = new byte[12];
        BinaryPrimitives.WriteInt32LittleEndian(label, day.DayNumber);
        BinaryPrimitives.WriteUInt64LittleEndian(label.AsSpan(4), id);
        return label;
    }

    private void Write_NeedsLock(DayKey key, bool create)
    {
        var slot = new byte[SlotBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(slot, Magic);
        BinaryPrimitives.WriteInt32LittleEndian(slot.AsSpan(8), key.Shredded ? 2 : 1);
        BinaryPrimitives.WriteInt32LittleEndian(slot.AsSpan(12), key.Day.DayNumber);
        BinaryPrimitives.WriteUInt64LittleEndian(slot.AsSpan(16), key.Id);
        BinaryPrimitives.WriteInt64LittleEndian(slot.AsSpan(24), key.TimeMs);
        System.Text.Encoding.ASCII.GetBytes(key.SiteKey, slot.AsSpan(32, 16));
        BinaryPrimitives.WriteInt32LittleEndian(slot.AsSpan(48), key.Wrapped.Length);
        key.Wrapped.CopyTo(slot.AsSpan(52));
        BinaryPrimitives.WriteUInt32LittleEndian(slot.AsSpan(4), Record.Crc32C(slot.AsSpan(8)));
        try
        {
            using var file = _disk!.Open(key.Path, create);
            file.Write(slot, 0);
            file.Write(slot, SecondSlot);
            file.FlushData();
            _disk.FlushDirectory(_folder);
        }
        catch when (create)
        {
            // Nothing was sealed with it.
            _disk!.Delete(key.Path);
            throw;
        }
    }

    private void Load(IDisk disk, string path)
    {
        using var file = disk.Open(path, create: false);
        DayKey? key = null;
        var slot = new byte[SlotBytes];
        foreach (var at in new[] { 0, SecondSlot })
        {
            // Half shredded is shredded: it was asked for.
            if (file.Read(slot, at) == SlotBytes && TryParse(slot, path) is { } found && key is not { Shredded: true })
            {
                key = found;
            }
        }

        // One that cannot be read was cut off when it was made, and nothing is sealed with it; or it is damaged, and what it sealed says so.
        if (key is not null)
        {
            _all[key.Id] = key;
            _anyShredded |= key.Shredded;
        }
    }

    private static DayKey? TryParse(ReadOnlySpan<byte> slot, string path)
    {
        var length = BinaryPrimitives.ReadInt32LittleEndian(slot[48..]);
        return BinaryPrimitives.ReadUInt32LittleEndian(slot) == Magic
            && BinaryPrimitives.ReadUInt32LittleEndian(slot[4..]) == Record.Crc32C(slot[8..])
            && length is >= 0 and <= MaxWrapped
            ? new DayKey(
                path, DateOnly.FromDayNumber(BinaryPrimitives.ReadInt32LittleEndian(slot[12..])), BinaryPrimitives.ReadUInt64LittleEndian(slot[16..]),
                System.Text.Encoding.ASCII.GetString(slot.Slice(32, 16)))
            {
                Shredded = BinaryPrimitives.ReadInt32LittleEndian(slot[8..]) == 2,
                TimeMs = BinaryPrimitives.ReadInt64LittleEndian(slot[24..]),
                Wrapped = slot.Slice(52, length).ToArray(),
            }
            : null;
    }

    private sealed class DayKey(string path, DateOnly day, ulong id, string siteKey)
    {
        public string Path { get; } = path;

        public DateOnly Day { get; } = day;

        public ulong Id { get; } = id;

        public string SiteKey { get; } = siteKey;

        public long TimeMs { get; set; }

        public byte[] Wrapped { get; set; } = [];

        public bool Shredded { get; set; }

        /// <summary>Unwrapped once it was needed.</summary>
        public DataKey? Opened { get; set; }
    }
}

/// <summary>A day of which something is or was sealed.</summary>
/// <param name="Day">The day, UTC, by the node's clock.</param>
/// <param name="Keys">How many keys it has: one, and one more for each time that the day's was shredded.</param>
/// <param name="Shredded">True when none of them is left.</param>
public sealed record SealedDay(DateOnly Day, int Keys, bool Shredded);

/// <summary>What was asked for was sealed with the key of a day that was destroyed on purpose. Inside an <see cref="InvalidDataException"/>.</summary>
public sealed class ShreddedException(DateOnly day)
    : Exception(FormattableString.Invariant($"It is gone on purpose: the key of {day:yyyy-MM-dd} was destroyed."))
{
    /// <summary>The day, UTC.</summary>
    public DateOnly Day { get; } = day;
}
