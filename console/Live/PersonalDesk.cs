using System.Security.Claims;
using Microsoft.AspNetCore.Components.Authorization;
using Yizhan.Platform.Identity;

namespace Yizhan.Console.Live;

/// <summary>What one open page asks of services as the person who looks: what they may see and do is decided there, and the audit log names them.</summary>
internal abstract class PersonalDesk : IDisposable
{
    private readonly AuthenticationStateProvider _authentication;
    private ClaimsPrincipal _who = new();

    /// <summary>Makes the desk of one open page.</summary>
    protected PersonalDesk(ServiceAddresses addresses, LocalOperator operators, AuthenticationStateProvider authentication, TimeProvider clock)
    {
        (Addresses, _authentication) = (addresses, authentication);
        Client = new ServiceClient(operators.Neighbours(() => _who), clock);
    }

    /// <summary>Where the services are.</summary>
    protected ServiceAddresses Addresses { get; }

    /// <summary>Asks them, as the person of <see cref="CallerAsync"/>.</summary>
    protected ServiceClient Client { get; }

    /// <summary>Who looks. To be asked before anything else: until then it is nobody.</summary>
    protected async Task<Caller> CallerAsync()
    {
        _who = (await _authentication.GetAuthenticationStateAsync()).User;
        return Caller.From(_who);
    }

    /// <inheritdoc/>
    public void Dispose() => Client.Dispose();
}
