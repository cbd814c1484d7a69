using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;
using MudBlazor.Services;
using Yizhan.Console.Audit;
using Yizhan.Console.Configuration;
using Yizhan.Console.Drills;
using Yizhan.Console.Emr;
using Yizhan.Console.Inventory;
using Yizhan.Console.Language;
using Yizhan.Console.Layout;
using Yizhan.Console.Live;
using Yizhan.Console.Models;
using Yizhan.Console.Peers;
using Yizhan.Console.People;
using Yizhan.Console.Sites;
using Yizhan.Console.Studies;
using Yizhan.Platform;
using Yizhan.Platform.Identity;

namespace Yizhan.Console;

/// <summary>The web console (deployment <c>console</c>): pages at the root, nothing stored, services asked over HTTP only.</summary>
public sealed class ConsoleModule : IServiceModule
{
    /// <inheritdoc/>
    public static string Name => "console";

    /// <inheritdoc/>
    public static void Register(IHostApplicationBuilder builder)
    {
        builder.AddSettings<ConsoleOptions, ConsoleOptionsValidator>(Name);

        builder.Services.AddRazorComponents().AddInteractiveServerComponents()

            // A site file or a long note is one message of the page; 32 kB would end its connection.
            .AddHubOptions(hub => hub.MaximumReceiveMessageSize = 512 * 1024);
        builder.Services.AddMudServices();
        builder.Services.TryAddSingleton(new Place(IsSite: false));
        builder.Services.AddSingleton<ServiceAddresses>();
        builder.Services.AddSingleton(services => new AuditClient(
            services.GetRequiredService<ServiceAddresses>(), services.GetRequiredService<IOptions<ConsoleOptions>>(), services.GetRequiredService<LocalOperator>().Neighbours(),
            services.GetRequiredService<TimeProvider>()));
        builder.Services.AddSingleton<PeerDesk>();
        builder.Services.AddSingleton<EmrDesk>();
        builder.Services.AddScoped<PeopleDesk>();
        builder.Services.AddScoped<ModelDesk>();
        builder.Services.AddTransient<DrillDesk>();
        builder.Services.AddTransient<StudyDesk>();
        builder.Services.AddTransient<ReleaseDesk>();
        builder.Services.AddSingleton<InventoryDesk>();
        builder.Services.AddSingleton<AlertDesk>();
        builder.Services.AddSingleton<SiteDesk>();
        builder.Services.AddSingleton<OpenPages>();
        builder.Services.AddScoped(services => services.GetRequiredService<OpenPages>().Counter);
        builder.Services.AddSingleton<Feeds>();
        builder.Services.AddHostedService(services => services.GetRequiredService<Feeds>());
    }

    /// <inheritdoc/>
    public static void Map(IEndpointRouteBuilder routes) => routes.MapGet("/language/{language}", SetLanguage).ExcludeFromDescription().OpenToAll("A choice of language, before anybody has signed in.");

    /// <summary>Maps the pages and the files that they need.</summary>
    public static void MapRoot(WebApplication app)
    {
        app.UseWhen(PageHeaders.Concern, page => page.Use(PageHeaders.AddAsync));
        app.UseWhen(context => context.Request.Path.StartsWithSegments("/_blazor"), page => page.Use(app.Services.GetRequiredService<OpenPages>().RefuseAsync));
        app.UseAntiforgery();
        app.MapStaticAssets().OpenToAll("Style and script of the pages; nothing of anybody is in them.");
        app.MapRazorComponents<App>().AddInteractiveServerRenderMode(o => o.ContentSecurityFrameAncestorsPolicy = null).Needs(Permission.UseConsole);
    }

    /// <summary>Remembers the language for a year and goes back to the page that asked; to <c>/</c> when that is not one of ours.</summary>
    private static Results<RedirectHttpResult, NotFound> SetLanguage(string language, string? back, HttpContext context)
    {
        if (Texts.Find(language) is not { } texts)
        {
            return TypedResults.NotFound();
        }

        Preferences.SetLanguage(context.Response, texts);
        return TypedResults.LocalRedirect(RedirectHttpResult.IsLocalUrl(back) ? back! : "/");
    }
}
