using Microsoft.AspNetCore.Components.Authorization;
using Yizhan.Console.Live;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;

namespace Yizhan.Console.Models;

/// <summary>What the fleet says of models at one moment.</summary>
/// <param name="Sites">The last report of each site.</param>
/// <param name="Findings">The newest results.</param>
internal sealed record ModelsView(IReadOnlyList<ModelsReported> Sites, IReadOnlyList<SiteAnalysis> Findings);

/// <summary>Asks the fleet about models as the person who looks: what they see and may order is decided there, and the audit log names them.</summary>
internal sealed class ModelDesk(ServiceAddresses addresses, LocalOperator operators, AuthenticationStateProvider authentication, TimeProvider clock)
    : PersonalDesk(addresses, operators, authentication, clock)
{
    /// <summary>Time between two readings of an open page.</summary>
    public static readonly TimeSpan Fresh = TimeSpan.FromSeconds(3);

    /// <summary>Whether the person may see models here, and at which sites they may change rollouts.</summary>
    public async Task<(bool See, Func<string, bool> Change)> MayAsync(string site)
    {
        var caller = await CallerAsync();
        return (caller.May(Permission.UseModels, site), at => caller.May(Permission.ManageModels, at));
    }

    /// <summary>Reads what a page shows; when the fleet does not answer, what was said before.</summary>
    public Task<FeedView<ModelsView>> ReadAsync(FeedView<ModelsView> before, CancellationToken cancellationToken) => Client.ReadAsync(
        before, Addresses.Fleet, Fresh,
        async deadline => new ModelsView(
            await Client.ListAsync(new Uri(Addresses.Fleet, "fleet/models"), ContractsJson.Default.IReadOnlyListModelsReported, deadline),
            await Client.ListAsync(new Uri(Addresses.Fleet, "fleet/findings"), ContractsJson.Default.IReadOnlyListSiteAnalysis, deadline)),
        cancellationToken);

    /// <summary>Orders a change at a site; null, or why not.</summary>
    public async Task<string?> OrderAsync(ModelOrder order, CancellationToken cancellationToken) => (await Client.DoAsync(
        HttpMethod.Post, new Uri(Addresses.Fleet, $"fleet/models/{Uri.EscapeDataString(order.Site)}/{Uri.EscapeDataString(order.Model)}/{order.Action}"),
        JsonContent.Create(order.Request, ContractsJson.Default.RolloutRequest), cancellationToken)).Problem;
}

/// <summary>What somebody wants changed.</summary>
/// <param name="Site">Where.</param>
/// <param name="Model">Of which model.</param>
/// <param name="Action">promote, hold or rollback.</param>
/// <param name="Request">To what, and why.</param>
public sealed record ModelOrder(string Site, string Model, string Action, RolloutRequest Request);
