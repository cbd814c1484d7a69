using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Components.Authorization;
using Yizhan.Console.Live;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;
using Yizhan.Platform.Releases;

namespace Yizhan.Console.Configuration;

/// <summary>Asks the fleet about sites and releases as the person who looks. It proposes and approves nothing: that needs a key, and keys stay with people.</summary>
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
