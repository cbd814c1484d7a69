using Yizhan.Platform;

namespace Yizhan.PacsGw;

/// <summary>DICOM and DICOMweb in and out, archive (deployment <c>pacs-gw</c>).</summary>
public sealed class PacsGwModule : IServiceModule
{
    /// <inheritdoc/>
    public static string Name => "pacs-gw";

    /// <inheritdoc/>
    public static void Register(IHostApplicationBuilder builder)
    {
    }

    /// <inheritdoc/>
    public static void Map(IEndpointRouteBuilder routes)
    {
    }
}
