namespace Yizhan.Station;

/// <summary>
/// Waits between attempts: full jitter between half a second and a bound that doubles up to a minute, so that a whole region
/// whose line returns does not call in the same moment. A number the centre named goes first.
/// </summary>
internal sealed class BackOff(Random random)
{
    private static readonly TimeSpan Least = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan Most = TimeSpan.FromSeconds(60);

    private int _failures;

    public TimeSpan Next(int? retryAfterSeconds = null)
    {
        var bound = Least * Math.Pow(2, Math.Min(++_failures, 10));
        bound = bound < Most ? bound : Most;
        var jitter = Least + ((bound - Least) * random.NextDouble());
        return retryAfterSeconds is { } seconds ? TimeSpan.FromSeconds(Math.Clamp(seconds, 0, 3600)) + (jitter / 10) : jitter;
    }

    public void Reset() => _failures = 0;
}
