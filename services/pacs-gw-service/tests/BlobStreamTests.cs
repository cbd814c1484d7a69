using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.DicomWeb;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Tests;

/// <summary>What storage is asked for on the way out: whole chunks, each once, because each is verified and opened as a whole.</summary>
public sealed class BlobStreamTests
{
    private const int Chunk = IBlobStore.ChunkBytes;

    [Theory]
    [InlineData(1)]
    [InlineData(8192)]
    [InlineData(16_378)]
    [InlineData(Chunk)]
    [InlineData(131_067)]
    [InlineData(3 * Chunk)]
    [InlineData(10_000_000)]
    public async Task A_stream_reads_each_chunk_once_whatever_is_asked_for(int pieceBytes)
    {
        var blob = new CountingBlob((pieceBytes == 1 ? 1 : 9) * Chunk + 77);
        await using var stream = new BlobStream(blob);
        var got = new byte[blob.Length + pieceBytes];
        var at = 0;
        while (await stream.ReadAsync(got.AsMemory(at, pieceBytes), Gateway.Cancel) is > 0 and var read)
        {
            at += read;
            Assert.Equal(at, stream.Position);
        }

        Assert.Equal(blob.Bytes, got[..at]);
        Assert.Equal(stream.Length, at);
        blob.AssertEachChunkOnce();
    }

    [Fact]
    public async Task Sizes_that_change_read_each_chunk_once_and_the_same_bytes()
    {
        var random = new Random(3);
        for (var round = 0; round < 50; round++)
        {
            var blob = new CountingBlob(random.Next(0, 6 * Chunk));
            await using var stream = new BlobStream(blob);
            var got = new MemoryStream();
            var buffer = new byte[4 * Chunk];
            while (await stream.ReadAsync(buffer.AsMemory(0, random.Next(3) switch { 0 => Chunk, 1 => random.Next(1, 500), _ => random.Next(1, buffer.Length) }), Gateway.Cancel)
                is > 0 and var read)
            {
                got.Write(buffer, 0, read);
            }

            Assert.Equal(blob.Bytes, got.ToArray());
            blob.AssertEachChunkOnce();
        }
    }

    [Theory]
    [InlineData(0, (9 * Chunk) + 77)]
    [InlineData(1000, 8 * Chunk)]
    [InlineData(Chunk - 1, 2)]
    [InlineData(4 * Chunk, 0)]
    public async Task A_range_goes_into_a_response_in_pieces_that_end_where_chunks_do(long offset, long length)
    {
        var blob = new CountingBlob((9 * Chunk) + 77);
        var body = new MemoryStream();
        var pipe = System.IO.Pipelines.PipeWriter.Create(body);
        await MultipartResponse.CopyAsync(blob, offset, length, pipe, Gateway.Cancel);
        await pipe.CompleteAsync();
        Assert.Equal(blob.Bytes.AsSpan((int)offset, (int)length).ToArray(), body.ToArray());
        blob.AssertEachChunkOnce();
    }

    /// <summary>Bytes in memory that count how often each chunk is read, as a whole or in part.</summary>
    private sealed class CountingBlob : BlobReader
    {
        private readonly int[] _reads;

        public CountingBlob(int length)
        {
            Bytes = new byte[length];
            new Random(length).NextBytes(Bytes);
            _reads = new int[(length / Chunk) + 1];
        }

        public byte[] Bytes { get; }

        public override long Length => Bytes.Length;

        public override ValueTask<int> ReadAsync(long offset, Memory<byte> buffer, CancellationToken cancellationToken)
        {
            var read = (int)Math.Min(buffer.Length, Bytes.Length - offset);
            Bytes.AsMemory((int)offset, read).CopyTo(buffer);
            for (var chunk = offset / Chunk; read > 0 && chunk <= (offset + read - 1) / Chunk; chunk++)
            {
                _reads[chunk]++;
            }

            return new(read);
        }

        public void AssertEachChunkOnce() => Assert.All(_reads, reads => Assert.InRange(reads, 0, 1));

        public override ValueTask DisposeAsync() => default;
    }
}
