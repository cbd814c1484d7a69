using System.IO.Pipelines;
using Yizhan.Dicom;
using Yizhan.PacsGw.Archive;
using Yizhan.Storage;

namespace Yizhan.PacsGw.DicomWeb;

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
    private readonly BlobReader _blob;
    private readonly DicomTransferSyntax _syntax;
    private readonly LargeValue _pixelData;
    private readonly long _frameBits;
    private readonly FragmentIndex? _fragments;
    private readonly Dictionary<int, IReadOnlyList<(long Offset, long Length)>> _located = [];

    private FrameReader(BlobReader blob, DicomTransferSyntax syntax, LargeValue pixelData, int frames, long frameBits, FragmentIndex? fragments) =>
        (_blob, _syntax, _pixelData, FrameCount, _frameBits, _fragments) = (blob, syntax, pixelData, frames, frameBits, fragments);

    /// <summary>Frames of the instance.</summary>
    public int FrameCount { get; }

    /// <summary>Transfer syntax of what <see cref="CopyAsync"/> writes: native frames are always little endian.</summary>
    public string TransferSyntaxUid => _pixelData.IsEncapsulated ? _syntax.Uid : DicomTransferSyntax.ExplicitVrLittleEndian.Uid;

    /// <summary>Media type of one frame (PS3.18 Table 8.7.3-5).</summary>
    public string MediaType => !_pixelData.IsEncapsulated ? "application/octet-stream" : _syntax.Uid switch
    {
        "1.2.840.10008.1.2.4.50" or "1.2.840.10008.1.2.4.51" or "1.2.840.10008.1.2.4.57" or "1.2.840.10008.1.2.4.70" => "image/jpeg",
        "1.2.840.10008.1.2.4.80" or "1.2.840.10008.1.2.4.81" => "image/jls",
        "1.2.840.10008.1.2.4.90" or "1.2.840.10008.1.2.4.91" => "image/jp2",
        "1.2.840.10008.1.2.4.92" or "1.2.840.10008.1.2.4.93" => "image/jpx",
        "1.2.840.10008.1.2.4.110" or "1.2.840.10008.1.2.4.111" or "1.2.840.10008.1.2.4.112" => "image/jxl",
        "1.2.840.10008.1.2.4.201" or "1.2.840.10008.1.2.4.202" or "1.2.840.10008.1.2.4.203" => "image/jphc",
        "1.2.840.10008.1.2.5" => "image/dicom-rle",
        "1.2.840.10008.1.2.4.100" or "1.2.840.10008.1.2.4.101" => "video/mpeg",
        "1.2.840.10008.1.2.4.102" or "1.2.840.10008.1.2.4.103" or "1.2.840.10008.1.2.4.104" or "1.2.840.10008.1.2.4.105"
            or "1.2.840.10008.1.2.4.106" => "video/mp4",
        _ => "application/octet-stream",
    };

    /// <summary>Reads what is needed to find frames.</summary>
    /// <exception cref="FrameException">The instance has no frames, or they cannot be told apart.</exception>
    /// <exception cref="DicomFormatException">The header cannot be decoded.</exception>
    public static async ValueTask<FrameReader> OpenAsync(
        BlobReader blob, string transferSyntaxUid, int maxHeaderBytes, CancellationToken cancellationToken)
    {
        var syntax = DicomTransferSyntax.Get(transferSyntaxUid);
        var header = await InstanceHeader.ReadAsync(blob, syntax, maxHeaderBytes, cancellationToken);
        if (header.LargeValues is not [.., var pixelData] || pixelData.Tag.Value is not (0x7FE00008 or 0x7FE00009 or 0x7FE00010))
        {
            throw new FrameException(404, "This instance has no pixel data.");
        }

        var dataset = header.Dataset;
        var frames = Math.Max(1, dataset.GetInt32(DicomTags.NumberOfFrames) ?? 1);
        if (pixelData.IsEncapsulated)
        {
            var fragments = await FragmentIndex.ReadAsync(blob, pixelData.Offset, dataset, frames, cancellationToken);
            return new FrameReader(blob, syntax, pixelData, frames, 0, fragments);
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

        return new FrameReader(blob, syntax, pixelData, frames, bits, null);
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
        if (_frameBits % 8 == 0)
        {
            await CopyRangeAsync(
                _blob, _syntax, _pixelData.Offset + (firstBit / 8), _frameBits / 8, PixelEndpoints.WordBytes(_pixelData.Vr, _syntax), body, cancellationToken);
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
            for (var skip = _pixelData.Offset + firstByte; skip > 0;)
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
