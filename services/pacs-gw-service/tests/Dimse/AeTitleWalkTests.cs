using System.Collections.Frozen;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;
using Yizhan.PacsGw.Peers;

namespace Yizhan.PacsGw.Tests.Dimse;

/// <summary>
/// Walks over every pair of calling and called AE titles, and over every SOP class for every peer: who is not in the settings, comes from elsewhere or calls
/// another site gets no association, and who gets one gets the services of the settings and no other.
/// </summary>
[Trait("Clause", "S1")]
public sealed class AeTitleWalkTests : IDisposable
{
    private readonly TestAuthority _authority = new();
    private readonly string[] _settings;

    public AeTitleWalkTests()
    {
        var own = _authority.Issue("gateway");
        _settings =
        [
            "--pacs-gw:dicomTlsPort=0", $"--pacs-gw:tlsCertificatePath={own.File}", $"--pacs-gw:tlsKeyPath={own.KeyFile}",
            $"--pacs-gw:tlsRootPath={_authority.RootFile}",
            "--pacs-gw:peers:2:aeTitle=ELSEWHERE", "--pacs-gw:peers:2:address=192.0.2.7",
            "--pacs-gw:peers:3:aeTitle=WITH-TLS", "--pacs-gw:peers:3:tls=true",
            .. Enum.GetValues<PeerService>().SelectMany((service, i) => new[]
            {
                $"--pacs-gw:peers:{i + 4}:aeTitle={NameOf(service)}", $"--pacs-gw:peers:{i + 4}:services:0={service}", $"--pacs-gw:peers:{i + 4}:address=127.0.0.1",
            }),
        ];
    }

    public void Dispose() => _authority.Dispose();

    [Fact]
    public async Task Only_a_peer_of_the_settings_from_its_place_that_calls_this_site_gets_an_association()
    {
        await using var gateway = await Gateway.StartAsync(_settings);
        var known = Enum.GetValues<PeerService>().Select(NameOf).Append("STORESCU").Append("CT-1").ToArray();

        // Unknown, known at another site, from another address, without its certificate, and names that are nearly right.
        string[] strangers = ["STRANGER", "HILLSIDE-CT", "ELSEWHERE", "WITH-TLS", "ct-1", "CT-10", "CT", "*", "YIZHAN"];
        string[] others = ["HILLSIDE", "yizhan", "YIZHAN2", "ANY-SCP", "*"];
        var wrong = new List<string>();
        var walked = 0;
        foreach (var calling in known.Concat(strangers))
        {
            foreach (var called in others.Prepend("YIZHAN"))
            {
                walked++;
                var expected = called != "YIZHAN" ? RejectReason.CalledAeTitleNotRecognized
                    : known.Contains(calling) ? (RejectReason?)null
                    : RejectReason.CallingAeTitleNotRecognized;
                var found = await AskAsync(gateway, calling, called);
                if (found != (expected is { } reason ? new Rejection(reason, Transient: false) : null))
                {
                    wrong.Add($"'{calling}' calls '{called}': {found?.ToString() ?? "accepted"}");
                }
            }
        }

        Assert.Empty(wrong);
        Assert.Equal(17 * 6, walked);
    }

    [Fact]
    public async Task A_peer_gets_the_sop_classes_of_its_services_and_no_other()
    {
        await using var gateway = await Gateway.StartAsync(_settings);
        var classes = Negotiation.Services.ToDictionary(s => s.Key, s => s.Value).Append(new(DicomUids.CtImageStorage, PeerService.Store)).ToArray();
        var wrong = new List<string>();
        foreach (var service in Enum.GetValues<PeerService>())
        {
            var request = new AssociateRequest
            {
                CallingAeTitle = NameOf(service),
                CalledAeTitle = "YIZHAN",
                PresentationContexts = [.. classes.Select((c, i) => new PresentationContext((byte)((2 * i) + 1), c.Key, [DicomTransferSyntax.ImplicitVrLittleEndian.Uid]))],
            };
            await using var association = await Connector.RequestAsync("127.0.0.1", gateway.DicomPort, request, new(), TimeProvider.System, Gateway.Cancel);
            var accepted = association.PresentationContexts.Keys.ToFrozenSet();
            foreach (var (i, (uid, needs)) in classes.Index())
            {
                var may = needs is null || needs == service;
                if (accepted.Contains((byte)((2 * i) + 1)) != may)
                {
                    wrong.Add($"{NameOf(service)} {(may ? "is refused" : "gets")} {uid}");
                }
            }

            await association.ReleaseAsync(Gateway.Cancel);
        }

        Assert.Empty(wrong);
        Assert.Equal(11, classes.Length);
    }

    private static async Task<Rejection?> AskAsync(Gateway gateway, string calling, string called)
    {
        var request = new AssociateRequest
        {
            CallingAeTitle = calling,
            CalledAeTitle = called,
            PresentationContexts = [new PresentationContext(1, DicomUids.Verification, [DicomTransferSyntax.ImplicitVrLittleEndian.Uid])],
        };
        try
        {
            await using var association = await Connector.RequestAsync("127.0.0.1", gateway.DicomPort, request, new(), TimeProvider.System, Gateway.Cancel);
            await association.ReleaseAsync(Gateway.Cancel);
            return null;
        }
        catch (AssociationException e) when (e.Rejection is { } rejection)
        {
            return rejection;
        }
    }

    private static string NameOf(PeerService service) => "ONLY-" + service.ToString().ToUpperInvariant()[..Math.Min(11, service.ToString().Length)];
}
