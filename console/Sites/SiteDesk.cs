using Microsoft.AspNetCore.Components.Authorization;
using Microsoft.Extensions.Options;
using Yizhan.Console.Live;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Platform.Identity;

namespace Yizhan.Console.Sites;

/// <summary>Asks the station of this site, as the node does: nothing that it answers here is about a patient or a person.</summary>
internal sealed class SiteDesk(ServiceAddresses addresses, IOptions<NodeOptions> node, LocalOperator operators, TimeProvider clock) : IDisposable
{
    /// <summary>Time between two readings of an open page.</summary>
    public static readonly TimeSpan Fresh = TimeSpan.FromSeconds(2);

    private readonly ServiceClient _client = new(operators, clock);

    /// <summary>Whether who looks may see studies here.</summary>
    public async Task<bool> MaySeeStudiesAsync(AuthenticationStateProvider authentication) =>
        Caller.From((await authentication.GetAuthenticationStateAsync()).User).May(Permission.ReadStudies, node.Value.SiteId);

    /// <summary>How long signing in without the centre holds; when the station does not answer, what it said before.</summary>
    public Task<FeedView<SiteSignInView>> SignInAsync(FeedView<SiteSignInView> before, CancellationToken cancellationToken) => _client.ReadAsync(
        before, addresses.Station, Fresh,
        deadline => _client.OneAsync(new Uri(addresses.Station, "station/sign-in"), ContractsJson.Default.SiteSignInView, deadline), cancellationToken);

    /// <inheritdoc/>
    public void Dispose() => _client.Dispose();
}
