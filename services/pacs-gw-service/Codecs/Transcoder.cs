using System.Buffers;
using System.IO.Compression;
using System.IO.Pipelines;
using Microsoft.Extensions.Options;
using Yizhan.Dicom;
using Yizhan.PacsGw.Archive;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Codecs;

/// <summary>
/// Gives stored data sets in another transfer syntax, for WADO-RS and for what C-MOVE, C-GET and C-STORE send. A data set is written
/// while it is read; in memory are its header and one frame. Nothing is lost that the stored pixels have: what is encoded is lossless.
/// </summary>
internal sealed partial class Transcoder(IBlobStore blobs, CodecGate codecs, IOptions<PacsGwOptions> options, ILogger<Transcoder> logger)
{
    private readonly ILogger _logger = logger;

    /// <summary>True when an instance in one transfer syntax can be given in another; always when they are the same.</summary>
    public static bool Can(string from, string to) => from == to || (PixelCodec.Decodes(from) && PixelCodec.Encodes(to));

    /// <summary>Opens a stored instance in a transfer syntax and decodes its first frame, so that what cannot be decoded is known before anything is sent.</summary>
    /// <param name="instance">The instance.</param>
    /// <param name="transferSyntaxUid">
    /// What is wanted. An instance without pixel data is not compressed: it comes in explicit VR little endian instead of an
    /// encapsulated one; <see cref="TranscodedInstance.TransferSyntaxUid"/> says which it became.
    /// </param>
    /// <param name="cancellationToken">Stops.</param>
    /// <exception cref="CodecException">There is no way from the one to the other, or the pixel data is damaged.</exception>
    /// <exception cref="FileNotFoundException">The index knows the data set and the blob store does not.</exception>
    public async ValueTask<TranscodedInstance> OpenAsync(StoredInstance instance, string transferSyntaxUid, CancellationToken cancellationToken)
    {
        var blob = await blobs.OpenAsync(instance.Hash, cancellationToken)
            ?? throw new FileNotFoundException($"Blob {instance.Hash} of instance {instance.SopInstanceUid} is not in the blob store.");
        try
        {
            return await TranscodedInstance.OpenAsync(blob, codecs, instance.TransferSyntaxUid, transferSyntaxUid, options.Value.MaxHeaderBytes, cancellationToken);
        }
        catch (Exception e) when (e is DicomFormatException or FrameException or InvalidDataException)
        {
            await blob.DisposeAsync();
            throw new CodecException(e.Message);
        }
        catch
        {
            await blob.DisposeAsync();
            throw;
        }
    }

    /// <summary>
    /// The same as a stream that is read once, for a sender that asks for one. What goes wrong comes out of its reads:
    /// <see cref="CodecException"/> or <see cref="IOException"/>.
    /// </summary>
    public Stream OpenRead(StoredInstance instance, string transferSyntaxUid, CancellationToken cancellationToken)
    {
        var pipe = new Pipe();
        _ = FillAsync();
        return pipe.Reader.AsStream();

        // Ends by itself: with the data set, with its failure, or when the stream is disposed and the next flush says so.
        async Task FillAsync()
        {
            Exception? failure = null;
            try
            {
                await using var transcoded = await OpenAsync(instance, transferSyntaxUid, cancellationToken);
                await transcoded.WriteAsync(pipe.Writer, cancellationToken);
            }
            catch (Exception e)
            {
                failure = e;
            }

            await pipe.Writer.CompleteAsync(failure);
        }
    }

    /// <summary>Reports an instance that broke off after a part of it was sent: the receiver gets an incomplete transfer, never other pixels.</summary>
    public void BrokeOff(StoredInstance instance, CodecException failure) => BrokeOff(instance.SopInstanceUid, failure.Message);

    [LoggerMessage(3060, LogLevel.Warning, "Instance {SopInstanceUid} broke off on its way out: {Reason}")]
    private partial void BrokeOff(string sopInstanceUid, string reason);
}

/// <summary>A stored data set on its way into another transfer syntax.</summary>
internal sealed class TranscodedInstance : IAsyncDisposable
{
    private const int ExplicitHeaderBytes = 12;

    private static readonly DicomTag ExtendedOffsetTableLengths = new(0x7FE0, 0x0002);

    private readonly BlobReader _blob;
    private readonly CodecGate _codecs;
    private readonly DicomTransferSyntax _from;
    private readonly DicomTransferSyntax _to;
    private readonly InstanceHeader? _header;
    private readonly FrameReader? _frames;
    private readonly PixelFormat? _format;
    private NativeFrame? _first;

    private TranscodedInstance(
        BlobReader blob, CodecGate codecs, DicomTransferSyntax from, DicomTransferSyntax to, InstanceHeader? header, FrameReader? frames, PixelFormat? format,
        NativeFrame? first) => (_blob, _codecs, _from, _to, _header, _frames, _format, _first) = (blob, codecs, from, to, header, frames, format, first);

    /// <summary>What <see cref="WriteAsync"/> writes.</summary>
    public string TransferSyntaxUid => _to.Uid;

    /// <summary>Bytes that it writes; null when that is not known before.</summary>
    public long? Length => _header is null ? _blob.Length : null;

    internal static async ValueTask<TranscodedInstance> OpenAsync(
        BlobReader blob, CodecGate codecs, string fromUid, string toUid, int maxHeaderBytes, CancellationToken cancellationToken)
    {
        var (from, to) = (DicomTransferSyntax.Get(fromUid), DicomTransferSyntax.Get(toUid));
        if (fromUid == toUid)
        {
            return new TranscodedInstance(blob, codecs, from, to, null, null, null, null);
        }

        if (!Transcoder.Can(fromUid, toUid))
        {
            throw new CodecException($"There is no way from {from.Name} ({fromUid}) to {to.Name} ({toUid}).");
        }

        var header = await InstanceHeader.ReadAsync(blob, from, maxHeaderBytes, cancellationToken);
        if (header.PixelData is not { } pixelData)
        {
            return new TranscodedInstance(blob, codecs, from, to.IsEncapsulated ? DicomTransferSyntax.ExplicitVrLittleEndian : to, header, null, null, null);
        }

        // From one native form to another pixels are bytes that are copied.
        if (!pixelData.IsEncapsulated && !to.IsEncapsulated)
        {
            return new TranscodedInstance(blob, codecs, from, to, header, null, null, null);
        }

        var format = PixelFormat.Of(header.Dataset);
        var frames = await FrameReader.OpenAsync(blob, from, header.Dataset, pixelData, cancellationToken);
        if (!to.IsEncapsulated && (long)format.FrameBytes * frames.FrameCount >= DicomTokenizer.UndefinedLength)
        {
            throw new CodecException($"Its {frames.FrameCount} frames have {(long)format.FrameBytes * frames.FrameCount} bytes in native form, which has a limit of 4 GiB.");
        }

        var stored = await frames.ReadAsync(1, cancellationToken);
        var first = await codecs.RunAsync(() => PixelCodec.Decode(stored, fromUid, format), cancellationToken);
        return new TranscodedInstance(blob, codecs, from, to, header, frames, format, first);
    }

    /// <summary>Writes the data set, without file meta information.</summary>
    /// <exception cref="CodecException">A later frame is damaged: what was written is not the whole data set.</exception>
    public async ValueTask WriteAsync(PipeWriter output, CancellationToken cancellationToken)
    {
        if (_header is null)
        {
            await DicomWeb.MultipartResponse.CopyAsync(_blob, 0, _blob.Length, output, cancellationToken);
            return;
        }

        if (!_to.IsDeflated)
        {
            await WritePlainAsync(_header, output, cancellationToken);
            return;
        }

        await using var counting = new CountingStream(output);
        await using (var deflate = new DeflateStream(counting, CompressionLevel.Fastest, leaveOpen: true))
        {
            var plain = PipeWriter.Create(deflate, new StreamPipeWriterOptions(leaveOpen: true));
            await WritePlainAsync(_header, plain, cancellationToken);
            await plain.CompleteAsync();
        }

        if (counting.Count % 2 != 0)
        {
            await output.WriteAsync(new byte[1], cancellationToken); // PS3.5 §A.5
        }
    }

    public ValueTask DisposeAsync() => _blob.DisposeAsync();

    private async ValueTask WritePlainAsync(InstanceHeader header, PipeWriter output, CancellationToken cancellationToken)
    {
        var plain = _to with { IsDeflated = false };
        var elements = Adapt(header.Dataset);
        var from = new DicomTag(0, 0);
        foreach (var large in header.LargeValues)
        {
            WriteElements(output, elements, from, large.Tag, plain);
            from = large.Tag;
            if (large == header.PixelData && _frames is not null)
            {
                await WriteFramesAsync(output, plain, cancellationToken);
            }
            else
            {
                WriteHeader(output, large.Tag, large.Vr, large.Length + (large.Length & 1), plain);
                var swap = _from.IsBigEndian != _to.IsBigEndian ? DicomWeb.PixelEndpoints.WordBytes(large.Vr, DicomTransferSyntax.ExplicitVrBigEndian) : 1;
                await FrameReader.CopyRangeAsync(_blob, _from, large.Offset, large.Length, swap, output, cancellationToken);
                Pad(output, large.Length);
            }
        }

        WriteElements(output, elements, from, null, plain);
        await WriteTailAsync(header, output, plain, cancellationToken);
        await output.FlushAsync(cancellationToken);
    }

    /// <summary>The header with what the other form of pixels changes in it.</summary>
    private DicomDataset Adapt(DicomDataset header)
    {
        if (_format is null)
        {
            return header;
        }

        var native = PixelCodec.Decoded(_format, _from.Uid);
        var written = _to.IsEncapsulated ? PixelCodec.Encoded(native, _to.Uid) : native;
        var adapted = new DicomDataset();
        foreach (var element in header.Where(e => e.Tag != DicomTags.ExtendedOffsetTable && e.Tag != ExtendedOffsetTableLengths))
        {
            adapted.Set(element);
        }

        adapted.Set(DicomTags.PhotometricInterpretation, written.Photometric);
        if (written.Samples > 1)
        {
            adapted.Set(DicomTags.PlanarConfiguration, 0L);
        }

        if (_from.IsLossy)
        {
            adapted.Set(DicomTags.LossyImageCompression, "01"); // PS3.3 §C.7.6.1.1.5: once lossy, always lossy.
        }

        return adapted;
    }

    private async ValueTask WriteFramesAsync(PipeWriter output, DicomTransferSyntax plain, CancellationToken cancellationToken)
    {
        var (frames, format) = (_frames!, _format!);
        var native = (long)format.FrameBytes * frames.FrameCount;
        var vr = _to.IsEncapsulated || format.BitsAllocated <= 8 ? DicomVr.OB : DicomVr.OW;
        WriteHeader(output, DicomTags.PixelData, vr, _to.IsEncapsulated ? DicomTokenizer.UndefinedLength : (uint)(native + (native & 1)), plain);
        if (_to.IsEncapsulated)
        {
            WriteItem(output, DicomTags.Item, 0); // The basic offset table may be empty; each frame is one fragment.
        }

        for (var frame = 1; frame <= frames.FrameCount; frame++)
        {
            var decoded = _first ?? await DecodeAsync(frame, cancellationToken);
            _first = null;
            if (_to.IsEncapsulated)
            {
                var encoded = await _codecs.RunAsync(() => PixelCodec.Encode(decoded, _to.Uid), cancellationToken);
                WriteItem(output, DicomTags.Item, (uint)(encoded.Length + (encoded.Length & 1)));
                output.Write(encoded);
                Pad(output, encoded.Length);
            }
            else
            {
                FrameReader.Swap(decoded.Pixels, _to.IsBigEndian && vr == DicomVr.OW ? 2 : 1);
                output.Write(decoded.Pixels);
            }

            if ((await output.FlushAsync(cancellationToken)).IsCompleted)
            {
                throw new OperationCanceledException("The receiver is gone.");
            }
        }

        if (_to.IsEncapsulated)
        {
            WriteItem(output, DicomTags.SequenceDelimitationItem, 0);
        }
        else
        {
            Pad(output, native);
        }
    }

    private async ValueTask<NativeFrame> DecodeAsync(int frame, CancellationToken cancellationToken)
    {
        try
        {
            var stored = await _frames!.ReadAsync(frame, cancellationToken);
            return await _codecs.RunAsync(() => PixelCodec.Decode(stored, _from.Uid, _format!), cancellationToken);
        }
        catch (FrameException e)
        {
            throw new CodecException(e.Message);
        }
    }

    /// <summary>Elements behind the pixel data: signatures and padding, small.</summary>
    private async ValueTask WriteTailAsync(InstanceHeader header, PipeWriter output, DicomTransferSyntax plain, CancellationToken cancellationToken)
    {
        if (header.PixelData is not { } pixelData)
        {
            return;
        }

        var end = pixelData.IsEncapsulated
            ? await FragmentIndex.EndAsync(_blob, pixelData.Offset, cancellationToken)
            : pixelData.Offset + pixelData.Length;
        if (await FrameReader.ReadTailAsync(_blob, _from, end, cancellationToken) is { Length: > 0 } tail)
        {
            DicomWriter.Write(output, DicomDataset.Parse(tail, _from with { IsDeflated = false }), plain);
        }
    }

    private static void WriteElements(PipeWriter output, DicomDataset all, DicomTag after, DicomTag? before, DicomTransferSyntax plain)
    {
        var some = new DicomDataset();
        foreach (var element in all.Where(e => !e.Tag.IsGroupLength && e.Tag.Value > after.Value && (before is null || e.Tag.Value < before.Value.Value)))
        {
            some.Set(element);
        }

        DicomWriter.Write(output, some, plain);
    }

    private static void WriteHeader(PipeWriter output, DicomTag tag, DicomVr vr, uint length, DicomTransferSyntax plain)
    {
        // The writer knows headers best; of a value that is elsewhere it writes an empty one, whose length is then put in.
        var header = DicomWriter.ToArray(new DicomDataset().Set(DicomElement.OfValue(tag, vr, default)), plain);
        var bytes = header.AsSpan(header.Length - 4);
        if (plain.IsBigEndian)
        {
            System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(bytes, length);
        }
        else
        {
            System.Buffers.Binary.BinaryPrimitives.WriteUInt32LittleEndian(bytes, length);
        }

        if (!plain.IsImplicitVr && header.Length != ExplicitHeaderBytes)
        {
            throw new CodecException($"{tag} has VR {vr.ToText()} and {length} bytes, which do not fit its 16-bit length.");
        }

        output.Write(header);
    }

    private static void WriteItem(PipeWriter output, DicomTag tag, uint length)
    {
        var item = output.GetSpan(8);
        System.Buffers.Binary.BinaryPrimitives.WriteUInt16LittleEndian(item, tag.Group);
        System.Buffers.Binary.BinaryPrimitives.WriteUInt16LittleEndian(item[2..], tag.Element);
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32LittleEndian(item[4..], length);
        output.Advance(8);
    }

    private static void Pad(PipeWriter output, long length)
    {
        if (length % 2 != 0)
        {
            output.Write<byte>([0]);
        }
    }

    /// <summary>Writes through to a pipe and counts.</summary>
    private sealed class CountingStream(PipeWriter output) : Stream
    {
        public long Count { get; private set; }

        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => Count;

        public override long Position
        {
            get => Count;
            set => throw new NotSupportedException();
        }

        public override void Write(byte[] buffer, int offset, int count)
        {
            output.Write(buffer.AsSpan(offset, count));
            Count += count;
        }

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            await output.WriteAsync(buffer, cancellationToken);
            Count += buffer.Length;
        }

        public override void Flush()
        {
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();
    }
}
