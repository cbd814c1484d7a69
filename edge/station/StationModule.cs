using Yizhan.Platform;

namespace Yizhan.Station;

/// <summary>What a site runs: spool, back-fill to the centre (deployment <c>station</c>).</summary>
public sealed class StationModule : IServiceModule
{
    /// <inheritdoc/>
    public static string Name => "station";

    /// <inheritdoc/>
    public static void Register(IHostApplicationBuilder builder)
    {
    }

    /// <inheritdoc/>
    public static void Map(IEndpointRouteBuilder routes)
    {
    }
}
