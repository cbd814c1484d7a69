using Yizhan.Dicom.Network;

namespace Yizhan.Dicom.Tests.Network;

/// <summary>Sta7 to Sta13 of PS3.8 §9.2.</summary>
public sealed class Release
{
    private static readonly byte[] Ask = RawPeer.Pdu(5, new byte[4]);
    private static readonly byte[] Answer = RawPeer.Pdu(6, new byte[4]);

    [Fact]
    public async Task The_acceptor_answers_a_release_after_what_it_owes_and_waits_for_the_peer_to_close()
    {
        await using var peer = new RawPeer();
        var association = await peer.EstablishAcceptorAsync(new OperationsWindow(2, 1));
        await peer.SendAsync(RawPeer.Command(CommandSet.EchoRequest(1), false, context: 3));
        var message = await association.ReceiveAsync(RawPeer.Cancel);
        await peer.SendAsync(Ask);
        Assert.Null(await association.ReceiveAsync(RawPeer.Cancel));
        Assert.Null(await association.ReceiveAsync(RawPeer.Cancel));
        await association.SendAsync(3, message!.Command.CreateResponse(DimseStatus.Success), RawPeer.Cancel);
        Assert.Equal(4, (await peer.ReceivePduAsync())![0]);
        await association.ReleaseAsync(RawPeer.Cancel);
        Assert.Equal(Answer, await peer.ReceivePduAsync());

        var disposing = association.DisposeAsync().AsTask();
        Assert.False(disposing.IsCompleted);
        peer.Close();
        await disposing;
        Assert.Null(await peer.ReceivePduAsync());
    }

    [Fact]
    public async Task A_peer_that_does_not_close_after_the_release_is_closed_by_ARTIM()
    {
        await using var peer = new RawPeer();
        var association = await peer.EstablishAcceptorAsync();
        await peer.SendAsync(Ask);
        Assert.Null(await association.ReceiveAsync(RawPeer.Cancel));
        await association.ReleaseAsync(RawPeer.Cancel);
        Assert.True(await peer.AdvanceUntilAsync(association.DisposeAsync().AsTask(), TimeSpan.FromSeconds(1)) >= peer.Options.Artim);
    }

    [Fact]
    public async Task A_peer_that_aborts_after_the_release_is_closed_at_once()
    {
        await using var peer = new RawPeer();
        var association = await peer.EstablishAcceptorAsync();
        await peer.SendAsync(Ask);
        Assert.Null(await association.ReceiveAsync(RawPeer.Cancel));
        await association.ReleaseAsync(RawPeer.Cancel);
        Assert.Equal(Answer, await peer.ReceivePduAsync());
        await peer.SendAsync(RawPeer.Data(1, true, false, new byte[1000]));
        await peer.SendAsync(RawPeer.Pdu(7, new byte[4]));

        // The clock of this test stands still: ARTIM never expires.
        await association.DisposeAsync().AsTask().WaitAsync(RawPeer.Cancel);
        Assert.Null(await peer.ReceivePduAsync());
    }

    [Fact]
    public async Task The_requestor_closes_when_its_release_is_answered_and_drops_data_that_comes_before()
    {
        await using var peer = new RawPeer();
        var association = await peer.EstablishRequestorAsync();
        var releasing = association.ReleaseAsync(RawPeer.Cancel).AsTask();
        Assert.Equal(Ask, await peer.ReceivePduAsync());
        await peer.SendAsync(RawPeer.Data(1, true, false, new byte[1000]));
        await peer.SendAsync(Answer);
        await releasing;
        await association.DisposeAsync();
        Assert.Null(await peer.ReceivePduAsync());
    }

    [Fact]
    public async Task In_a_collision_the_requestor_answers_first()
    {
        await using var peer = new RawPeer();
        await using var association = await peer.EstablishRequestorAsync();
        var releasing = association.ReleaseAsync(RawPeer.Cancel).AsTask();
        Assert.Equal(Ask, await peer.ReceivePduAsync());
        await peer.SendAsync(Ask);
        Assert.Equal(Answer, await peer.ReceivePduAsync());
        Assert.False(releasing.IsCompleted);
        await peer.SendAsync(Answer);
        await releasing;
    }

    [Fact]
    public async Task In_a_collision_the_acceptor_answers_second()
    {
        await using var peer = new RawPeer();
        var association = await peer.EstablishAcceptorAsync();
        var releasing = association.ReleaseAsync(RawPeer.Cancel).AsTask();
        Assert.Equal(Ask, await peer.ReceivePduAsync());
        await peer.SendAsync(Ask);
        var answering = peer.ReceivePduAsync();
        await Task.Delay(20, RawPeer.Cancel);
        Assert.False(answering.IsCompleted);
        await peer.SendAsync(Answer);
        Assert.Equal(Answer, await answering);
        await releasing;
        peer.Close();
        await association.DisposeAsync();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_release_without_an_answer_ends_with_ARTIM_even_if_the_peer_keeps_sending(bool floods)
    {
        await using var peer = new RawPeer();
        var association = await peer.EstablishRequestorAsync();
        var releasing = association.ReleaseAsync(RawPeer.Cancel).AsTask();
        Assert.Equal(Ask, await peer.ReceivePduAsync());
        var flood = Task.Run(
            async () =>
            {
                while (floods && await peer.SendAsync(RawPeer.Data(1, true, false, new byte[1000])))
                {
                    await Task.Yield();
                }
            },
            RawPeer.Cancel);
        Assert.True(await peer.AdvanceUntilAsync(releasing, TimeSpan.FromSeconds(1)) >= peer.Options.Artim);
        Assert.Equal(AssociationEnd.TimedOut, (await Assert.ThrowsAsync<AssociationException>(() => releasing)).End);
        Assert.Equal((0, AbortReason.NotSpecified), await peer.ReceiveAbortAsync());
        await peer.AdvanceUntilAsync(association.DisposeAsync().AsTask(), TimeSpan.FromSeconds(1));
        await flood;
    }

    [Fact]
    public async Task Disposing_without_a_release_aborts()
    {
        await using var peer = new RawPeer();
        var association = await peer.EstablishAcceptorAsync();
        var disposing = association.DisposeAsync().AsTask();
        Assert.Equal((0, AbortReason.NotSpecified), await peer.ReceiveAbortAsync());
        peer.Close();
        await disposing;
    }

    [Fact]
    public async Task An_abort_from_another_task_ends_a_pending_receive()
    {
        await using var peer = new RawPeer();
        await using var association = await peer.EstablishAcceptorAsync();
        var receiving = association.ReceiveAsync(RawPeer.Cancel).AsTask();
        await association.AbortAsync(RawPeer.Cancel);
        Assert.Equal(AssociationEnd.AbortedByUs, (await Assert.ThrowsAsync<AssociationException>(() => receiving)).End);
        Assert.Equal((0, AbortReason.NotSpecified), await peer.ReceiveAbortAsync());
        peer.Close();
    }
}
