using Yizhan.Dicom.Network;

namespace Yizhan.Dicom.Tests.Network;

/// <summary>Sta6 of PS3.8 §9.2: what breaks the protocol is answered with A-ABORT from the service provider and its reason (AA-8).</summary>
public sealed class HostilePeerInTheAssociation
{
    private static readonly CommandSet Store = CommandSet.StoreRequest(1, RawPeer.SopClass, "1.2.3");
    private static readonly byte[] StoreCommand = RawPeer.Command(Store, hasDataSet: true);

    public static TheoryData<string, byte[], AbortReason> Violations() => new()
    {
        { "PDU type 8", RawPeer.Pdu(8, [0]), AbortReason.UnrecognizedPdu },
        { "PDU type 0", RawPeer.Pdu(0, []), AbortReason.UnrecognizedPdu },
        { "a second A-ASSOCIATE-RQ", AssociateCodec.Encode(RawPeer.Request), AbortReason.UnexpectedPdu },
        { "A-RELEASE-RP", RawPeer.Pdu(6, new byte[4]), AbortReason.UnexpectedPdu },
        { "P-DATA-TF of 2^32-1 bytes", RawPeer.Header(4, uint.MaxValue), AbortReason.InvalidPduParameter },
        { "P-DATA-TF longer than agreed", RawPeer.Header(4, 131073), AbortReason.InvalidPduParameter },
        { "P-DATA-TF without a value", RawPeer.Pdu(4, []), AbortReason.InvalidPduParameter },
        { "P-DATA-TF of 5 bytes", RawPeer.Pdu(4, new byte[5]), AbortReason.InvalidPduParameter },
        { "a value of length 1", RawPeer.Pdu(4, [0, 0, 0, 1, 1, 3]), AbortReason.InvalidPduParameter },
        { "a value of length 2^32-1", RawPeer.Pdu(4, [0xFF, 0xFF, 0xFF, 0xFF, 1, 3]), AbortReason.InvalidPduParameter },
        { "a value longer than its PDU", RawPeer.Pdu(4, [0, 0, 0, 4, 1, 3, 0]), AbortReason.InvalidPduParameter },
        { "bytes after the last value", [.. RawPeer.Pdu(4, [0, 0, 0, 2, 1, 1, 0, 0, 0])], AbortReason.InvalidPduParameter },
        { "a command of an unknown context", RawPeer.Data(9, true, true, [0, 0]), AbortReason.UnexpectedPduParameter },
        { "data without a command", RawPeer.Data(1, false, true, [0, 0]), AbortReason.UnexpectedPduParameter },
        { "a command that changes context", [.. RawPeer.Data(1, true, false, [0, 0]), .. RawPeer.Data(3, true, true, [0, 0])], AbortReason.UnexpectedPduParameter },
        { "A-RELEASE-RQ inside a command", [.. RawPeer.Data(1, true, false, [0, 0]), .. RawPeer.Pdu(5, new byte[4])], AbortReason.UnexpectedPdu },
        { "A-RELEASE-RQ of 2^32-1 bytes", RawPeer.Header(5, uint.MaxValue), AbortReason.UnexpectedPdu },
        { "a command set that is noise", RawPeer.Data(1, true, true, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), AbortReason.InvalidPduParameter },
        { "an empty command set", RawPeer.Data(1, true, true, []), AbortReason.InvalidPduParameter },
        { "an element of 2^32-1 bytes", RawPeer.Data(1, true, true, [0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0]), AbortReason.InvalidPduParameter },
        { "an element of group 0008", RawPeer.Data(1, true, true, [8, 0, 0, 1, 2, 0, 0, 0, 1, 0]), AbortReason.InvalidPduParameter },
        { "the same element twice", RawPeer.Data(1, true, true, [0, 0, 0, 1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 0, 0, 0, 1, 0]), AbortReason.InvalidPduParameter },
        { "a request without message ID", RawPeer.Command(new CommandSet(CommandField.CEchoRequest), false), AbortReason.InvalidPduParameter },
        { "a response to nothing", RawPeer.Command(CommandSet.EchoRequest(1).CreateResponse(0), false), AbortReason.InvalidPduParameter },
    };

    public static TheoryData<string, byte[], AbortReason> ViolationsInsideADataSet() => new()
    {
        { "a command fragment", StoreCommand, AbortReason.UnexpectedPduParameter },
        { "another context", RawPeer.Data(3, false, true, [0, 0]), AbortReason.UnexpectedPduParameter },
        { "A-RELEASE-RQ", RawPeer.Pdu(5, new byte[4]), AbortReason.UnexpectedPdu },
        { "PDU type 0xFF", RawPeer.Pdu(0xFF, []), AbortReason.UnrecognizedPdu },
    };

    [Theory]
    [MemberData(nameof(Violations))]
    public async Task A_violation_is_aborted_with_its_reason(string what, byte[] bytes, AbortReason reason)
    {
        await using var peer = new RawPeer();
        await using var association = await peer.EstablishAcceptorAsync();
        await peer.SendAsync(bytes);
        var failure = await Assert.ThrowsAsync<AssociationException>(async () => await association.ReceiveAsync(RawPeer.Cancel));
        Assert.True(failure.End == AssociationEnd.ProtocolViolation, what);
        Assert.Equal(new Abort(2, reason), failure.Abort);
        Assert.Equal((2, reason), await peer.ReceiveAbortAsync());

        // It stays over, for whoever asks.
        await Assert.ThrowsAsync<AssociationException>(async () => await association.ReceiveAsync(RawPeer.Cancel));
        await Assert.ThrowsAsync<AssociationException>(async () => await association.SendAsync(1, CommandSet.EchoRequest(1), RawPeer.Cancel));
        peer.Close();
    }

    [Theory]
    [MemberData(nameof(ViolationsInsideADataSet))]
    public async Task A_data_set_that_is_interrupted_is_never_complete(string what, byte[] bytes, AbortReason reason)
    {
        await using var peer = new RawPeer();
        await using var association = await peer.EstablishAcceptorAsync();
        await peer.SendAsync(StoreCommand);
        await peer.SendAsync(RawPeer.Data(1, false, last: false, [1, 2, 3, 4]));
        await peer.SendAsync(bytes);
        var message = await association.ReceiveAsync(RawPeer.Cancel);
        Assert.Equal([1, 2, 3, 4], (await message!.DataSet!.ReadAsync(RawPeer.Cancel)).ToArray());
        var failure = await Assert.ThrowsAsync<AssociationException>(async () => await message.DataSet.ReadAsync(RawPeer.Cancel));
        Assert.True(failure.Abort == new Abort(2, reason), what);
        Assert.Equal((2, reason), await peer.ReceiveAbortAsync());
        await Assert.ThrowsAsync<AssociationException>(async () => await message.DataSet.ReadAsync(RawPeer.Cancel));
        peer.Close();
    }

    [Fact]
    public async Task A_data_set_that_a_later_receive_has_thrown_away_does_not_pass_for_complete()
    {
        await using var peer = new RawPeer();
        await using var association = await peer.EstablishAcceptorAsync(new OperationsWindow(2, 1));
        await peer.SendAsync(StoreCommand);
        await peer.SendAsync(RawPeer.Data(1, false, last: true, [1, 2, 3, 4]));
        await peer.SendAsync(RawPeer.Command(CommandSet.EchoRequest(9), false, context: 3));
        var message = await association.ReceiveAsync(RawPeer.Cancel);
        Assert.Equal(9, (await association.ReceiveAsync(RawPeer.Cancel))!.Command.MessageId);
        await Assert.ThrowsAsync<InvalidOperationException>(async () => await message!.DataSet!.ReadAsync(RawPeer.Cancel));
        peer.Close();
    }

    [Fact]
    public async Task A_connection_that_ends_inside_a_data_set_is_lost()
    {
        await using var peer = new RawPeer();
        await using var association = await peer.EstablishAcceptorAsync();
        await peer.SendAsync(StoreCommand);
        await peer.SendAsync(RawPeer.Data(1, false, last: false, [1, 2]));
        await peer.SendAsync(RawPeer.Header(4, 100));
        peer.Close();
        var message = await association.ReceiveAsync(RawPeer.Cancel);
        var failure = await Assert.ThrowsAsync<AssociationException>(async () => await message!.DataSet!.CopyToAsync(Stream.Null, RawPeer.Cancel));
        Assert.Equal(AssociationEnd.ConnectionLost, failure.End);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1000)]
    public async Task A_command_set_that_never_ends_is_aborted_at_its_limit(int fragmentBytes)
    {
        await using var peer = new RawPeer();
        await using var association = await peer.EstablishAcceptorAsync();
        var receiving = association.ReceiveAsync(RawPeer.Cancel).AsTask();
        var fragment = RawPeer.Data(1, true, last: false, new byte[fragmentBytes]);
        while (!receiving.IsCompleted && peer.Taken < 10_000_000)
        {
            await Task.WhenAny(receiving, peer.SendAsync(fragment));
        }

        Assert.Equal((2, AbortReason.InvalidPduParameter), await peer.ReceiveAbortAsync());
        Assert.Equal(AssociationEnd.ProtocolViolation, (await Assert.ThrowsAsync<AssociationException>(() => receiving)).End);
        Assert.InRange(peer.Taken, 0, 400_000);
        peer.Close();
    }

    [Fact]
    public async Task A_data_set_of_nothing_but_empty_fragments_is_aborted()
    {
        await using var peer = new RawPeer();
        await using var association = await peer.EstablishAcceptorAsync();
        await peer.SendAsync(StoreCommand);
        var message = await association.ReceiveAsync(RawPeer.Cancel);
        var reading = message!.DataSet!.ReadAsync(RawPeer.Cancel).AsTask();
        while (!reading.IsCompleted && peer.Taken < 1_000_000)
        {
            await Task.WhenAny(reading, peer.SendAsync(RawPeer.Data(1, false, last: false, [])));
        }

        Assert.Equal((2, AbortReason.InvalidPduParameter), await peer.ReceiveAbortAsync());
        await Assert.ThrowsAsync<AssociationException>(() => reading);
        peer.Close();
    }

    [Fact]
    public async Task A_data_set_beyond_its_limit_is_aborted_also_when_nobody_reads_it()
    {
        await using var peer = new RawPeer { Options = new() { MaxDataSetBytes = 100_000 } };
        await using var association = await peer.EstablishAcceptorAsync();
        await peer.SendAsync(StoreCommand);
        Assert.NotNull(await association.ReceiveAsync(RawPeer.Cancel));
        var next = association.ReceiveAsync(RawPeer.Cancel).AsTask();
        while (!next.IsCompleted && peer.Taken < 10_000_000)
        {
            await Task.WhenAny(next, peer.SendAsync(RawPeer.Data(1, false, last: false, new byte[10_000])));
        }

        Assert.Equal((2, AbortReason.NotSpecified), await peer.ReceiveAbortAsync());
        await Assert.ThrowsAsync<AssociationException>(() => next);
        peer.Close();
    }

    [Fact]
    public async Task A_PDU_that_never_ends_is_aborted_by_the_clock_however_it_trickles()
    {
        await using var peer = new RawPeer();
        await using var association = await peer.EstablishAcceptorAsync();
        await peer.SendAsync(StoreCommand);
        var message = await association.ReceiveAsync(RawPeer.Cancel);
        await peer.SendAsync([.. RawPeer.Header(4, 10_006), .. RawPeer.Int32(10_002), 1, 0]);
        var copying = message!.DataSet!.CopyToAsync(Stream.Null, RawPeer.Cancel).AsTask();
        var seconds = 0;
        for (; !copying.IsCompleted && seconds < 2000; seconds++)
        {
            await peer.SendAsync(new byte[1]);
            peer.Clock.Advance(TimeSpan.FromSeconds(1));
            // By then it is over but for the work, for which a busy machine takes its time.
            await Task.WhenAny(copying, Task.Delay(seconds < 200 ? 2 : 100, RawPeer.Cancel));
        }

        Assert.InRange(seconds, 60, 1999);
        Assert.Equal(AssociationEnd.TimedOut, (await Assert.ThrowsAsync<AssociationException>(() => copying)).End);
        Assert.Equal((0, AbortReason.NotSpecified), await peer.ReceiveAbortAsync());
        peer.Close();
    }

    [Fact]
    public async Task The_time_that_our_own_reader_takes_is_not_the_peers()
    {
        await using var peer = new RawPeer();
        await using var association = await peer.EstablishAcceptorAsync();
        await peer.SendAsync(StoreCommand);
        var message = await association.ReceiveAsync(RawPeer.Cancel);
        await peer.SendAsync([.. RawPeer.Header(4, 106), .. RawPeer.Int32(102), 1, 2, .. new byte[50]]);
        Assert.Equal(50, (await message!.DataSet!.ReadAsync(RawPeer.Cancel)).Length);
        peer.Clock.Advance(TimeSpan.FromHours(1));
        var reading = message.DataSet.ReadAsync(RawPeer.Cancel).AsTask();
        await peer.SendAsync(new byte[50]);
        Assert.Equal(50, (await reading).Length);
        Assert.True((await message.DataSet.ReadAsync(RawPeer.Cancel)).IsEmpty);
        peer.Close();
    }

    [Fact]
    public async Task An_idle_peer_is_aborted_but_not_while_we_owe_it_an_answer()
    {
        await using var peer = new RawPeer();
        await using var association = await peer.EstablishAcceptorAsync(new OperationsWindow(2, 1));
        await peer.SendAsync(RawPeer.Command(CommandSet.EchoRequest(5), false, context: 3));
        var message = await association.ReceiveAsync(RawPeer.Cancel);
        var receiving = association.ReceiveAsync(RawPeer.Cancel).AsTask();
        for (var i = 0; i < 100; i++)
        {
            peer.Clock.Advance(TimeSpan.FromSeconds(10));
            await Task.Delay(1, RawPeer.Cancel);
        }

        Assert.False(receiving.IsCompleted);
        await association.SendAsync(3, message!.Command.CreateResponse(DimseStatus.Success), RawPeer.Cancel);
        Assert.Equal(4, (await peer.ReceivePduAsync())![0]);
        Assert.True(await peer.AdvanceUntilAsync(receiving, TimeSpan.FromSeconds(1)) >= peer.Options.IdleTimeout);
        Assert.Equal(AssociationEnd.TimedOut, (await Assert.ThrowsAsync<AssociationException>(() => receiving)).End);
        Assert.Equal((0, AbortReason.NotSpecified), await peer.ReceiveAbortAsync());
        peer.Close();
    }

    [Fact]
    public async Task A_peer_that_does_not_read_our_answer_is_given_up()
    {
        await using var peer = new RawPeer();
        var association = await peer.EstablishRequestorAsync();
        var sending = association.SendAsync(1, Store, new byte[1_000_000].AsMemory(), RawPeer.Cancel).AsTask();
        Assert.True(await peer.AdvanceUntilAsync(sending, TimeSpan.FromSeconds(1)) >= peer.Options.WriteTimeout);
        Assert.Equal(AssociationEnd.TimedOut, (await Assert.ThrowsAsync<AssociationException>(() => sending)).End);
        await association.DisposeAsync();
    }

    [Fact]
    public async Task A_send_that_is_cancelled_half_way_ends_the_association()
    {
        await using var peer = new RawPeer();
        await using var association = await peer.EstablishRequestorAsync();
        var receiving = association.ReceiveAsync(RawPeer.Cancel).AsTask();
        using var cancel = new CancellationTokenSource();
        var sending = association.SendAsync(1, Store, new byte[1_000_000].AsMemory(), cancel.Token).AsTask();
        await peer.ReceivePduAsync();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => sending);
        Assert.Equal(AssociationEnd.AbortedByUs, (await Assert.ThrowsAsync<AssociationException>(() => receiving)).End);
        var again = await Assert.ThrowsAsync<AssociationException>(async () => await association.SendAsync(1, CommandSet.EchoRequest(2), RawPeer.Cancel));
        Assert.True(again.NothingSent);
        peer.Close();
    }

    [Fact]
    public async Task A_message_ID_that_is_outstanding_cannot_be_used_again()
    {
        await using var peer = new RawPeer();
        await using var association = await peer.EstablishAcceptorAsync(new OperationsWindow(4, 1));
        await peer.SendAsync(RawPeer.Command(CommandSet.EchoRequest(5), false, context: 3));
        await peer.SendAsync(RawPeer.Command(CommandSet.EchoRequest(5), false, context: 3));
        Assert.NotNull(await association.ReceiveAsync(RawPeer.Cancel));
        await Assert.ThrowsAsync<AssociationException>(async () => await association.ReceiveAsync(RawPeer.Cancel));
        Assert.Equal((2, AbortReason.InvalidPduParameter), await peer.ReceiveAbortAsync());
        peer.Close();
    }

    [Fact]
    public async Task The_peers_abort_is_reported_with_its_source_and_reason()
    {
        await using var peer = new RawPeer();
        await using var association = await peer.EstablishAcceptorAsync();
        await peer.SendAsync(RawPeer.Pdu(7, [0, 0, 2, 5]));
        var failure = await Assert.ThrowsAsync<AssociationException>(async () => await association.ReceiveAsync(RawPeer.Cancel));
        Assert.Equal((AssociationEnd.AbortedByPeer, new Abort(2, AbortReason.UnexpectedPduParameter)), (failure.End, failure.Abort));
    }
}
