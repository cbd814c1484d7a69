using System.Text.Json;
using System.Text.Json.Serialization;

namespace Yizhan.Storage;

/// <summary>Where the shared log stands, on each answer of its owner: what the properties of a remote log say.</summary>
/// <param name="Boot">The owner's process.</param>
/// <param name="Version">Grows within a process: of two, the higher was read later.</param>
/// <param name="Site">Site of the log.</param>
/// <param name="Epoch">Its epoch.</param>
/// <param name="Position">Its newest position.</param>
/// <param name="Space">What is used and what could be.</param>
/// <param name="Lanes">Each lane, in the order of <see cref="Lane"/>.</param>
internal sealed record LogStand(Guid Boot, long Version, string Site, Guid Epoch, long Position, SpaceUsage Space, LaneStand[] Lanes)
{
    /// <summary>Header of an answer that has it.</summary>
    public const string Header = "Yizhan-Log";

    public static LogStand Of(Guid boot, long version, IEventLog log) =>
        new(boot, version, log.Site, log.Epoch, log.LastPosition, log.Space, [.. Enum.GetValues<Lane>().Select(lane => new LaneStand(log.Usage(lane), log.Delivered(lane), log.Released(lane)))]);
}

/// <summary>One lane.</summary>
internal sealed record LaneStand(LaneUsage Usage, long Delivered, long Released);

/// <summary>A blob by content.</summary>
internal sealed record WireBlob(string Hash, long Length)
{
    public static WireBlob Of(BlobRef blob) => new(blob.Hash.ToString(), blob.Length);

    public BlobRef Read() => ContentHash.TryParse(Hash, out var hash) ? new(hash, Length) : throw new ArgumentException($"'{Hash}' is no SHA-256 of 64 hex digits.");
}

/// <summary>An entry.</summary>
internal sealed record WireEntry(Lane Lane, string Type, string Id, string Key, long TimeMs, ReadOnlyMemory<byte> Data, WireBlob[] Blobs, string? TraceParent)
{
    public static WireEntry Of(Entry entry) =>
        new(entry.Lane, entry.Type, entry.Id, entry.Key, entry.TimeMs, entry.Data, [.. entry.Blobs.Select(WireBlob.Of)], entry.TraceParent);

    public Entry Read() => new(Lane, Type, Id, Key, TimeMs, Data) { Blobs = [.. Blobs.Select(blob => blob.Read())], TraceParent = TraceParent };
}

/// <summary>An entry with its place.</summary>
internal sealed record WireLogged(long Position, string Site, Guid Epoch, long Sequence, Lane Lane, WireEntry Entry)
{
    public static WireLogged Of(LoggedEntry logged) =>
        new(logged.Position, logged.Identity.Site, logged.Identity.Epoch, logged.Identity.Sequence, logged.Identity.Lane, WireEntry.Of(logged.Entry));

    public LoggedEntry Read() => new(Position, new EntryIdentity(Site, Epoch, Lane, Sequence), Entry.Read());
}

/// <summary>What a piece of a blob came to: the blob, when it was the last one.</summary>
internal sealed record WireWritten(WireBlob? Blob);

/// <summary>Pins of a holder.</summary>
internal sealed record WirePins(string Holder, string[] Hashes);

/// <summary>Who has a turn, and what the next one is to have.</summary>
internal sealed record WireTurn(Guid Holder, byte[]? State);

/// <summary>Who wants or keeps a turn.</summary>
internal sealed record WireTurnAsked(Guid Holder, bool Keeps, byte[]? State);

/// <summary>All turns of a log.</summary>
internal sealed record WireTurns(Guid Epoch, Dictionary<string, WireTurn> Turns);

/// <summary>Whether a turn was taken, and what was left with it.</summary>
internal sealed record WireTurnTaken(bool IsMine, byte[]? State);

/// <summary>How many bytes of data and of blobs a call may have.</summary>
internal static class WireBounds
{
    /// <summary>Most bytes of data in one append; JSON makes a third more of them.</summary>
    public const int MaxAppendBytes = 48 * 1024 * 1024;

    /// <summary>Most bytes of the body of an append.</summary>
    public const int MaxBodyBytes = 80 * 1024 * 1024;

    /// <summary>Most bytes of one piece of a blob that is written or read.</summary>
    public const int MaxPieceBytes = 1024 * 1024;

    /// <summary>Most entries of one page.</summary>
    public const int MaxEntries = 4096;
}

/// <summary>Which exception of the contract an answer is.</summary>
internal enum RefusalKind
{
    /// <summary>The log failed: <see cref="IOException"/>.</summary>
    Failed,

    /// <summary>It is being closed, or has as much under way as it takes: the call may be made again.</summary>
    Busy,

    /// <summary><see cref="SpoolFullException"/>.</summary>
    Full,

    /// <summary><see cref="BlobMissingException"/>.</summary>
    BlobMissing,

    /// <summary><see cref="BlobAwayException"/>.</summary>
    BlobAway,

    /// <summary><see cref="ArgumentException"/>.</summary>
    Argument,

    /// <summary><see cref="InvalidOperationException"/>.</summary>
    Operation,

    /// <summary><see cref="InvalidDataException"/>.</summary>
    Data,

    /// <summary>The owner does not know the writer any more: it was started again, or nobody added to it for too long.</summary>
    WriterGone,
}

/// <summary>Why a call was refused.</summary>
internal sealed record WireRefusal(RefusalKind Kind, string Message, Lane Lane = default, long RoomBytes = 0, WireBlob? Blob = null)
{
    /// <summary>The status of HTTP, for those who look at a line with other tools.</summary>
    public int Status => Kind switch
    {
        RefusalKind.Full => 507,
        RefusalKind.BlobMissing => 404,
        RefusalKind.WriterGone => 410,
        RefusalKind.Argument => 400,
        RefusalKind.Operation => 409,
        RefusalKind.Data => 422,
        RefusalKind.Busy => 503,
        _ => 500,
    };

    /// <summary>Null for what is no exception of the contract.</summary>
    public static WireRefusal? Of(Exception exception) => exception switch
    {
        SpoolFullException full => new(RefusalKind.Full, full.Message, full.Lane, full.RoomBytes),
        BlobMissingException missing => new(RefusalKind.BlobMissing, missing.Message, Blob: WireBlob.Of(missing.Blob)),
        BlobAwayException => new(RefusalKind.BlobAway, exception.Message),
        ObjectDisposedException => new(RefusalKind.Busy, "The log is being closed."),
        WriterGoneException => new(RefusalKind.WriterGone, exception.Message),
        TooManyException => new(RefusalKind.Busy, exception.Message),
        InvalidDataException => new(RefusalKind.Data, exception.Message),
        ArgumentException => new(RefusalKind.Argument, exception.Message),
        InvalidOperationException => new(RefusalKind.Operation, exception.Message),
        IOException => new(RefusalKind.Failed, exception.Message),
        _ => null,
    };

    public Exception ToException() => Kind switch
    {
        RefusalKind.Full => new SpoolFullException(Lane, RoomBytes),
        RefusalKind.BlobMissing when Blob is { } blob => new BlobMissingException(blob.Read()),
        RefusalKind.BlobAway => new BlobAwayException(Message, new IOException(Message)),
        RefusalKind.Argument => new ArgumentException(Message),
        RefusalKind.Operation => new InvalidOperationException(Message),
        RefusalKind.Data => new InvalidDataException(Message),
        _ => new IOException(Message),
    };
}

/// <summary>See <see cref="RefusalKind.WriterGone"/>.</summary>
internal sealed class WriterGoneException() : Exception("The beginning of this blob is not here: the log was opened again, or nobody added to the blob for too long. Write it again.");

/// <summary>As much is under way as the owner takes.</summary>
internal sealed class TooManyException(int most) : Exception($"{most} blobs are being written, as many as storage:sharedWriters allows.");

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web)]
[JsonSerializable(typeof(LogStand))]
[JsonSerializable(typeof(WireEntry[]))]
[JsonSerializable(typeof(WireLogged[]))]
[JsonSerializable(typeof(Receipt[]))]
[JsonSerializable(typeof(WireWritten))]
[JsonSerializable(typeof(WirePins))]
[JsonSerializable(typeof(WireRefusal))]
[JsonSerializable(typeof(WireTurnAsked))]
[JsonSerializable(typeof(WireTurns))]
[JsonSerializable(typeof(WireTurnTaken))]
[JsonSerializable(typeof(ByteRange[]))]
[JsonSerializable(typeof(long))]
[JsonSerializable(typeof(bool))]
internal sealed partial class LogWireJson : JsonSerializerContext;
