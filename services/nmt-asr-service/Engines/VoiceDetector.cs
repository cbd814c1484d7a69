using Microsoft.ML.OnnxRuntime;

namespace Yizhan.NmtAsr.Engines;

/// <summary>Says for each window of 512 samples at 16 kHz how likely somebody speaks. Not for concurrent use.</summary>
internal interface IVoiceDetector : IDisposable
{
    /// <summary>Samples of a window.</summary>
    const int Window = 512;

    /// <summary>0 to 1.</summary>
    float Probability(ReadOnlySpan<short> window);
}

/// <summary>
/// Speech by its level above a floor that follows the quietest of the last seconds: works without a model, takes music and other people for speech. What is as quiet
/// as the noise of a sound card is silence whatever the floor is.
/// </summary>
internal sealed class LevelDetector : IVoiceDetector
{
    private const double Quietest = 25, Rise = 1.002, AboveDb = 9;

    private double _floor = 60;

    /// <inheritdoc/>
    public float Probability(ReadOnlySpan<short> window)
    {
        double sum = 0, mean = 0;
        foreach (var s in window)
        {
            mean += s;
        }

        mean /= window.Length;
        foreach (var s in window)
        {
            sum += (s - mean) * (s - mean);
        }

        var level = Math.Sqrt(sum / window.Length) + 1e-3;
        _floor = level < _floor ? 0.7 * _floor + 0.3 * level : Math.Min(_floor * Rise, 4000);
        var above = 20 * Math.Log10(level / Math.Max(_floor, Quietest));
        return (float)(1 / (1 + Math.Exp(-(above - AboveDb))));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
    }
}

/// <summary>The silero network (version 5): input of 64 samples before and 512 new ones, a state that goes round.</summary>
internal sealed class SileroDetector(InferenceSession session) : IVoiceDetector
{
    private const int Before = 64;

    private readonly float[] _input = new float[Before + IVoiceDetector.Window];
    private readonly long[] _rate = [16_000];
    private readonly RunOptions _run = new();
    private float[] _state = new float[2 * 128];

    /// <inheritdoc/>
    public float Probability(ReadOnlySpan<short> window)
    {
        _input.AsSpan(IVoiceDetector.Window).CopyTo(_input);
        for (var i = 0; i < window.Length; i++)
        {
            _input[Before + i] = window[i] / 32768f;
        }

        using var input = OrtValue.CreateTensorValueFromMemory(_input, [1, _input.Length]);
        using var state = OrtValue.CreateTensorValueFromMemory(_state, [2, 1, 128]);
        using var rate = OrtValue.CreateTensorValueFromMemory(_rate, []);
        using var results = session.Run(_run, ["input", "state", "sr"], [input, state, rate], session.OutputNames);
        _state = results[1].GetTensorDataAsSpan<float>().ToArray();
        return results[0].GetTensorDataAsSpan<float>()[0];
    }

    /// <inheritdoc/>
    public void Dispose() => _run.Dispose();
}
