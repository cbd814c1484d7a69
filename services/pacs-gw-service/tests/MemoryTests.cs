using Yizhan.Dicom;

namespace Yizhan.PacsGw.Tests;

/// <summary>Runs alone, because what it counts is the whole process.</summary>
[Collection(nameof(MemoryTests))]
[CollectionDefinition(nameof(MemoryTests), DisableParallelization = true)]
public sealed class MemoryTests
{
    private const string Place = "studies/1.2.3/series/1.2.3.4/instances/1.1";

    [Fact]
    public async Task A_large_instance_goes_in_and_out_without_being_held_in_memory()
    {
        const int megabytes = 200;
        await using var gateway = await Gateway.StartAsync();
        var header = (new TestInstance("1.2.3", "1.2.3.4", "1.1") with { Change = d => d.Remove(DicomTags.PixelData) }).ToBytes();
        byte[] pixelHeader = [0xE0, 0x7F, 0x10, 0x00, (byte)'O', (byte)'W', 0, 0, .. BitConverter.GetBytes(megabytes << 20)];
        var instance = new Dicom.Network.StoreInstance(
            DicomUids.CtImageStorage, "1.1", DicomTransferSyntax.ExplicitVrLittleEndian.Uid,
            () => new RepeatingStream([.. header, .. pixelHeader], (long)megabytes << 20));
        var before = GC.GetTotalAllocatedBytes(precise: true);
        Assert.Equal((ushort?)0, (await gateway.SendAsync([instance])).Single());
        await gateway.IndexedAsync();
        using (var response = await gateway.GetAsync(Place, "application/dicom"))
        {
            await using var body = await response.Content.ReadAsStreamAsync(Gateway.Cancel);
            var buffer = new byte[64 * 1024];
            var total = 0L;
            while (await body.ReadAsync(buffer, Gateway.Cancel) is > 0 and var read)
            {
                total += read;
            }

            Assert.Equal(response.Content.Headers.ContentLength, total);
        }

        // Everything that was ever allocated on both sides and both ways, not only what was alive at some moment.
        var allocated = GC.GetTotalAllocatedBytes(precise: true) - before;
        Assert.True(allocated < 64 << 20, $"{allocated >> 20} MiB were allocated for an instance of {megabytes} MiB.");
    }

    /// <summary>Some bytes, then zeros.</summary>
    private sealed class RepeatingStream(byte[] start, long zeros) : Stream
    {
        private readonly long _length = start.Length + zeros;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => _length;

        public override long Position { get; set; }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override int Read(Span<byte> buffer)
        {
            var count = (int)Math.Min(buffer.Length, _length - Position);
            for (var i = 0; i < count; i++, Position++)
            {
                buffer[i] = Position < start.Length ? start[Position] : (byte)0;
            }

            return count;
        }

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => new(Read(buffer.Span));

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
