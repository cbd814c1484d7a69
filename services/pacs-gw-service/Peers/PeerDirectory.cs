using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Options;
using Yizhan.Dicom.Network;

namespace Yizhan.PacsGw.Peers;

/// <summary>The application entities of the settings: who may come, who may have what, and how much of it.</summary>
internal sealed class PeerDirectory(IOptions<PacsGwOptions> options, TimeProvider clock)
{
    private readonly Dictionary<string, Peer> _peers =
        options.Value.Peers.ToDictionary(p => p.AeTitle, p => new Peer(p), StringComparer.Ordinal);

    private readonly PacsGwOptions _options = options.Value;
    private int _associations;

    /// <summary>All peers, as in the settings.</summary>
    public IEnumerable<PeerOptions> All => _options.Peers;

    /// <summary>A peer that can be called; null when there is none of that name or it has no host.</summary>
    public PeerOptions? Callable(string aeTitle) =>
        _peers.TryGetValue(aeTitle, out var peer) && peer.Options.Host is not null ? peer.Options : null;

    /// <summary>
    /// Decides about an association (PS3.8 §9.3.4): who is not known is refused for good, who is too many may come again. Call
    /// <see cref="Leave"/> for each peer that was admitted.
    /// </summary>
    /// <param name="request">Its titles.</param>
    /// <param name="address">Where it comes from.</param>
    /// <param name="certificate">What it showed over TLS; null without TLS.</param>
    /// <param name="rejection">Why not; null when it is admitted.</param>
    public PeerOptions? Admit(AssociateRequest request, IPAddress? address, X509Certificate2? certificate, out Rejection? rejection)
    {
        rejection = null;
        if (request.CalledAeTitle != _options.AeTitle)
        {
            rejection = new Rejection(RejectReason.CalledAeTitleNotRecognized, Transient: false);
            return null;
        }

        if (!_peers.TryGetValue(request.CallingAeTitle, out var peer) || !IsFrom(peer.Options, address) || !HasShown(peer.Options, certificate))
        {
            rejection = new Rejection(RejectReason.CallingAeTitleNotRecognized, Transient: false);
            return null;
        }

        if (!peer.TryCount(clock))
        {
            rejection = new Rejection(RejectReason.TemporaryCongestion, Transient: true);
            return null;
        }

        if (Interlocked.Increment(ref _associations) > _options.MaxAssociations)
        {
            Interlocked.Decrement(ref _associations);
            rejection = new Rejection(RejectReason.LocalLimitExceeded, Transient: true);
            return null;
        }

        if (!peer.TryEnter())
        {
            Interlocked.Decrement(ref _associations);
            rejection = new Rejection(RejectReason.LocalLimitExceeded, Transient: true);
            return null;
        }

        return peer.Options;
    }

    /// <summary>An admitted association has ended.</summary>
    public void Leave(PeerOptions peer)
    {
        Interlocked.Decrement(ref _associations);
        _peers[peer.AeTitle].Leave();
    }

    /// <summary>True when the peer may ask for a service.</summary>
    public static bool Allows(PeerOptions peer, PeerService service) => peer.Services.Count == 0 || peer.Services.Contains(service);

    private static bool IsFrom(PeerOptions peer, IPAddress? address) =>
        peer.Address is null || IPAddress.Parse(peer.Address).Equals(address is { IsIPv4MappedToIPv6: true } ? address.MapToIPv4() : address);

    private static bool HasShown(PeerOptions peer, X509Certificate2? certificate) =>
        (!peer.Tls || certificate is not null)
        && (peer.CertificateSha256 is null
            || string.Equals(peer.CertificateSha256, certificate?.GetCertHashString(HashAlgorithmName.SHA256), StringComparison.OrdinalIgnoreCase));

    /// <summary>A peer and what it uses now.</summary>
    private sealed class Peer(PeerOptions options)
    {
        private readonly Lock _gate = new();
        private int _associations;
        private int _opened;
        private long _minute;

        public PeerOptions Options { get; } = options;

        public bool TryCount(TimeProvider clock)
        {
            lock (_gate)
            {
                var minute = clock.GetTimestamp() / (60 * clock.TimestampFrequency);
                (_opened, _minute) = (minute == _minute ? _opened + 1 : 1, minute);
                return _opened <= Options.MaxAssociationsPerMinute;
            }
        }

        public bool TryEnter()
        {
            lock (_gate)
            {
                if (_associations == Options.MaxAssociations)
                {
                    return false;
                }

                _associations++;
                return true;
            }
        }

        public void Leave()
        {
            lock (_gate)
            {
                _associations--;
            }
        }
    }
}
