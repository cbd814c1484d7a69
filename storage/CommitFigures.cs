using System.Diagnostics.Metrics;

namespace Yizhan.Storage;

/// <summary>How long commits take and how many entries share one: the meter <c>Yizhan.Spool</c>, and the last ones for people.</summary>
public sealed class CommitFigures : IDisposable
{
    private const int Kept = 1024;

    private readonly Lock _lock = new();
    private readonly Queue<(TimeSpan Took, int Entries)> _last = new(Kept);
    private readonly Meter _meter;
    private readonly Histogram<double> _duration;
    private readonly Histogram<int> _entries;

    /// <param name="meters">Where the meter is made.</param>
    public CommitFigures(IMeterFactory meters)
    {
        _meter = meters.Create("Yizhan.Spool");
        _duration = _meter.CreateHistogram<double>("yizhan.spool.commit.duration", "s", "Time of one group commit, flush included.");
        _entries = _meter.CreateHistogram<int>("yizhan.spool.commit.entries", "{entry}", "Entries that shared one commit.");
    }

    /// <summary>The 99th percentile of the last 1024 commits that had entries, and how many entries they had on average; zeros when there was none.</summary>
    public (TimeSpan P99, double Entries) Read()
    {
        lock (_lock)
        {
            return _last.Count == 0 ? default : (_last.Select(c => c.Took).Order().ElementAt(_last.Count * 99 / 100), _last.Average(c => c.Entries));
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _meter.Dispose();

    /// <summary>Notes a commit. On the committer thread.</summary>
    internal void Note(TimeSpan took, int entries)
    {
        _duration.Record(took.TotalSeconds);
        if (entries == 0)
        {
            return;
        }

        _entries.Record(entries);
        lock (_lock)
        {
            if (_last.Count == Kept)
            {
                _last.Dequeue();
            }

            _last.Enqueue((took, entries));
        }
    }
}
