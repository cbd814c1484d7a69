using System.Globalization;
using System.Security.Claims;
using Microsoft.AspNetCore.Components.Authorization;
using Yizhan.Console.Live;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;
using Yizhan.Platform.Releases;

namespace Yizhan.Console.Configuration;

/// <summary>Asks the fleet about sites and releases as the person who looks. It proposes and approves nothing: that needs a key, and keys stay with people.</summary>
internal sealed class ReleaseDesk : IDisposable
{
    /// <summary>Time between two readings of an open page.</summary>
    public static readonly TimeSpan Fresh = TimeSpan.FromSeconds(3);

    private readonly ServiceAddresses _addresses;
    private readonly AuthenticationStateProvider _authentication;
    private readonly ServiceClient _client;
    private ClaimsPrincipal _who = new();

    /// <summary>Makes the desk of one open page.</summary>
    public ReleaseDesk(ServiceAddresses addresses, LocalOperator operators, AuthenticationStateProvider authentication, TimeProvider clock)
    {
        (_addresses, _authentication) = (addresses, authentication);
        _client = new ServiceClient(() => operators.IssueFor(_who), clock);
    }

    /// <summary>Whether the person may see sites, and release configuration.</summary>
    public async Task<(bool See, bool Release)> MayAsync(string site)
    {
        _who = (await _authentication.GetAuthenticationStateAsync()).User;
        var caller = Caller.From(_who);
        return (caller.May(Permission.ReadFleet, site), caller.May(Permission.ReleaseConfiguration, site));
    }

    /// <summary>All releases, the newest first; when the fleet does not answer, what it said before.</summary>
    public Task<FeedView<IReadOnlyList<ReleaseView>>> ReleasesAsync(FeedView<IReadOnlyList<ReleaseView>> before, CancellationToken cancellationToken) => _client.ReadAsync(
        before, _addresses.Fleet, Fresh, deadline => _client.ListAsync(new Uri(_addresses.Fleet, "fleet/releases"), ContractsJson.Default.IReadOnlyListReleaseView, deadline), cancellationToken);

    /// <summary>What waited at a site in the last hours.</summary>
    public Task<FeedView<IReadOnlyList<SiteFigures>>> HistoryAsync(FeedView<IReadOnlyList<SiteFigures>> before, string site, int hours, CancellationToken cancellationToken) => _client.ReadAsync(
        before, _addresses.Fleet, Fresh,
        deadline => _client.ListAsync(
            new Uri(_addresses.Fleet, string.Create(CultureInfo.InvariantCulture, $"fleet/sites/{Uri.EscapeDataString(site)}/history?hours={hours}")), ContractsJson.Default.IReadOnlyListSiteFigures, deadline),
        cancellationToken);

    /// <summary>The archive of a release with its site files; null when it cannot be had or read.</summary>
    public async Task<ReleaseBundle?> BundleAsync(string version, CancellationToken cancellationToken)
    {
        try
        {
            await using var stream = await _client.StreamAsync(new Uri(_addresses.Fleet, $"fleet/releases/{Uri.EscapeDataString(version)}/bundle"), cancellationToken);
            return await ReleaseBundle.ReadAsync(stream, cancellationToken);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or ReleaseRefusedException)
        {
            return null;
        }
    }

    public void Dispose() => _client.Dispose();
}
