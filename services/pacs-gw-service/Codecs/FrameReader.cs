using System.IO.Pipelines;
using Yizhan.Dicom;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.DicomWeb;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Codecs;

/// <summary>A frame cannot be given; the message is for the client.</summary>
internal sealed class FrameException(int statusCode, string message) : Exception(message)
{
    /// <summary>HTTP status.</summary>
    public int StatusCode { get; } = statusCode;
}

/// <summary>
/// Finds the frames of a stored instance in its blob and copies them out. Native frames are slices; the fragments of compressed
/// ones are joined per frame (PS3.5 §A.4).
/// </summary>
internal sealed class FrameReader
{
    /// <summary>Elements behind the pixel data are signatures and padding; more than this is something else.</summary>
    private const int MaxTailBytes = 16 * 1024 * 1024;

    private readonly BlobReader _blob;
    private readonly DicomTransferSyntax _syntax;
    private readonly long _frameBits;
    private readonly FragmentIndex? _fragments;
    private readonly Dictionary<int, IReadOnlyList<(long Offset, long Length)>> _located = [];

    private FrameReader(
        BlobReader blob, DicomTransferSyntax syntax, DicomDataset dataset, LargeValue pixelData, int frames, long frameBits, FragmentIndex? fragments) =>
        (_blob, _syntax, Dataset, PixelData, FrameCount, _frameBits, _fragments) = (blob, syntax, dataset, pixelData, frames, frameBits, fragments);

    /// <summary>The header of the instance.</summary>
    public DicomDataset Dataset { get; }

    /// <summary>Where the pixel data is.</summary>
    public LargeValue PixelData { get; }

    /// <summary>Frames of the instance.</summary>
    public int FrameCount { get; }

    /// <summary>Transfer syntax of what <see cref="CopyAsync"/> writes: native frames are always little endian.</summary>
    public string TransferSyntaxUid => PixelData.IsEncapsulated ? _syntax.Uid : DicomTransferSyntax.ExplicitVrLittleEndian.Uid;

    /// <summary>Reads what is needed to find frames.</summary>
    /// <exception cref="FrameException">The instance has no frames, or they cannot be told apart.</exception>
    /// <exception cref="DicomFormatException">The header cannot be decoded.</exception>
    public static async ValueTask<FrameReader> OpenAsync(
        BlobReader blob, string transferSyntaxUid, int maxHeaderBytes, CancellationToken cancellationToken)
    {
        var syntax = DicomTransferSyntax.Get(transferSyntaxUid);
        var header = await InstanceHeader.ReadAsync(blob, syntax, maxHeaderBytes, cancellationToken);
        return header.PixelData is { } pixelData
            ? await OpenAsync(blob, syntax, header.Dataset, pixelData, cancellationToken)
            : throw new FrameException(404, "This instance has no pixel data.");
    }

    /// <summary>As the other, for a header that was read.</summary>
    /// <exception cref="FrameException">The frames cannot be told apart.</exception>
    public static async ValueTask<FrameReader> OpenAsync(
        BlobReader blob, DicomTransferSyntax syntax, DicomDataset dataset, LargeValue pixelData, CancellationToken cancellationToken)
    {
        var frames = Math.Max(1, dataset.GetInt32(DicomTags.NumberOfFrames) ?? 1);
        if (pixelData.IsEncapsulated)
        {
            var fragments = await FragmentIndex.ReadAsync(blob, pixelData.Offset, dataset, frames, cancellationToken);
            return new FrameReader(blob, syntax, dataset, pixelData, frames, 0, fragments);
        }

        var bits = (dataset.GetInt64(DicomTags.Rows) ?? 0) * (dataset.GetInt64(DicomTags.Columns) ?? 0)
            * (dataset.GetInt64(DicomTags.SamplesPerPixel) ?? 1) * (dataset.GetInt64(DicomTags.BitsAllocated) ?? 0);

        // 4:2:2 has one pair of colour samples for two pixels (PS3.3 §C.7.6.3.1.2): two samples a pixel, not three.
        if (dataset.GetString(DicomTags.PhotometricInterpretation) is "YBR_FULL_422" or "YBR_PARTIAL_422")
        {
            bits = bits / 3 * 2;
        }

        if (bits <= 0 || (UInt128)bits * (uint)frames > (UInt128)pixelData.Length * 8)
        {
            throw new FrameException(404, "The pixel data is shorter than its rows, columns and frames say.");
        }

        return new FrameReader(blob, syntax, dataset, pixelData, frames, bits, null);
    }

    /// <summary>Finds frames before anything of them is sent.</summary>
    /// <exception cref="FrameException">The offset table points to no fragment.</exception>
    public async ValueTask LocateAsync(IReadOnlyList<int> frames, CancellationToken cancellationToken)
    {
        foreach (var frame in frames)
        {
            if (_fragments is not null && !_located.ContainsKey(frame))
            {
                _located.Add(frame, await _fragments.FragmentsOfAsync(frame, cancellationToken));
            }
        }
    }

    /// <summary>One frame in memory: fragments joined, native bytes little endian.</summary>
    /// <param name="frame">1 to <see cref="FrameCount"/>.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <param name="buffers">Where an array is taken from, when the caller gives it back.</param>
    /// <exception cref="FrameException">The offset table points to no fragment, or the frame is larger than <see cref="PixelFormat.MaxFrameBytes"/>.</exception>
    public async ValueTask<byte[]> ReadAsync(int frame, CancellationToken cancellationToken, FrameBuffers? buffers = null)
    {
        await LocateAsync([frame], cancellationToken);
        var length = _fragments is null ? (_frameBits + 7) / 8 : _located[frame].Sum(f => f.Length);
        if (length > PixelFormat.MaxFrameBytes)
        {
            throw new FrameException(404, $"Frame {frame} has {length} bytes; decoded are up to {PixelFormat.MaxFrameBytes}.");
        }

        var word = PixelEndpoints.WordBytes(PixelData.Vr, _syntax);
        if (_fragments is null && word > 1)
        {
            return await ReadWordsAsync((frame - 1) * length, (int)length, word, cancellationToken);
        }

        var bytes = buffers?.Rent((int)length) ?? GC.AllocateUninitializedArray<byte>((int)length);
        if (_fragments is null && (_syntax.IsDeflated || _frameBits % 8 != 0))
        {
            var target = PipeWriter.Create(new MemoryStream(bytes));
            await CopyAsync(frame, target, cancellationToken);
            await target.CompleteAsync();
            return bytes;
        }

        var at = 0;
        IReadOnlyList<(long Offset, long Length)> ranges =
            _fragments is null ? [(PixelData.Offset + ((frame - 1) * length), length)] : _located[frame];
        foreach (var (offset, count) in ranges)
        {
            await FillAsync(offset, bytes.AsMemory(at, (int)count), cancellationToken);
            at += (int)count;
        }

        return bytes;
    }

    /// <summary>A range of big endian words turned around. A frame of an odd number of bytes begins or ends inside a word.</summary>
    private async ValueTask<byte[]> ReadWordsAsync(long first, int length, int word, CancellationToken cancellationToken)
    {
        var start = first - (first % word);
        var end = Math.Min(PixelData.Length, first + length + word - 1) / word * word;
        var words = new byte[end - start];
        await FillAsync(PixelData.Offset + start, words, cancellationToken);
        Swap(words, word);
        return words.AsSpan((int)(first - start), length).ToArray();
    }

    private async ValueTask FillAsync(long offset, Memory<byte> bytes, CancellationToken cancellationToken)
    {
        while (!bytes.IsEmpty)
        {
            var read = await _blob.ReadAsync(offset, bytes, cancellationToken);
            if (read == 0)
            {
                throw new FrameException(404, $"A frame reaches beyond the end of the data set at byte {offset}.");
            }

            (offset, bytes) = (offset + read, bytes[read..]);
        }
    }

    /// <summary>Writes one frame that was located.</summary>
    /// <param name="frame">1 to <see cref="FrameCount"/>.</param>
    /// <param name="body">Where to.</param>
    /// <param name="cancellationToken">Stops.</param>
    public async ValueTask CopyAsync(int frame, PipeWriter body, CancellationToken cancellationToken)
    {
        if (_fragments is not null)
        {
            foreach (var (offset, length) in _located[frame])
            {
                await MultipartResponse.CopyAsync(_blob, offset, length, body, cancellationToken);
            }

            return;
        }

        var firstBit = (frame - 1) * _frameBits;
        if (PixelEndpoints.WordBytes(PixelData.Vr, _syntax) > 1)
        {
            await body.WriteAsync(await ReadAsync(frame, cancellationToken), cancellationToken);
            return;
        }

        if (_frameBits % 8 == 0)
        {
            await CopyRangeAsync(_blob, _syntax, PixelData.Offset + (firstBit / 8), _frameBits / 8, 1, body, cancellationToken);
            return;
        }

        await CopyBitsAsync(firstBit, body, cancellationToken);
    }

    /// <summary>Copies a range of a data set; for a deflated one the bytes before it have to be inflated first.</summary>
    public static async ValueTask CopyRangeAsync(
        BlobReader blob, DicomTransferSyntax syntax, long offset, long length, int wordBytes, PipeWriter body, CancellationToken cancellationToken)
    {
        if (!syntax.IsDeflated && wordBytes == 1)
        {
            await MultipartResponse.CopyAsync(blob, offset, length, body, cancellationToken);
            return;
        }

        // Deflated or big endian: rare and small, so one piece after the other through a buffer of whole words.
        await using var source = InstanceHeader.Open(blob, syntax);
        var buffer = new byte[64 * 1024];
        for (var skip = offset; skip > 0;)
        {
            skip -= await ReadSomeAsync(source, buffer.AsMemory(0, (int)Math.Min(buffer.Length, skip)), cancellationToken);
        }

        while (length > 0)
        {
            var piece = buffer.AsMemory(0, (int)Math.Min(buffer.Length, length));
            await source.ReadExactlyAsync(piece, cancellationToken);
            Swap(piece.Span, wordBytes);
            await body.WriteAsync(piece, cancellationToken);
            length -= piece.Length;
        }
    }

    /// <summary>What a data set has from an offset to its end.</summary>
    /// <exception cref="FrameException">That is more than <see cref="MaxTailBytes"/>.</exception>
    public static async ValueTask<byte[]> ReadTailAsync(BlobReader blob, DicomTransferSyntax syntax, long offset, CancellationToken cancellationToken)
    {
        using var tail = new MemoryStream();
        var buffer = new byte[64 * 1024];
        if (!syntax.IsDeflated)
        {
            for (int read; (read = await blob.ReadAsync(offset, buffer, cancellationToken)) > 0 && tail.Length <= MaxTailBytes; offset += read)
            {
                tail.Write(buffer, 0, read);
            }
        }
        else
        {
            await using var source = InstanceHeader.Open(blob, syntax);
            for (var skip = offset; skip > 0;)
            {
                skip -= await ReadSomeAsync(source, buffer.AsMemory(0, (int)Math.Min(buffer.Length, skip)), cancellationToken);
            }

            for (int read; (read = await source.ReadAsync(buffer, cancellationToken)) > 0 && tail.Length <= MaxTailBytes;)
            {
                tail.Write(buffer, 0, read);
            }
        }

        return tail.Length <= MaxTailBytes
            ? tail.ToArray()
            : throw new FrameException(404, $"More than {MaxTailBytes} bytes come after the pixel data.");
    }

    /// <summary>Turns the byte order of words.</summary>
    public static void Swap(Span<byte> bytes, int wordBytes)
    {
        for (var i = 0; wordBytes > 1 && i + wordBytes <= bytes.Length; i += wordBytes)
        {
            bytes.Slice(i, wordBytes).Reverse();
        }
    }

    private static async ValueTask<int> ReadSomeAsync(Stream source, Memory<byte> buffer, CancellationToken cancellationToken) =>
        await source.ReadAsync(buffer, cancellationToken) is > 0 and var read
            ? read
            : throw new InvalidDataException("The data set ends before the value that its header announced.");

    /// <summary>
    /// Single-bit frames follow each other without padding (PS3.5 §8.1.1), so most start inside a byte. They are moved to bit 0;
    /// such a frame is a mask of some megabytes at most.
    /// </summary>
    private async ValueTask CopyBitsAsync(long firstBit, PipeWriter body, CancellationToken cancellationToken)
    {
        var firstByte = firstBit / 8;
        var bytes = (int)Math.Min(((firstBit + _frameBits + 7) / 8) - firstByte, Array.MaxLength);
        var source = new byte[bytes + 1];
        await using (var stream = InstanceHeader.Open(_blob, _syntax))
        {
            for (var skip = PixelData.Offset + firstByte; skip > 0;)
            {
                skip -= await ReadSomeAsync(stream, source.AsMemory(0, (int)Math.Min(bytes, skip)), cancellationToken);
            }

            await stream.ReadExactlyAsync(source.AsMemory(0, bytes), cancellationToken);
        }

        source[bytes] = 0;
        var shift = (int)(firstBit % 8);
        var frame = new byte[(_frameBits + 7) / 8];
        for (var i = 0; i < frame.Length; i++)
        {
            frame[i] = (byte)((source[i] | source[i + 1] << 8) >> shift);
        }

        if (_frameBits % 8 is not 0 and var rest)
        {
            frame[^1] &= (byte)((1 << (int)rest) - 1);
        }

        await body.WriteAsync(frame, cancellationToken);
    }
}
