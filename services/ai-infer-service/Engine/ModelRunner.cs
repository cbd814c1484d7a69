using System.Threading.Channels;
using Yizhan.OpenInference;

namespace Yizhan.AiInfer.Engine;

/// <summary>How a model is run. A bundle may say so in <c>configs/yizhan.json</c>.</summary>
/// <param name="Instances">Computations at a time.</param>
/// <param name="MaxBatch">Most elements of the first dimension that requests are joined to; 1 never joins.</param>
/// <param name="MaxQueueDelayMs">How long the first request waits for others, in milliseconds; 0 joins only what waits already.</param>
/// <param name="MaxQueue">Requests that may wait; more are refused.</param>
/// <param name="RefuseNotFinite">Inputs with NaN or infinities are refused.</param>
internal sealed record RunnerSettings(int Instances = 1, int MaxBatch = 1, int MaxQueueDelayMs = 0, int MaxQueue = 256, bool RefuseNotFinite = true);

/// <summary>
/// A model with its queue: requests wait here, are joined to batches where that pays (dynamic batching, <see cref="BatchGain"/>), run on one of the instances, and are counted.
/// </summary>
internal sealed class ModelRunner : IAsyncDisposable
{
    private readonly IModelEngine _engine;
    private readonly RunnerSettings _settings;
    private readonly TimeProvider _clock;
    private readonly Channel<Waiting> _queue;
    private readonly CancellationTokenSource _stop = new();
    private readonly BatchGain _gain = new();
    private readonly Task[] _instances;

    public ModelRunner(string name, string version, IModelEngine engine, RunnerSettings settings, TimeProvider clock)
    {
        (Name, Version, _engine, _settings, _clock) = (name, version, engine, settings, clock);
        Statistics = new ModelStatistics(clock);
        Batches = settings.MaxBatch > 1 && engine.Inputs.All(i => i.HasBatch) && engine.Outputs.All(o => o.HasBatch);
        _queue = Channel.CreateBounded<Waiting>(new BoundedChannelOptions(settings.MaxQueue)
        {
            FullMode = BoundedChannelFullMode.Wait,

            // A request that finds the one instance idle is computed by the thread that brought it: waking another costs more than many a small model does.
            // Several instances are woken one after the other, and the second would wait for what the first computes.
            AllowSynchronousContinuations = settings.Instances == 1,
        });
        _instances = [.. Enumerable.Range(0, settings.Instances).Select(_ => Task.Run(ServeAsync))];
    }

    public string Name { get; }

    public string Version { get; }

    public IModelEngine Engine => _engine;

    public ModelStatistics Statistics { get; }

    /// <summary>Whether requests can be joined: the model's first dimensions are all free, and the bundle allows it.</summary>
    public bool Batches { get; }

    /// <summary>Whether requests are still taken from the queue.</summary>
    public bool Serves => _instances.All(i => !i.IsCompleted);

    /// <summary>Requests that wait.</summary>
    public int Pending => _queue.Reader.Count;

    /// <summary>Answers one request.</summary>
    /// <exception cref="InferenceFormatException">It does not fit the model.</exception>
    /// <exception cref="OverloadedException">The queue is full.</exception>
    /// <exception cref="ModelFailedException">The model could not answer.</exception>
    /// <exception cref="OperationCanceledException">The caller gave up, or the model is being unloaded.</exception>
    public async Task<InferenceResponse> InferAsync(InferenceRequest request, CancellationToken cancellationToken)
    {
        Waiting waiting;
        try
        {
            waiting = new Waiting(InputChecks.Ordered(_engine, request, _settings.RefuseNotFinite), Wanted(request), _clock.GetTimestamp(), cancellationToken);
        }
        catch (InferenceFormatException)
        {
            Statistics.Failed(FailureReason.Rejected, 0);
            throw;
        }

        // Before it is in the queue, as it may be computed by the time that it is.
        await using var withdraw = cancellationToken.Register(static w => ((Waiting)w!).Withdraw(), waiting);
        if (!_queue.Writer.TryWrite(waiting))
        {
            Statistics.Failed(FailureReason.Rejected, 0);
            throw _stop.IsCancellationRequested
                ? new OverloadedException($"Model '{Name}' is being unloaded.")
                : new OverloadedException($"{_settings.MaxQueue} requests wait for model '{Name}' already; ask again later.");
        }

        return new InferenceResponse(Name, Version, request.Id, await waiting.Answer);
    }

    /// <summary>Refuses new requests, answers those that wait, then frees the model.</summary>
    public async ValueTask DisposeAsync()
    {
        _queue.Writer.TryComplete();
        await Task.WhenAll(_instances);
        await _stop.CancelAsync();
        await _engine.DisposeAsync();
        _stop.Dispose();
    }

    private IReadOnlyList<string> Wanted(InferenceRequest request)
    {
        if (request.Outputs.Count == 0)
        {
            return [.. _engine.Outputs.Select(o => o.Name)];
        }

        foreach (var output in request.Outputs)
        {
            if (_engine.Outputs.All(o => o.Name != output.Name))
            {
                throw new InferenceFormatException($"Model '{Name}' has no output '{output.Name}'; accepted: {string.Join(", ", _engine.Outputs.Select(o => o.Name))}.");
            }

            if (output.Classification is not null)
            {
                throw new InferenceFormatException($"Output '{output.Name}' is asked for as classification, which this server does not do; accepted: the tensor itself.");
            }
        }

        return [.. request.Outputs.Select(o => o.Name)];
    }

    private async Task ServeAsync()
    {
        Waiting? next = null;
        while (true)
        {
            var borrowed = false;
            if (next is null && !_queue.Reader.TryRead(out next))
            {
                var more = _queue.Reader.WaitToReadAsync();
                borrowed = !more.IsCompleted;
                if (!await more)
                {
                    return;
                }

                if (!_queue.Reader.TryRead(out next))
                {
                    continue;
                }
            }

            var batch = new List<Waiting> { next };
            next = Batches && _gain.Joins(next.ElementBytes) ? await FillAsync(batch) : null;
            await RunAsync(batch);
            if (borrowed && (next is not null || _queue.Reader.Count > 0))
            {
                // This may be the thread of the request that is answered now: the others are not its business.
                await Task.Yield();
            }
        }
    }

    /// <summary>Joins what waits, until the batch is full or the first one has waited long enough.</summary>
    /// <returns>A request that could not be joined and is the first of the next batch.</returns>
    private async Task<Waiting?> FillAsync(List<Waiting> batch)
    {
        var elements = batch[0].Elements;
        while (elements < _settings.MaxBatch)
        {
            if (_queue.Reader.TryRead(out var other))
            {
                if (!batch[0].JoinsWith(other) || elements + other.Elements > _settings.MaxBatch)
                {
                    return other;
                }

                batch.Add(other);
                elements += other.Elements;
                continue;
            }

            var left = TimeSpan.FromMilliseconds(_settings.MaxQueueDelayMs) - _clock.GetElapsedTime(batch[0].EnqueuedAt);
            if (left <= TimeSpan.Zero)
            {
                return null;
            }

            using var limit = new CancellationTokenSource(left, _clock);
            try
            {
                if (!await _queue.Reader.WaitToReadAsync(limit.Token))
                {
                    return null;
                }
            }
            catch (OperationCanceledException)
            {
                return null;
            }
        }

        return null;
    }

    private async Task RunAsync(List<Waiting> batch)
    {
        if (batch.RemoveAll(w => w.IsWithdrawn) is > 0 and var gone)
        {
            Statistics.Canceled(gone);
        }

        if (batch.Count == 0)
        {
            return;
        }

        // A computation ends early only when nobody of its batch waits for it any more.
        using var canceled = new CancellationTokenSource();
        var interested = batch.Count;
        batch.ForEach(w => w.OnWithdrawn(() =>
        {
            if (Interlocked.Decrement(ref interested) == 0)
            {
                canceled.Cancel();
            }
        }));
        var started = _clock.GetTimestamp();
        try
        {
            var inputs = batch.Count == 1 ? batch[0].Inputs : Batch.Join([.. batch.Select(w => w.Inputs)]);
            var wanted = batch.Count == 1 ? batch[0].Outputs : [.. batch.SelectMany(w => w.Outputs).Distinct()];
            var ready = _clock.GetTimestamp();
            var outputs = await _engine.RunAsync(inputs, wanted, canceled.Token);
            var computed = _clock.GetTimestamp();
            var parts = batch.Count == 1 ? [outputs] : Batch.Split(outputs, [.. batch.Select(w => w.Elements)]);
            var done = _clock.GetTimestamp();
            _gain.Note(batch[0].ElementBytes, batch.Sum(w => w.Elements), _clock.GetElapsedTime(started, done));
            Statistics.Executed(
                batch.Sum(w => w.Elements), _clock.GetElapsedTime(started, ready), _clock.GetElapsedTime(ready, computed), _clock.GetElapsedTime(computed, done));
            for (var i = 0; i < batch.Count; i++)
            {
                Statistics.Succeeded(_clock.GetElapsedTime(batch[i].EnqueuedAt, started), _clock.GetElapsedTime(batch[i].EnqueuedAt, done));
                batch[i].Complete([.. batch[i].Outputs.Select(name => parts[i].First(t => t.Name == name))]);
            }
        }
        catch (OperationCanceledException)
        {
            Statistics.Canceled(batch.Count);
        }
        catch (Exception e) when (e is ModelFailedException or InferenceFormatException)
        {
            if (batch.Count > 1)
            {
                // One of them is to blame: each gets its own answer.
                foreach (var one in batch)
                {
                    await RunAsync([one]);
                }

                return;
            }

            Statistics.Failed(FailureReason.Backend, _clock.GetElapsedTime(batch[0].EnqueuedAt).Ticks * 100);
            batch[0].Fail(e);
        }
    }

    /// <summary>A request in the queue.</summary>
    private sealed class Waiting(IReadOnlyList<InferenceTensor> inputs, IReadOnlyList<string> outputs, long enqueuedAt, CancellationToken cancellationToken)
    {
        private readonly TaskCompletionSource<IReadOnlyList<InferenceTensor>> _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private Action? _onWithdrawn;

        public IReadOnlyList<InferenceTensor> Inputs { get; } = inputs;

        public IReadOnlyList<string> Outputs { get; } = outputs;

        public long EnqueuedAt { get; } = enqueuedAt;

        public Task<IReadOnlyList<InferenceTensor>> Answer => _answer.Task;

        public bool IsWithdrawn => _answer.Task.IsCanceled;

        public int Elements => Inputs[0].Shape.Count == 0 ? 1 : (int)Math.Min(int.MaxValue, Inputs[0].Shape[0]);

        /// <summary>Bytes of all inputs for one element of the first dimension.</summary>
        public long ElementBytes { get; } = inputs.Sum(i => (long)i.Data.Length) / Math.Max(1, inputs[0].Shape.Count == 0 ? 1 : inputs[0].Shape[0]);

        public bool JoinsWith(Waiting other) =>
            Inputs.Zip(other.Inputs).All(pair => pair.First.Datatype != TensorDatatype.Bytes && pair.First.Shape.Skip(1).SequenceEqual(pair.Second.Shape.Skip(1))
                && pair.Second.Shape[0] == other.Inputs[0].Shape[0] && pair.First.Shape[0] == Inputs[0].Shape[0]);

        public void Complete(IReadOnlyList<InferenceTensor> outputs) => _answer.TrySetResult(outputs);

        public void Fail(Exception reason) => _answer.TrySetException(reason);

        public void Withdraw()
        {
            if (_answer.TrySetCanceled(cancellationToken))
            {
                Interlocked.Exchange(ref _onWithdrawn, null)?.Invoke();
            }
        }

        public void OnWithdrawn(Action action)
        {
            _onWithdrawn = action;
            if (IsWithdrawn)
            {
                Interlocked.Exchange(ref _onWithdrawn, null)?.Invoke();
            }
        }
    }
}
