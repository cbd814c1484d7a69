using Yizhan.Dicom.Network;

namespace Yizhan.Dicom.Tests.Network;

/// <summary>The asynchronous operations window of PS3.7 Annex D.3.3.3, and what an association holds back because of it.</summary>
public sealed class OperationsWindows
{
    [Theory]
    [InlineData(0, 16)]
    [InlineData(4, 4)]
    [InlineData(60000, 16)]
    public async Task The_acceptor_grants_what_is_asked_within_its_bound(int asked, int granted)
    {
        await using var peer = new RawPeer();
        var accepting = peer.AcceptAsync();
        await peer.SendAsync(AssociateCodec.Encode(RawPeer.Request with { OperationsWindow = new((ushort)asked, 1) }));
        await using var association = await accepting;
        var accept = AssociateCodec.DecodeAccept((await peer.ReceivePduAsync())!.AsSpan(6));
        Assert.Equal(new OperationsWindow((ushort)granted, 1), accept.OperationsWindow);
        Assert.Equal((granted, 1), (association!.PerformWindow, association.InvokeWindow));
        peer.Close();
    }

    [Fact]
    public async Task Without_a_proposal_nothing_is_answered_and_one_operation_runs_at_a_time()
    {
        await using var peer = new RawPeer();
        var accepting = peer.AcceptAsync();
        await peer.SendAsync(AssociateCodec.Encode(RawPeer.Request));
        await using var association = await accepting;
        Assert.Null(AssociateCodec.DecodeAccept((await peer.ReceivePduAsync())!.AsSpan(6)).OperationsWindow);

        await peer.SendAsync(RawPeer.Command(CommandSet.EchoRequest(1), false, context: 3));
        await peer.SendAsync(RawPeer.Command(CommandSet.EchoRequest(2), false, context: 3));
        var first = await association!.ReceiveAsync(RawPeer.Cancel);
        var second = association.ReceiveAsync(RawPeer.Cancel).AsTask();
        await Task.Delay(20, RawPeer.Cancel);
        Assert.False(second.IsCompleted);
        await association.SendAsync(3, first!.Command.CreateResponse(DimseStatus.Success), RawPeer.Cancel);
        Assert.Equal(2, (await second)!.Command.MessageId);
        peer.Close();
    }

    [Fact]
    public async Task A_cancel_request_is_received_although_the_window_is_full()
    {
        await using var peer = new RawPeer();
        await using var association = await peer.EstablishAcceptorAsync();
        await peer.SendAsync(RawPeer.Command(new CommandSet(CommandField.CFindRequest).SetUInt16(CommandElement.MessageId, 4), false));
        await peer.SendAsync(RawPeer.Command(new CommandSet(CommandField.CCancelRequest).SetUInt16(CommandElement.MessageIdBeingRespondedTo, 4), false));
        var find = await association.ReceiveAsync(RawPeer.Cancel);
        var cancel = await association.ReceiveAsync(RawPeer.Cancel);
        Assert.Equal((CommandField.CFindRequest, CommandField.CCancelRequest), (find!.Command.Field, cancel!.Command.Field));
        Assert.Equal(4, cancel.Command.MessageIdBeingRespondedTo);

        // A pending response does not give the place in the window back; the final one does.
        await association.SendAsync(1, find.Command.CreateResponse(DimseStatus.Pending), RawPeer.Cancel);
        await association.SendAsync(1, find.Command.CreateResponse(DimseStatus.Cancel), RawPeer.Cancel);
        await Assert.ThrowsAsync<InvalidOperationException>(
            async () => await association.SendAsync(1, find.Command.CreateResponse(DimseStatus.Success), RawPeer.Cancel));
        peer.Close();
    }

    [Theory]
    [InlineData(null, 1)]
    [InlineData(2, 2)]
    [InlineData(500, 16)]
    public async Task The_requestor_never_has_more_outstanding_than_was_answered(int? answered, int window)
    {
        await using var peer = new RawPeer();
        await using var association = await peer.EstablishRequestorAsync(window: answered is { } n ? new((ushort)n, 1) : null);
        Assert.Equal(window, association.InvokeWindow);
        for (ushort id = 1; id <= window; id++)
        {
            await association.SendAsync(1, CommandSet.EchoRequest(id), RawPeer.Cancel);
            await peer.ReceivePduAsync();
        }

        var oneMore = association.SendAsync(1, CommandSet.EchoRequest(999), RawPeer.Cancel).AsTask();
        await Task.Delay(20, RawPeer.Cancel);
        Assert.False(oneMore.IsCompleted);
        await peer.SendAsync(RawPeer.Command(CommandSet.EchoRequest(1).CreateResponse(DimseStatus.Success), false));
        Assert.Equal(1, (await association.ReceiveAsync(RawPeer.Cancel))!.Command.MessageIdBeingRespondedTo);
        await oneMore;
        peer.Close();
    }

    [Fact]
    public async Task With_a_window_the_next_instance_comes_in_while_the_last_is_committed()
    {
        var bothAreHere = new TaskCompletionSource();
        var count = 0;
        await using var scp = new TestScp
        {
            OnStored = async (_, cancel) =>
            {
                if (Interlocked.Increment(ref count) == 2)
                {
                    bothAreHere.SetResult();
                }

                await bothAreHere.Task.WaitAsync(TimeSpan.FromMinutes(1), cancel);
                return DimseStatus.Success;
            },
        };
        var instances = Enumerable.Range(1, 2).Select(i => StoreInstance.FromMemory(RawPeer.SopClass, $"1.2.{i}", RawPeer.ImplicitLittleEndian, new byte[100_000]));
        var results = await RequestorWithDcmtk.Scu(scp.Port).SendAsync([.. instances], RawPeer.Cancel);
        Assert.All(results, r => Assert.True(r.IsStored, r.Message));
        await scp.Quiet();
        Assert.Empty(scp.Failures);
    }

    [Fact]
    public async Task The_next_receive_may_begin_in_the_moment_in_which_a_data_set_is_complete()
    {
        await using var peer = new RawPeer();
        await using var association = await peer.EstablishAcceptorAsync(new OperationsWindow(16, 1));
        var next = association.ReceiveAsync(RawPeer.Cancel).AsTask();
        for (ushort id = 1; id <= 800; id++)
        {
            await peer.SendAsync(RawPeer.Command(CommandSet.StoreRequest(id, RawPeer.SopClass, "1.2"), true));
            await peer.SendAsync(RawPeer.Data(1, false, true, new byte[2]));
            var message = (await next)!;
            var reading = Task.Run(() => message.DataSet!.CopyToAsync(Stream.Null, RawPeer.Cancel).AsTask(), RawPeer.Cancel);

            // Without a pause: the moment is shorter than a time slice.
            while (!message.DataSet!.Completed.IsCompleted)
            {
                RawPeer.Cancel.ThrowIfCancellationRequested();
            }


            next = association.ReceiveAsync(RawPeer.Cancel).AsTask();
            await reading;
            await association.SendAsync(1, message.Command.CreateResponse(DimseStatus.Success), RawPeer.Cancel);
            await peer.ReceivePduAsync();
        }

        peer.Close();
        await Assert.ThrowsAsync<AssociationException>(() => next);
    }

    [Fact]
    public async Task A_handler_that_fails_ends_the_association_and_its_exception_comes_out()
    {
        await using var scp = new TestScp { OnStored = (_, _) => throw new InvalidDataException("broken handler") };
        var instance = StoreInstance.FromMemory(RawPeer.SopClass, "1.2.3", RawPeer.ImplicitLittleEndian, new byte[100]);
        var result = Assert.Single(await RequestorWithDcmtk.Scu(scp.Port).SendAsync([instance], RawPeer.Cancel));
        Assert.Equal(StoreOutcome.Unknown, result.Outcome);
        Assert.Contains("A-ABORT by the service user", result.Message);
        await scp.Quiet();
        Assert.Equal("broken handler", Assert.IsType<InvalidDataException>(Assert.Single(scp.Failures)).Message);
    }

    [Fact]
    public async Task A_handler_that_forgets_the_response_ends_the_association()
    {
        await using var peer = new RawPeer();
        await using var association = await peer.EstablishAcceptorAsync();
        await peer.SendAsync(RawPeer.Command(new CommandSet(CommandField.CFindRequest).SetUInt16(CommandElement.MessageId, 1), false));
        await Assert.ThrowsAsync<InvalidOperationException>(() => ServiceLoop.ServeAsync(association, (_, _) => Task.CompletedTask, RawPeer.Cancel));
        Assert.Equal((0, AbortReason.NotSpecified), await peer.ReceiveAbortAsync());
        peer.Close();
    }
}
