using Microsoft.Extensions.Options;

namespace Yizhan.PacsGw.Codecs;

/// <summary>
/// Lets so many frames be decoded or encoded at a time, whoever asks: a codec takes one processor and a few times the frame's size. A place is held
/// for one frame and never while a receiver is waited for, so a slow one keeps nobody from decoding.
/// </summary>
internal sealed class CodecGate(IOptions<PacsGwOptions> options) : IDisposable
{
    private readonly SemaphoreSlim _places = new(options.Value.MaxCodecs);

    /// <summary>Frames on their way through a codec.</summary>
    public FrameBuffers Buffers { get; } = new();

    /// <summary>Runs a codec when there is a place. Exceptions are those of the codec.</summary>
    public async ValueTask<T> RunAsync<T>(Func<T> codec, CancellationToken cancellationToken)
    {
        await _places.WaitAsync(cancellationToken);
        try
        {
            return codec();
        }
        finally
        {
            _places.Release();
        }
    }

    public void Dispose() => _places.Dispose();
}
