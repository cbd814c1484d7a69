using System.Buffers;
using Yizhan.Dicom;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.Codecs;
using Yizhan.PacsGw.Retrieve;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Rules;

/// <summary>A copy with what it holds open until it is sent.</summary>
internal sealed record OpenCopy(
    Delivery Delivery, string SopClassUid, string SopInstanceUid, string OrthancId, DicomTransferSyntax Syntax, BlobReader? Blob, ReadOnlyMemory<byte> Bytes) : IAsyncDisposable
{
    /// <summary>True for what goes as it was stored: a changed copy keeps its transfer syntax.</summary>
    public bool CanBe(DicomTransferSyntax syntax) => Blob is not null && Syntax.Uid != syntax.Uid && Transcoder.Can(Syntax.Uid, syntax.Uid);

    public DataSetStream OpenDecoded(IBlobStore blobs, Transcoder transcoder, DicomTransferSyntax syntax)
    {
        _ = ContentHash.TryParse(Delivery.Sha256, out var hash);
        return new DataSetStream(blobs, transcoder, Stored(Delivery, hash), syntax);
    }

    public Stream Open() => Blob is null ? new MemoryStream(Bytes.ToArray(), writable: false) : new BlobStream(Blob);

    /// <summary>Writes it as a Part 10 file.</summary>
    /// <param name="target">Where to.</param>
    /// <param name="sourceAeTitle">Who says that it made the file.</param>
    /// <param name="decoded">The data set and the transfer syntax it was decoded to; null writes it as it is.</param>
    /// <param name="cancellationToken">Stops it.</param>
    public async Task WriteFileAsync(Stream target, string sourceAeTitle, CancellationToken cancellationToken, (Stream Dataset, DicomTransferSyntax Syntax)? decoded = null)
    {
        var header = new ArrayBufferWriter<byte>(512);
        DicomFile.WriteHeader(header, DicomFile.CreateHeader(SopClassUid, SopInstanceUid, decoded?.Syntax ?? Syntax, sourceAeTitle));
        await target.WriteAsync(header.WrittenMemory, cancellationToken);
        await using var dataset = decoded?.Dataset ?? Open();
        await dataset.CopyToAsync(target, 128 * 1024, cancellationToken);
    }

    public ValueTask DisposeAsync() => Blob?.DisposeAsync() ?? ValueTask.CompletedTask;

    /// <summary>The instance that it is a copy of.</summary>
    public static StoredInstance Stored(Delivery delivery, ContentHash hash) => new(
        0, delivery.StudyInstanceUid, delivery.SeriesInstanceUid, delivery.SopInstanceUid, delivery.SopClassUid, delivery.TransferSyntaxUid, hash,
        delivery.Length, delivery.CallingAeTitle);
}
