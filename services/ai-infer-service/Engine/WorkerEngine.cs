using System.Diagnostics;
using System.Globalization;
using Google.Protobuf;
using Yizhan.OpenInference;
using Yizhan.OpenInference.Grpc;
using Yizhan.Platform;

namespace Yizhan.AiInfer.Engine;

/// <summary>
/// A model in a process of its own, with a ceiling on its memory: what a broken or hostile model can take down is that process alone. It is started
/// again for the next request.
/// </summary>
internal sealed class WorkerEngine : IModelEngine
{
    private readonly string _path;
    private readonly WorkerLimits _limits;
    private readonly SemaphoreSlim _turn = new(1, 1);
    private Process? _process;
    private Task<string>? _lastWords;
    private Task? _revival;

    private WorkerEngine(string path, WorkerLimits limits) => (_path, _limits) = (path, limits);

    /// <inheritdoc/>
    public string Platform { get; private set; } = "";

    /// <inheritdoc/>
    public string RunsOn => $"CPU, by ONNX Runtime in a process of its own with up to {_limits.MemoryMiB} MiB; {Crashes} crashes";

    /// <inheritdoc/>
    public IReadOnlyList<TensorSpec> Inputs { get; private set; } = [];

    /// <inheritdoc/>
    public IReadOnlyList<TensorSpec> Outputs { get; private set; } = [];

    /// <summary>The process; null while there is none.</summary>
    public int? ProcessId => _process?.Id;

    /// <summary>How often the process ended without being told to.</summary>
    public int Crashes { get; private set; }

    /// <summary>Starts the process and waits until it has loaded the model.</summary>
    /// <exception cref="ModelFailedException">It does not load, or it needs more memory or time than it may have.</exception>
    public static async Task<WorkerEngine> StartAsync(string path, WorkerLimits limits, CancellationToken cancellationToken)
    {
        var engine = new WorkerEngine(path, limits);
        try
        {
            await engine.EnsureStartedAsync(cancellationToken);
            return engine;
        }
        catch
        {
            await engine.DisposeAsync();
            throw;
        }
    }

    /// <summary>Starts the process when it is gone, as the next request would. A start that is under way is not begun twice.</summary>
    /// <returns>Ends when the model is loaded; fails as <see cref="StartAsync"/> does.</returns>
    public Task ReviveAsync()
    {
        return _process is { HasExited: false } && _revival is not { IsCompleted: false } ? Task.CompletedTask
            : _revival is { IsCompleted: false } under ? under
            : _revival = Task.Run(async () =>
            {
                await _turn.WaitAsync();
                try
                {
                    await EnsureStartedAsync(CancellationToken.None);
                }
                finally
                {
                    _turn.Release();
                }
            });
    }

    /// <inheritdoc/>
    public async Task<IReadOnlyList<InferenceTensor>> RunAsync(IReadOnlyList<InferenceTensor> inputs, IReadOnlyList<string> outputs, CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken);
        try
        {
            await EnsureStartedAsync(cancellationToken);
            var request = new ModelInferRequest();
            foreach (var input in inputs)
            {
                request.Inputs.Add(new ModelInferRequest.Types.InferInputTensor { Name = input.Name, Datatype = input.Datatype, Shape = { input.Shape } });
                request.RawInputContents.Add(UnsafeByteOperations.UnsafeWrap(input.Data));
            }

            request.Outputs.Add(outputs.Select(name => new ModelInferRequest.Types.InferRequestedOutputTensor { Name = name }));
            var answer = await ExchangeAsync(
                output => request.WriteDelimitedTo(output), ModelInferResponse.Parser, TimeSpan.FromSeconds(_limits.RunSeconds), cancellationToken);
            return answer.Parameters.TryGetValue(ModelWorker.ErrorParameter, out var error)
                ? throw new ModelFailedException(error.StringParam)
                : [.. answer.Outputs.Select((o, i) => new InferenceTensor(o.Name, o.Datatype, [.. o.Shape], answer.RawOutputContents[i].Memory))];
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        Kill();
        _turn.Dispose();
        return ValueTask.CompletedTask;
    }

    private async Task EnsureStartedAsync(CancellationToken cancellationToken)
    {
        if (_process is { HasExited: false })
        {
            return;
        }

        Kill();
        var start = ChildProgram.Start(
            typeof(ModelWorker).Assembly, _limits.MemoryMiB, Path.GetDirectoryName(Path.GetFullPath(_path))!, ModelWorker.Verb, Path.GetFullPath(_path), _limits.Threads.ToString(CultureInfo.InvariantCulture));
        start.Environment["DOTNET_GCHeapHardLimit"] = (_limits.MemoryMiB * 1024L * 1024 / 2).ToString("X", CultureInfo.InvariantCulture);
        start.Environment["DOTNET_TieredPGO"] = "0";
        _process = Process.Start(start) ?? throw new ModelFailedException("The process for the model did not start.");
        _lastWords = _process.StandardError.ReadToEndAsync(CancellationToken.None);
        var metadata = await ExchangeAsync(_ => { }, ModelMetadataResponse.Parser, TimeSpan.FromSeconds(_limits.StartSeconds), cancellationToken);
        (Platform, Inputs, Outputs) = (metadata.Platform, [.. metadata.Inputs.Select(Spec)], [.. metadata.Outputs.Select(Spec)]);
    }

    /// <summary>Writes, then reads one message; a process that ends, or takes too long, is a failure with its last words.</summary>
    private async Task<T> ExchangeAsync<T>(Action<Stream> write, MessageParser<T> parser, TimeSpan limit, CancellationToken cancellationToken) where T : IMessage<T>
    {
        var process = _process!;
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        timeout.CancelAfter(limit);
        await using var killed = timeout.Token.Register(Kill);
        try
        {
            return await Task.Run(
                () =>
                {
                    var stream = process.StandardInput.BaseStream;
                    write(stream);
                    stream.Flush();
                    return parser.ParseDelimitedFrom(process.StandardOutput.BaseStream);
                },
                CancellationToken.None);
        }
        catch (Exception e) when (e is IOException or InvalidProtocolBufferException or InvalidOperationException or ObjectDisposedException)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (timeout.IsCancellationRequested)
            {
                throw new ModelFailedException($"The model did not answer in {limit.TotalSeconds:0} s; its process was ended.");
            }

            Crashes++;
            await process.WaitForExitAsync(cancellationToken);
            var words = _lastWords is null ? "" : await _lastWords;
            throw new ModelFailedException($"The process of the model ended with {process.ExitCode}: {LastWords(words)}");
        }
    }

    private void Kill()
    {
        if (Interlocked.Exchange(ref _process, null) is { } process)
        {
            try
            {
                process.Kill(entireProcessTree: true);
            }
            catch (InvalidOperationException)
            {
                // It has ended by itself.
            }
        }
    }

    private static string LastWords(string text)
    {
        var line = text.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).FirstOrDefault() ?? "it said nothing";
        return line.Length > 400 ? line[..400] + "…" : line;
    }

    private static TensorSpec Spec(ModelMetadataResponse.Types.TensorMetadata spec) => new(spec.Name, spec.Datatype, [.. spec.Shape]);
}

/// <summary>What a process with a model may take.</summary>
/// <param name="MemoryMiB">Memory.</param>
/// <param name="Threads">Threads of one computation.</param>
/// <param name="StartSeconds">Time to load.</param>
/// <param name="RunSeconds">Time for one computation.</param>
internal sealed record WorkerLimits(int MemoryMiB, int Threads, int StartSeconds = 60, int RunSeconds = 300);
