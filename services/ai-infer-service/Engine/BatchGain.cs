namespace Yizhan.AiInfer.Engine;

/// <summary>
/// Learns whether joining requests pays. On an accelerator it nearly always does; on a processor eight images at once take as long as one after the other, longer when they do not fit
/// its cache any more, and the first of them waits for the last. Times are kept by the size of an element, as one model is asked for small and large ones.
/// </summary>
internal sealed class BatchGain
{
    /// <summary>The way that is not taken is tried again after so many computations, and after twice as many each time that it turns out worse once more.</summary>
    public const int TryAgain = 32;

    private const int SeldomTried = 4096;

    private const int MaxSizes = 16;
    private const double Newest = 0.1;

    private readonly Lock _lock = new();
    private readonly Dictionary<long, Times> _times = [];

    /// <summary>Whether to join requests of elements of so many bytes now.</summary>
    public bool Joins(long elementBytes)
    {
        lock (_lock)
        {
            if (!_times.TryGetValue(elementBytes, out var times))
            {
                return true;
            }

            var pays = times.Alone is not { } alone || times.Joined is not { } joined || joined < alone;
            if (pays != times.Pays)
            {
                (times.Pays, times.Asked, times.Interval) = (pays, 0, TryAgain);
            }

            if (++times.Asked < times.Interval)
            {
                return pays;
            }

            // A batch that is tried where it does not pay delays all that are in it: many requests, though one computation.
            (times.Asked, times.Interval) = (0, Math.Min(2 * times.Interval, SeldomTried));
            return !pays;
        }
    }

    /// <summary>A computation of so many elements took so long.</summary>
    public void Note(long elementBytes, int elements, TimeSpan time)
    {
        if (elements < 1)
        {
            return;
        }

        lock (_lock)
        {
            if (!_times.TryGetValue(elementBytes, out var times))
            {
                if (_times.Count >= MaxSizes)
                {
                    _times.Clear();
                }

                _times[elementBytes] = times = new Times();
            }

            var each = time.TotalMicroseconds / elements;
            if (elements == 1)
            {
                times.Alone = Mean(times.Alone, each);
            }
            else
            {
                times.Joined = Mean(times.Joined, each);
            }
        }
    }

    // One that was interrupted counts for no more than twice the mean.
    private static double Mean(double? mean, double each) => mean is { } known ? known + Newest * (Math.Min(each, 2 * known) - known) : each;

    private sealed class Times
    {
        public double? Alone { get; set; }

        public double? Joined { get; set; }

        public bool Pays { get; set; } = true;

        /// <summary>Computations since the other way was tried, or since the ways changed places.</summary>
        public int Asked { get; set; }

        public int Interval { get; set; } = TryAgain;
    }
}
