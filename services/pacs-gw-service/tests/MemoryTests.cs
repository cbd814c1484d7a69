using System.Security.Cryptography;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;

namespace Yizhan.PacsGw.Tests;

/// <summary>Runs alone, because what it counts is the whole process.</summary>
[Collection(nameof(MemoryTests))]
[CollectionDefinition(nameof(MemoryTests), DisableParallelization = true)]
[Trait("Clause", "S2")]
public sealed class MemoryTests
{
    private const string Place = "studies/1.2.3/series/1.2.3.4/instances/1.1";

    [Fact]
    public async Task A_large_instance_goes_in_and_out_without_being_held_in_memory()
    {
        // In the long run the largest there is: 4 GiB less 2 bytes of pixel data, all that a length of 32 bits can say (PS3.5 §7.1.1).
        var pixels = Environment.GetEnvironmentVariable("YIZHAN_LONG") is null ? 200L << 20 : uint.MaxValue - 1;
        await using var gateway = await Gateway.StartAsync();
        gateway.Http.Timeout = TimeSpan.FromMinutes(10);
        var header = (new TestInstance("1.2.3", "1.2.3.4", "1.1") with { Change = d => d.Remove(DicomTags.PixelData) }).ToBytes();
        byte[] start = [.. header, 0xE0, 0x7F, 0x10, 0x00, (byte)'O', (byte)'W', 0, 0, .. BitConverter.GetBytes((uint)pixels)];
        var sent = await HashAsync(new PatternStream(start, pixels));
        var instance = new StoreInstance(
            DicomUids.CtImageStorage, "1.1", DicomTransferSyntax.ExplicitVrLittleEndian.Uid, () => new PatternStream(start, pixels));
        var before = GC.GetTotalAllocatedBytes(precise: true);
        Assert.Equal((ushort?)0, (await gateway.SendAsync([instance])).Single());
        await gateway.IndexedAsync();
        using (var response = await gateway.GetAsync(Place, "application/dicom"))
        {
            await using var body = await response.Content.ReadAsStreamAsync(Gateway.Cancel);
            await body.ReadExactlyAsync(new byte[(int)(response.Content.Headers.ContentLength!.Value - start.Length - pixels)], Gateway.Cancel);
            Assert.Equal(sent, await HashAsync(body));
        }

        await using (var association = await AssociateAsync(gateway))
        {
            var got = "";
            await new DimseScu(association).GetAsync(
                DicomUids.StudyRootGet,
                new DicomDataset().Set(DicomTags.QueryRetrieveLevel, "STUDY").Set(DicomTags.StudyInstanceUID, "1.2.3"),
                async (message, cancellationToken) =>
                {
                    using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
                    while (await message.DataSet!.ReadAsync(cancellationToken) is { IsEmpty: false } piece)
                    {
                        hash.AppendData(piece.Span);
                    }

                    got = Convert.ToHexString(hash.GetHashAndReset());
                    return DimseStatus.Success;
                },
                null,
                Gateway.Cancel);
            await association.ReleaseAsync(Gateway.Cancel);
            Assert.Equal(sent, got);
        }

        // Everything that was ever allocated on both sides and both ways, not only what was alive at some moment.
        var allocated = GC.GetTotalAllocatedBytes(precise: true) - before;
        Assert.True(allocated < 64 << 20, $"{allocated >> 20} MiB were allocated for an instance of {pixels >> 20} MiB.");
    }

    private static async Task<string> HashAsync(Stream stream)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[64 * 1024];
        while (await stream.ReadAsync(buffer, Gateway.Cancel) is > 0 and var read)
        {
            hash.AppendData(buffer, 0, read);
        }

        return Convert.ToHexString(hash.GetHashAndReset());
    }

    private static Task<Association> AssociateAsync(Gateway gateway) => Connector.RequestAsync(
        "127.0.0.1",
        gateway.DicomPort,
        new AssociateRequest
        {
            CallingAeTitle = "CT-1",
            CalledAeTitle = "YIZHAN",
            PresentationContexts =
            [
                new PresentationContext(1, DicomUids.StudyRootGet, [DicomTransferSyntax.ExplicitVrLittleEndian.Uid]),
                new PresentationContext(3, DicomUids.CtImageStorage, [DicomTransferSyntax.ExplicitVrLittleEndian.Uid]),
            ],
            Roles = [new RoleSelection(DicomUids.CtImageStorage, Scu: false, Scp: true)],
        },
        new AssociationOptions(),
        TimeProvider.System,
        Gateway.Cancel);

    /// <summary>Some bytes, then a pattern that no two chunks of storage have in common.</summary>
    private sealed class PatternStream : Stream
    {
        private readonly byte[] _start;
        private readonly byte[] _pattern = new byte[(1 << 20) + 7];
        private readonly long _length;

        public PatternStream(byte[] start, long length)
        {
            (_start, _length) = (start, start.Length + length);
            new Random(5).NextBytes(_pattern);
        }

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => _length;

        public override long Position { get; set; }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override int Read(Span<byte> buffer)
        {
            var source = Position < _start.Length ? _start.AsSpan((int)Position) : _pattern.AsSpan((int)((Position - _start.Length) % _pattern.Length));
            var count = (int)Math.Min(Math.Min(buffer.Length, source.Length), _length - Position);
            source[..count].CopyTo(buffer);
            Position += count;
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
