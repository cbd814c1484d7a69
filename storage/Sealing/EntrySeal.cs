using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Yizhan.Contracts;

namespace Yizhan.Storage;

/// <summary>
/// Id, key and data of an entry as both journals keep them: sealed as one, in place of the data. Lane, type, time and the hashes of blobs stay
/// readable; they are what the index is made of.
/// </summary>
/// <remarks>0 key u64   8 nonce   20 tag   36 bytes of the data u32   40 encrypted: id, key, data; a text has its length u16 before it</remarks>
internal static class EntrySeal
{
    private const int NonceAt = 8;
    private const int TagAt = NonceAt + DataKey.NonceBytes;
    private const int LengthAt = TagAt + DataKey.TagBytes;
    private const int HeaderBytes = LengthAt + sizeof(int);

    /// <summary>The entry as it is kept, sealed with today's key; itself when nothing is sealed.</summary>
    /// <exception cref="DiskFullException">Today's key could not be made.</exception>
    public static (Entry Kept, bool Sealed) Seal(KeyRing keys, Entry entry, FactKey fact, long position)
    {
        var key = keys.Current();
        if (key == 0)
        {
            return (entry, false);
        }

        var all = new byte[BytesOf(entry)];
        Seal(all, keys, key, entry, fact, position);
        return (entry with { Id = "", Key = "", Data = all }, true);
    }

    /// <summary>Bytes that stand in place of the data of an entry when it is sealed.</summary>
    public static int BytesOf(Entry entry) =>
        HeaderBytes + 2 + Encoding.UTF8.GetByteCount(entry.Id) + 2 + Encoding.UTF8.GetByteCount(entry.Key) + entry.Data.Length;

    /// <summary>Puts what stands in place of the data of an entry where it is to be kept, which has <see cref="BytesOf"/>.</summary>
    public static void Seal(Span<byte> all, KeyRing keys, ulong key, Entry entry, FactKey fact, long position)
    {
        var (idBytes, keyBytes) = (Encoding.UTF8.GetByteCount(entry.Id), Encoding.UTF8.GetByteCount(entry.Key));
        BinaryPrimitives.WriteUInt64LittleEndian(all, key);
        keys.NextNonce(all.Slice(NonceAt, DataKey.NonceBytes));
        BinaryPrimitives.WriteInt32LittleEndian(all[LengthAt..], entry.Data.Length);
        var body = all[HeaderBytes..];
        BinaryPrimitives.WriteUInt16LittleEndian(body, (ushort)idBytes);
        Encoding.UTF8.GetBytes(entry.Id, body[2..]);
        BinaryPrimitives.WriteUInt16LittleEndian(body[(2 + idBytes)..], (ushort)keyBytes);
        Encoding.UTF8.GetBytes(entry.Key, body[(4 + idBytes)..]);
        entry.Data.Span.CopyTo(body[(4 + idBytes + keyBytes)..]);
        keys.Get(key).Seal(all.Slice(NonceAt, DataKey.NonceBytes), body, body, all.Slice(TagAt, DataKey.TagBytes), Label(entry, fact, position));
    }

    /// <summary>The entry again; what stands for it when its key was destroyed on purpose.</summary>
    /// <exception cref="InvalidDataException">Its key is not there, or it was changed by somebody without the key.</exception>
    public static LoggedEntry Open(KeyRing keys, LoggedEntry kept, FactKey fact)
    {
        var (position, identity, entry) = kept;
        var sealedData = entry.Data.Span;
        if (keys.ShreddedDay(KeyOf(sealedData)) is { } day)
        {
            return kept with { Entry = Shredded(identity, entry, day) };
        }

        var key = keys.Get(KeyOf(sealedData));
        var body = new byte[sealedData.Length - HeaderBytes];
        if (!key.TryOpen(
            sealedData.Slice(NonceAt, DataKey.NonceBytes), sealedData[HeaderBytes..], sealedData.Slice(TagAt, DataKey.TagBytes), body, Label(entry, fact, position)))
        {
            throw new InvalidDataException($"Entry {position} was changed by somebody without its key.");
        }

        var idBytes = BinaryPrimitives.ReadUInt16LittleEndian(body);
        var keyBytes = BinaryPrimitives.ReadUInt16LittleEndian(body.AsSpan(2 + idBytes));
        return kept with
        {
            Entry = entry with
            {
                Id = Encoding.UTF8.GetString(body, 2, idBytes),
                Key = Encoding.UTF8.GetString(body, 4 + idBytes, keyBytes),
                Data = body.AsMemory(4 + idBytes + keyBytes),
            },
        };
    }

    /// <summary>The key that sealed an entry.</summary>
    public static ulong KeyOf(ReadOnlySpan<byte> kept) =>
        kept.Length >= HeaderBytes ? BinaryPrimitives.ReadUInt64LittleEndian(kept) : throw new InvalidDataException("A sealed entry is too short.");

    /// <summary>Bytes of the data of a sealed entry, which nobody needs a key to know.</summary>
    public static int DataBytes(ReadOnlySpan<byte> kept) => BinaryPrimitives.ReadInt32LittleEndian(kept[LengthAt..]);

    private static Entry Shredded(EntryIdentity identity, Entry kept, DateOnly day)
    {
        var data = new EntryShredded(kept.Type, day.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture));
        return new Entry(
            kept.Lane, EntryShredded.EventType, $"shredded/{identity.Site}/{identity.Epoch}/{identity.Lane}/{identity.Sequence}", "", kept.TimeMs,
            JsonSerializer.SerializeToUtf8Bytes(data, ContractsJson.Default.EntryShredded));
    }

    /// <summary>What the seal binds: the entry cannot be put into another one's place, nor name other blobs.</summary>
    private static ReadOnlySpan<byte> Label(Entry entry, FactKey fact, long position)
    {
        var packer = new Packer(256);
        packer.Int64(position);
        packer.UInt64(fact.High);
        packer.UInt64(fact.Low);
        packer.Int64(entry.TimeMs);
        packer.Byte((int)entry.Lane);
        packer.Text(entry.Type);
        foreach (var blob in entry.Blobs)
        {
            packer.Hash(blob.Hash);
            packer.Int64(blob.Length);
        }

        return packer.Written.Span;
    }
}
