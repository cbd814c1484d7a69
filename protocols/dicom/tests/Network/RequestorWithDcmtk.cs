using Yizhan.Dicom.Network;

namespace Yizhan.Dicom.Tests.Network;

/// <summary>Our requestor against dcmtk's storescp.</summary>
public sealed class RequestorWithDcmtk
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

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

    internal static StoreInstance Instance(Part10 file) =>
        StoreInstance.FromMemory(file.SopClassUid, file.SopInstanceUid, file.TransferSyntaxUid, file.DataSet.ToArray());

    internal static AssociateRequest Request(string sopClass, params string[] syntaxes) =>
        new() { CallingAeTitle = "YIZHAN", CalledAeTitle = "PEER", PresentationContexts = [new(1, sopClass, syntaxes)] };

    internal static StoreScu Scu(int port, AssociationOptions? options = null) => new(
        (request, cancel) => Connector.RequestAsync("127.0.0.1", port, request, options ?? new(), TimeProvider.System, cancel), "YIZHAN", "PEER");
}
