using Yizhan.Dicom.Network;

namespace Yizhan.Dicom.Tests.Network;

/// <summary>What measures the whole process runs when nothing else does.</summary>
[CollectionDefinition(nameof(AloneInTheProcess), DisableParallelization = true)]
public sealed class AloneInTheProcess;

/// <summary>A data set without an end.</summary>
[Collection(nameof(AloneInTheProcess))]
public sealed class EndlessDataSetTests
{
    [Fact]
    public async Task An_endless_data_set_flows_through_in_constant_memory()
    {
        const int PduCount = 16_000;
        await using var peer = new RawPeer();
        await using var association = await peer.EstablishAcceptorAsync();
        await peer.SendAsync(RawPeer.Command(CommandSet.StoreRequest(1, RawPeer.SopClass, "1.2.3"), hasDataSet: true));
        var message = await association.ReceiveAsync(RawPeer.Cancel);
        var pdu = RawPeer.Data(1, false, last: false, new byte[16378]);
        var sending = Task.Run(async () =>
        {
            for (var i = 0; i < PduCount; i++)
            {
                await peer.SendAsync(pdu);
            }

            await peer.SendAsync(RawPeer.Data(1, false, last: true, []));
        }, RawPeer.Cancel);
        var before = GC.GetTotalAllocatedBytes();
        await message!.DataSet!.CopyToAsync(Stream.Null, RawPeer.Cancel);
        await sending;
        Assert.Equal(16378L * PduCount, message.DataSet.BytesRead);

        // 262 MB came in; all that both ends and the test's pipe allocated is a small part of it.
        Assert.InRange(GC.GetTotalAllocatedBytes() - before, 0, 20_000_000);
        peer.Close();
    }
}
