using System.Net;
using System.Net.Sockets;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;

namespace Yizhan.PacsGw.Tests.Dimse;

/// <summary>What one peer may use: associations at a time, associations in a minute, and silence.</summary>
[Trait("Clause", "S2")]
public sealed class LimitTests
{
    [Fact]
    public async Task A_peer_has_only_so_many_associations_at_a_time_and_others_are_served_meanwhile()
    {
        await using var gateway = await Gateway.StartAsync("--pacs-gw:peers:1:maxAssociations=1");
        await using (var first = await AssociateAsync(gateway, "CT-1"))
        {
            var refused = await Assert.ThrowsAsync<AssociationException>(() => AssociateAsync(gateway, "CT-1"));
            Assert.Equal(new Rejection(RejectReason.LocalLimitExceeded, Transient: true), refused.Rejection);
            await using var other = await AssociateAsync(gateway, "STORESCU");
            await other.ReleaseAsync(Gateway.Cancel);
            await first.ReleaseAsync(Gateway.Cancel);
        }

        // The place is given back once the gateway has seen the end of the first one.
        while (true)
        {
            try
            {
                await using var next = await AssociateAsync(gateway, "CT-1");
                await next.ReleaseAsync(Gateway.Cancel);
                return;
            }
            catch (AssociationException e) when (e.Rejection is { Transient: true })
            {
                Gateway.Cancel.ThrowIfCancellationRequested();
            }
        }
    }

    [Fact]
    public async Task A_peer_opens_only_so_many_associations_in_a_minute()
    {
        await using var gateway = await Gateway.StartAsync("--pacs-gw:peers:1:maxAssociationsPerMinute=1");
        var rejections = new List<Rejection>();

        // Three fall into two different minutes at most.
        for (var i = 0; i < 3; i++)
        {
            try
            {
                await using var association = await AssociateAsync(gateway, "CT-1");
                await association.ReleaseAsync(Gateway.Cancel);
            }
            catch (AssociationException e) when (e.Rejection is { } rejection)
            {
                rejections.Add(rejection);
            }
        }

        Assert.NotEmpty(rejections);
        Assert.All(rejections, r => Assert.Equal(new Rejection(RejectReason.TemporaryCongestion, Transient: true), r));
        await using var other = await AssociateAsync(gateway, "STORESCU");
        await other.ReleaseAsync(Gateway.Cancel);
    }

    [Fact]
    public async Task A_peer_that_negotiates_and_never_sends_is_aborted()
    {
        await using var gateway = await Gateway.StartAsync("--pacs-gw:idleSeconds=1");
        await using var silent = await AssociateAsync(gateway, "CT-1");
        var aborted = await Assert.ThrowsAsync<AssociationException>(async () => await silent.ReceiveAsync(Gateway.Cancel));
        Assert.Equal(AssociationEnd.AbortedByPeer, aborted.End);
    }

    [Fact]
    public async Task Connections_that_never_ask_for_an_association_keep_no_peer_out()
    {
        // As many as the gateway takes, and half as many again; none would be given up by itself before the test has ended.
        const int Flood = 100;
        await using var gateway = await Gateway.StartAsync("--pacs-gw:artimSeconds=600");
        await using var before = await AssociateAsync(gateway, "CT-1");
        var silent = new List<Socket>();
        try
        {
            for (var i = 0; i < Flood; i++)
            {
                var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
                silent.Add(socket);
                socket.Bind(new IPEndPoint(IPAddress.Parse("127.0.0.9"), 0));
                await socket.ConnectAsync(IPAddress.Loopback, gateway.DicomPort, Gateway.Cancel);
            }

            await using var other = await AssociateAsync(gateway, "STORESCU").WaitAsync(TimeSpan.FromMinutes(2), Gateway.Cancel);
            await other.ReleaseAsync(Gateway.Cancel);
            await before.ReleaseAsync(Gateway.Cancel);
        }
        finally
        {
            silent.ForEach(socket => socket.Dispose());
        }
    }

    private static Task<Association> AssociateAsync(Gateway gateway, string calling) => Connector.RequestAsync(
        "127.0.0.1",
        gateway.DicomPort,
        new AssociateRequest
        {
            CallingAeTitle = calling,
            CalledAeTitle = "YIZHAN",
            PresentationContexts = [new(1, DicomUids.Verification, [DicomTransferSyntax.ImplicitVrLittleEndian.Uid])],
        },
        new AssociationOptions(),
        TimeProvider.System,
        Gateway.Cancel);
}
