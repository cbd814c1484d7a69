using System.Text;
using Yizhan.Dicom.Network;

namespace Yizhan.Dicom.Tests.Network;

/// <summary>Sta2 of PS3.8 §9.2: whatever is not a good A-ASSOCIATE-RQ is answered with A-ABORT from the service user (AA-1).</summary>
public sealed class HostilePeerBeforeTheAssociation
{
    private static readonly byte[] Good = AssociateCodec.Encode(RawPeer.Request);

    public static TheoryData<string, byte[]> NotARequest() => new()
    {
        { "a web browser", Encoding.ASCII.GetBytes("GET / HTTP/1.1\r\nHost: x\r\n\r\n") },
        { "TLS", [0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC] },
        { "A-ASSOCIATE-RQ of 2^32-1 bytes", RawPeer.Header(1, uint.MaxValue) },
        { "A-ASSOCIATE-RQ of 0 bytes", RawPeer.Header(1, 0) },
        { "A-ASSOCIATE-RQ without items", RawPeer.Pdu(1, Good.AsSpan(6, 68)) },
        { "P-DATA-TF", RawPeer.Data(1, true, true, [0, 0]) },
        { "A-RELEASE-RQ", RawPeer.Pdu(5, new byte[4]) },
        { "A-ASSOCIATE-AC", RawPeer.Pdu(2, new byte[80]) },
        { "an item that goes past the end", Changed(pdu => pdu[6 + 68 + 3] = 0xFF) },
        { "a cut item header", RawPeer.Pdu(1, Good.AsSpan(6, 68 + 2)) },
        { "the same context id twice", Encoded(r => r with { PresentationContexts = [r.PresentationContexts[0], r.PresentationContexts[0]] }) },
        { "an even context id", Encoded(r => r with { PresentationContexts = [new(2, RawPeer.SopClass, [RawPeer.ImplicitLittleEndian])] }) },
        { "a context without transfer syntax", Encoded(r => r with { PresentationContexts = [new(1, RawPeer.SopClass, [])] }) },
        { "a UID with a path in it", Encoded(r => r with { PresentationContexts = [new(1, "../../etc/passwd", [RawPeer.ImplicitLittleEndian])] }) },
        { "a UID of 65 characters", Encoded(r => r with { PresentationContexts = [new(1, new string('1', 65), [RawPeer.ImplicitLittleEndian])] }) },
        { "an AE title with a line break", Encoded(r => r with { CallingAeTitle = "A\nB" }) },
        { "an empty AE title", Encoded(r => r with { CallingAeTitle = "" }) },
        { "a maximum PDU length of 7", Encoded(r => r with { MaxPduBytes = 7 }) },
    };

    [Theory]
    [MemberData(nameof(NotARequest))]
    public async Task Anything_but_a_good_request_is_aborted(string what, byte[] bytes)
    {
        await using var peer = new RawPeer();
        var accepting = peer.AcceptAsync();
        await peer.SendAsync(bytes);
        Assert.Equal((0, AbortReason.NotSpecified), await peer.ReceiveAbortAsync());
        peer.Close();
        var failure = await Assert.ThrowsAsync<AssociationException>(() => accepting);
        Assert.True(failure.End == AssociationEnd.ProtocolViolation, what);
        Assert.Null(await peer.ReceivePduAsync());
    }

    [Fact]
    public async Task Silence_ends_with_ARTIM_and_the_connection_with_a_second_one()
    {
        await using var peer = new RawPeer();
        var accepting = peer.AcceptAsync();
        var aborted = peer.ReceiveAbortAsync();
        Assert.True(await peer.AdvanceUntilAsync(aborted, TimeSpan.FromSeconds(1)) >= peer.Options.Artim);
        Assert.Equal((0, AbortReason.NotSpecified), await aborted);

        // The peer does not close either: Sta13 ends with ARTIM too.
        await peer.AdvanceUntilAsync(accepting, TimeSpan.FromSeconds(1));
        Assert.Equal(AssociationEnd.TimedOut, (await Assert.ThrowsAsync<AssociationException>(() => accepting)).End);
        Assert.Null(await peer.ReceivePduAsync());
    }

    [Fact]
    public async Task A_request_that_comes_byte_by_byte_gets_no_more_time_than_silence()
    {
        await using var peer = new RawPeer { Options = new() { MaxAssociateBytes = 1 << 20 } };
        var accepting = peer.AcceptAsync();
        await peer.SendAsync(RawPeer.Header(1, 1 << 20));
        var aborted = peer.ReceiveAbortAsync();
        var seconds = 0;
        for (; !aborted.IsCompleted && seconds < 1000; seconds++)
        {
            await peer.SendAsync(new byte[1]);
            peer.Clock.Advance(TimeSpan.FromSeconds(1));
            // By then it is over but for the work, for which a busy machine takes its time.
            await Task.WhenAny(aborted, Task.Delay(seconds < 100 ? 2 : 200, RawPeer.Cancel));
        }

        Assert.InRange(seconds, 30, 999);
        peer.Close();
        Assert.Equal(AssociationEnd.TimedOut, (await Assert.ThrowsAsync<AssociationException>(() => accepting)).End);
    }

    [Fact]
    public async Task After_an_abort_a_peer_that_floods_us_is_cut_off_by_ARTIM()
    {
        await using var peer = new RawPeer();
        var accepting = peer.AcceptAsync();
        await peer.SendAsync(RawPeer.Header(9, 1));
        await peer.ReceiveAbortAsync();
        var flood = Task.Run(async () =>
        {
            var junk = new byte[8192];
            while (await peer.SendAsync(junk))
            {
                await Task.Yield();
            }
        }, RawPeer.Cancel);
        await peer.AdvanceUntilAsync(accepting, TimeSpan.FromSeconds(1));
        Assert.Equal(AssociationEnd.ProtocolViolation, (await Assert.ThrowsAsync<AssociationException>(() => accepting)).End);
        await flood;
    }

    [Fact]
    public async Task A_closed_connection_is_lost_not_aborted()
    {
        await using var peer = new RawPeer();
        var accepting = peer.AcceptAsync();
        await peer.SendAsync(Good[..100]);
        peer.Close();
        Assert.Equal(AssociationEnd.ConnectionLost, (await Assert.ThrowsAsync<AssociationException>(() => accepting)).End);
        Assert.Null(await peer.ReceivePduAsync());
    }

    [Theory]
    [InlineData(2, Implementation.ApplicationContext, 1, 2, 2)]
    [InlineData(1, "1.2.3", 1, 1, 2)]
    public async Task Another_protocol_or_application_is_rejected_with_its_reason(int version, string application, byte result, byte source, byte reason)
    {
        await using var peer = new RawPeer();
        var accepting = peer.AcceptAsync(_ => throw new InvalidOperationException("not asked"));
        await peer.SendAsync(AssociateCodec.Encode(RawPeer.Request with { ProtocolVersion = (ushort)version, ApplicationContext = application }));
        Assert.Equal([3, 0, 0, 0, 0, 4, 0, result, source, reason], await peer.ReceivePduAsync());
        peer.Close();
        Assert.Null(await accepting);
    }

    [Fact]
    public async Task A_calling_title_that_the_callback_does_not_know_is_rejected_as_such()
    {
        await using var peer = new RawPeer();
        var accepting = peer.AcceptAsync(_ => AssociateAnswer.Reject(RejectReason.CallingAeTitleNotRecognized, transient: false));
        await peer.SendAsync(Good);
        Assert.Equal([3, 0, 0, 0, 0, 4, 0, 1, 1, 3], await peer.ReceivePduAsync());
        peer.Close();
        Assert.Null(await accepting);
        Assert.Null(await peer.ReceivePduAsync());
    }

    private static byte[] Encoded(Func<AssociateRequest, AssociateRequest> change) => AssociateCodec.Encode(change(RawPeer.Request));

    private static byte[] Changed(Action<byte[]> change)
    {
        var pdu = (byte[])Good.Clone();
        change(pdu);
        return pdu;
    }
}
