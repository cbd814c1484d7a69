using System.Security.Claims;
using Microsoft.AspNetCore.Components.Authorization;
using Yizhan.Console.Live;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;

namespace Yizhan.Console.Drills;

/// <summary>Asks the fleet about recovery drills as the person who looks. It starts none: a drill breaks things, and runs where somebody stands beside it.</summary>
internal sealed class DrillDesk : IDisposable
{
    /// <summary>Time between two readings of an open page.</summary>
    public static readonly TimeSpan Fresh = TimeSpan.FromSeconds(5);

    private readonly ServiceAddresses _addresses;
    private readonly AuthenticationStateProvider _authentication;
    private readonly ServiceClient _client;
    private ClaimsPrincipal _who = new();

    /// <summary>Makes the desk of one open page.</summary>
    public DrillDesk(ServiceAddresses addresses, LocalOperator operators, AuthenticationStateProvider authentication, TimeProvider clock)
    {
        (_addresses, _authentication) = (addresses, authentication);
        _client = new ServiceClient(() => operators.IssueFor(_who), clock);
    }

    /// <summary>Whether the person may see drills.</summary>
    public async Task<bool> MayAsync(string site)
    {
        _who = (await _authentication.GetAuthenticationStateAsync()).User;
        return Caller.From(_who).May(Permission.ReadFleet, site);
    }

    /// <summary>Each kind of drill with its newest runs; when the fleet does not answer, what it said before.</summary>
    public Task<FeedView<IReadOnlyList<DrillView>>> KindsAsync(FeedView<IReadOnlyList<DrillView>> before, CancellationToken cancellationToken) => _client.ReadAsync(
        before, _addresses.Fleet, Fresh, deadline => _client.ListAsync(new Uri(_addresses.Fleet, "fleet/drills"), ContractsJson.Default.IReadOnlyListDrillView, deadline), cancellationToken);

    /// <summary>The report of one run.</summary>
    public Task<FeedView<DrillFinished>> ReportAsync(FeedView<DrillFinished> before, string id, CancellationToken cancellationToken) => _client.ReadAsync(
        before, _addresses.Fleet, Fresh,
        deadline => _client.OneAsync(new Uri(_addresses.Fleet, $"fleet/drills/{Uri.EscapeDataString(id)}"), ContractsJson.Default.DrillFinished, deadline), cancellationToken);

    public void Dispose() => _client.Dispose();
}
