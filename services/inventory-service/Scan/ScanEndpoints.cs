using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Inventory.Collect;
using Yizhan.Inventory.Ledger;
using Yizhan.Platform;
using Yizhan.Platform.Identity;

namespace Yizhan.Inventory.Scan;

/// <summary>Labels in, movements out: from a keyboard-wedge scanner, or from a camera that has read the symbol.</summary>
internal static class ScanEndpoints
{
    private const string Source = "scan";

    public static void Map(IEndpointRouteBuilder routes) => routes.MapPost("/scans", ScanAsync).Needs(Permission.ChangeStock);

    /// <summary>200 with what the label says; 201 when a movement was recorded. 400 when it cannot be read in one way.</summary>
    private static async Task<Results<Ok<ScanResult>, Created<ScanResult>, ProblemHttpResult>> ScanAsync(
        ScanRequest request, LedgerWriter ledger, LedgerQueries queries, Passive passive, IOptions<NodeOptions> node, TimeProvider clock, CancellationToken cancellationToken)
    {
        ScanResult label;
        var now = clock.GetUtcNow();
        try
        {
            label = Udi.Read(request.Scan, DateOnly.FromDateTime(now.UtcDateTime));
        }
        catch (FormatException e)
        {
            passive.Bad(Source, e.Message);
            return TypedResults.Problem(e.Message, statusCode: 400);
        }

        label = label with { Item = queries.ItemWith(node.Value.SiteId, label.Item) ?? label.Item };
        if (request.Kind.Length == 0)
        {
            return TypedResults.Ok(label);
        }

        if (request.BatchId.Length == 0)
        {
            return TypedResults.Problem("batchId is empty; a scan that records something needs a name, so that it counts once when it is sent twice.", statusCode: 400);
        }

        var movement = new Movement(
            request.Kind, label.Item, request.Quantity, request.Unit, request.EffectiveMs == 0 ? now.ToUnixTimeMilliseconds() : request.EffectiveMs, label.Lot, label.Expiry,
            request.Location, PatientId: request.PatientId, StudyInstanceUid: request.StudyInstanceUid, Reference: label.Serial.Length > 0 ? $"serial {label.Serial}" : "");
        switch (await ledger.RecordAsync(new MovementBatch(request.BatchId, Source, request.Actor.Length > 0 ? request.Actor : Source, [movement]), cancellationToken))
        {
            case ApplyResult.Refused refused:
                passive.Bad(Source, refused.Problem);
                return LedgerEndpoints.ProblemOf(refused);
            case ApplyResult.Known:
                return TypedResults.Ok(label);
            default:
                passive.Good(Source);
                return TypedResults.Created((string?)null, label);
        }
    }
}
