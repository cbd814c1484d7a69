using Yizhan.Platform;

namespace Yizhan.Audit;

/// <summary>Tamper-evident record of every access and change (deployment <c>audit</c>).</summary>
public sealed class AuditModule : IServiceModule
{
    /// <inheritdoc/>
    public static string Name => "audit";

    /// <inheritdoc/>
    public static void Register(IHostApplicationBuilder builder)
    {
    }

    /// <inheritdoc/>
    public static void Map(IEndpointRouteBuilder routes)
    {
    }
}
