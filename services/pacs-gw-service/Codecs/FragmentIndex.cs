using System.Buffers.Binary;
using Yizhan.Dicom;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Codecs;

/// <summary>
/// Where the frames of encapsulated pixel data are (PS3.5 §A.4). In this order: the extended offset table, the basic one, one
/// fragment per frame, all fragments for the only frame, and fragments that begin with a codestream's first marker.
/// </summary>
internal sealed class FragmentIndex
{
    private const int ItemHeaderBytes = 8;
    private const uint Item = 0xFFFEE000;
    private const uint SequenceDelimiter = 0xFFFEE0DD;

    /// <summary>More fragments than any real instance has; a list beyond it would only be an attack on memory.</summary>
    private const int MaxFragments = 4_000_000;

    private readonly BlobReader _blob;
    private readonly long[]? _offsets;
    private readonly long _firstFragment;
    private readonly List<List<(long, long)>>? _frames;

    private FragmentIndex(BlobReader blob, long firstFragment, long[] offsets) => (_blob, _firstFragment, _offsets) = (blob, firstFragment, offsets);

    private FragmentIndex(BlobReader blob, List<List<(long, long)>> frames) => (_blob, _frames) = (blob, frames);

    /// <summary>Reads the offset tables, and the item headers if those do not say it.</summary>
    /// <param name="blob">The data set.</param>
    /// <param name="offset">Of the first item, the basic offset table.</param>
    /// <param name="dataset">The header, for the extended offset table.</param>
    /// <param name="frames">Number of Frames.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <exception cref="FrameException">Frames cannot be told apart.</exception>
    public static async ValueTask<FragmentIndex> ReadAsync(
        BlobReader blob, long offset, DicomDataset dataset, int frames, CancellationToken cancellationToken)
    {
        var table = await ReadItemAsync(blob, offset, cancellationToken) ?? throw Broken(offset);
        var firstFragment = offset + ItemHeaderBytes + table;
        var extended = dataset.GetBytes(DicomTags.ExtendedOffsetTable);
        if (extended.Length == frames * 8L)
        {
            return new FragmentIndex(blob, firstFragment, Enumerable.Range(0, frames)
                .Select(i => (long)Math.Min(long.MaxValue, BinaryPrimitives.ReadUInt64LittleEndian(extended.Span[(i * 8)..]))).ToArray());
        }

        if (table == frames * 4L)
        {
            var bytes = new byte[table];
            await ReadExactlyAsync(blob, offset + ItemHeaderBytes, bytes, cancellationToken);
            var offsets = Enumerable.Range(0, frames).Select(i => (long)BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(i * 4))).ToArray();

            // A table that does not grow is wrong; the fragments themselves may still tell.
            if (offsets.Zip(offsets.Skip(1)).All(pair => pair.First < pair.Second))
            {
                return new FragmentIndex(blob, firstFragment, offsets);
            }
        }

        return new FragmentIndex(blob, Group(await FragmentsAsync(blob, firstFragment, long.MaxValue, cancellationToken), frames));
    }

    /// <summary>The fragments of a frame, by offset and length in the data set.</summary>
    /// <param name="frame">From 1.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <exception cref="FrameException">The offset table points to no fragment.</exception>
    public async ValueTask<IReadOnlyList<(long Offset, long Length)>> FragmentsOfAsync(int frame, CancellationToken cancellationToken)
    {
        if (_frames is not null)
        {
            return _frames[frame - 1];
        }

        var end = frame < _offsets!.Length ? _firstFragment + _offsets[frame] : long.MaxValue;
        var fragments = await FragmentsAsync(_blob, _firstFragment + _offsets[frame - 1], end, cancellationToken);
        return [.. fragments.Select(f => (f.Offset, f.Length))];
    }

    /// <summary>Where the data set goes on behind the pixel data.</summary>
    /// <param name="blob">The data set.</param>
    /// <param name="offset">Of the first item.</param>
    /// <param name="cancellationToken">Stops.</param>
    public static async ValueTask<long> EndAsync(BlobReader blob, long offset, CancellationToken cancellationToken)
    {
        while (await ReadItemAsync(blob, offset, cancellationToken) is { } length)
        {
            offset += ItemHeaderBytes + length;
        }

        return offset + ItemHeaderBytes;
    }

    private static List<List<(long, long)>> Group(List<(long Offset, long Length, bool StartsStream)> fragments, int frames)
    {
        if (fragments.Count == frames || frames == 1)
        {
            return frames == 1
                ? [[.. fragments.Select(f => (f.Offset, f.Length))]]
                : [.. fragments.Select(f => new List<(long, long)> { (f.Offset, f.Length) })];
        }

        var grouped = new List<List<(long, long)>>();
        foreach (var (offset, length, startsStream) in fragments)
        {
            if (startsStream || grouped.Count == 0)
            {
                grouped.Add([]);
            }

            grouped[^1].Add((offset, length));
        }

        return grouped.Count == frames
            ? grouped
            : throw new FrameException(404, $"The {frames} frames of this instance cannot be told apart in {fragments.Count} fragments without offset table.");
    }

    private static async ValueTask<List<(long Offset, long Length, bool StartsStream)>> FragmentsAsync(
        BlobReader blob, long offset, long end, CancellationToken cancellationToken)
    {
        var fragments = new List<(long, long, bool)>();
        var start = new byte[4];
        while (offset < end && await ReadItemAsync(blob, offset, cancellationToken) is { } length)
        {
            offset += ItemHeaderBytes;
            var startsStream = false;
            if (length >= start.Length)
            {
                await ReadExactlyAsync(blob, offset, start, cancellationToken);
                startsStream = start is [0xFF, 0xD8, 0xFF, _] or [0xFF, 0x4F, 0xFF, 0x51] or [0xFF, 0x0A, ..];
            }

            fragments.Add((offset, length, startsStream));
            if (fragments.Count > MaxFragments)
            {
                throw Broken(offset);
            }

            offset += length;
        }

        return fragments.Count > 0 ? fragments : throw Broken(offset);
    }

    /// <summary>Length of the item at an offset; null at the sequence delimiter.</summary>
    private static async ValueTask<long?> ReadItemAsync(BlobReader blob, long offset, CancellationToken cancellationToken)
    {
        var header = new byte[ItemHeaderBytes];
        await ReadExactlyAsync(blob, offset, header, cancellationToken);
        var tag = (uint)BinaryPrimitives.ReadUInt16LittleEndian(header) << 16 | BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(2));
        return tag switch
        {
            Item => BinaryPrimitives.ReadUInt32LittleEndian(header.AsSpan(4)),
            SequenceDelimiter => null,
            _ => throw Broken(offset),
        };
    }

    private static async ValueTask ReadExactlyAsync(BlobReader blob, long offset, Memory<byte> bytes, CancellationToken cancellationToken)
    {
        while (!bytes.IsEmpty)
        {
            var read = await blob.ReadAsync(offset, bytes, cancellationToken);
            if (read == 0)
            {
                throw Broken(offset);
            }

            (offset, bytes) = (offset + read, bytes[read..]);
        }
    }

    private static FrameException Broken(long offset) => new(404, $"There is no fragment at byte {offset} of the data set, where one should be.");
}
