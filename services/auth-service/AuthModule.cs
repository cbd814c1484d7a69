using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;
using OpenIddict.Server;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Platform.Identity;
using Yizhan.Storage;

namespace Yizhan.Auth;

/// <summary>The embedded OpenID Connect issuer: people, their roles, tokens (deployment <c>auth</c>).</summary>
public sealed class AuthModule : IServiceModule
{
    /// <inheritdoc/>
    public static string Name => "auth";

    /// <inheritdoc/>
    public static void Register(IHostApplicationBuilder builder)
    {
        builder.AddEventLog();
        builder.AddSettings<AuthOptions, AuthOptionsValidator>(Name);
        var services = builder.Services;
        services.ConfigureHttpJsonOptions(o => o.SerializerOptions.TypeInfoResolverChain.Insert(0, ContractsJson.Default));
        services.AddSingleton<IssuerKeys>();
        services.AddSingleton<ITrustedIssuer>(s => s.GetRequiredService<IssuerKeys>());
        services.AddSingleton<IOptionsChangeTokenSource<OpenIddictServerOptions>>(s => s.GetRequiredService<IssuerKeys>());
        services.AddSingleton<People>();
        services.AddScoped<Grants>();
        services.TryAddSingleton(new SignInPage("/sign-in"));
        services.AddAntiforgery();
        services.AddDbContextFactory<AuthDatabase>((s, o) =>
            o.UseSqlite($"Data Source={s.GetRequiredService<IOptions<NodeOptions>>().Value.PathOf("auth", "auth.db")}").UseOpenIddict());
        services.AddOpenIddict()
            .AddCore(core => core.UseEntityFrameworkCore().UseDbContext<AuthDatabase>())
            .AddServer(server =>
            {
                server.SetAuthorizationEndpointUris("auth/authorize").SetTokenEndpointUris("auth/token")
                    .SetDeviceAuthorizationEndpointUris("auth/device-code").SetEndUserVerificationEndpointUris("auth/device")
                    .SetIntrospectionEndpointUris("auth/introspect").SetRevocationEndpointUris("auth/revoke")
                    .SetConfigurationEndpointUris("auth/.well-known/openid-configuration").SetJsonWebKeySetEndpointUris("auth/.well-known/jwks");
                server.AllowAuthorizationCodeFlow().RequireProofKeyForCodeExchange().AllowDeviceAuthorizationFlow().AllowRefreshTokenFlow()
                    .AllowClientCredentialsFlow().AllowTokenExchangeFlow();

                // Which audiences and scopes there are is decided in Grants: services are named in one place, SMART scopes are a grammar.
                server.DisableAudienceValidation().DisableScopeValidation().DisableResourceValidation().DisableAccessTokenEncryption()
                    .IgnoreAudiencePermissions().IgnoreScopePermissions().IgnoreResourcePermissions();

                // It wants the client's id among the audiences; ours name services under the installation's. Grants.Exchange asks the same of those.
                server.RemoveEventHandler(OpenIddictServerHandlers.Exchange.ValidateAuthorizedParty.Descriptor);
                server.UseAspNetCore().EnableAuthorizationEndpointPassthrough().EnableTokenEndpointPassthrough().EnableEndUserVerificationEndpointPassthrough()

                    // web:url decides: the loopback, or TLS.
                    .DisableTransportSecurityRequirement();
            });
        services.AddOptions<OpenIddictServerOptions>().Configure<IssuerKeys, IOptions<AuthOptions>, TimeProvider>((server, keys, options, clock) =>
        {
            server.Issuer = keys.Address;
            server.TimeProvider = clock;
            server.AccessTokenLifetime = TimeSpan.FromMinutes(options.Value.AccessTokenMinutes);
            server.IssuedTokenLifetime = server.AccessTokenLifetime;
            server.RefreshTokenLifetime = TimeSpan.FromHours(12);
            server.DeviceCodeLifetime = TimeSpan.FromMinutes(10);
            server.UserCodeLifetime = TimeSpan.FromMinutes(10);
            server.SigningCredentials.AddRange(keys.Signing.Select(key => new Microsoft.IdentityModel.Tokens.SigningCredentials(key, "ES256")));
            server.EncryptionCredentials.Add(new(keys.Sealing, "dir", "A256CBC-HS512"));
        });
        services.AddHostedService<Prepare>();
    }

    /// <inheritdoc/>
    public static void Map(IEndpointRouteBuilder routes)
    {
        SignInEndpoints.Map(routes);
        UserEndpoints.Map(routes);
    }

    /// <summary>Maps the pages of signing in.</summary>
    public static void MapRoot(WebApplication app) => SignInEndpoints.MapPages(app);
}
