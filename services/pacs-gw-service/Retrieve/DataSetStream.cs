using Yizhan.Dicom;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.DicomWeb;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Retrieve;

/// <summary>The data set of a stored instance, read forward. The blob is opened with the first read, so that thousands may wait their turn.</summary>
/// <param name="blobs">Where it is.</param>
/// <param name="instance">Which it is.</param>
/// <param name="syntax">What it is wanted in: as stored, or another syntax that needs no codec.</param>
internal sealed class DataSetStream(IBlobStore blobs, StoredInstance instance, DicomTransferSyntax syntax) : Stream
{
    /// <summary>What is converted is in memory as a whole, twice.</summary>
    private const long MaxConvertedBytes = 512L * 1024 * 1024;

    private BlobReader? _blob;
    private Stream? _source;

    /// <summary>True when an instance can be given in a transfer syntax without a codec.</summary>
    public static bool CanConvert(StoredInstance instance, DicomTransferSyntax to) =>
        instance.TransferSyntaxUid == to.Uid
        || (IsNative(DicomTransferSyntax.Get(instance.TransferSyntaxUid)) && IsNative(to) && instance.Length <= MaxConvertedBytes);

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        _source ??= await OpenAsync(cancellationToken);
        return await _source.ReadAsync(buffer, cancellationToken);
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException("Blobs are read asynchronously.");

    public override async ValueTask DisposeAsync()
    {
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

    private static bool IsNative(DicomTransferSyntax syntax) =>
        syntax == DicomTransferSyntax.ImplicitVrLittleEndian || syntax == DicomTransferSyntax.ExplicitVrLittleEndian
        || syntax == DicomTransferSyntax.ExplicitVrBigEndian || syntax == DicomTransferSyntax.DeflatedExplicitVrLittleEndian;

    private async ValueTask<Stream> OpenAsync(CancellationToken cancellationToken)
    {
        _blob = await WadoEndpoints.OpenAsync(blobs, instance, cancellationToken);
        if (instance.TransferSyntaxUid == syntax.Uid)
        {
            return new BlobStream(_blob);
        }

        var bytes = new byte[_blob.Length];
        for (var read = 0; read < bytes.Length;)
        {
            read += await _blob.ReadAsync(read, bytes.AsMemory(read), cancellationToken) is > 0 and var more
                ? more
                : throw new EndOfStreamException($"Blob {instance.Hash} ended after {read} of {bytes.Length} bytes.");
        }

        try
        {
            var dataset = DicomDataset.Parse(bytes, DicomTransferSyntax.Get(instance.TransferSyntaxUid));
            return new MemoryStream(DicomWriter.ToArray(dataset, syntax), writable: false);
        }
        catch (DicomFormatException e)
        {
            throw new IOException($"Instance {instance.SopInstanceUid} cannot be converted to {syntax.Uid}: {e.Message}", e);
        }
    }
}
