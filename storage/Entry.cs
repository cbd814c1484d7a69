namespace Yizhan.Storage;

/// <summary>One fact for the event log. The members are those of a CloudEvent (id, type, time, data) plus lane and key.</summary>
/// <param name="Lane">Priority on the link.</param>
/// <param name="Type">CloudEvents type, such as <c>yizhan.dicom.instance-stored.v1</c>.</param>
/// <param name="Id">
/// Deterministic identity of the fact, at most 200 characters: a producer that retries uses the same id, and the log keeps one.
/// </param>
/// <param name="Key">What the fact is about (a study UID, a patient): entries with one key keep their order everywhere. May be empty.</param>
/// <param name="TimeMs">When it happened, Unix milliseconds UTC, by the producer's clock. For people: ordering never depends on it.</param>
/// <param name="Data">UTF-8 JSON of the event's contract, at most 1 MiB.</param>
public sealed record Entry(Lane Lane, string Type, string Id, string Key, long TimeMs, ReadOnlyMemory<byte> Data)
{
    /// <summary>Largest <see cref="Data"/>, in bytes. Anything bigger belongs into a blob.</summary>
    public const int MaxDataBytes = 1024 * 1024;

    /// <summary>Begins the id of an entry that was sent again out of quarantine.</summary>
    public const string ReplayPrefix = "replay/";

    /// <summary>Begins the id of an entry that was moved on in quarantine. It is never sent as itself, whatever was noted before a crash.</summary>
    public const string MovedPrefix = "quarantined/";

    /// <summary>True when the log that made this entry has its fact a second time: who reads that log from its beginning has had it. At the centre it may be the first.</summary>
    public bool IsCopy => Id.StartsWith(ReplayPrefix, StringComparison.Ordinal) || Id.StartsWith(MovedPrefix, StringComparison.Ordinal);

    /// <summary>Blobs that the fact needs. They are durable before the entry is.</summary>
    public IReadOnlyList<BlobRef> Blobs { get; init; } = [];

    /// <summary>W3C trace context of the work that made the fact; carried to the centre. Null when there is none.</summary>
    public string? TraceParent { get; init; }
}

/// <summary>A blob by content.</summary>
/// <param name="Hash">SHA-256 of the whole blob.</param>
/// <param name="Length">Bytes.</param>
public readonly record struct BlobRef(ContentHash Hash, long Length);

/// <summary>
/// The identity that makes "once in effect" possible: assigned by the log that first accepted the entry and never used again.
/// A spool that was wiped or restored from a backup gets a new <paramref name="Epoch"/>.
/// </summary>
/// <param name="Site">Site of the first log.</param>
/// <param name="Epoch">Random, new for each created or restored log.</param>
/// <param name="Lane">The lane; each has its own sequence.</param>
/// <param name="Sequence">1 for the first entry of (site, epoch, lane); no gaps.</param>
public readonly record struct EntryIdentity(string Site, Guid Epoch, Lane Lane, long Sequence);

/// <summary>An entry with its place in this log.</summary>
/// <param name="Position">Place in this log over all lanes, growing; what consumers remember. May have gaps.</param>
/// <param name="Identity">Where the entry was first accepted.</param>
/// <param name="Entry">The fact.</param>
public sealed record LoggedEntry(long Position, EntryIdentity Identity, Entry Entry);

/// <summary>The proof that an entry is durable: it would survive a power cut from here on.</summary>
/// <param name="Identity">Identity of the entry.</param>
/// <param name="Position">Its place in this log.</param>
/// <param name="AlreadyKnown">True when an entry with the same id was here already; nothing was appended.</param>
public readonly record struct Receipt(EntryIdentity Identity, long Position, bool AlreadyKnown);
