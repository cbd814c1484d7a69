using System.Globalization;
using System.Text.Json;
using System.Text.Unicode;

namespace Yizhan.Transparency;

/// <summary>
/// An entry of an audit log, version 2. It says nothing about a person: the record itself is outside of the tree, sealed under a
/// key that can be destroyed; the leaf holds its salted hash, the hash of the sealed bytes, and where it comes from.
/// </summary>
/// <param name="Kind">What is recorded: <c>record</c>, <c>message</c>, <c>transfer</c>, <c>unreadable</c>, <c>gap</c> or <c>erasure</c>.</param>
/// <param name="Payload">SHA-256 of salt ‖ payload: whoever is given both can check that they are what was recorded.</param>
/// <param name="RecordedMs">When, Unix milliseconds UTC.</param>
/// <param name="Sealed">SHA-256 of the sealed bytes in <see cref="PayloadPath"/>: anybody can check them, with no key.</param>
/// <param name="SealedBytes">Their number. They follow those of the entry before, in one file for each 256 entries.</param>
/// <param name="Source">Where it comes from.</param>
public sealed record AuditLeaf(string Kind, TreeHash Payload, long RecordedMs, TreeHash Sealed, int SealedBytes, AuditSource Source)
{
    /// <summary>Largest <see cref="SealedBytes"/>.</summary>
    public const int MaxSealedBytes = 4 * 1024 * 1024;

    private const int MaxBytes = 1024;

    /// <summary>
    /// The canonical bytes: RFC 8785 JSON (members sorted, no white space), so that there is one spelling.
    /// </summary>
    public byte[] ToBytes()
    {
        Span<byte> buffer = stackalloc byte[MaxBytes];
        var fits = Utf8.TryWrite(
            buffer,
            CultureInfo.InvariantCulture,
            $"{{\"kind\":\"{Kind}\",\"payload\":\"{Payload}\",\"recordedMs\":{RecordedMs},\"sealed\":\"{Sealed}\",\"sealedBytes\":{SealedBytes},\"source\":{{\"epoch\":\"{Source.Epoch:D}\",\"lane\":{Source.Lane},\"previous\":{Source.Previous},\"sequence\":{Source.Sequence},\"site\":\"{Source.Site}\"}},\"v\":2}}",
            out var length);
        return fits ? buffer[..length].ToArray() : throw new ArgumentException($"The site id '{Source.Site}' is too long for a leaf.");
    }

    /// <summary>Reads exactly what <see cref="ToBytes"/> writes; any other spelling is no leaf.</summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, out AuditLeaf leaf)
    {
        leaf = null!;
        var reader = new Utf8JsonReader(bytes);
        var (kind, site, payload, hash) = ("", "", default(TreeHash), default(TreeHash));
        var (recordedMs, previous, sequence, lane, sealedBytes, epoch) = (0L, 0L, 0L, 0L, 0L, Guid.Empty);
        try
        {
            while (reader.Read())
            {
                if (reader.TokenType != JsonTokenType.PropertyName)
                {
                    continue;
                }

                var name = reader;
                reader.Read();
                _ = name.ValueTextEquals("kind"u8) ? (kind = reader.GetString()!).Length
                    : name.ValueTextEquals("payload"u8) ? Hash(ref reader, out payload)
                    : name.ValueTextEquals("recordedMs"u8) ? recordedMs = reader.GetInt64()
                    : name.ValueTextEquals("sealed"u8) ? Hash(ref reader, out hash)
                    : name.ValueTextEquals("sealedBytes"u8) ? sealedBytes = reader.GetInt64()
                    : name.ValueTextEquals("epoch"u8) ? (epoch = reader.GetGuid()).Version
                    : name.ValueTextEquals("lane"u8) ? lane = reader.GetInt64()
                    : name.ValueTextEquals("previous"u8) ? previous = reader.GetInt64()
                    : name.ValueTextEquals("sequence"u8) ? sequence = reader.GetInt64()
                    : name.ValueTextEquals("site"u8) ? (site = reader.GetString()!).Length
                    : 0;
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
        {
            return false;
        }

        if (sealedBytes is < 0 or > MaxSealedBytes || lane is < 0 or > byte.MaxValue || bytes.Length > MaxBytes)
        {
            return false;
        }

        leaf = new AuditLeaf(kind, payload, recordedMs, hash, (int)sealedBytes, new AuditSource(site, epoch, (int)lane, previous, sequence));
        return leaf.ToBytes().AsSpan().SequenceEqual(bytes);
    }

    /// <summary>The file, below the log, with the sealed bytes of the entries of a tile.</summary>
    internal static string PayloadPath(TileAddress entries) => "payload" + entries.Full.ToString()["tile/entries".Length..];

    /// <summary>Reads only <see cref="SealedBytes"/>: to find the place of a record, the lengths before it are added.</summary>
    internal static int SealedBytesOf(ReadOnlySpan<byte> leaf)
    {
        var name = "\"sealedBytes\":"u8;
        var at = leaf.IndexOf(name);
        return at >= 0 && System.Buffers.Text.Utf8Parser.TryParse(leaf[(at + name.Length)..], out int length, out _) && length is >= 0 and <= MaxSealedBytes
            ? length
            : throw new InvalidDataException("An entry of the audit tree is no leaf of ours. Run: yizhan audit verify");
    }

    private static long Hash(ref Utf8JsonReader reader, out TreeHash hash)
    {
        Span<byte> bytes = stackalloc byte[TreeHash.Size];
        if (!reader.HasValueSequence && reader.ValueSpan.Length == 2 * TreeHash.Size
            && Convert.FromHexString(reader.ValueSpan, bytes, out _, out _) == System.Buffers.OperationStatus.Done)
        {
            hash = new TreeHash(bytes);
            return 1;
        }

        throw new FormatException();
    }
}

/// <summary>The entry of an event log that a leaf comes from.</summary>
/// <param name="Site">Site of the first log.</param>
/// <param name="Epoch">Random, new for each created or restored log.</param>
/// <param name="Lane">0 urgent, 1 normal, 2 bulk.</param>
/// <param name="Previous">Sequence of the leaf before from the same (site, epoch, lane); 0 for the first. A removed leaf breaks this chain.</param>
/// <param name="Sequence">Sequence of this one. It grows; other events of the lane lie between two records.</param>
public readonly record struct AuditSource(string Site, Guid Epoch, int Lane, long Previous, long Sequence);
