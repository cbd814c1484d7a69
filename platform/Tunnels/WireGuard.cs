using System.Globalization;
using System.Text;
using Yizhan.Platform.SiteFiles;

namespace Yizhan.Platform.Tunnels;

/// <summary>
/// The two ends of a site's WireGuard tunnel, from its site file, in the format of <c>wg-quick</c>(8). Private keys are not in it: each
/// end reads its own from a file that was made there.
/// </summary>
public static class WireGuard
{
    /// <summary>1500 less the 80 bytes of IPv6, UDP and WireGuard itself.</summary>
    private const int Mtu = 1420;

    /// <summary>Where each end keeps its private key.</summary>
    public const string KeyPath = "/etc/wireguard/yizhan.key";

    /// <summary>The site's end.</summary>
    /// <param name="site">Its file, with a tunnel of type wireguard.</param>
    /// <param name="centreKey">Public key of the centre's end.</param>
    /// <param name="centreAddress">Address of the centre inside the tunnel, such as <c>10.66.0.1/32</c>.</param>
    /// <param name="keyPath">File of the site's private key.</param>
    /// <exception cref="ArgumentException">The site has no such tunnel.</exception>
    public static string OfSite(SiteFile site, string centreKey, string centreAddress, string keyPath = KeyPath)
    {
        var tunnel = Tunnel(site);
        return $"""
            # {site.SiteId}, its end of the tunnel. Made by yizhan wireguard render.
            [Interface]
            Address = {tunnel.Address}
            MTU = {Mtu}
            PostUp = wg set %i private-key {keyPath}

            [Peer]
            # the centre
            PublicKey = {centreKey}
            Endpoint = {tunnel.Endpoint}
            AllowedIPs = {centreAddress}
            PersistentKeepalive = 25

            """;
    }

    /// <summary>The centre's end, for all sites that have a tunnel.</summary>
    /// <param name="sites">Site files; those with another tunnel, or none, are left out.</param>
    /// <param name="centreAddress">Address of the centre inside the tunnel, such as <c>10.66.0.1/32</c>.</param>
    /// <param name="port">UDP port on which it listens.</param>
    /// <param name="keyPath">File of the centre's private key.</param>
    /// <exception cref="ArgumentException">A site has no public key, or the address of another.</exception>
    public static string OfCentre(IEnumerable<SiteFile> sites, string centreAddress, int port, string keyPath = KeyPath)
    {
        var text = new StringBuilder().Append(CultureInfo.InvariantCulture, $"""
            # The centre's end of the tunnels. Made by yizhan wireguard render.
            [Interface]
            Address = {centreAddress}
            ListenPort = {port}
            MTU = {Mtu}
            PostUp = wg set %i private-key {keyPath}

            """);
        var taken = new Dictionary<string, string>(StringComparer.Ordinal) { [centreAddress] = "the centre" };
        foreach (var site in sites.Where(s => s.Network.Tunnel?.Type == "wireguard").OrderBy(s => s.SiteId, StringComparer.Ordinal))
        {
            var tunnel = Tunnel(site);
            if (tunnel.PublicKey is not { } key)
            {
                throw new ArgumentException($"{site.SiteId} has no network.tunnel.publicKey: yizhan wireguard keys on its device prints it.");
            }

            // A tunnel gives a packet to the peer whose address it has: two with one would take each other's.
            if (!taken.TryAdd(tunnel.Address!, site.SiteId))
            {
                throw new ArgumentException($"{site.SiteId} and {taken[tunnel.Address!]} have the same network.tunnel.address, {tunnel.Address}.");
            }

            text.Append(CultureInfo.InvariantCulture, $"""

                [Peer]
                # {site.SiteId}
                PublicKey = {key}
                AllowedIPs = {tunnel.Address}

                """);
        }

        return text.ToString();
    }

    private static SiteTunnel Tunnel(SiteFile site) => site.Network.Tunnel is { Type: "wireguard", Address: not null, Endpoint: not null } tunnel
        ? tunnel
        : throw new ArgumentException($"{site.SiteId} has no network.tunnel of type wireguard.");
}
