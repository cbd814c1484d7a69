using Microsoft.AspNetCore.Authentication;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Yizhan.Platform.Flows;

namespace Yizhan.Platform.Identity;

/// <summary>What every host has: tokens, sessions, and the issuers that it believes.</summary>
internal static class IdentityExtensions
{
    private const string BearerOrSession = "BearerOrSession";

    public static void AddIdentity(this IHostApplicationBuilder builder)
    {
        builder.AddSettings<IdentityOptions, IdentityOptionsValidator>("identity");
        var services = builder.Services;
        services.AddSingleton<TokenValidator>();
        services.AddSingleton<LocalOperator>();
        services.AddSingleton<ITrustedIssuer>(s => s.GetRequiredService<LocalOperator>());
        services.AddHostedService(s => s.GetRequiredService<LocalOperator>());
        var issuers = builder.Configuration.GetSection("identity:issuers").Get<List<IssuerOptions>>() ?? [];
        foreach (var (issuer, index) in issuers.Select((issuer, index) => (issuer, index)))
        {
            services.AddSingleton<ITrustedIssuer>(s => new HttpIssuer(
                issuer, s.GetRequiredService<IOptions<NodeOptions>>().Value.PathOf("identity", $"issuer-{index}.jwks"),
                new HttpClient(issuer.Service.Length > 0 && s.GetService<ServiceTls>() is { } tls
                    ? tls.Client(issuer.Service)
                    : new SocketsHttpHandler { ConnectTimeout = TimeSpan.FromSeconds(5), AllowAutoRedirect = false }),
                s.GetRequiredService<TimeProvider>(), s.GetRequiredService<ILogger<HttpIssuer>>()));
        }

        Session.Add(services);
        var authentication = services.AddAuthentication(BearerOrSession)
            .AddPolicyScheme(BearerOrSession, null, o => o.ForwardDefaultSelector = context =>
                context.Request.Headers.Authorization.Count > 0
                    || !context.Request.Cookies.ContainsKey(Session.CookieOf(context.RequestServices.GetRequiredService<IOptions<NodeOptions>>().Value))
                    ? BearerHandler.SchemeName : Session.Scheme)
            .AddScheme<AuthenticationSchemeOptions, BearerHandler>(BearerHandler.SchemeName, null)
            .AddCookie(Session.Scheme);
        OidcSignIn.Add(builder, authentication);
    }
}
