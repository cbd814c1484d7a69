using System.Net.Sockets;
using Yizhan.Dicom.Network;

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
    [InlineData("native/MR_small_implicit.dcm", "-xi")]
    [InlineData("native/ExplVR_BigEnd.dcm", "-xb")]
    [InlineData("native/image_dfl.dcm", "-xd")]
    [InlineData("multiframe/US1_UNCR.dcm", "-xe")]
    [InlineData("jpeg/MR3_JPLL.dcm", "-xs")]
    [InlineData("jpegls/CT1_JLSL.dcm", "-xt")]
    [InlineData("jpeg2000/CT1_J2KR.dcm", "-xv")]
    [InlineData("rle/CT1_RLE.dcm", "-xr")]
    [InlineData("multiframe/Issue164.dcm", "-xy")]
    public async Task Storescu_sends_us_the_same_bytes_as_to_storescp(string file, string proposal)
    {
        var sent = Part10.Read(file);
        await using var peer = await StoreScpPeer.StartAsync();
        await using var scp = new TestScp();
        foreach (var port in new[] { peer.Port, scp.Port })
        {
            var (exit, output) = await Dcmtk.RunAsync("storescu", "-v", "-R", proposal, "127.0.0.1", $"{port}", sent.Path);
            Assert.True(exit == 0, output);
        }

        await scp.Quiet();
        Assert.Empty(scp.Failures);
        var received = Assert.Single(scp.Received);
        Assert.Equal((sent.SopInstanceUid, sent.TransferSyntaxUid), (received.SopInstanceUid, received.Context.TransferSyntax));
        var expected = Part10.TryRead(Assert.Single(Directory.GetFiles(peer.Folder)))!;
        Assert.Equal(expected.DataSet.ToArray(), received.DataSet);
    }

    [Fact]
    public async Task Dcmsend_sends_a_folder_of_files()
    {
        var names = new[] { "native/CT_small.dcm", "native/MR_small.dcm", "native/examples_palette.dcm", "multiframe/US1_UNCR.dcm", "rle/MR3_RLE.dcm" };
        var files = names.Select(Part10.Read).ToArray();
        await using var scp = new TestScp();
        var (exit, output) = await Dcmtk.RunAsync("dcmsend", ["-v", "-aet", "MOD", "127.0.0.1", $"{scp.Port}", .. files.Select(f => f.Path)]);
        Assert.True(exit == 0, output);
        await scp.Quiet();
        Assert.Empty(scp.Failures);
        Assert.Equal(files.Select(f => f.SopInstanceUid).Order(), scp.Received.Select(r => r.SopInstanceUid).Order());
    }

    [Theory]
    [InlineData(4096)]
    [InlineData(131072)]
    public async Task Storescu_may_send_PDUs_of_any_size(int pduBytes)
    {
        var sent = Part10.Read("multiframe/US1_UNCR.dcm");
        await using var scp = new TestScp();
        var (exit, output) = await Dcmtk.RunAsync("storescu", "-v", "-R", "--max-send-pdu", $"{pduBytes}", "127.0.0.1", $"{scp.Port}", sent.Path);
        Assert.True(exit == 0, output);
        await scp.Quiet();
        Assert.InRange(Assert.Single(scp.Received).DataSet.Length, sent.DataSet.Length - 1000, sent.DataSet.Length);
    }

    [Fact]
    public async Task Storescu_that_aborts_at_the_end_is_reported_after_its_instances_were_stored()
    {
        await using var scp = new TestScp();
        var (exit, output) = await Dcmtk.RunAsync("storescu", "-v", "-R", "--abort", "127.0.0.1", $"{scp.Port}", Part10.Read("native/CT_small.dcm").Path);
        Assert.True(exit == 0, output);
        await scp.Quiet();
        Assert.Single(scp.Received);
        var failure = Assert.IsType<AssociationException>(Assert.Single(scp.Failures));
        Assert.Equal((AssociationEnd.AbortedByPeer, (byte)0), (failure.End, failure.Abort!.Value.Source));
    }

    [Fact]
    public async Task A_rejected_calling_title_is_shown_by_echoscu()
    {
        await using var scp = new TestScp { Decide = _ => AssociateAnswer.Reject(RejectReason.CallingAeTitleNotRecognized, transient: false) };
        var (exit, output) = await Dcmtk.RunAsync("echoscu", "-v", "127.0.0.1", $"{scp.Port}");
        Assert.NotEqual(0, exit);
        Assert.Contains("Rejected Permanent", output);
        Assert.Contains("Calling AE Title Not Recognized", output);
        await scp.Quiet();
        Assert.Empty(scp.Failures);
    }

    [Fact]
    public async Task A_status_reaches_storescu_as_its_standard_name()
    {
        await using var scp = new TestScp { OnStored = (_, _) => Task.FromResult(DimseStatus.OutOfResources) };
        var (_, output) = await Dcmtk.RunAsync("storescu", "-v", "-R", "127.0.0.1", $"{scp.Port}", Part10.Read("native/CT_small.dcm").Path);
        Assert.Contains("Received Store Response (Refused: OutOfResources)", output);
    }

    [Fact]
    public async Task A_SOP_class_that_is_not_supported_is_refused_in_its_context_only()
    {
        await using var scp = new TestScp
        {
            Decide = request => AssociateAnswer.Accept(request, sopClass => sopClass == "1.2.840.10008.1.1" ? new HashSet<string> { RawPeer.ImplicitLittleEndian } : null),
        };
        var (exit, output) = await Dcmtk.RunAsync("storescu", "-v", "-R", "127.0.0.1", $"{scp.Port}", Part10.Read("native/CT_small.dcm").Path);
        Assert.NotEqual(0, exit);
        Assert.Contains("No Acceptable Presentation Contexts", output);
    }

    [Fact]
    public async Task An_unknown_protocol_gets_an_abort_over_a_real_socket_too()
    {
        await using var scp = new TestScp();
        using var browser = new TcpClient();
        await browser.ConnectAsync("127.0.0.1", scp.Port, RawPeer.Cancel);
        await browser.GetStream().WriteAsync("GET / HTTP/1.1\r\n\r\n"u8.ToArray(), RawPeer.Cancel);
        var answer = new byte[10];
        await browser.GetStream().ReadExactlyAsync(answer, RawPeer.Cancel);
        Assert.Equal([7, 0, 0, 0, 0, 4, 0, 0, 0, 0], answer);
    }
}
