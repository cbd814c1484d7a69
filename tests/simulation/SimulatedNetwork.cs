using Yizhan.Contracts;
using Yizhan.Fleet;
using Yizhan.Link;
using Yizhan.Platform.Certificates;
using Yizhan.Station;
using Yizhan.Storage;

namespace Yizhan.Simulation;

/// <summary>
/// The line between the two nodes. Requests leave one byte after the other at its rate; each may be lost, delayed, delivered twice (also minutes later), or
/// lose its answer; the connection may be cut at any byte of any of them, or go silent.
/// </summary>
internal sealed class SimulatedNetwork(EventLoop loop, TimeProvider clock, SeededRandom random, Scenario faults, RunTrace trace, Books books)
{
    private static readonly TimeSpan Stall = TimeSpan.FromSeconds(30);

    private readonly Books _books = books;
    private TaskCompletionSource _return = new();
    private TaskCompletionSource _cut = new();
    private TimeSpan _freeAt;
    private bool _faulty = true;

    /// <summary>The centre; null while it is down.</summary>
    public LinkIntake? Intake { get; set; }

    public bool Up { get; private set; } = true;

    /// <summary>Nothing passes and nobody is told.</summary>
    public bool Silent { get; set; }

    /// <summary>Bytes of entries and chunks that the centre answered.</summary>
    public long Bytes { get; private set; }

    public void Set(bool up)
    {
        if (Up != up)
        {
            Up = up;
            trace.Note(up ? "line up" : "line down");
            if (up)
            {
                Interlocked.Exchange(ref _return, new()).TrySetResult();
            }
            else
            {
                _books.Fault("partitions");
                Cut();
            }
        }
    }

    /// <summary>Ends the connection and everything that is on it, wherever each request is.</summary>
    public void Cut()
    {
        trace.Note("cut");
        _freeAt = loop.Now;
        Interlocked.Exchange(ref _cut, new()).TrySetResult();
    }

    /// <summary>From here on nothing goes wrong.</summary>
    public void Heal()
    {
        _faulty = false;
        Silent = false;
        Set(up: true);
    }

    /// <summary>A line end for one life of the edge.</summary>
    public Line Open() => new(this);

    private bool Chance(double probability) => _faulty && random.Chance(probability);

    private async Task<T> CarryAsync<T>(Line line, string what, long bytes, Func<LinkIntake, Task<T>> deliver, CancellationToken cancellationToken)
    {
        loop.AssertThread();
        var cut = _cut.Task;
        if (!Up || line.Closed || Intake is null)
        {
            await DelayAsync(TimeSpan.FromMilliseconds(5), cut, cancellationToken);
            throw new LinkDownException("The centre cannot be reached.");
        }

        var sent = _freeAt = (loop.Now > _freeAt ? loop.Now : _freeAt) + TimeSpan.FromSeconds((bytes + 200) / faults.BytesPerSecond);
        var way = faults.Latency + (faults.Jitter * random.NextDouble());
        await DelayAsync(sent - loop.Now + way, cut, cancellationToken);
        if (Silent || Chance(faults.Loss))
        {
            _books.Fault(Silent ? "half-open" : "requests lost");
            trace.Note($"lost {what}");
            await DelayAsync(Stall, cut, cancellationToken);
            throw new LinkDownException("Nothing moved for 30 s.");
        }

        if (Chance(faults.Reset))
        {
            _books.Fault("connections reset");
            Cut();
        }

        if (cut.IsCompleted || line.Closed || Intake is not { } intake)
        {
            throw new LinkDownException("The connection was reset.");
        }

        if (Chance(faults.Twice))
        {
            _books.Fault("requests doubled");
            _ = AgainAsync(what, deliver, random.Chance(0.5) ? TimeSpan.Zero : random.Next(TimeSpan.Zero, TimeSpan.FromMinutes(20)));
        }

        var answering = AnswerAsync(intake, what, deliver);
        await Task.WhenAny(answering, cut);
        if (!answering.IsCompleted)
        {
            Observe(answering);
            throw new LinkDownException("The connection was reset.");
        }

        if (Chance(faults.LostAnswers))
        {
            Observe(answering);
            _books.Fault("answers lost");
            trace.Note($"answer lost {what}");
            await DelayAsync(random.Chance(0.5) ? Stall : TimeSpan.Zero, cut, cancellationToken);
            throw new LinkDownException("The answer was lost.");
        }

        try
        {
            await DelayAsync(faults.Latency, cut, cancellationToken);
        }
        catch
        {
            Observe(answering);
            throw;
        }

        var answer = await answering;
        Bytes += bytes;
        return answer;
    }

    /// <summary>What a proxy does that believes the first attempt failed.</summary>
    private async Task AgainAsync<T>(string what, Func<LinkIntake, Task<T>> deliver, TimeSpan later)
    {
        await Task.Delay(later, clock, CancellationToken.None);
        if (Intake is { } intake)
        {
            try
            {
                await AnswerAsync(intake, what, deliver);
            }
            catch (Exception e) when (e is LinkRefusedException or LinkDownException)
            {
                // Nobody waits for this answer.
            }
        }
    }

    private async Task<T> AnswerAsync<T>(LinkIntake intake, string what, Func<LinkIntake, Task<T>> deliver)
    {
        try
        {
            var answer = await deliver(intake);
            trace.Note($"answered {what}");
            return answer;
        }
        catch (LinkRefusedException e)
        {
            trace.Note($"refused {what} {e.Problem.Status}");
            throw;
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // What Kestrel says when a handler fails; a dead machine says nothing.
            trace.Note($"failed {what}");
            throw ReferenceEquals(intake, Intake)
                ? new LinkRefusedException(new LinkProblem(500, "Internal Server Error"))
                : new LinkDownException("The centre went away.");
        }
    }

    private async Task DelayAsync(TimeSpan delay, Task cut, CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var waiting = WaitAsync(delay < TimeSpan.Zero ? TimeSpan.Zero : delay, stop.Token);
        await Task.WhenAny(waiting, cut);
        cancellationToken.ThrowIfCancellationRequested();
        if (!waiting.IsCompleted)
        {
            stop.Cancel();
            Observe(waiting);
            throw new LinkDownException("The connection was reset.");
        }
    }

    /// <summary>A delay that is cancelled would wake <c>WhenAny</c> on the thread pool; a method that awaits it does not.</summary>
    private async Task WaitAsync(TimeSpan delay, CancellationToken cancellationToken) => await Task.Delay(delay, clock, cancellationToken);

    private static void Observe(Task task) => _ = task.ContinueWith(
        static t => _ = t.Exception, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);

    /// <summary>The edge's end, for one life of its process.</summary>
    internal sealed class Line(SimulatedNetwork network) : ILink
    {
        private readonly SitePrincipal _site = new(World.Site);

        /// <summary>The process is gone.</summary>
        public bool Closed { get; private set; }

        public void Close()
        {
            Closed = true;
            network.Cut();
        }

        public Task<LinkMarks> MarksAsync(Guid epoch, CancellationToken cancellationToken) =>
            network.CarryAsync(this, "marks", 100, intake => intake.MarksAsync(_site, epoch, CancellationToken.None), cancellationToken);

        public async Task<long> SendAsync(EntryBatch batch, CancellationToken cancellationToken)
        {
            var bytes = batch.ToBytes();
            var what = $"batch {(Lane)batch.Lane} {batch.FirstSequence}..{batch.LastSequence} {bytes.Length}";
            var mark = await network.CarryAsync(
                this, what, bytes.Length,
                intake => TakeAsync(intake, bytes), cancellationToken);
            return mark.Mark;
        }

        /// <summary>The books note what the centre says yes to, whether or not the answer arrives.</summary>
        private async Task<LinkMark> TakeAsync(LinkIntake intake, byte[] bytes)
        {
            var batch = EntryBatch.Parse(bytes);
            var origin = new Origin(batch.Site, batch.Epoch, (Lane)batch.Lane);
            try
            {
                var taken = await intake.TakeAsync(_site, batch, CancellationToken.None);
                network._books.Confirmed(origin, taken.Mark);
                network._books.Arrived(batch);
                return taken;
            }
            catch (LinkRefusedException e) when (e.Problem.Mark is { } mark)
            {
                network._books.Confirmed(origin, mark);
                throw;
            }
        }

        public Task<MissingAnswer> MissingAsync(MissingQuestion question, CancellationToken cancellationToken) => network.CarryAsync(
            this, $"missing {question.Blobs.Count}", 60 * question.Blobs.Count, intake => intake.MissingAsync(_site, question, CancellationToken.None),
            cancellationToken);

        public async Task<bool> PutAsync(BlobRef blob, long offset, ReadOnlyMemory<byte> run, CancellationToken cancellationToken)
        {
            // The caller's buffer is its own again when it gives up, while the centre may still be reading.
            var copy = run.ToArray();
            var answer = await network.CarryAsync(
                this, $"run {offset}+{run.Length} of {blob.Length} {blob.Hash.ToString()[..8]}", run.Length,
                intake => intake.PutAsync(_site, blob.Hash.ToString(), blob.Length, offset / IBlobStore.ChunkBytes, copy, CancellationToken.None),
                cancellationToken);
            return answer.Complete;
        }

        public Task ReportAsync(SiteStatus status, CancellationToken cancellationToken) => network.CarryAsync(
            this, "status", 300,
            intake =>
            {
                intake.Report(_site, status);
                return Task.FromResult(0);
            },
            cancellationToken);

        public async Task ReturnAsync(CancellationToken cancellationToken)
        {
            var back = network._return.Task;
            var never = new TaskCompletionSource();
            using var stop = cancellationToken.UnsafeRegister(static t => ((TaskCompletionSource)t!).TrySetCanceled(), never);
            await await Task.WhenAny(back, never.Task);
        }
    }
}
