using Yizhan.Platform;

namespace Yizhan.Fleet;

/// <summary>The centre's view of its sites: registry and intake (deployment <c>fleet</c>).</summary>
public sealed class FleetModule : IServiceModule
{
    /// <inheritdoc/>
    public static string Name => "fleet";

    /// <inheritdoc/>
    public static void Register(IHostApplicationBuilder builder)
    {
    }

    /// <inheritdoc/>
    public static void Map(IEndpointRouteBuilder routes)
    {
    }
}
