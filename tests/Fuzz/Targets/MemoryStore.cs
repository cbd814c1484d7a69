using System.Security.Cryptography;
using Yizhan.Storage;

namespace Yizhan.Fuzz.Targets;

/// <summary>The log and the blobs as the intake sees them, without a disk: remembers what the last append said.</summary>
internal sealed class MemoryStore : IEventLog, IBlobStore
{
    private const int RoomBytes = 64 * 1024;

    /// <summary>Entries of the last append; none when nothing was appended since it was cleared.</summary>
    public IReadOnlyList<Entry> Appended { get; set; } = [];

    public string Site => "site-a";

    public Guid Epoch => Guid.Empty;

    public long LastPosition => 0;

    public ValueTask<IReadOnlyList<Receipt>> AppendAsync(IReadOnlyList<Entry> entries, CancellationToken cancellationToken)
    {
        Appended = entries;
        return new([.. entries.Select((e, i) => new Receipt(new EntryIdentity(Site, Epoch, e.Lane, i + 1), i + 1, false))]);
    }

    public BlobWriter Begin(Lane lane) => new Writer();

    public ValueTask<BlobReader?> OpenAsync(ContentHash hash, CancellationToken cancellationToken) => default;

    public ValueTask<IReadOnlyList<LoggedEntry>> ReadAsync(long afterPosition, int maxEntries, CancellationToken cancellationToken) => throw NotUsed();

    public ValueTask<IReadOnlyList<LoggedEntry>> ReadLaneAsync(
        Lane lane, long afterSequence, int maxEntries, long maxDataBytes, CancellationToken cancellationToken) => throw NotUsed();

    public Task WaitForMoreAsync(long position, CancellationToken cancellationToken) => throw NotUsed();

    public long Delivered(Lane lane) => throw NotUsed();

    public long Released(Lane lane) => 0;

    public SpaceUsage Space => default;

    public ValueTask MarkDeliveredAsync(Lane lane, long throughSequence, CancellationToken cancellationToken) => throw NotUsed();

    public ValueTask ReleaseAsync(Lane lane, long throughSequence, CancellationToken cancellationToken) => throw NotUsed();

    public ValueTask<long> ReceiveAsync(IReadOnlyList<LoggedEntry> entries, CancellationToken cancellationToken) => throw NotUsed();

    public ValueTask<long> HighWaterMarkAsync(string site, Guid epoch, Lane lane, CancellationToken cancellationToken) => throw NotUsed();

    public LaneUsage Usage(Lane lane) => default;

    public ValueTask<IReadOnlyList<ByteRange>> MissingAsync(BlobRef blob, CancellationToken cancellationToken) => throw NotUsed();

    public ValueTask<bool> PutAsync(BlobRef blob, long offset, ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken) => throw NotUsed();

    public ValueTask PinAsync(IReadOnlyList<ContentHash> blobs, string holder, CancellationToken cancellationToken) => throw NotUsed();

    public ValueTask UnpinAsync(IReadOnlyList<ContentHash> blobs, string holder, CancellationToken cancellationToken) => throw NotUsed();

    public ValueTask ReleaseOrphansAsync(DateTimeOffset untouchedSince, CancellationToken cancellationToken) => throw NotUsed();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private static NotSupportedException NotUsed() => new("The intake appends and writes blobs; it does nothing else.");

    /// <summary>A blob with little room, so that running out of it is met too.</summary>
    private sealed class Writer : BlobWriter
    {
        private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        private long _length;

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
        {
            if (_length + bytes.Length > RoomBytes)
            {
                throw new SpoolFullException(Lane.Bulk, RoomBytes - _length);
            }

            _length += bytes.Length;
            _hash.AppendData(bytes.Span);
            return default;
        }

        public override ValueTask<BlobRef> CompleteAsync(CancellationToken cancellationToken) =>
            new(new BlobRef(new ContentHash(_hash.GetHashAndReset()), _length));

        public override ValueTask DisposeAsync()
        {
            _hash.Dispose();
            return default;
        }
    }
}
