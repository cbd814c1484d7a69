using System.Text.Json;
using Microsoft.Extensions.Options;
using OpenIddict.Abstractions;
using static OpenIddict.Abstractions.OpenIddictConstants;

namespace Yizhan.Auth;

/// <summary>Before anybody is served: the database, the first admin, and the clients as the settings have them now.</summary>
internal sealed class Prepare(People people, IServiceScopeFactory scopes, IOptions<AuthOptions> options) : IHostedService
{
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        await people.PrepareAsync(cancellationToken);
        await using var scope = scopes.CreateAsyncScope();
        var clients = scope.ServiceProvider.GetRequiredService<IOpenIddictApplicationManager>();
        await PutAsync(clients, new OpenIddictApplicationDescriptor
        {
            ClientId = "yizhan-cli",
            ClientType = ClientTypes.Public,
            Permissions =
            {
                Permissions.Endpoints.DeviceAuthorization, Permissions.Endpoints.Token, Permissions.Endpoints.Revocation,
                Permissions.GrantTypes.DeviceCode, Permissions.GrantTypes.RefreshToken,
            },
        }, cancellationToken);
        foreach (var client in options.Value.Clients)
        {
            await PutAsync(clients, await DescribeAsync(client, cancellationToken), cancellationToken);
        }
    }

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    private static async Task<OpenIddictApplicationDescriptor> DescribeAsync(ClientOptions client, CancellationToken cancellationToken)
    {
        var secret = client.SecretFile.Length > 0 ? (await File.ReadAllTextAsync(client.SecretFile, cancellationToken)).Trim() : null;
        var descriptor = new OpenIddictApplicationDescriptor
        {
            ClientId = client.Id,
            ClientType = secret is null ? ClientTypes.Public : ClientTypes.Confidential,
            ClientSecret = secret,
            ConsentType = ConsentTypes.Implicit,
            Permissions = { Permissions.Endpoints.Token, Permissions.Endpoints.Revocation },
        };
        if (client.RedirectUris.Count > 0)
        {
            descriptor.RedirectUris.UnionWith(client.RedirectUris.Select(uri => new Uri(uri)));
            descriptor.Permissions.UnionWith([
                Permissions.Endpoints.Authorization, Permissions.GrantTypes.AuthorizationCode, Permissions.GrantTypes.RefreshToken, Permissions.ResponseTypes.Code]);
        }

        if (secret is not null)
        {
            descriptor.Permissions.UnionWith([Permissions.Endpoints.Introspection, Permissions.GrantTypes.ClientCredentials, Permissions.GrantTypes.TokenExchange]);
            descriptor.Properties["roles"] = JsonSerializer.SerializeToElement(client.Roles);
        }

        return descriptor;
    }

    private static async Task PutAsync(IOpenIddictApplicationManager clients, OpenIddictApplicationDescriptor descriptor, CancellationToken cancellationToken)
    {
        if (await clients.FindByClientIdAsync(descriptor.ClientId!, cancellationToken) is { } known)
        {
            await clients.UpdateAsync(known, descriptor, cancellationToken);
        }
        else
        {
            await clients.CreateAsync(descriptor, cancellationToken);
        }
    }
}
