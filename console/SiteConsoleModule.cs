using Yizhan.Platform;

namespace Yizhan.Console;

/// <summary>The console of a site: the pages that belong to it, on its own services, with the centre away as well.</summary>
public sealed class SiteConsoleModule : IServiceModule
{
    /// <inheritdoc/>
    public static string Name => ConsoleModule.Name;

    /// <inheritdoc/>
    public static void Register(IHostApplicationBuilder builder)
    {
        builder.Services.AddSingleton(new Place(IsSite: true));
        ConsoleModule.Register(builder);
    }

    /// <inheritdoc/>
    public static void Map(IEndpointRouteBuilder routes) => ConsoleModule.Map(routes);

    /// <summary>Maps the pages and the files that they need.</summary>
    public static void MapRoot(WebApplication app) => ConsoleModule.MapRoot(app);
}
