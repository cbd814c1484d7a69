using Microsoft.Extensions.Options;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;

namespace Yizhan.PacsGw.Peers;

/// <summary>Opens associations with peers of the settings.</summary>
internal sealed class PeerConnector(IOptions<PacsGwOptions> options, PeerTls tls, TimeProvider clock)
{
    private static readonly string[] Uncompressed =
        [DicomTransferSyntax.ExplicitVrLittleEndian.Uid, DicomTransferSyntax.ImplicitVrLittleEndian.Uid];

    /// <summary>Our AE title.</summary>
    public string AeTitle => options.Value.AeTitle;

    /// <summary>Opens an association for a request; the calling and called titles are put in.</summary>
    /// <exception cref="AssociationException">No connection, no trust, rejected, aborted or timed out.</exception>
    public Task<Association> RequestAsync(PeerOptions peer, AssociateRequest request, CancellationToken cancellationToken) =>
        Connector.RequestAsync(
            peer.Host ?? throw new ArgumentException($"Peer {peer.AeTitle} has no host.", nameof(peer)),
            peer.Port,
            peer.Tls ? (stream, cancel) => tls.RequestAsync(stream, peer, cancel) : null,
            request with { CallingAeTitle = AeTitle, CalledAeTitle = peer.AeTitle },
            new AssociationOptions { Artim = TimeSpan.FromSeconds(options.Value.ArtimSeconds), MaxOperations = options.Value.MaxOperationsPerformed },
            clock,
            cancellationToken);

    /// <summary>Opens an association for some SOP classes in the uncompressed transfer syntaxes, and gives a user of them.</summary>
    /// <exception cref="AssociationException">No connection, no trust, rejected, aborted or timed out.</exception>
    public async Task<Association> RequestAsync(
        PeerOptions peer, IReadOnlyList<string> sopClasses, IReadOnlyList<RoleSelection> roles, CancellationToken cancellationToken) =>
        await RequestAsync(
            peer,
            new AssociateRequest
            {
                CallingAeTitle = AeTitle,
                CalledAeTitle = peer.AeTitle,
                PresentationContexts = [.. sopClasses.Select((sopClass, i) => new PresentationContext((byte)((2 * i) + 1), sopClass, Uncompressed))],
                Roles = roles,
            },
            cancellationToken);

    /// <summary>A sender of instances to a peer.</summary>
    /// <param name="peer">Who gets them.</param>
    /// <param name="answered">Told of each answer; must return at once. Null for nobody.</param>
    /// <param name="moveOriginator">Who asked for it by C-MOVE; null when nobody did.</param>
    public StoreScu Sender(PeerOptions peer, Action<StoreResult>? answered, (string AeTitle, ushort MessageId)? moveOriginator) =>
        new((request, cancel) => RequestAsync(peer, request, cancel), AeTitle, peer.AeTitle)
        {
            Answered = answered,
            MoveOriginator = moveOriginator,
        };
}
