namespace Yizhan.Fleet;

/// <summary>Bounds the memory of bodies on their way in: a total, and a quarter of it for any one site.</summary>
internal sealed class BodyBudget(long maxBytes)
{
    private readonly Dictionary<string, long> _bySite = new(StringComparer.Ordinal);
    private readonly Lock _lock = new();
    private long _total;

    /// <summary>Reserves room for a body; false when there is none now. What was reserved is given back by <see cref="Release"/>.</summary>
    public bool TryTake(string site, long bytes)
    {
        lock (_lock)
        {
            var mine = _bySite.GetValueOrDefault(site);
            if (_total + bytes > maxBytes || mine + bytes > maxBytes / 4)
            {
                return false;
            }

            _total += bytes;
            _bySite[site] = mine + bytes;
            return true;
        }
    }

    /// <summary>Gives back what was taken.</summary>
    public void Release(string site, long bytes)
    {
        lock (_lock)
        {
            _total -= bytes;
            if ((_bySite[site] -= bytes) == 0)
            {
                _bySite.Remove(site);
            }
        }
    }
}
