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
    private const int MaxSkip = 10_000_000;

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapPost("/movements", RecordAsync).Needs(Permission.ChangeStock);
        routes.MapGet("/movements", Movements).Needs(Permission.ReadStock);
        routes.MapPut("/items", DefineAsync).Needs(Permission.ChangeStock);
        routes.MapGet("/items", Items).Needs(Permission.ReadStock);
        routes.MapGet("/stock", Stock).Needs(Permission.ReadStock);
        routes.MapGet("/expiring", Expiring).Needs(Permission.ReadStock);
        routes.MapGet("/expiry-calendar", Calendar).Needs(Permission.ReadStock);
        routes.MapGet("/sites", (LedgerQueries ledger) => TypedResults.Ok(ledger.Sites())).Needs(Permission.ReadStock);
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
        LedgerQueries ledger, string? site, string? item, string? lot, string? location, string? search, string? at, string? known, bool empty = false, int skip = 0, int limit = 1000)
    {
        if (!TryPage(skip, limit, out var page, out var problem))
        {
            return problem;
        }

        if (!TryTime(at, out var atMs) || !TryTime(known, out var knownMs))
        {
            return TypedResults.Problem("at and known are RFC 3339 times with a zone, such as 2026-03-01T08:00:00Z.", statusCode: 400);
        }

        var filter = new StockFilter(Named(site), Named(item), Named(lot), Named(location), empty, Named(search));
        if (atMs is null && knownMs is null)
        {
            return TypedResults.Ok(ledger.Stock(filter, page));
        }

        return item is null && lot is null
            ? TypedResults.Problem("With at or known, name an item or a lot: its movements are read again.", statusCode: 400)
            : TypedResults.Ok(ledger.StockAt(filter, atMs ?? long.MaxValue, knownMs, page));
    }

    private static Results<Ok<IReadOnlyList<MovementView>>, ProblemHttpResult> Movements(
        LedgerQueries ledger, string? site, string? item, string? lot, string? location, long before = long.MaxValue, int limit = 100) =>
        TryPage(0, limit, out _, out var problem) ? TypedResults.Ok(ledger.Movements(new StockFilter(site, item, lot, location), before, limit)) : problem;

    private static Results<Ok<IReadOnlyList<ItemDefinition>>, ProblemHttpResult> Items(LedgerQueries ledger, string? site, int skip = 0, int limit = 1000) =>
        TryPage(skip, limit, out var page, out var problem) ? TypedResults.Ok(ledger.Items(Named(site), page)) : problem;

    private static Results<Ok<IReadOnlyList<StockView>>, ProblemHttpResult> Expiring(
        LedgerQueries ledger, TimeProvider clock, string? site, int days = 90, int skip = 0, int limit = 1000) =>
        !TryPage(skip, limit, out var page, out var problem) ? problem
        : days is < 0 or > 3650 ? TypedResults.Problem($"days is {days}; accepted: 0 to 3650.", statusCode: 400)
        : TypedResults.Ok(ledger.Expiring(Named(site), Today(clock).AddDays(days), page));

    private static Results<Ok<IReadOnlyList<ExpiryMonth>>, ProblemHttpResult> Calendar(LedgerQueries ledger, TimeProvider clock, string? site, int months = 12) =>
        months is < 1 or > 120 ? TypedResults.Problem($"months is {months}; accepted: 1 to 120.", statusCode: 400)
        : TypedResults.Ok(ledger.ExpiryCalendar(Named(site), Today(clock), months));

    private static Results<Ok<RecallView>, ProblemHttpResult> Recall(LedgerQueries ledger, string lot, string? item, int skip = 0, int limit = 10_000) =>
        !TryPage(skip, limit, out var page, out var problem) ? problem
        : lot.Length == 0 ? TypedResults.Problem("lot is empty; accepted: the lot that is recalled.", statusCode: 400)
        : TypedResults.Ok(ledger.Recall(Named(item), lot, page));

    private static Results<Ok<IReadOnlyList<ParkedBatch>>, ProblemHttpResult> Parked(LedgerQueries ledger, int skip = 0, int limit = 1000) =>
        TryPage(skip, limit, out var page, out var problem) ? TypedResults.Ok(ledger.Parked(page)) : problem;

    /// <summary>The part of a list that is asked for; the problem when nobody can be given it.</summary>
    internal static bool TryPage(int skip, int limit, out Page page, [System.Diagnostics.CodeAnalysis.NotNullWhen(false)] out ProblemHttpResult? problem)
    {
        page = new Page(skip, limit);
        problem = limit is < 1 or > MaxLimit ? TypedResults.Problem($"limit is {limit}; accepted: 1 to {MaxLimit}.", statusCode: 400)
            : skip is < 0 or > MaxSkip ? TypedResults.Problem($"skip is {skip}; accepted: 0 to {MaxSkip}.", statusCode: 400) : null;
        return problem is null;
    }

    /// <summary>A form sends an empty field as an empty parameter: it names nothing.</summary>
    private static string? Named(string? text) => string.IsNullOrEmpty(text) ? null : text;

    private static DateOnly Today(TimeProvider clock) => DateOnly.FromDateTime(clock.GetUtcNow().UtcDateTime);

    /// <summary>How a refusal is answered.</summary>
    internal static ProblemHttpResult ProblemOf(ApplyResult refused) => refused switch
    {
        ApplyResult.Invalid { Problem: var p } => TypedResults.Problem(p, statusCode: 400),
        ApplyResult.Impossible { Problem: var p } => TypedResults.Problem(p, statusCode: 409),
        ApplyResult.NameTaken { Problem: var p } => TypedResults.Problem(p, statusCode: 409),
        ApplyResult.NoRoom { Problem: var p } => TypedResults.Problem(p, statusCode: 507),
        _ => throw new System.Diagnostics.UnreachableException(refused.ToString()),
    };

    private static bool TryTime(string? text, out long? ms)
    {
        ms = text is not null && text.Contains('T', StringComparison.Ordinal) && text.AsSpan().ContainsAny("Z+-")
            && DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time) ? time.ToUnixTimeMilliseconds() : null;
        return text is null || ms is not null;
    }
}
