using Yizhan.Link;
using Yizhan.Storage;

namespace Yizhan.Station;

/// <summary>
/// How many bytes may be under way. It grows while answers come in time and shrinks when they are late, so that whatever the
/// line's rate is, what is under way keeps it busy for about the target time and no longer: an urgent entry waits for that.
/// </summary>
/// <remarks>
/// The latency of small requests is subtracted, or a satellite line would look slow and never be filled. The window cannot be
/// smaller than one chunk, which is 8 seconds at 64 kbit/s.
/// </remarks>
internal sealed class SendWindow(long maxBytes, TimeSpan target)
{
    private TimeSpan _latency = TimeSpan.MaxValue;
    private long _lastCut;

    /// <summary>Most bytes under way.</summary>
    public long Bytes { get; private set; } = 4 * IBlobStore.ChunkBytes;

    /// <summary>Bytes under way now.</summary>
    public long InFlight { get; private set; }

    /// <summary>How long a run of chunks should be: a quarter of the window in whole chunks, 64 KiB to 4 MiB.</summary>
    public int RunBytes =>
        (int)Math.Clamp(Bytes / 4 / IBlobStore.ChunkBytes * IBlobStore.ChunkBytes, IBlobStore.ChunkBytes, LinkRoutes.MaxBodyBytes);

    /// <summary>How large a batch should be: half the window, because a lane has one at a time under way; at most 2 MiB.</summary>
    public long BatchBytes => Math.Clamp(Bytes / 2, RunBytes, Math.Max(RunBytes, LinkRoutes.MaxBodyBytes / 2));

    /// <summary>True when so many bytes more may leave. Something may always be under way.</summary>
    public bool Fits(long bytes) => InFlight == 0 || InFlight + bytes <= Bytes;

    /// <summary>A small request took this long.</summary>
    public void Latency(TimeSpan took) => _latency = took < _latency ? took : _latency;

    /// <summary>Bytes leave.</summary>
    public void Start(long bytes) => InFlight += bytes;

    /// <summary>Bytes were answered.</summary>
    /// <param name="bytes">As given to <see cref="Start"/>.</param>
    /// <param name="startedMs">When they left.</param>
    /// <param name="nowMs">When the answer was here.</param>
    public void Done(long bytes, long startedMs, long nowMs)
    {
        InFlight -= bytes;
        var line = TimeSpan.FromMilliseconds(nowMs - startedMs) - (_latency == TimeSpan.MaxValue ? TimeSpan.Zero : _latency);
        if (line > target)
        {
            // What left before the last cut says nothing about the window after it.
            if (startedMs >= _lastCut)
            {
                Bytes = Math.Max(IBlobStore.ChunkBytes, Bytes / 2);
                _lastCut = nowMs;
            }
        }
        else if (line < target / 2 && bytes + InFlight >= Bytes / 2)
        {
            Bytes = Math.Min(maxBytes, Bytes + bytes);
        }
    }

    /// <summary>The connection is gone and everything that was under way with it.</summary>
    public void Reset()
    {
        InFlight = 0;
        _lastCut = 0;
        _latency = TimeSpan.MaxValue;
        Bytes = Math.Min(Bytes, 4 * IBlobStore.ChunkBytes);
    }
}
