using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using Yizhan.Dicom.Network;

namespace Yizhan.Dicom.Tests.Network;

/// <summary>What goes out, write by write.</summary>
public sealed class Sending
{
    [Fact]
    public async Task A_response_is_one_write()
    {
        await using var wire = await Wire.OpenAsync();
        await wire.SendAsync(CommandSet.EchoRequest(1), default);
        Assert.Single(wire.Writes);
    }

    [Theory]
    [InlineData(16384, 3)]
    [InlineData(4096, 3)]
    [InlineData(131072, 5)]
    [InlineData(0, 5)]
    public async Task Many_small_PDUs_share_a_write_and_no_PDU_is_cut_by_one(int peerPduBytes, int mostWrites)
    {
        await using var wire = await Wire.OpenAsync(peerPduBytes);
        var sent = new byte[500_001];
        Random.Shared.NextBytes(sent);
        await wire.SendAsync(CommandSet.StoreRequest(1, RawPeer.SopClass, "1.2.3"), sent);
        Assert.InRange(wire.Writes.Count, 1, mostWrites);
        var received = new MemoryStream();
        foreach (var write in wire.Writes.ToArray())
        {
            for (var rest = write.AsSpan(); !rest.IsEmpty;)
            {
                var length = BinaryPrimitives.ReadInt32BigEndian(rest[2..]);
                Assert.InRange(length, 6, peerPduBytes == 0 ? 131072 : peerPduBytes);
                Assert.Equal(0, length % 2);
                Assert.Equal(length, BinaryPrimitives.ReadInt32BigEndian(rest[6..]) + 4);
                if ((rest[11] & 1) == 0)
                {
                    received.Write(rest[12..(6 + length)]);
                }

                rest = rest[(6 + length)..];
            }
        }

        Assert.Equal([.. sent, 0], received.ToArray());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(4090)]
    [InlineData(4091)]
    [InlineData(8180)]
    [InlineData(40_900)]
    [InlineData(300_000)]
    public async Task Memory_sequence_and_stream_make_the_same_bytes_and_one_last_fragment(int length)
    {
        var dataSet = new byte[length];
        Random.Shared.NextBytes(dataSet);
        var command = CommandSet.StoreRequest(1, RawPeer.SopClass, "1.2.3");
        await using var fromMemory = await Wire.OpenAsync(4096);
        await fromMemory.SendAsync(command, dataSet);
        await using var fromStream = await Wire.OpenAsync(4096);
        await fromStream.Association.SendAsync(1, command, new StingyStream(dataSet), RawPeer.Cancel);
        await using var fromSequence = await Wire.OpenAsync(4096);
        await fromSequence.Association.SendAsync(1, command, Pieces(dataSet), RawPeer.Cancel);
        Assert.Equal(fromMemory.Bytes, fromStream.Bytes);
        Assert.Equal(fromMemory.Bytes, fromSequence.Bytes);

        var last = new List<bool>();
        for (var rest = fromMemory.Bytes.AsSpan(); !rest.IsEmpty; rest = rest[(6 + BinaryPrimitives.ReadInt32BigEndian(rest[2..]))..])
        {
            last.Add((rest[11] & 2) != 0);
        }

        // Command, then the data set's fragments: as few as possible, only the final one marked last.
        Assert.Equal(1 + Math.Max(1, (length + 4089) / 4090), last.Count);
        Assert.Equal(2, last.Count(l => l));
        Assert.True(last[0] && last[^1]);
    }

    [Theory]
    [InlineData(131_072, 65_536)]
    [InlineData(0, 65_536)]
    [InlineData(65_542, 65_536)]
    [InlineData(65_540, 65_534)]
    [InlineData(16_384, 16_378)]
    public async Task A_stream_that_says_its_length_is_read_in_blocks_and_not_beyond(int peerPduBytes, int fragment)
    {
        var sent = new byte[500_001];
        Random.Shared.NextBytes(sent);
        await using var wire = await Wire.OpenAsync(peerPduBytes);
        var source = new NotedStream(sent);
        await wire.Association.SendAsync(1, CommandSet.StoreRequest(1, RawPeer.SopClass, "1.2.3"), source, RawPeer.Cancel);
        Assert.All(source.Reads[..^1], length => Assert.Equal(fragment, length));
        Assert.Equal(sent.Length, source.Reads.Sum());
        var received = new MemoryStream();
        var last = 0;
        for (var rest = wire.Bytes.AsSpan(); !rest.IsEmpty; rest = rest[(6 + BinaryPrimitives.ReadInt32BigEndian(rest[2..]))..])
        {
            if ((rest[11] & 1) == 0)
            {
                received.Write(rest[12..(6 + BinaryPrimitives.ReadInt32BigEndian(rest[2..]))]);
                last += rest[11] >> 1;
            }
        }

        Assert.Equal(1, last);
        Assert.Equal([.. sent, 0], received.ToArray());
    }

    [Fact]
    public async Task A_stream_that_ends_before_its_length_is_a_failure()
    {
        await using var wire = await Wire.OpenAsync();
        await Assert.ThrowsAsync<EndOfStreamException>(async () => await wire.Association.SendAsync(
            1, CommandSet.StoreRequest(1, RawPeer.SopClass, "1.2.3"), new NotedStream(new byte[100], missing: 2), RawPeer.Cancel));
        Assert.Empty(wire.Writes);
        var failure = await Assert.ThrowsAsync<AssociationException>(async () => await wire.Association.SendAsync(
            1, CommandSet.StoreRequest(1, RawPeer.SopClass, "1.2.3"), new NotedStream(new byte[1_000_000], missing: 2), RawPeer.Cancel));
        Assert.IsType<EndOfStreamException>(failure.InnerException);
        Assert.Equal([7, 0, 0, 0, 0, 4, 0, 0, 0, 0], wire.Writes[^1]);
    }

    [Fact]
    public async Task A_source_that_fails_before_anything_was_sent_leaves_the_association_usable()
    {
        await using var wire = await Wire.OpenAsync();
        await Assert.ThrowsAsync<FileNotFoundException>(async () => await wire.Association.SendAsync(
            1, CommandSet.StoreRequest(1, RawPeer.SopClass, "1.2.3"), new StingyStream(new byte[1000], failsAt: 500), RawPeer.Cancel));
        Assert.Empty(wire.Writes);

        // The message ID and the place in the window are free again.
        await wire.SendAsync(CommandSet.EchoRequest(1), default);
        Assert.Single(wire.Writes);
    }

    [Fact]
    public async Task A_source_that_fails_half_way_aborts_at_a_PDU_boundary()
    {
        await using var wire = await Wire.OpenAsync();
        var failure = await Assert.ThrowsAsync<AssociationException>(async () => await wire.Association.SendAsync(
            1, CommandSet.StoreRequest(1, RawPeer.SopClass, "1.2.3"), new StingyStream(new byte[1_000_000], failsAt: 900_000), RawPeer.Cancel));
        Assert.Equal(AssociationEnd.AbortedByUs, failure.End);
        Assert.IsType<FileNotFoundException>(failure.InnerException);
        Assert.Equal([7, 0, 0, 0, 0, 4, 0, 0, 0, 0], wire.Writes[^1]);
    }

    [Fact]
    public async Task The_next_part_is_read_while_one_is_written_and_no_further()
    {
        await using var wire = await Wire.OpenAsync();
        var release = wire.HoldWrites();
        var source = new NotedStream(new byte[2_000_000]);
        var sending = wire.Association.SendAsync(1, CommandSet.StoreRequest(1, RawPeer.SopClass, "1.2.3"), source, RawPeer.Cancel).AsTask();
        const int part = 256 * 1024;
        for (var waits = 0; source.Position < part + (part / 2); waits++)
        {
            Assert.True(waits < 60_000, "Nothing more is read while a part is written.");
            await Task.Delay(5, RawPeer.Cancel);
        }

        await Task.Delay(50, RawPeer.Cancel);
        Assert.InRange(source.Position, part + (part / 2), 2 * part);
        Assert.Empty(wire.Writes);
        release.SetResult();
        await sending;
        Assert.Equal(2_000_000, source.Position);
    }

    [Fact]
    public async Task Who_gives_up_a_message_ends_the_reading_of_its_next_part_before_the_call_returns()
    {
        await using var wire = await Wire.OpenAsync();
        wire.HoldWrites();
        using var giveUp = CancellationTokenSource.CreateLinkedTokenSource(RawPeer.Cancel);
        var source = new StuckStream(2_000_000, stuckAt: 300_000);
        var sending = wire.Association.SendAsync(1, CommandSet.StoreRequest(1, RawPeer.SopClass, "1.2.3"), source, giveUp.Token).AsTask();
        await source.Stuck.WaitAsync(TimeSpan.FromMinutes(2), RawPeer.Cancel);
        await giveUp.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => sending);
        Assert.True(source.Ended);
    }

    [Fact]
    public async Task A_message_that_is_ready_takes_nothing_until_it_is_sent()
    {
        await using var wire = await Wire.OpenAsync();
        var source = new NotedStream(new byte[1_000_000]);
        await using (var ready = await wire.Association.PrepareAsync(1, CommandSet.StoreRequest(1, RawPeer.SopClass, "1.2.3"), source, RawPeer.Cancel))
        {
            Assert.True(ready.IsLong);
            Assert.InRange(source.Position, 1, 256 * 1024);
        }

        Assert.Empty(wire.Writes);
        await using var other = await wire.Association.PrepareAsync(1, CommandSet.StoreRequest(1, RawPeer.SopClass, "1.2.4"), new NotedStream(new byte[1000]), RawPeer.Cancel);
        Assert.False(other.IsLong);
        await wire.Association.SendAsync(other, RawPeer.Cancel);
        Assert.Single(wire.Writes);
    }

    [Fact]
    public async Task A_context_that_was_not_accepted_cannot_be_used()
    {
        await using var wire = await Wire.OpenAsync();
        await Assert.ThrowsAsync<ArgumentException>(async () => await wire.Association.SendAsync(5, CommandSet.EchoRequest(1), RawPeer.Cancel));
    }

    private static ReadOnlySequence<byte> Pieces(byte[] bytes)
    {
        var first = new Segment(bytes.AsMemory(0, bytes.Length / 3), 0);
        var last = first;
        for (var at = bytes.Length / 3; at < bytes.Length;)
        {
            var length = Math.Min(1000, bytes.Length - at);
            last = last.Append(bytes.AsMemory(at, length));
            at += length;
        }

        return new(first, 0, last, last.Memory.Length);
    }

    /// <summary>A requestor whose peer only takes notes of each write.</summary>
    private sealed class Wire : IAsyncDisposable
    {
        private readonly Pipe _input = new();
        private readonly Notes _notes = new();

        public Association Association { get; private set; } = null!;

        public static async Task<Wire> OpenAsync(int peerPduBytes = 16384)
        {
            var wire = new Wire();
            await wire._input.Writer.WriteAsync(
                AssociateCodec.Encode(
                    new AssociateAccept { PresentationContexts = [new(1, ContextResult.Acceptance, RawPeer.ImplicitLittleEndian)], MaxPduBytes = (uint)peerPduBytes },
                    RawPeer.Request),
                RawPeer.Cancel);
            wire.Association = await Association.RequestAsync(
                wire._input.Reader, wire._notes, RequestorWithDcmtk.Request(RawPeer.SopClass, RawPeer.ImplicitLittleEndian), new(), TimeProvider.System, RawPeer.Cancel);
            wire.Writes.Clear();
            return wire;
        }

        public List<byte[]> Writes => _notes.Writes;

        /// <summary>Writes wait from now on until this is set.</summary>
        public TaskCompletionSource HoldWrites() => _notes.Held = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

        public byte[] Bytes => [.. Writes.SelectMany(w => w)];

        public ValueTask SendAsync(CommandSet command, byte[]? dataSet) => dataSet is null
            ? Association.SendAsync(1, command, RawPeer.Cancel)
            : Association.SendAsync(1, command, dataSet.AsMemory(), RawPeer.Cancel);

        public async ValueTask DisposeAsync()
        {
            _input.Writer.Complete();
            await Association.DisposeAsync();
        }
    }

    private sealed class Notes : MemoryStream
    {
        public List<byte[]> Writes { get; } = [];

        public TaskCompletionSource? Held { get; set; }

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (Held is { } held)
            {
                await held.Task.WaitAsync(cancellationToken);
            }

            Writes.Add(buffer.ToArray());
        }
    }

    /// <summary>From some byte on a read waits until it is cancelled.</summary>
    private sealed class StuckStream(int length, int stuckAt) : MemoryStream(new byte[length])
    {
        private readonly TaskCompletionSource _stuck = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Stuck => _stuck.Task;

        public bool Ended { get; private set; }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (Position < stuckAt)
            {
                return await base.ReadAsync(buffer, cancellationToken);
            }

            _stuck.TrySetResult();
            try
            {
                await Task.Delay(Timeout.InfiniteTimeSpan, cancellationToken);
            }
            finally
            {
                Ended = true;
            }

            return 0;
        }
    }

    /// <summary>Gives a few bytes at a time, and may fail on the way.</summary>
    internal sealed class StingyStream(byte[] bytes, int failsAt = int.MaxValue) : MemoryStream(bytes)
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => Position >= failsAt
            ? throw new FileNotFoundException("gone")
            : base.ReadAsync(buffer[..Math.Min(buffer.Length, 777)], cancellationToken);
    }

    /// <summary>Notes how much each read asks for; may say that it has more than it has.</summary>
    private sealed class NotedStream(byte[] bytes, int missing = 0) : MemoryStream(bytes)
    {
        public List<int> Reads { get; } = [];

        public override long Length => base.Length + missing;

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            Reads.Add(buffer.Length);
            return base.ReadAsync(buffer, cancellationToken);
        }
    }

    private sealed class Segment : ReadOnlySequenceSegment<byte>
    {
        public Segment(ReadOnlyMemory<byte> memory, long index) => (Memory, RunningIndex) = (memory, index);

        public Segment Append(ReadOnlyMemory<byte> memory)
        {
            var next = new Segment(memory, RunningIndex + Memory.Length);
            Next = next;
            return next;
        }
    }
}
