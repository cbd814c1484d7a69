using Yizhan.Dicom;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.Codecs;
using Yizhan.PacsGw.DicomWeb;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Retrieve;

/// <summary>The data set of a stored instance, read forward. The blob is opened with the first read, so that thousands may wait their turn.</summary>
/// <param name="blobs">Where it is.</param>
/// <param name="transcoder">Gives it in another transfer syntax than it is stored in.</param>
/// <param name="instance">Which it is.</param>
/// <param name="syntax">What it is wanted in: as stored, or what the transcoder can make of it.</param>
internal sealed class DataSetStream(IBlobStore blobs, Transcoder transcoder, StoredInstance instance, DicomTransferSyntax syntax) : Stream
{
    private readonly bool _asStored = instance.TransferSyntaxUid == syntax.Uid;
    private BlobReader? _blob;
    private Stream? _source;
    private long _position;

    public override bool CanRead => true;

    /// <summary>True when it is known how long it is; there is no going back.</summary>
    public override bool CanSeek => _asStored;

    public override bool CanWrite => false;

    public override long Length => _asStored ? instance.Length : throw new NotSupportedException();

    public override long Position { get => _position; set => throw new NotSupportedException("Instances are read forward."); }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        try
        {
            _source ??= await OpenAsync(cancellationToken);
            var read = await _source.ReadAsync(buffer, cancellationToken);
            _position += read;
            return read;
        }
        catch (Exception e) when (e is CodecException or InvalidDataException)
        {
            // A sender knows what to do with a stream that cannot be read, also of an instance that fails its checksum.
            throw new IOException($"Instance {instance.SopInstanceUid} cannot be given in {syntax.Name}: {e.Message}", e);
        }
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException("Blobs are read asynchronously.");

    public override async ValueTask DisposeAsync()
    {
        if (_source is not null)
        {
            await _source.DisposeAsync();
        }

        if (_blob is not null)
        {
            await _blob.DisposeAsync();
        }

        await base.DisposeAsync();
    }

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    private async ValueTask<Stream> OpenAsync(CancellationToken cancellationToken)
    {
        if (!_asStored)
        {
            return transcoder.OpenRead(instance, syntax.Uid, cancellationToken);
        }

        _blob = await WadoEndpoints.OpenAsync(blobs, instance, cancellationToken);
        return _blob.Length == instance.Length
            ? new BlobStream(_blob)
            : throw new IOException($"Instance {instance.SopInstanceUid} has {_blob.Length} bytes; the index says {instance.Length}.");
    }
}
