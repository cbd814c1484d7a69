using Yizhan.Platform;

namespace Yizhan.Console;

/// <summary>The web console (deployment <c>console</c>).</summary>
public sealed class ConsoleModule : IServiceModule
{
    /// <inheritdoc/>
    public static string Name => "console";

    /// <inheritdoc/>
    public static void Register(IHostApplicationBuilder builder)
    {
    }

    /// <inheritdoc/>
    public static void Map(IEndpointRouteBuilder routes)
    {
    }
}
