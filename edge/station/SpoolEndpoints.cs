using System.Text.Json;
using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;
using Yizhan.Storage;

namespace Yizhan.Station;

/// <summary>What operators see of a site's spool, and what they do with what cannot be delivered.</summary>
internal static class SpoolEndpoints
{
    private const int MaxEntries = 1000;

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/sites", (LinkService link) => TypedResults.Ok<IReadOnlyList<SiteView>>([link.AsSite()]))
            .WithSummary("This site alone, in the shape in which the centre lists all").Needs(Permission.ReadSpool);
        routes.MapGet("/spool", (LinkService link) => TypedResults.Ok(link.View())).Needs(Permission.ReadSpool);
        routes.MapGet("/spool/{lane}", ListAsync).WithSummary("Entries of a lane that the site keeps, in sequence").Needs(Permission.ReadSpool);
        routes.MapGet("/spool/{lane}/{sequence:long}", ShowAsync).WithSummary("One entry; with ?data=true what it says, which is recorded").Needs(Permission.ReadSpool);
        routes.MapPost("/spool/{lane}/{sequence:long}/quarantine", QuarantineAsync).WithSummary("Puts an entry aside that is not delivered yet").Needs(Permission.ManageSpool);
        routes.MapPost("/spool/{lane}/{sequence:long}/discard", DiscardAsync).WithSummary("Gives up an entry in quarantine; what waited for it is sent").Needs(Permission.ManageSpool);
        routes.MapPost("/spool/{lane}/{sequence:long}/replay", ReplayAsync).WithSummary("Sends an entry out of quarantine again, and those that wait for it").Needs(Permission.ManageSpool);
    }

    private static async Task<Results<Ok<IReadOnlyList<SpoolEntry>>, ProblemHttpResult>> ListAsync(
        string lane, IEventLog log, Quarantine quarantine, CancellationToken cancellationToken, long after = 0, int limit = 100)
    {
        if (!TryLane(lane, out var of))
        {
            return NoLane(lane);
        }

        if (limit is < 1 or > MaxEntries || after < 0)
        {
            return TypedResults.Problem($"limit is {limit}, after is {after}; accepted is 1 to {MaxEntries}, and 0 or more.", statusCode: 400);
        }

        var page = await log.ReadLaneAsync(of, after, limit, 4 * 1024 * 1024, cancellationToken);
        return TypedResults.Ok<IReadOnlyList<SpoolEntry>>([.. page.Select(e => View(e, log, quarantine, data: null))]);
    }

    private static async Task<Results<Ok<SpoolEntry>, ProblemHttpResult>> ShowAsync(
        string lane, long sequence, IEventLog log, Quarantine quarantine, TimeProvider clock, CancellationToken cancellationToken, bool data = false, string by = "operator")
    {
        if (!TryLane(lane, out var of))
        {
            return NoLane(lane);
        }

        if (await FindAsync(log, of, sequence, cancellationToken) is not { } logged)
        {
            return Gone(of, sequence);
        }

        if (data)
        {
            // Reading is recorded before anything is shown.
            await log.AppendAsync([Audit(log, clock, "R", by, logged, "data shown")], cancellationToken);
        }

        return TypedResults.Ok(View(logged, log, quarantine, data ? System.Text.Encoding.UTF8.GetString(logged.Entry.Data.Span) : null));
    }

    private static async Task<Results<NoContent, ProblemHttpResult>> QuarantineAsync(
        string lane, long sequence, Decision decision, IEventLog log, Quarantine quarantine, LinkService link, TimeProvider clock, CancellationToken cancellationToken)
    {
        if (Refusal(lane, decision, out var of) is { } refusal)
        {
            return refusal;
        }

        if (await FindAsync(log, of, sequence, cancellationToken) is not { } logged)
        {
            return Gone(of, sequence);
        }

        if (sequence <= log.Delivered(of))
        {
            return TypedResults.Problem($"Entry {sequence} is at the centre already.", statusCode: 409);
        }

        await log.AppendAsync([Audit(log, clock, "U", decision.By, logged, $"put into quarantine: {decision.Reason}")], cancellationToken);
        quarantine.Add(logged, $"{decision.By}: {decision.Reason}", clock.GetUtcNow().ToUnixTimeMilliseconds());
        link.StartOver();
        return TypedResults.NoContent();
    }

    /// <summary>
    /// Appends the fact again, under an id of its own because the centre has the tombstone at the old place, in one append with the audit record. A crash
    /// before the quarantine notes it, and a second call, change nothing: the ids are the same.
    /// </summary>
    private static async Task<Results<Ok<Replayed>, ProblemHttpResult>> ReplayAsync(
        string lane, long sequence, Decision decision, IEventLog log, Quarantine quarantine, TimeProvider clock, CancellationToken cancellationToken)
    {
        if (Refusal(lane, decision, out var of) is { } refusal)
        {
            return refusal;
        }

        var waiting = quarantine.With(log.Epoch, of, sequence);
        return waiting.Count == 0 ? NotInQuarantine(of, sequence)
            : await SendAsync(waiting, [], of, decision, log, quarantine, clock, cancellationToken) is { } sent ? TypedResults.Ok(sent)
            : Gone(of, sequence);
    }

    /// <summary>
    /// Gives up one entry, on the record: it may be released from then on, and the centre keeps the tombstone. What waited for it waits no longer: it is sent.
    /// </summary>
    private static async Task<Results<Ok<Replayed>, ProblemHttpResult>> DiscardAsync(
        string lane, long sequence, Decision decision, IEventLog log, Quarantine quarantine, TimeProvider clock, CancellationToken cancellationToken)
    {
        if (Refusal(lane, decision, out var of) is { } refusal)
        {
            return refusal;
        }

        var all = quarantine.With(log.Epoch, of, sequence);
        if (all.FirstOrDefault(i => i.Sequence == sequence) is not { } item)
        {
            return NotInQuarantine(of, sequence);
        }

        if (await FindAsync(log, of, sequence, cancellationToken) is not { } logged)
        {
            return Gone(of, sequence);
        }

        // The record first: a crash leaves an entry in quarantine that somebody meant to discard, never one that went without a record.
        var record = Audit(log, clock, "D", decision.By, logged, $"discarded from quarantine: {decision.Reason}");
        var sent = await SendAsync([.. all.Where(i => i != item)], [record], of, decision, log, quarantine, clock, cancellationToken);
        if (sent is not null)
        {
            quarantine.Discarded(item, clock.GetUtcNow().ToUnixTimeMilliseconds());
        }

        return sent is null ? Gone(of, sequence) : TypedResults.Ok(sent);
    }

    /// <summary>Sends entries out of quarantine again, in one append with the audit records; null when one of them is not kept any more.</summary>
    private static async Task<Replayed?> SendAsync(
        IReadOnlyList<Quarantined> waiting, IReadOnlyList<Entry> also, Lane lane, Decision decision, IEventLog log, Quarantine quarantine, TimeProvider clock,
        CancellationToken cancellationToken)
    {
        var entries = new List<Entry>();
        foreach (var item in waiting)
        {
            if (await FindAsync(log, lane, item.Sequence, cancellationToken) is not { } logged)
            {
                return null;
            }

            entries.Add(logged.Entry with { Id = $"{Entry.ReplayPrefix}{log.Epoch}/{lane}/{item.Sequence}" });
            entries.Add(Audit(log, clock, "U", decision.By, logged, $"replayed out of quarantine: {decision.Reason}"));
        }

        var receipts = await log.AppendAsync([.. entries, .. also], cancellationToken);
        quarantine.Replayed(waiting, clock.GetUtcNow().ToUnixTimeMilliseconds());
        return new Replayed([.. receipts.Take(entries.Count).Where((_, i) => i % 2 == 0).Select(r => r.Identity.Sequence)]);
    }

    private static ProblemHttpResult NotInQuarantine(Lane lane, long sequence) =>
        TypedResults.Problem($"Entry {sequence} of lane {lane} is not in quarantine.", statusCode: 404);

    private static ProblemHttpResult? Refusal(string lane, Decision decision, out Lane of) =>
        !TryLane(lane, out of) ? NoLane(lane)
        : decision.By is not { Length: > 0 and <= 200 } || decision.Reason is not { Length: > 0 and <= 1000 }
            ? TypedResults.Problem("A decision names who made it (by, 1 to 200 characters) and why (reason, 1 to 1000).", statusCode: 400)
        : null;

    private static async Task<LoggedEntry?> FindAsync(IEventLog log, Lane lane, long sequence, CancellationToken cancellationToken) =>
        sequence < 1 ? null
        : (await log.ReadLaneAsync(lane, sequence - 1, 1, 1, cancellationToken)).FirstOrDefault(e => e.Identity.Sequence == sequence);

    private static Entry Audit(IEventLog log, TimeProvider clock, string action, string by, LoggedEntry about, string detail)
    {
        var nowMs = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var (lane, sequence) = (about.Identity.Lane, about.Identity.Sequence);
        var record = new AuditRecord(
            "110110", action, 0, by, null, $"station@{log.Site}", $"spool/{log.Site}/{log.Epoch}/{lane}/{sequence}", detail, nowMs);
        return new Entry(
            Lane.Normal, AuditRecord.EventType, $"spool/{action}/{log.Epoch}/{lane}/{sequence}/{nowMs}", record.Entity, nowMs,
            JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord));
    }

    private static SpoolEntry View(LoggedEntry logged, IEventLog log, Quarantine quarantine, string? data)
    {
        var (identity, entry) = (logged.Identity, logged.Entry);
        var parked = quarantine.Find(identity);
        return new SpoolEntry(
            identity.Lane.ToString().ToLowerInvariant(), identity.Sequence, logged.Position, entry.Type, entry.Id, entry.Key, entry.TimeMs, entry.Data.Length,
            [.. entry.Blobs.Select(b => new SpoolBlob(b.Hash.ToString(), b.Length))],
            parked is { IsOpen: true } ? "quarantined" : parked is { DiscardedMs: not null } ? "discarded" : parked is not null ? "replayed" : identity.Sequence <= log.Delivered(identity.Lane) ? "delivered" : "waiting",
            parked?.Reason, data);
    }

    private static bool TryLane(string text, out Lane lane) => Enum.TryParse(text, ignoreCase: true, out lane) && Enum.IsDefined(lane) && !char.IsAsciiDigit(text[0]);

    private static ProblemHttpResult NoLane(string lane) =>
        TypedResults.Problem($"There is no lane '{lane}'; accepted are urgent, normal, bulk and telemetry.", statusCode: 400);

    private static ProblemHttpResult Gone(Lane lane, long sequence) =>
        TypedResults.Problem($"Entry {sequence} of lane {lane} is not kept here: it never was, or it was given up after the centre had it.", statusCode: 404);
}

/// <summary>Who decided, and why; the body of a POST.</summary>
/// <param name="By">A person.</param>
/// <param name="Reason">Why; never patient data.</param>
internal sealed record Decision(string By, string Reason);

/// <summary>What was appended for what was replayed.</summary>
/// <param name="Sequences">The new sequences, in the order of the old ones.</param>
internal sealed record Replayed(IReadOnlyList<long> Sequences);

/// <summary>An entry as an operator sees it.</summary>
/// <param name="Lane">Its lane.</param>
/// <param name="Sequence">Its sequence in this epoch.</param>
/// <param name="Position">Its place in the site's log.</param>
/// <param name="Type">CloudEvents type.</param>
/// <param name="Id">Identity of the fact.</param>
/// <param name="Key">What it is about.</param>
/// <param name="TimeMs">When it happened, by the producer's clock, Unix milliseconds UTC.</param>
/// <param name="DataBytes">Bytes of its data.</param>
/// <param name="Blobs">Blobs that it names.</param>
/// <param name="State">waiting, delivered, quarantined, discarded or replayed.</param>
/// <param name="Reason">Why it is in quarantine; null when it is not.</param>
/// <param name="Data">What it says, when it was asked for.</param>
internal sealed record SpoolEntry(
    string Lane, long Sequence, long Position, string Type, string Id, string Key, long TimeMs, int DataBytes, IReadOnlyList<SpoolBlob> Blobs, string State,
    string? Reason, string? Data);

/// <summary>A blob.</summary>
/// <param name="Sha256">64 lower-case hex digits.</param>
/// <param name="Length">Bytes.</param>
internal sealed record SpoolBlob(string Sha256, long Length);
