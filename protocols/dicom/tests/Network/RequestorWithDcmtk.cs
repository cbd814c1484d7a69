using Yizhan.Dicom.Network;

namespace Yizhan.Dicom.Tests.Network;

/// <summary>Our requestor against dcmtk's storescp.</summary>
public sealed class RequestorWithDcmtk
{
    private static CancellationToken Cancel => RawPeer.Cancel;

    [Fact]
    public async Task Storescp_answers_our_echo_and_our_release()
    {
        await using var peer = await StoreScpPeer.StartAsync();
        await using var association = await Connector.RequestAsync("127.0.0.1", peer.Port, Request("1.2.840.10008.1.1", "1.2.840.10008.1.2"), new(), TimeProvider.System, Cancel);
        await association.SendAsync(1, CommandSet.EchoRequest(7), Cancel);
        var response = await association.ReceiveAsync(Cancel);
        Assert.Equal(CommandField.CEchoResponse, response!.Command.Field);
        Assert.Equal((7, DimseStatus.Success), (response.Command.MessageIdBeingRespondedTo, response.Command.Status));
        await association.ReleaseAsync(Cancel);
    }

    [Fact]
    public async Task Storescp_writes_the_data_set_that_we_sent_byte_for_byte()
    {
        await using var peer = await StoreScpPeer.StartAsync();
        var file = Part10.Read("native/CT_small.dcm");
        var result = Assert.Single(await Scu(peer.Port).SendAsync([Instance(file)], Cancel));
        Assert.True(result.IsStored, result.Message);
        var written = Part10.TryRead(Assert.Single(Directory.GetFiles(peer.Folder)))!;
        Assert.Equal(file.DataSet.ToArray(), written.DataSet.ToArray());
    }

    [Fact]
    public async Task Files_of_several_transfer_syntaxes_go_over_one_association_as_they_are()
    {
        var names = new[]
        {
            "native/CT_small.dcm", "native/MR_small_implicit.dcm", "native/ExplVR_BigEnd.dcm", "native/image_dfl.dcm", "multiframe/US1_UNCR.dcm",
            "jpeg/MR3_JPLL.dcm", "jpegls/CT1_JLSL.dcm", "jpeg2000/CT1_J2KR.dcm", "rle/CT1_RLE.dcm", "multiframe/Issue164.dcm",
        };
        await using var peer = await StoreScpPeer.StartAsync();
        var files = names.Select(Part10.Read).DistinctBy(f => f.SopInstanceUid).ToArray();
        var results = await Scu(peer.Port).SendAsync([.. files.Select(Instance)], Cancel);
        var written = Directory.GetFiles(peer.Folder).Select(f => Part10.TryRead(f)!).ToDictionary(f => f.SopInstanceUid);
        foreach (var (file, result) in files.Zip(results))
        {
            Assert.True(result.IsStored, $"{file.Path}: {result}");
            // image_dfl.dcm is deflated to an odd length and not padded in its file; on the wire it must be (PS3.5 A.5).
            byte[] expected = file.DataSet.Length % 2 == 0 ? file.DataSet.ToArray() : [.. file.DataSet.Span, 0];
            Assert.Equal(expected, written[file.SopInstanceUid].DataSet.ToArray());
        }
    }

    [Theory]
    [InlineData("--abort-during", StoreOutcome.Unknown)]
    [InlineData("--abort-after", StoreOutcome.Unknown)]
    public async Task An_abort_of_storescp_leaves_the_instance_unknown_and_the_rest_unsent(string option, StoreOutcome first)
    {
        await using var peer = await StoreScpPeer.StartAsync(option);
        StoreInstance[] files = [Instance(Part10.Read("native/CT_small.dcm")), Instance(Part10.Read("native/MR_small.dcm"))];
        var results = await Scu(peer.Port).SendAsync(files, Cancel);
        Assert.Equal([first, StoreOutcome.NotSent], results.Select(r => r.Outcome));
        Assert.All(results, r => Assert.Contains("aborted the association", r.Message));
    }

    [Fact]
    public async Task A_storescp_that_refuses_associations_is_a_clear_rejection()
    {
        await using var peer = await StoreScpPeer.StartAsync("--refuse");
        var failure = await Assert.ThrowsAsync<AssociationException>(() => Scu(peer.Port).SendAsync([Instance(Part10.Read("native/CT_small.dcm"))], Cancel));
        Assert.Equal(AssociationEnd.Rejected, failure.End);
        Assert.Equal(RejectReason.NoReason, failure.Rejection!.Value.Reason);
    }

    [Fact]
    public async Task A_slow_storescp_is_waited_for()
    {
        await using var peer = await StoreScpPeer.StartAsync("--sleep-during", "1");
        Assert.True(Assert.Single(await Scu(peer.Port).SendAsync([Instance(Part10.Read("native/CT_small.dcm"))], Cancel)).IsStored);
    }

    [Fact]
    public async Task A_transfer_syntax_that_the_peer_does_not_accept_is_said_and_the_others_are_sent()
    {
        var explicitOnly = new HashSet<string> { "1.2.840.10008.1.2.1" };
        await using var scp = new TestScp { Decide = request => AssociateAnswer.Accept(request, _ => explicitOnly) };
        StoreInstance[] files = [Instance(Part10.Read("rle/CT1_RLE.dcm")), Instance(Part10.Read("native/CT_small.dcm"))];
        var results = await Scu(scp.Port).SendAsync(files, Cancel);
        Assert.Equal([StoreOutcome.NotAccepted, StoreOutcome.Answered], results.Select(r => r.Outcome));
        Assert.Contains("1.2.840.10008.1.2.5", results[0].Message);
    }

    [Fact]
    public async Task More_than_128_contexts_take_another_association()
    {
        await using var scp = new TestScp();
        var instances = Enumerable.Range(1, 130).Select(i => StoreInstance.FromMemory($"1.2.{i}", $"1.3.{i}", RawPeer.ImplicitLittleEndian, [1, 2])).ToArray();
        var results = await Scu(scp.Port).SendAsync(instances, Cancel);
        Assert.All(results, r => Assert.True(r.IsStored, r.Message));
        await scp.Quiet();
        Assert.Equal([128, 2], scp.Requests.Select(r => r.PresentationContexts.Count));
        Assert.Equal(instances.Select(i => i.SopInstanceUid), scp.Received.Select(r => r.SopInstanceUid));
    }

    [Fact]
    public async Task A_file_that_cannot_be_opened_does_not_stop_the_others()
    {
        await using var scp = new TestScp();
        var good = StoreInstance.FromMemory(RawPeer.SopClass, "1.2.3", RawPeer.ImplicitLittleEndian, new byte[100]);
        var results = await Scu(scp.Port).SendAsync([good with { Open = () => File.OpenRead("/nonexistent/file") }, good], Cancel);
        Assert.Equal([StoreOutcome.Unreadable, StoreOutcome.Answered], results.Select(r => r.Outcome));
    }

    [Fact]
    public async Task A_failure_status_is_not_stored_and_carries_its_comment()
    {
        await using var scp = new TestScp { OnStored = (_, _) => Task.FromResult(DimseStatus.OutOfResources) };
        var result = Assert.Single(await Scu(scp.Port).SendAsync([StoreInstance.FromMemory(RawPeer.SopClass, "1.2.3", RawPeer.ImplicitLittleEndian, [1, 2])], Cancel));
        Assert.Equal((StoreOutcome.Answered, DimseStatus.OutOfResources, false), (result.Outcome, result.Status, result.IsStored));
    }

    [Fact]
    public async Task Nobody_listening_is_a_lost_connection()
    {
        int port;
        await using (var gone = new TestScp())
        {
            port = gone.Port;
        }

        var failure = await Assert.ThrowsAsync<AssociationException>(() => Scu(port).SendAsync([Instance(Part10.Read("native/CT_small.dcm"))], Cancel));
        Assert.Equal(AssociationEnd.ConnectionLost, failure.End);
    }

    internal static StoreInstance Instance(Part10 file) =>
        StoreInstance.FromMemory(file.SopClassUid, file.SopInstanceUid, file.TransferSyntaxUid, file.DataSet.ToArray());

    internal static AssociateRequest Request(string sopClass, params string[] syntaxes) =>
        new() { CallingAeTitle = "YIZHAN", CalledAeTitle = "PEER", PresentationContexts = [new(1, sopClass, syntaxes)] };

    internal static StoreScu Scu(int port, AssociationOptions? options = null) => new(
        (request, cancel) => Connector.RequestAsync("127.0.0.1", port, request, options ?? new(), TimeProvider.System, cancel), "YIZHAN", "PEER");
}
