using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using Yizhan.NmtAsr.Engines;
using Yizhan.Platform;

namespace Yizhan.NmtAsr.Sherpa;

/// <summary>What sherpa-onnx is given.</summary>
/// <param name="Library">Folder of <see cref="SherpaApi.FileName"/>; null when the site has none.</param>
/// <param name="MemoryMiB">Most memory of one pack's process.</param>
/// <param name="Threads">Threads of one computation.</param>
internal sealed record SherpaSettings(string? Library, int MemoryMiB, int Threads)
{
    /// <summary>Why it cannot be used; null when it can.</summary>
    public string? Problem => Library is null
        ? $"This pack needs sherpa-onnx, which is not installed: unpack the npm package sherpa-onnx-linux-{Processor} {SherpaApi.Version} and name its folder in nmt-asr:sherpaFolder."
        : !File.Exists(Path.Combine(Library, SherpaApi.FileName)) ? $"nmt-asr:sherpaFolder '{Library}' has no {SherpaApi.FileName}: unpack the npm package sherpa-onnx-linux-{Processor} {SherpaApi.Version} there." : null;

    private static string Processor => RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? "arm64" : "x64";
}

/// <summary>
/// One pack in a process with sherpa-onnx: that library ends its process when a file does not suit it, and brings an ONNX Runtime of its own, and neither may happen where images are received. A process that
/// ends costs what its streams were hearing; the next stream starts another.
/// </summary>
internal sealed class SherpaProcess : IDisposable
{
    private const int StartSeconds = 120, AnswerSeconds = 120;

    private readonly Lock _turn = new();
    private readonly Process _process;
    private readonly Task<string> _lastWords;
    private int _streams;

    private SherpaProcess(Process process) => (_process, _lastWords) = (process, process.StandardError.ReadToEndAsync());

    /// <summary>Whether it may be asked.</summary>
    public bool Runs => !_process.HasExited;

    /// <summary>Starts one and waits until its model is loaded.</summary>
    /// <exception cref="EngineMissingException">The library is missing or another, or it does not take the model; with its own words.</exception>
    public static SherpaProcess Start(SherpaSettings settings, string family, string models, int sampleRate, string? language, string? modelingUnit = null)
    {
        if (settings.Problem is { } problem)
        {
            throw new EngineMissingException(problem);
        }

        var start = ChildProgram.Start(
            typeof(SherpaProcess).Assembly, settings.MemoryMiB, models,
            SherpaWorker.Verb, Path.GetFullPath(settings.Library!), family, Path.GetFullPath(models), sampleRate.ToString(CultureInfo.InvariantCulture), string.IsNullOrEmpty(language) ? "-" : language,
            settings.Threads.ToString(CultureInfo.InvariantCulture), modelingUnit ?? "-");
        var made = new SherpaProcess(Process.Start(start)!);
        try
        {
            made.Read(StartSeconds);
            return made;
        }
        catch
        {
            made.Dispose();
            throw;
        }
    }

    /// <summary>A number for a stream that nobody else has.</summary>
    public int NewStream() => Interlocked.Increment(ref _streams);

    /// <summary>Asks for one thing; waits while another stream is heard.</summary>
    /// <exception cref="EngineMissingException">The process ended, or does not answer; then it is ended.</exception>
    public byte[] Ask(byte operation, int stream, ReadOnlySpan<short> samples = default) => Ask(operation, stream, MemoryMarshal.AsBytes(samples));

    /// <summary>The same with other bytes than sound.</summary>
    /// <exception cref="EngineMissingException">The process ended, or does not answer; then it is ended.</exception>
    public byte[] Ask(byte operation, int stream, ReadOnlySpan<byte> bytes)
    {
        var head = new byte[9];
        head[0] = operation;
        BinaryPrimitives.WriteInt32LittleEndian(head.AsSpan(1), stream);
        BinaryPrimitives.WriteInt32LittleEndian(head.AsSpan(5), bytes.Length);
        lock (_turn)
        {
            try
            {
                var to = _process.StandardInput.BaseStream;
                to.Write(head);
                to.Write(bytes);
                to.Flush();
            }
            catch (IOException)
            {
                throw Ended();
            }

            return Read(AnswerSeconds);
        }
    }

    /// <summary>Forgets a stream; a process that has ended has.</summary>
    public void Forget(int stream)
    {
        try
        {
            Ask(SherpaWorker.Close, stream);
        }
        catch (Exception e) when (e is EngineMissingException or InvalidOperationException)
        {
        }
    }

    /// <summary>Ends it; whoever waits for an answer is told.</summary>
    public void Kill()
    {
        try
        {
            _process.Kill();
        }
        catch (InvalidOperationException)
        {
            // It has ended.
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Kill();
        _process.WaitForExit();
        _process.Dispose();
    }

    private byte[] Read(int seconds)
    {
        // A pipe has no time limit of its own: the process is ended, and reading with it.
        using var late = new CancellationTokenSource(TimeSpan.FromSeconds(seconds));
        using var ends = late.Token.Register(() => _process.Kill());
        var from = _process.StandardOutput.BaseStream;
        var head = new byte[4];
        if (from.ReadAtLeast(head, head.Length, throwOnEndOfStream: false) < head.Length)
        {
            throw late.IsCancellationRequested ? new EngineMissingException($"sherpa-onnx did not answer in {seconds} s; its process was ended.") : Ended();
        }

        var answer = new byte[BinaryPrimitives.ReadInt32LittleEndian(head) is >= 0 and <= SherpaWorker.MaxBytes and var length ? length : throw Ended()];
        return from.ReadAtLeast(answer, answer.Length, throwOnEndOfStream: false) == answer.Length ? answer : throw Ended();
    }

    private EngineMissingException Ended()
    {
        _process.WaitForExit();
        var words = _lastWords.GetAwaiter().GetResult().Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).LastOrDefault() ?? "it said nothing";
        return new EngineMissingException($"The process of sherpa-onnx ended with {_process.ExitCode}: {(words.Length > 400 ? words[..400] + "…" : words)}");
    }
}
