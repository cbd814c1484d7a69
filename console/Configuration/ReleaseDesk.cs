using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Components.Authorization;
using Yizhan.Console.Live;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;
using Yizhan.Platform.Releases;

namespace Yizhan.Console.Configuration;

/// <summary>Asks the fleet about sites and releases as the person who looks. It proposes nothing, and passes approvals on: they are signed by keys, and keys stay with people.</summary>
internal sealed class ReleaseDesk(ServiceAddresses addresses, LocalOperator operators, AuthenticationStateProvider authentication, TimeProvider clock)
    : PersonalDesk(addresses, operators, authentication, clock)
{
    /// <summary>Time between two readings of an open page.</summary>
    public static readonly TimeSpan Fresh = TimeSpan.FromSeconds(3);

    /// <summary>Whether the person may see sites, and release configuration.</summary>
    public async Task<(bool See, bool Release)> MayAsync(string site)
    {
        var caller = await CallerAsync();
        return (caller.May(Permission.ReadFleet, site), caller.May(Permission.ReleaseConfiguration, site));
    }

    /// <summary>Who looks, as accounts are named.</summary>
    public async Task<string> PersonAsync() => (await CallerAsync()).Subject;

    /// <summary>Whose signatures count; null when the fleet does not answer.</summary>
    public async Task<ReleaseTrustView?> TrustAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await Client.OneAsync(new Uri(Addresses.Fleet, "fleet/releases/trust"), ContractsJson.Default.ReleaseTrustView, cancellationToken);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or JsonException)
        {
            return null;
        }
    }

    /// <summary>Passes an approval on; null, or why it was not taken.</summary>
    public async Task<string?> ApproveAsync(string version, ReleaseApproval approval, CancellationToken cancellationToken) => (await Client.DoAsync(
        HttpMethod.Post, new Uri(Addresses.Fleet, $"fleet/releases/{Uri.EscapeDataString(version)}/approvals"),
        JsonContent.Create(approval, ContractsJson.Default.ReleaseApproval), cancellationToken)).Problem;

    /// <summary>All releases, the newest first; when the fleet does not answer, what it said before.</summary>
    public Task<FeedView<IReadOnlyList<ReleaseView>>> ReleasesAsync(FeedView<IReadOnlyList<ReleaseView>> before, CancellationToken cancellationToken) => Client.ReadAsync(
        before, Addresses.Fleet, Fresh, deadline => Client.ListAsync(new Uri(Addresses.Fleet, "fleet/releases"), ContractsJson.Default.IReadOnlyListReleaseView, deadline), cancellationToken);

    /// <summary>What waited at a site in the last hours.</summary>
    public Task<FeedView<IReadOnlyList<SiteFigures>>> HistoryAsync(FeedView<IReadOnlyList<SiteFigures>> before, string site, int hours, CancellationToken cancellationToken) => Client.ReadAsync(
        before, Addresses.Fleet, Fresh,
        deadline => Client.ListAsync(
            new Uri(Addresses.Fleet, string.Create(CultureInfo.InvariantCulture, $"fleet/sites/{Uri.EscapeDataString(site)}/history?hours={hours}")), ContractsJson.Default.IReadOnlyListSiteFigures, deadline),
        cancellationToken);

    /// <summary>The newest warnings and errors of a site; null when the fleet does not answer.</summary>
    public async Task<SiteLogView?> LogAsync(string site, int most, CancellationToken cancellationToken)
    {
        try
        {
            await using var stream = await Client.StreamAsync(
                new Uri(Addresses.Fleet, string.Create(CultureInfo.InvariantCulture, $"fleet/sites/{Uri.EscapeDataString(site)}/log?limit={most}")), cancellationToken);
            return await JsonSerializer.DeserializeAsync(stream, ContractsJson.Default.SiteLogView, cancellationToken);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or JsonException)
        {
            return null;
        }
    }

    /// <summary>The archive of a release with its site files; null when it cannot be had or read.</summary>
    public async Task<ReleaseBundle?> BundleAsync(string version, CancellationToken cancellationToken)
    {
        try
        {
            await using var stream = await Client.StreamAsync(new Uri(Addresses.Fleet, $"fleet/releases/{Uri.EscapeDataString(version)}/bundle"), cancellationToken);
            return await ReleaseBundle.ReadAsync(stream, cancellationToken);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or ReleaseRefusedException)
        {
            return null;
        }
    }
}
