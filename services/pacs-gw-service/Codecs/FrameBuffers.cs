namespace Yizhan.PacsGw.Codecs;

/// <summary>
/// Arrays of whole frames that are used again: the pictures of a series have one size, and an array of that size for each request would have the collector go
/// through all of the memory every few requests, which the slowest request in a hundred shows. At most <see cref="MaxKept"/> arrays are kept, none above
/// <see cref="MaxKeptBytes"/>. For any thread.
/// </summary>
internal sealed class FrameBuffers
{
    private const int MaxKept = 8;
    private const int MaxKeptBytes = 4 * 1024 * 1024;

    private readonly Lock _gate = new();
    private readonly List<byte[]> _kept = new(MaxKept);

    /// <summary>An array of exactly this length; what is in it is of no meaning.</summary>
    public byte[] Rent(int length)
    {
        lock (_gate)
        {
            if (_kept.FindLastIndex(kept => kept.Length == length) is >= 0 and var index)
            {
                var found = _kept[index];
                _kept.RemoveAt(index);
                return found;
            }
        }

        return GC.AllocateUninitializedArray<byte>(length);
    }

    /// <summary>Gives an array back that nobody refers to any more. The one that waits longest for its like makes room.</summary>
    public void Return(byte[] buffer)
    {
        if (buffer.Length > MaxKeptBytes)
        {
            return;
        }

        lock (_gate)
        {
            if (_kept.Count == MaxKept)
            {
                _kept.RemoveAt(0);
            }

            _kept.Add(buffer);
        }
    }
}
