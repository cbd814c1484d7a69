using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Platform.Identity;
using Yizhan.Station.Certificates;
using Yizhan.Station.Configuration;
using Yizhan.Station.Logs;
using Yizhan.Station.Models;
using Yizhan.Station.SignIn;
using Yizhan.Station.Updates;
using Yizhan.Storage;

namespace Yizhan.Station;

/// <summary>What a site runs: spool, back-fill to the centre (deployment <c>station</c>).</summary>
public sealed class StationModule : IServiceModule
{
    /// <inheritdoc/>
    public static string Name => "station";

    /// <inheritdoc/>
    public static void Register(IHostApplicationBuilder builder)
    {
        builder.AddSettings<StationOptions, StationOptionsValidator>(Name);
        builder.AddEventLog(ofSite: true);
        builder.Services.TryAddSingleton<Quarantine>();
        builder.Services.TryAddSingleton<SpoolMetrics>();
        builder.Services.TryAddSingleton<Retention>();
        builder.Services.AddHostedService(services => services.GetRequiredService<Retention>());
        builder.Services.TryAddSingleton<ServiceHealthWatch>();
        builder.Services.AddSingleton<IHealthCheckPublisher>(services => services.GetRequiredService<ServiceHealthWatch>());
        builder.Services.Configure<HealthCheckPublisherOptions>(o => o.Period = TimeSpan.FromSeconds(15));
        builder.Services.TryAddSingleton<IdleGate>();
        builder.Services.AddHostedService(services => services.GetRequiredService<IdleGate>());
        builder.Services.TryAddSingleton<SiteConfiguration>();
        builder.Services.TryAddSingleton<LinkService>();
        builder.Services.AddHostedService(services => services.GetRequiredService<LinkService>());
        builder.Services.AddHostedService<ConfigurationService>();
        builder.Services.TryAddSingleton<SiteTrust>();
        builder.Services.AddHostedService<CertificateRenewal>();
        builder.Services.TryAddSingleton(OpenSignIn);
        builder.Services.TryAddSingleton<SiteIssuer>();
        builder.Services.TryAddSingleton<SignInAttempts>();
        builder.Services.TryAddSingleton(new SignInPage(SignInPages.Path));
        builder.Services.AddAntiforgery();
        builder.Services.AddOptions<CookieAuthenticationOptions>(Session.Scheme).Configure<SiteSignIn>(SignInPages.Check);
        builder.Services.AddSingleton<ITrustedIssuer>(services => services.GetRequiredService<SiteIssuer>());
        builder.Services.AddSingleton<ITrustedIssuer, CentreIssuer>();
        builder.Services.AddHostedService<AccountUpdates>();
        builder.Services.AddHostedService<RolloutOrders>();
        builder.Services.AddSingleton<SiteLogLines>();
        builder.Services.AddSingleton<ILoggerProvider>(services => services.GetRequiredService<SiteLogLines>());
        builder.Services.AddHostedService<SiteLogSender>();
        builder.Services.ConfigureHttpJsonOptions(o => o.SerializerOptions.TypeInfoResolverChain.Insert(0, StationJson.Default));
        builder.Services.ConfigureHttpJsonOptions(o => o.SerializerOptions.TypeInfoResolverChain.Insert(1, SignInEndpointsJson.Default));
        builder.Services.ConfigureHttpJsonOptions(o => o.SerializerOptions.TypeInfoResolverChain.Insert(2, ContractsJson.Default));
    }

    /// <inheritdoc/>
    public static void Map(IEndpointRouteBuilder routes)
    {
        SpoolEndpoints.Map(routes);
        SignInEndpoints.Map(routes);
        UpdateEndpoints.Map(routes);
        routes.MapLogMaintenance();
        routes.MapSharedLog();
    }

    /// <summary>Maps the pages of signing in.</summary>
    public static void MapRoot(WebApplication app) => SignInPages.Map(app);

    private static SiteSignIn OpenSignIn(IServiceProvider services)
    {
        var options = services.GetRequiredService<IOptions<StationOptions>>().Value;
        var files = services.GetRequiredService<LinkService>().Files;
        return new SiteSignIn(
            services.GetRequiredService<IEventLog>(), files,
            files is null ? null : X509Certificate2.CreateFromPem(File.ReadAllText(options.RootPath!)),
            Path.GetDirectoryName(services.GetRequiredService<IOptions<NodeOptions>>().Value.PathOf("station", "sign-in", "accounts.jws"))!,
            services.GetRequiredService<TimeProvider>());
    }
}
