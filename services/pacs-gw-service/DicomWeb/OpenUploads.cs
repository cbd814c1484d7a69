using Yizhan.Platform;

namespace Yizhan.PacsGw.DicomWeb;

/// <summary>The STOW-RS requests that are being received: a restart would cut them off as it would an association.</summary>
internal sealed class OpenUploads : IClinicalWork
{
    private int _open;
    private long _begun;

    /// <inheritdoc/>
    string IClinicalWork.Kind => "upload";

    /// <inheritdoc/>
    int IClinicalWork.UnderWay => Volatile.Read(ref _open);

    /// <inheritdoc/>
    long IClinicalWork.Begun => Interlocked.Read(ref _begun);

    /// <summary>One begins; it ends when what is returned is disposed of.</summary>
    public IDisposable Begin()
    {
        Interlocked.Increment(ref _begun);
        Interlocked.Increment(ref _open);
        return new Upload(this);
    }

    private sealed class Upload(OpenUploads uploads) : IDisposable
    {
        public void Dispose() => Interlocked.Decrement(ref uploads._open);
    }
}
