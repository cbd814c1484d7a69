using Microsoft.AspNetCore.Components.Authorization;
using Yizhan.Console.Live;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;

namespace Yizhan.Console.Drills;

/// <summary>Asks the fleet about recovery drills as the person who looks. It starts none: a drill breaks things, and runs where somebody stands beside it.</summary>
internal sealed class DrillDesk(ServiceAddresses addresses, LocalOperator operators, AuthenticationStateProvider authentication, TimeProvider clock)
    : PersonalDesk(addresses, operators, authentication, clock)
{
    /// <summary>Time between two readings of an open page.</summary>
    public static readonly TimeSpan Fresh = TimeSpan.FromSeconds(5);

    /// <summary>Whether the person may see drills.</summary>
    public async Task<bool> MayAsync(string site)
    {
        return (await CallerAsync()).May(Permission.ReadFleet, site);
    }

    /// <summary>Each kind of drill with its newest runs; when the fleet does not answer, what it said before.</summary>
    public Task<FeedView<IReadOnlyList<DrillView>>> KindsAsync(FeedView<IReadOnlyList<DrillView>> before, CancellationToken cancellationToken) => Client.ReadAsync(
        before, Addresses.Fleet, Fresh, deadline => Client.ListAsync(new Uri(Addresses.Fleet, "fleet/drills"), ContractsJson.Default.IReadOnlyListDrillView, deadline), cancellationToken);

    /// <summary>The report of one run.</summary>
    public Task<FeedView<DrillFinished>> ReportAsync(FeedView<DrillFinished> before, string id, CancellationToken cancellationToken) => Client.ReadAsync(
        before, Addresses.Fleet, Fresh,
        deadline => Client.OneAsync(new Uri(Addresses.Fleet, $"fleet/drills/{Uri.EscapeDataString(id)}"), ContractsJson.Default.DrillFinished, deadline), cancellationToken);
}
