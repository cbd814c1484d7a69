using System.Text.Json;
using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.Contracts;
using Yizhan.PacsGw.Archive;
using Yizhan.Platform.Identity;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Worklist;

/// <summary>Orders by hand, or from a system that speaks no FHIR: <c>/pacs-gw/worklist</c>. The EMR adapter appends the same event.</summary>
internal static class WorklistEndpoints
{
    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapPost("/worklist", ScheduleAsync).WithSummary("Schedules, changes or cancels an imaging procedure step").Needs(Permission.Schedule);

    private static async Task<Results<Created<ProcedureScheduled>, ProblemHttpResult>> ScheduleAsync(
        ProcedureScheduled order, IEventLog log, ArchiveProgress progress, TimeProvider clock, CancellationToken cancellationToken)
    {
        if (WorklistItem.Problem(order) is { } problem)
        {
            return TypedResults.Problem(problem, statusCode: 400);
        }

        var data = JsonSerializer.SerializeToUtf8Bytes(order, ContractsJson.Default.ProcedureScheduled);
        var now = clock.GetUtcNow();
        var entry = new Entry(
            Lane.Normal, ProcedureScheduled.EventType, $"order/{log.Site}/{Guid.CreateVersion7(now):N}", order.Id, now.ToUnixTimeMilliseconds(), data);
        try
        {
            await log.AppendAsync([entry], cancellationToken);
        }
        catch (SpoolFullException e)
        {
            return TypedResults.Problem(e.Message, statusCode: 507);
        }

        await progress.ReachedNowAsync(cancellationToken);
        return TypedResults.Created($"/pacs-gw/worklist/{Uri.EscapeDataString(order.Id)}", order);
    }
}
