using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.Rendering;
using Yizhan.Platform.Identity;

namespace Yizhan.PacsGw.DicomWeb;

/// <summary>The studies service of PS3.18 chapter 10, below <c>/pacs-gw/dicom-web</c>.</summary>
internal static class DicomWebEndpoints
{
    /// <summary>Media type of DICOM JSON.</summary>
    public const string Json = "application/dicom+json";

    private const string Study = "/studies/{study}";
    private const string Series = Study + "/series/{series}";
    private const string Instance = Series + "/instances/{instance}";

    public static void Map(IEndpointRouteBuilder routes)
    {
        var web = routes.MapGroup("/dicom-web").Needs(Permission.ReadStudies).AddEndpointFilter(RefuseBadUids);
        web.MapGet("/studies", QidoEndpoint.Search(ArchiveLevel.Study)).WithSummary("QIDO-RS: studies");
        web.MapGet("/series", QidoEndpoint.Search(ArchiveLevel.Series)).WithSummary("QIDO-RS: series of any study");
        web.MapGet("/instances", QidoEndpoint.Search(ArchiveLevel.Instance)).WithSummary("QIDO-RS: instances of any study");
        web.MapGet(Study + "/series", QidoEndpoint.Search(ArchiveLevel.Series)).WithSummary("QIDO-RS: series of a study");
        web.MapGet(Study + "/instances", QidoEndpoint.Search(ArchiveLevel.Instance)).WithSummary("QIDO-RS: instances of a study");
        web.MapGet(Series + "/instances", QidoEndpoint.Search(ArchiveLevel.Instance)).WithSummary("QIDO-RS: instances of a series");

        web.MapGet(Study, WadoEndpoints.RetrieveAsync).WithSummary("WADO-RS: a study");
        web.MapGet(Series, WadoEndpoints.RetrieveAsync).WithSummary("WADO-RS: a series");
        web.MapGet(Instance, WadoEndpoints.RetrieveAsync).WithSummary("WADO-RS: an instance");
        web.MapGet(Study + "/metadata", WadoEndpoints.MetadataAsync).WithSummary("WADO-RS: metadata of a study");
        web.MapGet(Series + "/metadata", WadoEndpoints.MetadataAsync).WithSummary("WADO-RS: metadata of a series");
        web.MapGet(Instance + "/metadata", WadoEndpoints.MetadataAsync).WithSummary("WADO-RS: metadata of an instance");
        web.MapGet(Instance + "/frames/{frames}", PixelEndpoints.FramesAsync).WithSummary("WADO-RS: frames");
        web.MapGet(Instance + "/bulkdata/{**path}", PixelEndpoints.BulkDataAsync).WithSummary("WADO-RS: a bulk value");

        foreach (var place in (string[])[Study, Series, Instance])
        {
            web.MapGet(place + "/rendered", place == Instance ? RenderedEndpoints.InstanceAsync : RenderedEndpoints.AllAsync).WithSummary("WADO-RS: rendered");
            web.MapGet(place + "/thumbnail", RenderedEndpoints.ThumbnailAsync).WithSummary("WADO-RS: thumbnail");
        }

        web.MapGet(Instance + "/frames/{frames}/rendered", RenderedEndpoints.FramesAsync).WithSummary("WADO-RS: rendered frames");

        Ups.UpsEndpoints.Map(web);
        web.MapPost("/studies", StowEndpoint.StoreAsync).WithSummary("STOW-RS").Needs(Permission.WriteStudies);
        foreach (var place in (string[])[Study, Series, Instance])
        {
            web.MapDelete(place, DeleteEndpoint.DeleteAsync).WithSummary("Delete from the archive of this node").Needs(Permission.DeleteStudies);
        }

        web.MapPost(Study, StowEndpoint.StoreAsync).WithSummary("STOW-RS: into one study").Needs(Permission.WriteStudies);
    }

    /// <summary>The DICOMweb root as the client reached it; URLs in answers start with it.</summary>
    public static string Root(HttpRequest request) =>
        $"{request.Scheme}://{request.Host}{request.PathBase}/{PacsGwModule.Name}/dicom-web";

    /// <summary>No identifier from a URL goes further than here unless it is one.</summary>
    private static async ValueTask<object?> RefuseBadUids(EndpointFilterInvocationContext context, EndpointFilterDelegate next)
    {
        foreach (var name in (string[])["study", "series", "instance", "workitem"])
        {
            if (context.HttpContext.Request.RouteValues[name] is string uid && !Uid.IsValid(uid))
            {
                return TypedResults.Problem($"The {name} in the URL is not a UID: digits and dots, at most 64 characters.", statusCode: 400);
            }
        }

        return await next(context);
    }
}
