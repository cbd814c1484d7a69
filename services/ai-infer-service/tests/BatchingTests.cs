using System.Collections.Concurrent;
using Microsoft.Extensions.Time.Testing;
using Yizhan.AiInfer.Engine;
using Yizhan.OpenInference;

namespace Yizhan.AiInfer.Tests;

/// <summary>What the queue of a model does with many callers. The engine here stands for a slow one: it waits until it is told.</summary>
public sealed class BatchingTests
{
    [Fact]
    public async Task Requests_that_wait_are_joined_and_each_gets_its_own_part()
    {
        var engine = new GatedEngine();
        await using var runner = new ModelRunner("m", "1", engine, new RunnerSettings(MaxBatch: 8), TimeProvider.System);
        var first = runner.InferAsync(Request(0), Node.Cancel);
        await engine.Started.WaitAsync(Node.Cancel);
        var others = Enumerable.Range(1, 6).Select(i => runner.InferAsync(Request(i, i + 0.5f), Node.Cancel)).ToArray();
        engine.Open();

        Assert.Equal([10], Floats.Of((await first).Outputs.Single()));
        for (var i = 0; i < others.Length; i++)
        {
            Assert.Equal([i + 11, i + 11.5f], Floats.Of((await others[i]).Outputs.Single()));
        }

        // One alone, then 12 elements in batches of at most 8.
        Assert.Equal([1, 8, 4], engine.Batches);
        Assert.Equal(7, runner.Statistics.View().Success.Count);
        Assert.Equal(3, runner.Statistics.View().ExecutionCount);
    }

    [Fact]
    public async Task A_request_waits_for_others_no_longer_than_its_bound()
    {
        var clock = new FakeTimeProvider();
        var engine = new GatedEngine();
        engine.Open();
        await using var runner = new ModelRunner("m", "1", engine, new RunnerSettings(MaxBatch: 8, MaxQueueDelayMs: 50), clock);
        var first = runner.InferAsync(Request(1), Node.Cancel);
        var second = runner.InferAsync(Request(2), Node.Cancel);
        await Wait.UntilAsync(() => runner.Pending == 0);
        Assert.False(first.IsCompleted);
        await Wait.UntilAsync(() =>
        {
            clock.Advance(TimeSpan.FromMilliseconds(51));
            return first.IsCompleted && second.IsCompleted;
        });
        Assert.Equal([2], engine.Batches);
    }

    [Fact]
    public async Task Different_shapes_are_never_joined()
    {
        var engine = new GatedEngine();
        await using var runner = new ModelRunner("m", "1", engine, new RunnerSettings(MaxBatch: 8), TimeProvider.System);
        var first = runner.InferAsync(Request(0), Node.Cancel);
        await engine.Started.WaitAsync(Node.Cancel);
        var wide = runner.InferAsync(new InferenceRequest(null, [Floats.Tensor("x", [1, 2], 1, 2)], [], false), Node.Cancel);
        var narrow = runner.InferAsync(Request(3), Node.Cancel);
        engine.Open();
        Assert.Equal([11, 12], Floats.Of((await wide).Outputs.Single()));
        Assert.Equal([13], Floats.Of((await narrow).Outputs.Single()));
        await first;
        Assert.Equal([1, 1, 1], engine.Batches);
    }

    [Fact]
    public async Task A_full_queue_refuses_and_a_canceled_request_is_not_computed()
    {
        var engine = new GatedEngine();
        await using var runner = new ModelRunner("m", "1", engine, new RunnerSettings(MaxQueue: 2), TimeProvider.System);
        var first = runner.InferAsync(Request(0), Node.Cancel);
        await engine.Started.WaitAsync(Node.Cancel);
        using var impatient = new CancellationTokenSource();
        var canceled = runner.InferAsync(Request(1), impatient.Token);
        var waiting = runner.InferAsync(Request(2), Node.Cancel);
        Assert.Contains("2 requests wait", (await Assert.ThrowsAsync<OverloadedException>(() => runner.InferAsync(Request(3), Node.Cancel))).Message, StringComparison.Ordinal);
        await impatient.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => canceled);
        engine.Open();
        await first;
        await waiting;
        Assert.Equal([1, 1], engine.Batches);
        Assert.Equal(1, runner.Statistics.View().Failures[FailureReason.Canceled]);
    }

    [Fact]
    public async Task The_computation_ends_when_nobody_waits_for_it()
    {
        var engine = new GatedEngine();
        await using var runner = new ModelRunner("m", "1", engine, new RunnerSettings(), TimeProvider.System);
        using var impatient = new CancellationTokenSource();
        var only = runner.InferAsync(Request(0), impatient.Token);
        await engine.Started.WaitAsync(Node.Cancel);
        await impatient.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => only);
        await Wait.UntilAsync(() => engine.Canceled == 1);
        engine.Open();
    }

    [Fact]
    public async Task One_bad_request_of_a_batch_costs_itself_only()
    {
        var engine = new GatedEngine { FailsOn = 13 };
        await using var runner = new ModelRunner("m", "1", engine, new RunnerSettings(MaxBatch: 8), TimeProvider.System);
        var first = runner.InferAsync(Request(0), Node.Cancel);
        await engine.Started.WaitAsync(Node.Cancel);
        var good = runner.InferAsync(Request(1), Node.Cancel);
        var bad = runner.InferAsync(Request(13), Node.Cancel);
        engine.Open();
        await first;
        Assert.Equal([11], Floats.Of((await good).Outputs.Single()));
        Assert.Contains("thirteen", (await Assert.ThrowsAsync<ModelFailedException>(() => bad)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Requests_are_joined_only_where_that_pays_and_the_other_way_is_tried_again()
    {
        var gain = new BatchGain();
        Assert.True(gain.Joins(100));
        gain.Note(100, 1, TimeSpan.FromMicroseconds(100));
        gain.Note(100, 8, TimeSpan.FromMicroseconds(8 * 130));
        bool[] Asked(int times) => [.. Enumerable.Range(0, times).Select(_ => gain.Joins(100))];

        // After 32 computations, then after 64 more, then after 128: what does not pay is tried ever more seldom.
        Assert.Equal([BatchGain.TryAgain, 3 * BatchGain.TryAgain, 7 * BatchGain.TryAgain], Asked(8 * BatchGain.TryAgain).Index().Where(a => a.Item).Select(a => a.Index + 1));

        // Another size is another matter, and what is learnt is learnt anew.
        Assert.True(gain.Joins(200));
        for (var i = 0; i < 50; i++)
        {
            gain.Note(100, 8, TimeSpan.FromMicroseconds(8 * 60));
        }

        Assert.Equal(BatchGain.TryAgain - 1, Asked(BatchGain.TryAgain).Count(joins => joins));

        // One computation that was interrupted does not turn it round.
        gain.Note(100, 8, TimeSpan.FromSeconds(10));
        Assert.All(Asked(BatchGain.TryAgain), Assert.True);
    }

    [Fact]
    public async Task A_request_that_finds_its_model_idle_is_computed_at_once_and_computes_no_others()
    {
        var engine = new BlockingEngine();
        await using var runner = new ModelRunner("m", "1", engine, new RunnerSettings(), TimeProvider.System);
        Task<(int Thread, Task<InferenceResponse> Answer)>? first = null;
        for (var attempt = 0; attempt < 200 && first is null; attempt++)
        {
            // A thread for the call alone; what was asked before is behind the model, or very soon.
            engine.Hold();
            var before = engine.Threads.Count;
            var one = Task.Factory.StartNew(
                () => (engine.Caller = Environment.CurrentManagedThreadId, runner.InferAsync(Request(1), Node.Cancel)), Node.Cancel, TaskCreationOptions.LongRunning, TaskScheduler.Default);
            await Wait.UntilAsync(() => engine.Threads.Count > before);
            if (engine.Threads.Last() == engine.Caller)
            {
                first = one;
                break;
            }

            engine.Release();
            await (await one).Item2;
        }

        Assert.NotNull(first);
        var second = runner.InferAsync(Request(2), Node.Cancel);
        engine.Release();
        var (thread, answer) = await first;
        Assert.Equal([1f], Floats.Of((await answer).Outputs.Single()));
        Assert.Equal([2f], Floats.Of((await second).Outputs.Single()));
        Assert.NotEqual(thread, engine.Threads.Last());
    }

    [Fact]
    public async Task A_model_that_is_slower_in_batches_gets_its_requests_one_by_one()
    {
        var engine = new GatedEngine();
        await using var runner = new ModelRunner("m", "1", engine, new RunnerSettings(MaxBatch: 8), new Ticking(engine));
        var first = runner.InferAsync(Request(0), Node.Cancel);
        await engine.Started.WaitAsync(Node.Cancel);
        var others = Enumerable.Range(1, 24).Select(i => runner.InferAsync(Request(i), Node.Cancel)).ToArray();
        engine.Open();
        await Task.WhenAll([first, .. others]);
        Assert.Equal([1, 8, .. Enumerable.Repeat(1L, 16)], engine.Batches);
    }

    private static InferenceRequest Request(params float[] values) => new(null, [Floats.Tensor("x", [values.Length, 1], values)], [], false);

    /// <summary>A clock on which a computation takes as long as the square of its elements.</summary>
    private sealed class Ticking(GatedEngine engine) : TimeProvider
    {
        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => engine.Batches.ToArray().Sum(elements => elements * elements) * 1000;
    }

    /// <summary>y = x, computed by the thread that asks, as ONNX Runtime does.</summary>
    private sealed class BlockingEngine : IModelEngine
    {
        private readonly ManualResetEventSlim _open = new(initialState: true);

        public ConcurrentQueue<int> Threads { get; } = [];

        public volatile int Caller;

        public string Platform => "test";

        public string RunsOn => "test";

        public IReadOnlyList<TensorSpec> Inputs { get; } = [new("x", "FP32", [-1, -1])];

        public IReadOnlyList<TensorSpec> Outputs { get; } = [new("y", "FP32", [-1, -1])];

        public void Hold() => _open.Reset();

        public void Release() => _open.Set();

        public Task<IReadOnlyList<InferenceTensor>> RunAsync(IReadOnlyList<InferenceTensor> inputs, IReadOnlyList<string> outputs, CancellationToken cancellationToken)
        {
            Threads.Enqueue(Environment.CurrentManagedThreadId);
            _open.Wait(cancellationToken);
            return Task.FromResult<IReadOnlyList<InferenceTensor>>([inputs[0] with { Name = "y" }]);
        }

        public ValueTask DisposeAsync()
        {
            _open.Dispose();
            return ValueTask.CompletedTask;
        }
    }

    /// <summary>y = x + 10, once the gate is open.</summary>
    private sealed class GatedEngine : IModelEngine
    {
        private readonly TaskCompletionSource _gate = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public SemaphoreSlim Started { get; } = new(0);

        public List<long> Batches { get; } = [];

        public int Canceled { get; private set; }

        public float? FailsOn { get; init; }

        public string Platform => "test";

        public string RunsOn => "test";

        public IReadOnlyList<TensorSpec> Inputs { get; } = [new("x", "FP32", [-1, -1])];

        public IReadOnlyList<TensorSpec> Outputs { get; } = [new("y", "FP32", [-1, -1])];

        public void Open() => _gate.TrySetResult();

        public async Task<IReadOnlyList<InferenceTensor>> RunAsync(IReadOnlyList<InferenceTensor> inputs, IReadOnlyList<string> outputs, CancellationToken cancellationToken)
        {
            Batches.Add(inputs[0].Shape[0]);
            Started.Release();
            try
            {
                await _gate.Task.WaitAsync(cancellationToken);
            }
            catch (OperationCanceledException)
            {
                Canceled++;
                throw;
            }

            var values = Floats.Of(inputs[0]);
            return values.Any(v => v == FailsOn) ? throw new ModelFailedException("thirteen")
                : [Floats.Tensor("y", [.. inputs[0].Shape], [.. values.Select(v => v + 10)])];
        }

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
