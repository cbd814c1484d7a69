using System.IO.Pipelines;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Dicom.Network;

namespace Yizhan.Dicom.Tests.Network;

/// <summary>A timer that only runs while we wait never fires when there is always something to read.</summary>
public sealed class PeerThatNeverPauses
{
    [Fact]
    public async Task After_an_abort_it_is_cut_off_by_ARTIM()
    {
        var clock = new FakeTimeProvider();
        var start = clock.GetUtcNow();
        var failure = await Assert.ThrowsAsync<AssociationException>(() => Association.AcceptAsync(
            PipeReader.Create(new EndlessStream(clock, [], [9, 9, 9, 9])), Stream.Null, (_, _) => throw new InvalidOperationException("not asked"), new(), clock, RawPeer.Cancel));
        Assert.Equal(AssociationEnd.ProtocolViolation, failure.End);
        Assert.InRange(clock.GetUtcNow() - start, TimeSpan.FromSeconds(30), TimeSpan.FromSeconds(40));
    }

    [Fact]
    public async Task It_cannot_put_off_our_release_for_ever()
    {
        var clock = new FakeTimeProvider();
        var accept = AssociateCodec.Encode(
            new AssociateAccept { PresentationContexts = [new(1, ContextResult.Acceptance, RawPeer.ImplicitLittleEndian)] }, RawPeer.Request);
        var association = await Association.RequestAsync(
            PipeReader.Create(new EndlessStream(clock, accept, RawPeer.Data(1, true, false, new byte[1000]))),
            Stream.Null, RequestorWithDcmtk.Request(RawPeer.SopClass, RawPeer.ImplicitLittleEndian), new(), clock, RawPeer.Cancel);
        var failure = await Assert.ThrowsAsync<AssociationException>(async () => await association.ReleaseAsync(RawPeer.Cancel));
        Assert.Equal(AssociationEnd.TimedOut, failure.End);
        await association.DisposeAsync();
    }

    /// <summary>Gives a beginning and then the same bytes again and again, at once; each read takes a second of virtual time.</summary>
    private sealed class EndlessStream(FakeTimeProvider clock, byte[] beginning, byte[] again) : MemoryStream
    {
        private byte[] _current = beginning;
        private int _position;
        private int _reads;

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            Assert.True(_reads++ < 10_000, "It is read for ever.");
            clock.Advance(TimeSpan.FromSeconds(1));
            if (_position == _current.Length)
            {
                (_current, _position) = (again, 0);
            }

            var length = Math.Min(buffer.Length, _current.Length - _position);
            _current.AsMemory(_position, length).CopyTo(buffer);
            _position += length;
            return new(length);
        }
    }
}
