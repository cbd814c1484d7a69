namespace Yizhan.Dicom.Tests.Network;

/// <summary>Our acceptor against dcmtk's requestors.</summary>
public sealed class AcceptorWithDcmtk
{
    [Fact]
    public async Task Echoscu_is_answered_and_releases()
    {
        await using var scp = new TestScp();
        var (exit, output) = await Dcmtk.RunAsync("echoscu", "-v", "-aet", "CT_A", "-aec", "YIZHAN", "127.0.0.1", $"{scp.Port}");
        Assert.True(exit == 0, output);
        Assert.Contains("Received Echo Response (Success)", output);
        await scp.Quiet();
        Assert.Empty(scp.Failures);
        Assert.Equal(("CT_A", "YIZHAN"), (scp.Requests[0].CallingAeTitle, scp.Requests[0].CalledAeTitle));
    }

    [Theory]
    [InlineData("native/CT_small.dcm", "-xe")]
    public async Task Storescu_sends_us_the_same_bytes_as_to_storescp(string file, string proposal)
    {
        var sent = Part10.Read(file);
        await using var peer = await StoreScpPeer.StartAsync();
        await using var scp = new TestScp();
        foreach (var port in new[] { peer.Port, scp.Port })
        {
            var (exit, output) = await Dcmtk.RunAsync("storescu", "-v", proposal, "127.0.0.1", $"{port}", sent.Path);
            Assert.True(exit == 0, output);
        }

        await scp.Quiet();
        Assert.Empty(scp.Failures);
        var received = Assert.Single(scp.Received);
        Assert.Equal((sent.SopInstanceUid, sent.TransferSyntaxUid), (received.SopInstanceUid, received.Context.TransferSyntax));
        var expected = Part10.TryRead(Assert.Single(Directory.GetFiles(peer.Folder)))!;
        Assert.Equal(expected.DataSet.ToArray(), received.DataSet);
    }
}
