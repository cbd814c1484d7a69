using Microsoft.AspNetCore.Components.Authorization;
using Yizhan.Console.Live;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;

namespace Yizhan.Console.Models;

/// <summary>What is known of models at one moment.</summary>
/// <param name="Sites">The last report of each site.</param>
/// <param name="Findings">The newest results.</param>
internal sealed record ModelsView(IReadOnlyList<ModelsReported> Sites, IReadOnlyList<SiteAnalysis> Findings);

/// <summary>
/// Asks about models as the person who looks: what they see and may order is decided there, and the audit log names them. The centre asks its fleet, which
/// passes orders on; a site asks its own ai-infer, which does at once what is ordered.
/// </summary>
internal sealed class ModelDesk(ServiceAddresses addresses, Place place, LocalOperator operators, AuthenticationStateProvider authentication, TimeProvider clock)
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

    /// <summary>Reads what a page shows; when the service does not answer, what was said before.</summary>
    public Task<FeedView<ModelsView>> ReadAsync(FeedView<ModelsView> before, CancellationToken cancellationToken) =>
        Client.ReadAsync(before, place.IsSite ? Addresses.Ai : Addresses.Fleet, Fresh, place.IsSite ? OfSiteAsync : OfFleetAsync, cancellationToken);

    /// <summary>Orders a change; null, or why not.</summary>
    public async Task<string?> OrderAsync(ModelOrder order, CancellationToken cancellationToken)
    {
        var model = Uri.EscapeDataString(order.Model);
        var address = place.IsSite
            ? new Uri(Addresses.Ai, $"ai-infer/rollouts/{model}/{order.Action}")
            : new Uri(Addresses.Fleet, $"fleet/models/{Uri.EscapeDataString(order.Site)}/{model}/{order.Action}");
        return (await Client.DoAsync(HttpMethod.Post, address, JsonContent.Create(order.Request, ContractsJson.Default.RolloutRequest), cancellationToken)).Problem;
    }

    private async Task<ModelsView> OfFleetAsync(CancellationToken cancellationToken) => new(
        await Client.ListAsync(new Uri(Addresses.Fleet, "fleet/models"), ContractsJson.Default.IReadOnlyListModelsReported, cancellationToken),
        await Client.ListAsync(new Uri(Addresses.Fleet, "fleet/findings"), ContractsJson.Default.IReadOnlyListSiteAnalysis, cancellationToken));

    private async Task<ModelsView> OfSiteAsync(CancellationToken cancellationToken)
    {
        var report = await Client.OneAsync(new Uri(Addresses.Ai, "ai-infer/report"), ContractsJson.Default.ModelsReported, cancellationToken);
        var results = await Client.ListAsync(new Uri(Addresses.Ai, "ai-infer/results"), ContractsJson.Default.IReadOnlyListAnalysisFinished, cancellationToken);
        return new([.. new[] { report }.Where(r => r.Models.Count > 0)], [.. results.Select(result => new SiteAnalysis(report.Site, result))]);
    }
}

/// <summary>What somebody wants changed.</summary>
/// <param name="Site">Where.</param>
/// <param name="Model">Of which model.</param>
/// <param name="Action">promote, hold or rollback.</param>
/// <param name="Request">To what, and why.</param>
public sealed record ModelOrder(string Site, string Model, string Action, RolloutRequest Request);
