using Yizhan.Contracts;
using Yizhan.Fleet;
using Yizhan.Link;
using Yizhan.Platform.Certificates;
using Yizhan.Storage;

namespace Yizhan.Station.Tests;

/// <summary>
/// A line in virtual time between the real shipper and the real intake: one direction, one byte after the other at a rate, with
/// latency, that can be down, lose answers and deliver twice.
/// </summary>
internal sealed class SimulatedLink(LinkIntake intake, TimeProvider clock, Random random) : ILink
{
    private readonly SitePrincipal _site = new(TwoNodes.Site);
    private readonly Lock _lock = new();
    private readonly List<string> _entered = [];
    private long _freeMs;
    private TaskCompletionSource _return = new();

    public bool Up { get; private set; } = true;

    public double BytesPerSecond { get; init; } = 250_000;

    public int LatencyMs { get; init; } = 20;

    /// <summary>Share of requests that the centre takes and whose answer is lost.</summary>
    public double LostAnswers { get; init; }

    /// <summary>Share of requests that reach the centre twice.</summary>
    public double Twice { get; init; }

    /// <summary>What the centre would refuse now, by the name in <see cref="Entered"/>; null for nothing.</summary>
    public Func<string, LinkProblem?> Refuse { get; set; } = _ => null;

    /// <summary>Requests in the order in which they entered the line: <c>Urgent</c>, <c>Bulk</c>, …, or <c>run</c>.</summary>
    public List<string> Entered
    {
        get
        {
            lock (_lock)
            {
                return [.. _entered];
            }
        }
    }

    public int AnswersLost { get; private set; }

    public int SentTwice { get; private set; }

    /// <summary>Bytes of runs and batches that entered the line and were not answered yet.</summary>
    public long InFlight { get; private set; }

    public void Set(bool up)
    {
        lock (_lock)
        {
            Up = up;
            if (up)
            {
                _return.TrySetResult();
                _return = new TaskCompletionSource();
            }
        }
    }

    public Task<LinkMarks> MarksAsync(Guid epoch, CancellationToken cancellationToken) =>
        CarryAsync("marks", 100, () => intake.MarksAsync(_site, epoch, cancellationToken), cancellationToken);

    public async Task<long> SendAsync(EntryBatch batch, CancellationToken cancellationToken)
    {
        var bytes = batch.ToBytes();
        var mark = await CarryAsync(
            ((Lane)batch.Lane).ToString(), bytes.Length,
            () => intake.TakeAsync(_site, EntryBatch.Parse(bytes), CancellationToken.None), cancellationToken);
        return mark.Mark;
    }

    public Task<MissingAnswer> MissingAsync(MissingQuestion question, CancellationToken cancellationToken) =>
        CarryAsync("missing", 100, () => intake.MissingAsync(_site, question, cancellationToken), cancellationToken);

    public async Task<bool> PutAsync(BlobRef blob, long offset, ReadOnlyMemory<byte> run, CancellationToken cancellationToken)
    {
        var answer = await CarryAsync(
            "run", run.Length,
            () => intake.PutAsync(
                _site, blob.Hash.ToString(), blob.Length, offset / IBlobStore.ChunkBytes, run, CancellationToken.None),
            cancellationToken);
        return answer.Complete;
    }

    public Task ReportAsync(SiteStatus status, CancellationToken cancellationToken) => CarryAsync(
        "status", 300,
        () =>
        {
            intake.Report(_site, status);
            return Task.FromResult(0);
        },
        cancellationToken);

    public Task ReturnAsync(CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            return _return.Task.WaitAsync(cancellationToken);
        }
    }

    private async Task<T> CarryAsync<T>(string what, int bytes, Func<Task<T>> deliver, CancellationToken cancellationToken)
    {
        TimeSpan wait;
        bool lost, twice;
        lock (_lock)
        {
            ThrowIfDown();
            _entered.Add(what);
            InFlight += bytes;
            var nowMs = clock.GetUtcNow().ToUnixTimeMilliseconds();
            _freeMs = Math.Max(_freeMs, nowMs) + (long)(bytes / BytesPerSecond * 1000);
            wait = TimeSpan.FromMilliseconds(_freeMs - nowMs + LatencyMs);
            lost = random.NextDouble() < LostAnswers;
            twice = random.NextDouble() < Twice;
        }

        try
        {
            await Task.Delay(wait, clock, cancellationToken);
            ThrowIfDown();
            if (Refuse(what) is { } problem)
            {
                throw new LinkRefusedException(problem);
            }

            if (twice)
            {
                SentTwice++;
                await deliver();
            }

            var answer = await deliver();
            if (lost)
            {
                AnswersLost++;
                throw new LinkDownException("The answer was lost.");
            }

            return answer;
        }
        finally
        {
            lock (_lock)
            {
                InFlight -= bytes;
            }
        }
    }

    private void ThrowIfDown()
    {
        if (!Up)
        {
            throw new LinkDownException("The line is down.");
        }
    }
}
