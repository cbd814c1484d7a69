namespace Yizhan.AiInfer.Engine;

/// <summary>Why a request failed: the label of <c>nv_inference_request_failure</c>.</summary>
internal enum FailureReason
{
    Rejected,
    Canceled,
    Backend,
    Other,
}

/// <summary>A count and a time, as the statistics extension has them.</summary>
internal readonly record struct Duration(long Count, long Ns)
{
    public Duration Plus(long ns) => new(Count + 1, Ns + ns);
}

/// <summary>What one version of a model did since it was loaded.</summary>
internal sealed record StatisticsView(
    long LastInferenceMs, long InferenceCount, long ExecutionCount, Duration Success, Duration Fail, Duration Queue, Duration ComputeInput, Duration ComputeInfer,
    Duration ComputeOutput, IReadOnlyDictionary<FailureReason, long> Failures,
    IReadOnlyDictionary<int, (Duration Input, Duration Infer, Duration Output)> Batches, IReadOnlyList<double> RecentMs);

/// <summary>Counts of one model version; names and meaning are those of Triton's statistics extension.</summary>
internal sealed class ModelStatistics(TimeProvider clock)
{
    private const int Recent = 1024;

    private readonly Lock _lock = new();
    private readonly Dictionary<FailureReason, long> _failures = [];
    private readonly SortedDictionary<int, (Duration Input, Duration Infer, Duration Output)> _batches = [];
    private readonly double[] _recentMs = new double[Recent];
    private long _recorded;
    private long _lastMs;
    private long _inferences;
    private long _executions;
    private Duration _success;
    private Duration _fail;
    private Duration _queue;
    private Duration _input;
    private Duration _infer;
    private Duration _output;

    /// <summary>One computation, of a batch.</summary>
    public void Executed(int elements, TimeSpan input, TimeSpan infer, TimeSpan output)
    {
        lock (_lock)
        {
            _executions++;
            _inferences += elements;
            _lastMs = clock.GetUtcNow().ToUnixTimeMilliseconds();
            (_input, _infer, _output) = (_input.Plus(Ns(input)), _infer.Plus(Ns(infer)), _output.Plus(Ns(output)));

            // A client chooses the size of its batch: sizes beyond these are one row, so that the table stays small.
            var row = Math.Min(elements, 1024);
            var of = _batches.GetValueOrDefault(row);
            _batches[row] = (of.Input.Plus(Ns(input)), of.Infer.Plus(Ns(infer)), of.Output.Plus(Ns(output)));
        }
    }

    /// <summary>One request that was answered.</summary>
    public void Succeeded(TimeSpan queued, TimeSpan whole)
    {
        lock (_lock)
        {
            _success = _success.Plus(Ns(whole));
            _queue = _queue.Plus(Ns(queued));
            _recentMs[_recorded++ % Recent] = whole.TotalMilliseconds;
        }
    }

    /// <summary>One request that was not.</summary>
    public void Failed(FailureReason reason, long ns)
    {
        lock (_lock)
        {
            _fail = _fail.Plus(ns);
            _failures[reason] = _failures.GetValueOrDefault(reason) + 1;
        }
    }

    /// <summary>Requests whose callers gave up.</summary>
    public void Canceled(int requests)
    {
        for (var i = 0; i < requests; i++)
        {
            Failed(FailureReason.Canceled, 0);
        }
    }

    /// <summary>All of it at one moment.</summary>
    public StatisticsView View()
    {
        lock (_lock)
        {
            return new StatisticsView(
                _lastMs, _inferences, _executions, _success, _fail, _queue, _input, _infer, _output, new Dictionary<FailureReason, long>(_failures),
                new SortedDictionary<int, (Duration, Duration, Duration)>(_batches), _recentMs[..(int)Math.Min(_recorded, Recent)]);
        }
    }

    private static long Ns(TimeSpan time) => time.Ticks * 100;
}
