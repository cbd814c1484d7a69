using System.Buffers;
using System.Diagnostics;
using System.Reflection;
using Yizhan.Link;
using Yizhan.Platform.Telemetry;
using Yizhan.Storage;

namespace Yizhan.Station;

/// <summary>The units: what is chosen next, what each does beside the loop, and what the loop changes after it.</summary>
internal sealed partial class Shipper
{
    internal static readonly string Version =
        typeof(Shipper).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "0";

    /// <summary>Starts what may leave now: urgent strictly first, the others by their share in bytes while the window has room.</summary>
    private void StartUnits(CancellationToken cancellationToken)
    {
        foreach (var lane in _lanes)
        {
            if (lane.Unknown() is { Count: > 0 } unknown)
            {
                lane.Asking = true;
                _running.Add(AskAsync(lane, unknown, cancellationToken));
            }
        }

        var urgent = _lanes[(int)Lane.Urgent];
        while (_units < MaxUnits + MaxUrgentUnits && Peek(urgent) is { } next)
        {
            Start(urgent, next, cancellationToken);
        }

        while (_units < MaxUnits && Peek(urgent) is null && NextByShare() is var (lane, next))
        {
            Start(lane, next, cancellationToken);
        }
    }

    /// <summary>
    /// Deficit round robin: a lane that has something to send gets its weight in bytes each round and sends while that lasts. A
    /// lane that is empty saves nothing; one that only waits for an answer keeps its turn, and meanwhile others send on credit.
    /// Null when nothing is ready or what comes next does not fit the window.
    /// </summary>
    private (LaneQueue Lane, Candidate Next)? NextByShare()
    {
        for (var idle = 0; idle < _lanes.Length - 1;)
        {
            var lane = _lanes[_turn];
            if (Peek(lane) is { } next)
            {
                if (lane.Deficit >= next.Bytes)
                {
                    return _window.Fits(next.Bytes) ? (lane, next) : null;
                }

                idle = 0;
            }
            else if (lane.Waits && lane.Deficit > 0)
            {
                return OnCredit();
            }
            else
            {
                lane.Deficit = Math.Min(lane.Deficit, 0);
                idle++;
            }

            _turn = After(_turn);
            _lanes[_turn].Deficit = Math.Min(_lanes[_turn].Deficit + (_lanes[_turn].Weight * Quantum), MaxDeficit);
        }

        return null;
    }

    private (LaneQueue Lane, Candidate Next)? OnCredit()
    {
        for (var i = After(_turn); i != _turn; i = After(i))
        {
            if (Peek(_lanes[i]) is { } next && _window.Fits(next.Bytes))
            {
                return (_lanes[i], next);
            }
        }

        return null;
    }

    private int After(int turn) => (turn % (_lanes.Length - 1)) + 1;

    private Candidate? Peek(LaneQueue lane) => lane.Peek(_window.RunBytes, _window.BatchBytes);

    private void Start(LaneQueue lane, Candidate next, CancellationToken cancellationToken)
    {
        lane.Deficit = Math.Max(lane.Deficit - next.Bytes, -lane.Weight * Quantum);
        _units++;
        _window.Start(next.Bytes);
        if (next.Transfer is { } transfer)
        {
            transfer.Take(next.Range);
            _running.Add(UnitAsync(next.Bytes, RunAsync(lane, transfer, next.Range, cancellationToken)));
        }
        else
        {
            lane.Sending = true;
            _running.Add(UnitAsync(next.Bytes, BatchAsync(lane, [.. lane.Window.Take(next.Count)], cancellationToken)));
        }
    }

    private async Task<Action> UnitAsync(long bytes, Task<Action> unit)
    {
        var startedMs = MonotonicMs();
        var apply = await unit;
        return () =>
        {
            _units--;
            _window.Done(bytes, startedMs, MonotonicMs());
            _backOff.Reset();
            apply();
        };
    }

    /// <summary>Sends entries and records the centre's mark in the log before the window moves on.</summary>
    private async Task<Action> BatchAsync(LaneQueue lane, Pending[] entries, CancellationToken cancellationToken)
    {
        var first = entries[0].Sequence;
        if (entries[^1].Sequence - first != entries.Length - 1)
        {
            throw new UnreachableException($"Lane {lane.Lane}: {entries.Length} entries from {first} do not end at {entries[^1].Sequence}.");
        }

        var batch = new EntryBatch(log.Site, log.Epoch, (byte)lane.Lane, first, [.. entries.Select(p => ToBatch(p.Entry))]);
        long mark;
        LinkProblem? problem = null;
        using var hops = Tracing.Continue("ship", ActivityKind.Producer, entries.Select(p => p.Entry.TraceParent));
        try
        {
            mark = await link.SendAsync(batch, cancellationToken);
        }
        catch (LinkRefusedException e)
        {
            // A refusal in the middle of a batch confirms what was before it.
            problem = e.Problem;
            hops.Fail(e.Problem.Title);
            mark = problem.Status is 409 or 422 ? problem.Mark ?? 0 : 0;
        }

        if (mark >= first)
        {
            await log.MarkDeliveredAsync(lane.Lane, Math.Min(mark, entries[^1].Sequence), cancellationToken);
        }

        return () =>
        {
            lane.Sending = false;
            foreach (var pending in lane.Confirm(Math.Min(mark, entries[^1].Sequence)))
            {
                Release(pending);
            }

            switch (problem)
            {
                case null when mark >= entries[^1].Sequence:
                    lane.Error = null;
                    lane.BackOff.Reset();
                    break;
                case null or { Status: 409 }:
                    // Our idea of the mark is wrong; the next connection begins with the centre's.
                    throw new LinkDownException($"Lane {lane.Lane}: the centre stands at {mark} although {first - 1} was confirmed; starting over.");
                case { Status: 422, Sequence: { } sequence }:
                    Refused(lane, sequence, problem, cancellationToken);
                    break;
                case { Status: 424 }:
                    foreach (var transfer in entries.SelectMany(p => p.Transfers).Where(t => t.State == TransferState.Complete))
                    {
                        transfer.State = TransferState.Unknown;
                    }

                    Pause(lane, problem, cancellationToken);
                    break;
                case { Status: 403 }:
                    throw new LinkRefusedException(problem);
                default:
                    Pause(lane, problem, cancellationToken);
                    break;
            }
        };
    }

    /// <summary>Sends a run of a blob.</summary>
    private async Task<Action> RunAsync(LaneQueue lane, Transfer transfer, ByteRange run, CancellationToken cancellationToken)
    {
        var buffer = ArrayPool<byte>.Shared.Rent((int)run.Length);
        try
        {
            if (await transfer.OpenAsync(blobs) is not { } reader)
            {
                return () => Unreadable(lane, transfer, $"Blob {transfer.Blob.Hash} is not in this site's store.", cancellationToken);
            }

            var bytes = buffer.AsMemory(0, (int)run.Length);
            for (var read = 0; read < bytes.Length;)
            {
                var count = await reader.ReadAsync(run.Offset + read, bytes[read..], cancellationToken);
                read += count > 0 ? count : throw new InvalidDataException($"Blob {transfer.Blob.Hash} ends at {run.Offset + read}.");
            }

            var complete = await link.PutAsync(transfer.Blob, run.Offset, bytes, cancellationToken);
            return () =>
            {
                RunEnded(transfer);
                if (complete)
                {
                    transfer.State = TransferState.Complete;
                    transfer.Ranges.Clear();
                }
                else if (transfer is { Runs: 0, Ranges.Count: 0, State: TransferState.Sending })
                {
                    transfer.State = TransferState.Unknown;
                }

                lane.Error = null;
            };
        }
        catch (InvalidDataException e)
        {
            return () => Unreadable(lane, transfer, e.Message, cancellationToken);
        }
        catch (LinkRefusedException e)
        {
            return () =>
            {
                RunEnded(transfer);
                transfer.Ranges.Clear();
                transfer.State = TransferState.Unknown;
                if (e.Problem.Status == 422)
                {
                    Unsendable(lane, transfer, e.Message, cancellationToken);
                }
                else
                {
                    Pause(lane, e.Problem, cancellationToken);
                }
            };
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>Asks what the centre lacks of some blobs.</summary>
    private async Task<Action> AskAsync(LaneQueue lane, List<Transfer> unknown, CancellationToken cancellationToken)
    {
        try
        {
            var started = clock.GetTimestamp();
            var answer = await link.MissingAsync(
                new MissingQuestion([.. unknown.Select(t => new LinkBlob(t.Blob.Hash.ToString(), t.Blob.Length))]), cancellationToken);
            _window.Latency(clock.GetElapsedTime(started));
            return () =>
            {
                lane.Asking = false;
                foreach (var (transfer, ranges) in unknown.Zip(answer.Blobs))
                {
                    // Another lane may have asked about the same blob and be further by now.
                    if (transfer.State == TransferState.Unknown)
                    {
                        transfer.State = ranges.Count == 0 ? TransferState.Complete : TransferState.Sending;
                        foreach (var range in ranges)
                        {
                            transfer.Ranges.Enqueue(new ByteRange(range.Offset, range.Length));
                        }
                    }
                }
            };
        }
        catch (LinkRefusedException e)
        {
            return () =>
            {
                lane.Asking = false;
                if (e.Problem.Status == 422 && unknown.Find(t => t.Blob.Hash.ToString() == e.Problem.Sha256) is { } wrong)
                {
                    Unsendable(lane, wrong, e.Message, cancellationToken);
                }
                else
                {
                    Pause(lane, e.Problem, cancellationToken);
                }
            };
        }
    }

    /// <summary>Reports the status now, and again after the heartbeat's time.</summary>
    private async Task<Action> ReportAsync(bool first, CancellationToken cancellationToken)
    {
        if (!first)
        {
            await Task.Delay(TimeSpan.FromSeconds(options.HeartbeatSeconds), clock, cancellationToken);
        }

        await link.ReportAsync(Status(), cancellationToken);
        return () =>
        {
            Heed();
            if (!first)
            {
                _backOff.Reset();
            }

            _running.Add(ReportAsync(first: false, cancellationToken));
        };
    }

    /// <summary>Wakes the loop when the log grows.</summary>
    private async Task<Action> MoreAsync(long position, CancellationToken cancellationToken)
    {
        await log.WaitForMoreAsync(position, cancellationToken);
        return () => _running.Add(MoreAsync(log.LastPosition, cancellationToken));
    }

    /// <summary>Asks from time to time what the centre has and what of it is safe: what may be given up here depends on it.</summary>
    private async Task<Action> HearAsync(CancellationToken cancellationToken)
    {
        await Task.Delay(TimeSpan.FromSeconds(options.RetentionSeconds), clock, cancellationToken);
        var confirmed = Array.ConvertAll(_lanes, lane => lane.Mark);
        var marks = await link.MarksAsync(log.Epoch, cancellationToken);
        return () =>
        {
            Heard(marks);
            if (_lanes.FirstOrDefault(lane => marks.Marks[(int)lane.Lane] < confirmed[(int)lane.Lane]) is { } back)
            {
                // Restored behind our back, while nothing was under way that would have noticed.
                throw new LinkDownException(
                    $"Lane {back.Lane}: the centre stands at {marks.Marks[(int)back.Lane]} although {confirmed[(int)back.Lane]} was confirmed; starting over.");
            }

            _running.Add(HearAsync(cancellationToken));
        };
    }

    private async Task<Action> StartOverAsync(CancellationToken cancellationToken)
    {
        await _startOver.Task.WaitAsync(cancellationToken);
        return () =>
        {
            _startOver = new(TaskCreationOptions.RunContinuationsAsynchronously);
            throw new LinkDownException("The quarantine was changed; starting over.");
        };
    }

    private void Pause(LaneQueue lane, LinkProblem problem, CancellationToken cancellationToken)
    {
        lane.Error = new LinkRefusedException(problem).Message;
        if (!lane.Paused)
        {
            var delay = lane.BackOff.Next(problem.RetryAfterSeconds);
            lane.Paused = true;
            LanePaused(lane.Lane, delay.TotalSeconds, lane.Error);
            _running.Add(ResumeAsync(lane, delay, cancellationToken));
        }
    }

    private async Task<Action> ResumeAsync(LaneQueue lane, TimeSpan delay, CancellationToken cancellationToken)
    {
        await Task.Delay(delay, clock, cancellationToken);
        return () => lane.Paused = false;
    }

    private void Unreadable(LaneQueue lane, Transfer transfer, string reason, CancellationToken cancellationToken)
    {
        RunEnded(transfer);
        transfer.Ranges.Clear();
        transfer.State = TransferState.Unknown;
        Unsendable(lane, transfer, reason, cancellationToken);
    }

    /// <summary>A blob cannot be delivered: that is the fate of the first entry that names it; the others follow when it is their turn.</summary>
    private void Unsendable(LaneQueue lane, Transfer transfer, string reason, CancellationToken cancellationToken)
    {
        if (lane.Window.Find(p => p.Transfers.Contains(transfer)) is { } pending)
        {
            Refused(lane, pending.Sequence, new LinkProblem(422, "A blob cannot be delivered.", reason), cancellationToken);
        }
    }

    /// <summary>
    /// Counts a refusal that time does not heal. After some of them the entry is put into quarantine, on disk, and only then its
    /// tombstone takes its place in the sequence: nothing is skipped in silence.
    /// </summary>
    private void Refused(LaneQueue lane, long sequence, LinkProblem problem, CancellationToken cancellationToken)
    {
        var at = lane.Window.FindIndex(p => p.Sequence == sequence);
        if (at >= 0 && ++lane.Window[at].Refusals >= options.QuarantineAfter)
        {
            var pending = lane.Window[at];
            quarantine.Add(pending.Logged, problem.Detail ?? problem.Title, UtcMs());
            for (var i = at; i < lane.Window.Count; i++)
            {
                // The entry itself, and those that wait for it by the rule.
                SendTombstone(lane, i);
            }

            EntryQuarantined(lane.Lane, sequence, problem.Detail ?? problem.Title);
            return;
        }

        Pause(lane, problem, cancellationToken);
    }

    private void SendTombstone(LaneQueue lane, int at)
    {
        var pending = lane.Window[at];
        var outgoing = quarantine.Outgoing(pending.Logged, UtcMs());
        if (outgoing.Type == LinkTombstone.EventType && pending.Entry.Type != LinkTombstone.EventType)
        {
            lane.Window[at] = new Pending(pending.Logged, outgoing, []);
            Release(pending);
        }
    }

    private static BatchEntry ToBatch(Entry entry) => new(
        entry.TimeMs, entry.Type, entry.Id, entry.Key, entry.TraceParent,
        [.. entry.Blobs.Select(b => new BatchBlob(b.Hash.ToArray(), b.Length))], entry.Data);

    /// <summary>Gives back an entry's share in its transfers.</summary>
    private void Release(Pending pending)
    {
        foreach (var transfer in pending.Transfers)
        {
            transfer.Users--;
            CloseUnused(transfer);
        }
    }

    private void RunEnded(Transfer transfer)
    {
        transfer.Runs--;
        CloseUnused(transfer);
    }

    private void CloseUnused(Transfer transfer)
    {
        if (transfer is { Users: 0, Runs: 0 } && _transfers.Remove(transfer.Blob.Hash))
        {
            _running.Add(CloseAsync(transfer));
        }
    }

    private static async Task<Action> CloseAsync(Transfer transfer)
    {
        await transfer.DisposeAsync();
        return () => { };
    }

    private long UtcMs() => clock.GetUtcNow().ToUnixTimeMilliseconds();

    private long MonotonicMs() => (long)clock.GetElapsedTime(0).TotalMilliseconds;

    [LoggerMessage(8010, LogLevel.Warning, "Lane {Lane} waits {Seconds:F1} s: {Reason}")]
    private partial void LanePaused(Lane lane, double seconds, string reason);

    [LoggerMessage(8011, LogLevel.Error, "Entry {Sequence} of lane {Lane} is in quarantine, a tombstone goes to the centre: {Reason}")]
    private partial void EntryQuarantined(Lane lane, long sequence, string reason);
}
