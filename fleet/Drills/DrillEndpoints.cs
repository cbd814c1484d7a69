using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;

namespace Yizhan.Fleet.Drills;

/// <summary>Which drills were run, with what result, and which are due.</summary>
internal static class DrillEndpoints
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/drills", (DrillBook book) => TypedResults.Ok(book.Kinds())).Needs(Permission.ReadFleet);
        routes.MapGet("/drills/{id}", Report).Needs(Permission.ReadFleet);
    }

    private static Results<Ok<DrillFinished>, ProblemHttpResult> Report(string id, DrillBook book) => book.Report(id) is { } report
        ? TypedResults.Ok(report)
        : TypedResults.Problem("There is no run of that id, or it was of long ago; the audit log still has it.", statusCode: 404);
}
