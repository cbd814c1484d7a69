using System.Globalization;
using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.Contracts;
using Yizhan.Inventory.Collect;
using Yizhan.Platform.Identity;

namespace Yizhan.Inventory.Ledger;

/// <summary>Movements and definitions in; stock, movements and recalls out.</summary>
internal static class LedgerEndpoints
{
    private const int MaxLimit = 10_000;

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapPost("/movements", RecordAsync).Needs(Permission.ChangeStock);
        routes.MapGet("/movements", Movements).Needs(Permission.ReadStock);
        routes.MapPut("/items", DefineAsync).Needs(Permission.ChangeStock);
        routes.MapGet("/items", Items).Needs(Permission.ReadStock);
        routes.MapGet("/stock", Stock).Needs(Permission.ReadStock);
        routes.MapGet("/expiring", Expiring).Needs(Permission.ReadStock);
        routes.MapGet("/recall", Recall).Needs(Permission.ReadStock);
        routes.MapGet("/parked", Parked).Needs(Permission.ReadStock);
    }

    /// <summary>201 once the batch would survive a power cut; 200 when it had been recorded before; 400 not well formed, 409 cannot be true, 507 no room.</summary>
    private static async Task<Results<Created<RecordedBatch>, Ok<RecordedBatch>, ProblemHttpResult>> RecordAsync(
        MovementBatch batch, LedgerWriter ledger, Passive passive, CancellationToken cancellationToken)
    {
        var result = await ledger.RecordAsync(batch, cancellationToken);
        if (result is ApplyResult.Refused { Problem: var problem })
        {
            passive.Bad(batch.Source, problem);
            return ProblemOf(result);
        }

        passive.Good(batch.Source);
        return result is ApplyResult.Known
            ? TypedResults.Ok(new RecordedBatch(batch.BatchId, true, batch.Movements.Count))
            : TypedResults.Created((string?)null, new RecordedBatch(batch.BatchId, false, batch.Movements.Count));
    }

    private static async Task<Results<NoContent, ProblemHttpResult>> DefineAsync(ItemDefinition item, LedgerWriter ledger, CancellationToken cancellationToken) =>
        await ledger.DefineAsync(item, cancellationToken) is var result && result is ApplyResult.Applied ? TypedResults.NoContent() : ProblemOf(result);

    private static Results<Ok<IReadOnlyList<StockView>>, ProblemHttpResult> Stock(
        LedgerQueries ledger, string? site, string? item, string? lot, string? location, string? at, string? known, bool empty = false, int limit = 1000)
    {
        if (limit is < 1 or > MaxLimit)
        {
            return LimitProblem(limit);
        }

        if (!TryTime(at, out var atMs) || !TryTime(known, out var knownMs))
        {
            return TypedResults.Problem("at and known are RFC 3339 times with a zone, such as 2026-03-01T08:00:00Z.", statusCode: 400);
        }

        var filter = new StockFilter(site, item, lot, location, empty);
        if (atMs is null && knownMs is null)
        {
            return TypedResults.Ok(ledger.Stock(filter, limit));
        }

        return item is null && lot is null
            ? TypedResults.Problem("With at or known, name an item or a lot: its movements are read again.", statusCode: 400)
            : TypedResults.Ok(ledger.StockAt(filter, atMs ?? long.MaxValue, knownMs, limit));
    }

    private static Results<Ok<IReadOnlyList<MovementView>>, ProblemHttpResult> Movements(
        LedgerQueries ledger, string? site, string? item, string? lot, string? location, long before = long.MaxValue, int limit = 100) =>
        limit is < 1 or > MaxLimit ? LimitProblem(limit) : TypedResults.Ok(ledger.Movements(new StockFilter(site, item, lot, location), before, limit));

    private static Results<Ok<IReadOnlyList<ItemDefinition>>, ProblemHttpResult> Items(LedgerQueries ledger, string? site, int limit = 1000) =>
        limit is < 1 or > MaxLimit ? LimitProblem(limit) : TypedResults.Ok(ledger.Items(site, limit));

    private static Results<Ok<IReadOnlyList<StockView>>, ProblemHttpResult> Expiring(
        LedgerQueries ledger, TimeProvider clock, string? site, int days = 90, int limit = 1000) =>
        limit is < 1 or > MaxLimit ? LimitProblem(limit)
        : days is < 0 or > 3650 ? TypedResults.Problem($"days is {days}; accepted: 0 to 3650.", statusCode: 400)
        : TypedResults.Ok(ledger.Expiring(site, DateOnly.FromDateTime(clock.GetUtcNow().UtcDateTime).AddDays(days), limit));

    private static Results<Ok<RecallView>, ProblemHttpResult> Recall(LedgerQueries ledger, string lot, string? item, int limit = 10_000) =>
        limit is < 1 or > MaxLimit ? LimitProblem(limit)
        : lot.Length == 0 ? TypedResults.Problem("lot is empty; accepted: the lot that is recalled.", statusCode: 400)
        : TypedResults.Ok(ledger.Recall(item, lot, limit));

    private static Ok<IReadOnlyList<ParkedBatch>> Parked(LedgerQueries ledger) => TypedResults.Ok(ledger.Parked(1000));

    /// <summary>How a refusal is answered.</summary>
    internal static ProblemHttpResult ProblemOf(ApplyResult refused) => refused switch
    {
        ApplyResult.Invalid { Problem: var p } => TypedResults.Problem(p, statusCode: 400),
        ApplyResult.Impossible { Problem: var p } => TypedResults.Problem(p, statusCode: 409),
        ApplyResult.NameTaken { Problem: var p } => TypedResults.Problem(p, statusCode: 409),
        ApplyResult.NoRoom { Problem: var p } => TypedResults.Problem(p, statusCode: 507),
        _ => throw new System.Diagnostics.UnreachableException(refused.ToString()),
    };

    private static ProblemHttpResult LimitProblem(int limit) => TypedResults.Problem($"limit is {limit}; accepted: 1 to {MaxLimit}.", statusCode: 400);

    private static bool TryTime(string? text, out long? ms)
    {
        ms = text is not null && text.Contains('T', StringComparison.Ordinal) && text.AsSpan().ContainsAny("Z+-")
            && DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time) ? time.ToUnixTimeMilliseconds() : null;
        return text is null || ms is not null;
    }
}
