using System.Collections.Concurrent;

namespace Yizhan.Storage;

/// <summary>Buffers of one size. At most 32 are kept: what bursts beyond that is left to the collector.</summary>
internal sealed class BufferPool(int size)
{
    private const int MaxKept = 32;
    private readonly ConcurrentQueue<byte[]> _free = new();

    public byte[] Rent() => _free.TryDequeue(out var buffer) ? buffer : GC.AllocateUninitializedArray<byte>(size);

    public void Return(byte[] buffer)
    {
        if (_free.Count < MaxKept)
        {
            _free.Enqueue(buffer);
        }
    }
}
