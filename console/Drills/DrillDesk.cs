using System.Text.Json;
using Microsoft.AspNetCore.Components.Authorization;
using Yizhan.Console.Live;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;

namespace Yizhan.Console.Drills;

/// <summary>Asks the fleet about recovery drills as the person who looks, and lets it start and end them in that person's name.</summary>
internal sealed class DrillDesk(ServiceAddresses addresses, LocalOperator operators, AuthenticationStateProvider authentication, TimeProvider clock)
    : PersonalDesk(addresses, operators, authentication, clock)
{
    /// <summary>Time between two readings of an open page: what a drill says is followed line by line.</summary>
    public static readonly TimeSpan Fresh = TimeSpan.FromSeconds(1);

    /// <summary>Whether the person may see drills, and start them.</summary>
    public async Task<(bool See, bool Start)> MayAsync(string site)
    {
        var caller = await CallerAsync();
        return (caller.May(Permission.ReadFleet, site), caller.May(Permission.MaintainLog, site));
    }

    /// <summary>What runs, or ran last; null when the fleet does not answer.</summary>
    public async Task<DrillDeskView?> CurrentAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await Client.OneAsync(Current, ContractsJson.Default.DrillDeskView, cancellationToken);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or JsonException)
        {
            return null;
        }
    }

    /// <summary>Starts a drill; null, or why not.</summary>
    public async Task<string?> StartAsync(string kind, CancellationToken cancellationToken) =>
        (await Client.DoAsync(HttpMethod.Post, Current, JsonContent.Create(new DrillStart(kind), ContractsJson.Default.DrillStart), cancellationToken)).Problem;

    /// <summary>Ends the one that runs; null, or why not.</summary>
    public async Task<string?> CancelAsync(CancellationToken cancellationToken) => (await Client.DoAsync(HttpMethod.Delete, Current, null, cancellationToken)).Problem;

    /// <summary>Each kind of drill with its newest runs; when the fleet does not answer, what it said before.</summary>
    public Task<FeedView<IReadOnlyList<DrillView>>> KindsAsync(FeedView<IReadOnlyList<DrillView>> before, CancellationToken cancellationToken) => Client.ReadAsync(
        before, Addresses.Fleet, Fresh, deadline => Client.ListAsync(new Uri(Addresses.Fleet, "fleet/drills"), ContractsJson.Default.IReadOnlyListDrillView, deadline), cancellationToken);

    /// <summary>The report of one run.</summary>
    public Task<FeedView<DrillFinished>> ReportAsync(FeedView<DrillFinished> before, string id, CancellationToken cancellationToken) => Client.ReadAsync(
        before, Addresses.Fleet, Fresh,
        deadline => Client.OneAsync(new Uri(Addresses.Fleet, $"fleet/drills/{Uri.EscapeDataString(id)}"), ContractsJson.Default.DrillFinished, deadline), cancellationToken);

    private Uri Current => new(Addresses.Fleet, "fleet/drills/current");
}
