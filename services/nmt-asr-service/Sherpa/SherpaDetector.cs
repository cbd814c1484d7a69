using System.Runtime.InteropServices;
using Yizhan.NmtAsr.Engines;

namespace Yizhan.NmtAsr.Sherpa;

/// <summary>Who speaks when, by a network in sherpa-onnx: it says yes or no, with its own patience.</summary>
internal sealed class SherpaDetector : IVoiceDetector
{
    private readonly SherpaProcess _process;
    private readonly int _stream;

    public SherpaDetector(SherpaProcess process)
    {
        (_process, _stream) = (process, process.NewStream());
        process.Ask(SherpaWorker.Begin, _stream);
    }

    /// <inheritdoc/>
    public float Probability(ReadOnlySpan<short> window) => _process.Ask(SherpaWorker.Accept, _stream, window) is [1] ? 1 : 0;

    /// <inheritdoc/>
    public void Dispose() => _process.Forget(_stream);
}

/// <summary>Takes noise out of a stream of 16 kHz. What comes out is as long as what went in, a part of a window later. Not for concurrent use.</summary>
internal sealed class SherpaDenoiser : IDisposable
{
    private readonly SherpaProcess _process;
    private readonly int _stream;

    public SherpaDenoiser(SherpaProcess process)
    {
        (_process, _stream) = (process, process.NewStream());
        process.Ask(SherpaWorker.Begin, _stream);
    }

    /// <summary>Takes sound; what of it is ready.</summary>
    public short[] Push(ReadOnlySpan<short> samples) => MemoryMarshal.Cast<byte, short>(_process.Ask(SherpaWorker.Accept, _stream, samples)).ToArray();

    /// <summary>The rest.</summary>
    public short[] Flush() => MemoryMarshal.Cast<byte, short>(_process.Ask(SherpaWorker.End, _stream)).ToArray();

    /// <inheritdoc/>
    public void Dispose() => _process.Forget(_stream);
}
