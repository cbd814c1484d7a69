using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Components.Authorization;
using Yizhan.Console.Live;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;

namespace Yizhan.Console.People;

/// <summary>What the issuer and the fleet say at one moment; null where whoever looks may not see it.</summary>
/// <param name="Users">Everybody who can sign in.</param>
/// <param name="Emergencies">Emergency access that nobody has looked at.</param>
internal sealed record PeopleView(IReadOnlyList<UserView>? Users, IReadOnlyList<EmergencyView>? Emergencies);

/// <summary>Asks the services of accounts and of emergency access as the person who looks: what they may do is decided there, and the audit log names them.</summary>
internal sealed class PeopleDesk(ServiceAddresses addresses, LocalOperator operators, AuthenticationStateProvider authentication, TimeProvider clock)
    : PersonalDesk(addresses, operators, authentication, clock)
{
    /// <summary>Time between two readings of an open page.</summary>
    public static readonly TimeSpan Fresh = TimeSpan.FromSeconds(3);

    /// <summary>Whether the person may see accounts, and emergency access.</summary>
    public async Task<(bool Accounts, bool Emergencies)> MayAsync(string site)
    {
        var caller = await CallerAsync();
        return (caller.May(Permission.ManageUsers, site), caller.May(Permission.ReviewEmergencies, site));
    }

    /// <summary>Reads what a page shows; when a service does not answer, what was said before.</summary>
    public Task<FeedView<PeopleView>> ReadAsync(FeedView<PeopleView> before, (bool Accounts, bool Emergencies) may, CancellationToken cancellationToken) => Client.ReadAsync(
        before, may.Accounts ? Addresses.Auth : Addresses.Fleet, Fresh,
        async deadline => new PeopleView(
            may.Accounts ? await Client.ListAsync(Users, ContractsJson.Default.IReadOnlyListUserView, deadline) : null,
            may.Emergencies ? await Client.ListAsync(Emergencies, ContractsJson.Default.IReadOnlyListEmergencyView, deadline) : null),
        cancellationToken);

    /// <summary>Adds somebody: the first password, or why not.</summary>
    public async Task<(string? Password, string? Problem)> AddAsync(NewUser user, CancellationToken cancellationToken)
    {
        var (answer, problem) = await Client.DoAsync(HttpMethod.Post, Users, JsonContent.Create(user, ContractsJson.Default.NewUser), cancellationToken);
        return ((string?)answer?["password"], problem);
    }

    /// <summary>Replaces the roles of somebody; null, or why not.</summary>
    public Task<string?> SetRolesAsync(string name, IEnumerable<string> roles, CancellationToken cancellationToken) => PutAsync(
        new Uri(Users, $"users/{Uri.EscapeDataString(name)}/roles"), new JsonArray([.. roles.Select(role => (JsonNode)role)]), cancellationToken);

    /// <summary>Closes an account or opens it again; null, or why not.</summary>
    public Task<string?> SetDisabledAsync(string name, bool disabled, CancellationToken cancellationToken) => PutAsync(
        new Uri(Users, $"users/{Uri.EscapeDataString(name)}/disabled?disabled={(disabled ? "true" : "false")}"), null, cancellationToken);

    /// <summary>Closes an emergency access; null, or why not.</summary>
    public async Task<string?> ReviewAsync(EmergencyView emergency, string verdict, CancellationToken cancellationToken) => (await Client.DoAsync(
        HttpMethod.Post, new Uri(Emergencies, $"emergencies/{Uri.EscapeDataString(emergency.Site)}/{Uri.EscapeDataString(emergency.Id)}/review"),
        JsonContent.Create(new EmergencyVerdict(verdict), ContractsJson.Default.EmergencyVerdict), cancellationToken)).Problem;

    private Uri Users => new(Addresses.Auth, "auth/users");

    private Uri Emergencies => new(Addresses.Fleet, "fleet/emergencies");

    private async Task<string?> PutAsync(Uri address, JsonArray? body, CancellationToken cancellationToken) =>
        (await Client.DoAsync(HttpMethod.Put, address, body is null ? null : JsonContent.Create(body), cancellationToken)).Problem;
}
