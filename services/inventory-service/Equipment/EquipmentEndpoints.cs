using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Mvc;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Inventory.Collect;
using Yizhan.Inventory.Ledger;
using Yizhan.Platform.Identity;
using Yizhan.Storage;

namespace Yizhan.Inventory.Equipment;

/// <summary>Inventories of agents in; equipment, its conflicts and the state of the sources out.</summary>
internal static partial class EquipmentEndpoints
{
    private const int MaxBytes = 32 * 1024 * 1024;
    private static readonly TimeSpan MaxTime = TimeSpan.FromMinutes(5);

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapPost("/agents/{source}", TakeAsync).OpenToAll("agents of GLPI and FusionInventory have no token; only sources of kind push that the settings name are taken")
            .WithMetadata(new RequestSizeLimitAttribute(MaxBytes + 1));
        routes.MapGet("/assets", Assets).Needs(Permission.ReadStock);
        routes.MapGet("/assets/conflicts", Conflicts).Needs(Permission.ReadStock);
        routes.MapPost("/assets/decisions", DecideAsync).Needs(Permission.ChangeStock);
        routes.MapGet("/sources", Sources).Needs(Permission.ReadStock);
    }

    private static Results<Ok<IReadOnlyList<AssetView>>, ProblemHttpResult> Assets(LedgerQueries queries, string? site, int skip = 0, int limit = 1000) =>
        LedgerEndpoints.TryPage(skip, limit, out var page, out var problem) ? TypedResults.Ok(queries.Assets(site, page)) : problem;

    private static Results<Ok<IReadOnlyList<AssetConflict>>, ProblemHttpResult> Conflicts(LedgerQueries queries, string? site, int skip = 0, int limit = 1000) =>
        LedgerEndpoints.TryPage(skip, limit, out var page, out var problem) ? TypedResults.Ok(queries.Conflicts(site, page)) : problem;

    private static Results<Ok<IReadOnlyList<SourceView>>, ProblemHttpResult> Sources(LedgerQueries queries, string? site, int skip = 0, int limit = 1000) =>
        LedgerEndpoints.TryPage(skip, limit, out var page, out var problem) ? TypedResults.Ok(queries.Sources(string.IsNullOrEmpty(site) ? null : site, page)) : problem;

    /// <summary>
    /// What a GLPI or FusionInventory agent posts (JSON, XML, or XML behind zlib), for a source of kind push. An agent of old first asks whether it may (PROLOG). Answered once
    /// the inventory is durable.
    /// </summary>
    private static async Task<Results<ContentHttpResult, ProblemHttpResult>> TakeAsync(
        string source, HttpRequest request, IEventLog log, Passive passive, IOptions<InventoryOptions> options, TimeProvider clock, CancellationToken cancellationToken)
    {
        if (!options.Value.Sources.Any(s => s.Name == source && s.Kind == "push"))
        {
            return TypedResults.Problem($"There is no source '{source}' of kind push; add it to inventory:sources.", statusCode: 404);
        }

        if (!await passive.Coming.WaitAsync(0, cancellationToken))
        {
            request.HttpContext.Response.Headers.RetryAfter = "60";
            return TypedResults.Problem("As many inventories are coming in as may; send this one again later.", statusCode: 503);
        }

        try
        {
            return await KeepAsync(source, request, log, passive, clock, cancellationToken);
        }
        finally
        {
            passive.Coming.Release();
        }
    }

    private static async Task<Results<ContentHttpResult, ProblemHttpResult>> KeepAsync(
        string source, HttpRequest request, IEventLog log, Passive passive, TimeProvider clock, CancellationToken cancellationToken)
    {
        byte[]? bytes;
        try
        {
            using var patience = new CancellationTokenSource(MaxTime, clock);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, patience.Token);
            bytes = await ReadAsync(request, either.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return TypedResults.Problem($"The inventory did not come within {MaxTime.TotalMinutes} minutes.", statusCode: 408);
        }
        catch (InvalidDataException e)
        {
            passive.Bad(source, e.Message);
            return TypedResults.Problem($"The body is not zlib: {e.Message}", statusCode: 400);
        }

        if (bytes is null)
        {
            return TypedResults.Problem($"The inventory has more than {MaxBytes} bytes.", statusCode: 413);
        }

        if (bytes.Length < 1024 && Prolog().IsMatch(Encoding.UTF8.GetString(bytes)))
        {
            return TypedResults.Content("<?xml version=\"1.0\" encoding=\"UTF-8\"?><REPLY><RESPONSE>SEND</RESPONSE><PROLOG_FREQ>1</PROLOG_FREQ></REPLY>", "application/xml");
        }

        await passive.Reading.WaitAsync(cancellationToken);
        try
        {
            foreach (var report in AgentReport.Read(bytes, source, Convert.ToHexStringLower(SHA256.HashData(bytes))[..32], clock.GetUtcNow().ToUnixTimeMilliseconds()))
            {
                await Sink.ReportAsync(log, report, cancellationToken);
            }

            passive.Good(source);
            return bytes.AsSpan().IndexOf((byte)'<') is 0
                ? TypedResults.Content("<?xml version=\"1.0\" encoding=\"UTF-8\"?><REPLY></REPLY>", "application/xml")
                : TypedResults.Content("{\"status\":\"ok\"}", "application/json");
        }
        catch (FormatException e)
        {
            passive.Bad(source, e.Message);
            return TypedResults.Problem(e.Message, statusCode: 400);
        }
        catch (SpoolFullException e)
        {
            return TypedResults.Problem(e.Message, statusCode: 507);
        }
        finally
        {
            passive.Reading.Release();
        }
    }

    /// <summary>204 once the decision is durable. It travels to the centre as all else does; decide at the site whose equipment it is.</summary>
    private static async Task<Results<NoContent, ProblemHttpResult>> DecideAsync(
        AssetDecision decision, LedgerQueries queries, IEventLog log, TimeProvider clock, CancellationToken cancellationToken)
    {
        if (!queries.IsConflict(log.Site, decision.First, decision.Second))
        {
            return TypedResults.Problem($"There is no open conflict of '{decision.First}' and '{decision.Second}' at {log.Site}.", statusCode: 404);
        }

        await log.AppendAsync(
            [new Entry(Lane.Normal, AssetDecision.EventType, $"inventory/decision/{Guid.CreateVersion7(clock.GetUtcNow()):N}", "inventory", clock.GetUtcNow().ToUnixTimeMilliseconds(),
                JsonSerializer.SerializeToUtf8Bytes(decision, ContractsJson.Default.AssetDecision))], cancellationToken);
        return TypedResults.NoContent();
    }

    /// <summary>The body, out of its compression; null when there is too much of it.</summary>
    private static async Task<byte[]?> ReadAsync(HttpRequest request, CancellationToken cancellationToken)
    {
        var isZlib = request.ContentType?.Contains("zlib", StringComparison.OrdinalIgnoreCase) == true;
        await using var body = isZlib ? new ZLibStream(request.Body, CompressionMode.Decompress) : request.Body;
        using var all = new MemoryStream();
        var buffer = new byte[64 * 1024];
        while (await body.ReadAsync(buffer, cancellationToken) is > 0 and var read)
        {
            if (all.Length + read > MaxBytes)
            {
                return null;
            }

            all.Write(buffer, 0, read);
        }

        return all.ToArray();
    }

    [GeneratedRegex("<QUERY>\\s*PROLOG\\s*</QUERY>")]
    private static partial Regex Prolog();
}
