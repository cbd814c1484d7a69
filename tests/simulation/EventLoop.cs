namespace Yizhan.Simulation;

/// <summary>
/// One thread on which everything of a run happens: what is ready runs in an order that the seed decides, and when nothing is ready the clock jumps to
/// the next timer. No time passes in between.
/// </summary>
internal sealed class EventLoop(SeededRandom random) : SynchronizationContext
{
    private readonly List<(SendOrPostCallback Callback, object? State)> _ready = [];
    private readonly PriorityQueue<LoopTimer, (long Due, long Order)> _timers = new();
    private readonly int _thread = Environment.CurrentManagedThreadId;
    private long _order;

    /// <summary>Time since the run began.</summary>
    public TimeSpan Now { get; private set; }

    /// <summary>Steps so far: continuations and timers.</summary>
    public long Steps { get; private set; }

    /// <exception cref="InvalidOperationException">Something left the thread: the run would not be the same twice.</exception>
    public override void Post(SendOrPostCallback d, object? state)
    {
        AssertThread();
        _ready.Add((d, state));
    }

    public override void Send(SendOrPostCallback d, object? state) => throw new NotSupportedException("Nothing in a simulation may block.");

    public override SynchronizationContext CreateCopy() => this;

    public void AssertThread()
    {
        if (Environment.CurrentManagedThreadId != _thread)
        {
            throw new InvalidOperationException("Code of the simulation ran on another thread.");
        }
    }

    /// <summary>Runs an action after some time.</summary>
    public void After(TimeSpan delay, Action action) => Schedule(new LoopTimer(this, _ => action(), null), delay);

    /// <summary>Runs until a task ends, and returns false when that takes longer than a limit or nothing is left to happen.</summary>
    public bool Run(Func<Task> main, TimeSpan limit)
    {
        var before = Current;
        SetSynchronizationContext(this);
        try
        {
            var running = main();
            while (!running.IsCompleted)
            {
                Steps++;
                if (_ready.Count > 0)
                {
                    // Threads would promise no order either.
                    var at = random.Next(_ready.Count);
                    var (callback, state) = _ready[at];
                    _ready[at] = _ready[^1];
                    _ready.RemoveAt(_ready.Count - 1);
                    callback(state);
                }
                else if (_timers.TryDequeue(out var timer, out var key) && key.Due <= limit.Ticks)
                {
                    if (timer.IsDue(key.Order))
                    {
                        Now = TimeSpan.FromTicks(Math.Max(Now.Ticks, key.Due));
                        timer.Fire();
                    }
                }
                else
                {
                    return false;
                }
            }

            running.GetAwaiter().GetResult();
            return true;
        }
        finally
        {
            SetSynchronizationContext(before);
        }
    }

    private long Schedule(LoopTimer timer, TimeSpan delay)
    {
        AssertThread();
        var order = timer.Order = ++_order;
        _timers.Enqueue(timer, (Now.Ticks + Math.Max(0, delay.Ticks), order));
        return order;
    }

    /// <summary>A timer. Being set again makes what is in the queue stale.</summary>
    private sealed class LoopTimer(EventLoop loop, TimerCallback callback, object? state) : ITimer
    {
        private TimeSpan _period = Timeout.InfiniteTimeSpan;

        public long Order { get; set; }

        public bool IsDue(long order) => order == Order;

        public void Fire()
        {
            Order = 0;
            if (_period > TimeSpan.Zero)
            {
                loop.Schedule(this, _period);
            }

            callback(state);
        }

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            Order = 0;
            _period = period;
            if (dueTime != Timeout.InfiniteTimeSpan)
            {
                loop.Schedule(this, dueTime);
            }

            return true;
        }

        public void Dispose() => Order = 0;

        public ValueTask DisposeAsync()
        {
            Dispose();
            return default;
        }
    }

    /// <summary>The clock of one node: its timers and its stopwatch are the loop's, what it shows may be wrong.</summary>
    internal sealed class NodeClock(EventLoop loop) : TimeProvider
    {
        private static readonly DateTimeOffset Start = new(2026, 3, 1, 0, 0, 0, TimeSpan.Zero);

        /// <summary>How wrong it is.</summary>
        public TimeSpan Error { get; set; }

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override DateTimeOffset GetUtcNow() => Start + loop.Now + Error;

        // Never zero: some code takes that for "not yet".
        public override long GetTimestamp() => loop.Now.Ticks + TimeSpan.TicksPerDay;

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            var timer = new LoopTimer(loop, callback, state);
            timer.Change(dueTime, period);
            return timer;
        }
    }
}
