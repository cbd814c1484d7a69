using System.Numerics;
using Microsoft.Extensions.Options;
using Yizhan.Dicom;
using Yizhan.PacsGw.DicomWeb;
using Yizhan.Platform.Identity;

namespace Yizhan.PacsGw.Ups;

/// <summary>UPS-RS (PS3.18 chapter 11) below <c>/pacs-gw/dicom-web/workitems</c>.</summary>
internal static class UpsEndpoints
{
    private const int MaxBodyBytes = 1024 * 1024;

    /// <summary>Workitems that one search looks at.</summary>
    private const int MaxSearched = 10_000;

    private const string UpsPushSopClass = "1.2.840.10008.5.1.4.34.6.1";

    /// <summary>Type 1 attributes of a scheduled step (PS3.4 Table CC.2.5-3) whose absence would make it useless.</summary>
    private static readonly (DicomTag Tag, string Name)[] Needed =
    [
        (Workitems.State, "ProcedureStepState"), (new(0x0074, 0x1200), "ScheduledProcedureStepPriority"),
        (new(0x0074, 0x1204), "ProcedureStepLabel"), (new(0x0040, 0x4005), "ScheduledProcedureStepStartDateTime"),
        (new(0x0040, 0x4041), "InputReadinessState"),
    ];

    public static void Map(RouteGroupBuilder web)
    {
        web.MapPost("/workitems", CreateAsync).WithSummary("UPS-RS: create a workitem").Needs(Permission.WriteStudies);
        web.MapGet("/workitems", SearchAsync).WithSummary("UPS-RS: search").Needs(Permission.ReadStudies);
        web.MapGet("/workitems/{workitem}", RetrieveAsync).WithSummary("UPS-RS: retrieve").Needs(Permission.ReadStudies);
        web.MapPost("/workitems/{workitem}", UpdateAsync).WithSummary("UPS-RS: update").Needs(Permission.WriteStudies);
        web.MapPut("/workitems/{workitem}/state", ChangeStateAsync).WithSummary("UPS-RS: claim, complete or cancel").Needs(Permission.WriteStudies);
        web.MapPost("/workitems/{workitem}/cancelrequest", RequestCancelAsync).WithSummary("UPS-RS: ask for cancellation").Needs(Permission.WriteStudies);
        SubscriptionEndpoints.Map(web);
    }

    private static async Task<IResult> CreateAsync(
        HttpContext context, Workitems workitems, TimeProvider clock, CancellationToken cancellationToken)
    {
        var (dataset, refusal) = await ReadAsync(context.Request, cancellationToken);
        if (dataset is null)
        {
            return refusal!;
        }

        var uid = BareQuery(context.Request) ?? dataset.GetString(DicomTags.SOPInstanceUID)
            ?? "2.25." + new BigInteger(Guid.CreateVersion7(clock.GetUtcNow()).ToByteArray(bigEndian: true), isUnsigned: true, isBigEndian: true);
        if (!Uid.IsValid(uid))
        {
            return TypedResults.Problem("The workitem's UID is none: digits and dots, at most 64 characters.", statusCode: 400);
        }

        var missing = Needed.Where(n => dataset.GetString(n.Tag) is null).Select(n => n.Name).ToList();
        if (missing.Count > 0)
        {
            return TypedResults.Problem($"The workitem has no {string.Join(", ", missing)}.", statusCode: 400);
        }

        if (dataset.GetString(Workitems.State) != Workitems.Scheduled || dataset.GetString(DicomTags.TransactionUID) is not null)
        {
            return TypedResults.Problem("A new workitem is SCHEDULED and has no Transaction UID.", statusCode: 400);
        }

        dataset.Set(DicomTags.SOPClassUID, UpsPushSopClass).Set(DicomTags.SOPInstanceUID, uid);
        dataset.Remove(DicomTags.TransactionUID);
        var outcome = await workitems.CreateAsync(uid, dataset, Caller.AgentOf(context), cancellationToken);
        return outcome == WorkitemOutcome.Done
            ? TypedResults.Created($"{DicomWebEndpoints.Root(context.Request)}/workitems/{uid}")
            : Answer(outcome, uid, context);
    }

    private static async Task<IResult> RetrieveAsync(
        HttpContext context, string workitem, Workitems workitems, ReadAudit audit, CancellationToken cancellationToken)
    {
        if (await workitems.FindAsync(workitem, cancellationToken) is not { } found)
        {
            return Answer(WorkitemOutcome.NotFound, workitem, context);
        }

        await audit.RecordAsync(ReadAudit.InstancesAccessed, Reader.Of(context), $"workitem/{workitem}", null, cancellationToken);
        return TypedResults.Bytes(Array([Workitems.Dataset(found)]), DicomWebEndpoints.Json);
    }

    private static async Task<IResult> UpdateAsync(HttpContext context, string workitem, Workitems workitems, CancellationToken cancellationToken)
    {
        var (dataset, refusal) = await ReadAsync(context.Request, cancellationToken);
        return dataset is null
            ? refusal!
            : Answer(
                await workitems.UpdateAsync(
                    workitem, BareQuery(context.Request) ?? dataset.GetString(DicomTags.TransactionUID), dataset, Caller.AgentOf(context), cancellationToken),
                workitem, context);
    }

    private static async Task<IResult> ChangeStateAsync(HttpContext context, string workitem, Workitems workitems, CancellationToken cancellationToken)
    {
        var (dataset, refusal) = await ReadAsync(context.Request, cancellationToken);
        if (dataset is null)
        {
            return refusal!;
        }

        var state = dataset.GetString(Workitems.State);
        if (state is not (Workitems.InProgress or Workitems.Completed or Workitems.Canceled))
        {
            return TypedResults.Problem("ProcedureStepState is missing or none of IN PROGRESS, COMPLETED, CANCELED.", statusCode: 400);
        }

        return dataset.GetString(DicomTags.TransactionUID) is { } transaction && Uid.IsValid(transaction)
            ? Answer(await workitems.MoveAsync(workitem, state, transaction, Caller.AgentOf(context), cancellationToken), workitem, context)
            : TypedResults.Problem("TransactionUID is missing or not a UID.", statusCode: 400);
    }

    private static async Task<IResult> RequestCancelAsync(
        HttpContext context, string workitem, Workitems workitems, IOptions<PacsGwOptions> options, CancellationToken cancellationToken)
    {
        // Why, and whom to ask, may be in the body; there may be none (PS3.18 §11.8.1).
        var (reasons, refusal) = context.Request.ContentLength is null or 0 && context.Request.ContentType is null
            ? (new DicomDataset(), null)
            : await ReadAsync(context.Request, cancellationToken);
        if (reasons is null)
        {
            return refusal!;
        }

        var outcome = await workitems.RequestCancelAsync(
            workitem, UpsEvent.CancelRequested(workitem, reasons, options.Value.AeTitle), Caller.AgentOf(context), cancellationToken);
        return outcome is WorkitemOutcome.Done or WorkitemOutcome.AlreadySo ? TypedResults.StatusCode(202) : Answer(outcome, workitem, context);
    }

    private static async Task<IResult> SearchAsync(
        HttpContext context, Workitems workitems, ReadAudit audit, IOptions<PacsGwOptions> options, CancellationToken cancellationToken)
    {
        var (limit, offset) = (options.Value.MaxResults, 0);
        var keys = new List<KeyValuePair<string, string>>();
        foreach (var (name, values) in context.Request.Query)
        {
            var text = values.ToString();
            if (name is "limit" or "offset")
            {
                if (!int.TryParse(text, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out var number))
                {
                    return TypedResults.Problem($"{name} must be a number of results.", statusCode: 400);
                }

                (limit, offset) = name == "limit" ? (Math.Min(limit, number), offset) : (limit, number);
            }
            else if (name is not ("includefield" or "fuzzymatching" or "accept"))
            {
                keys.Add(new(name, text));
            }
        }

        if (WorkitemFilter.Of(keys, out var unknown) is not { } filter)
        {
            return TypedResults.Problem($"'{unknown}' is no attribute that can be matched.", statusCode: 400);
        }

        await audit.RecordAsync(ReadAudit.Query, Reader.Of(context), "workitems", null, cancellationToken);
        var found = (await workitems.ListAsync(filter.Only(Workitems.State), MaxSearched, cancellationToken))
            .Select(Workitems.Dataset)
            .Where(filter.Matches)
            .Skip(offset).Take(limit);
        return TypedResults.Bytes(Array(found), DicomWebEndpoints.Json);
    }

    /// <summary>The UID that stands alone behind the question mark, as PS3.18 §11.4.1 and §11.6.1 write it, or as <c>workitem=</c>, <c>transaction=</c>.</summary>
    private static string? BareQuery(HttpRequest request) =>
        request.Query.FirstOrDefault() is { Key: { Length: > 0 } name } only
            ? only.Value.ToString() is { Length: > 0 } value ? value : name
            : null;

    private static async Task<(DicomDataset?, IResult?)> ReadAsync(HttpRequest request, CancellationToken cancellationToken)
    {
        if (MediaType.Parse(request.ContentType)?.Type is not (DicomWebEndpoints.Json or "application/json"))
        {
            return (null, TypedResults.Problem($"Accepted is {DicomWebEndpoints.Json}.", statusCode: 415));
        }

        using var body = new MemoryStream();
        var buffer = new byte[16 * 1024];
        while (await request.Body.ReadAsync(buffer, cancellationToken) is > 0 and var read)
        {
            body.Write(buffer, 0, read);
            if (body.Length > MaxBodyBytes)
            {
                return (null, TypedResults.Problem($"A workitem has at most {MaxBodyBytes} bytes.", statusCode: 413));
            }
        }

        var json = body.ToArray();
        try
        {
            return json.AsSpan().TrimStart(" \r\n\t"u8) is [(byte)'[', ..]
                ? DicomJson.ReadArray(json) is [var only] ? (only, null) : (null, TypedResults.Problem("The array has not exactly one data set.", statusCode: 400))
                : (DicomJson.Read(json), null);
        }
        catch (DicomFormatException e)
        {
            return (null, TypedResults.Problem($"The body is no DICOM JSON: {e.Message}.", statusCode: 400));
        }
    }

    private static byte[] Array(IEnumerable<DicomDataset> datasets)
    {
        using var json = new MemoryStream();
        json.WriteByte((byte)'[');
        foreach (var dataset in datasets)
        {
            if (json.Length > 1)
            {
                json.WriteByte((byte)',');
            }

            json.Write(DicomJson.ToUtf8Bytes(dataset));
        }

        json.WriteByte((byte)']');
        return json.ToArray();
    }

    private static IResult Answer(WorkitemOutcome outcome, string uid, HttpContext context)
    {
        switch (outcome)
        {
            case WorkitemOutcome.Done:
                return TypedResults.Ok();
            case WorkitemOutcome.AlreadySo:
                context.Response.Headers.Warning = $"299 {DicomWebEndpoints.Root(context.Request)}: The UPS is already in the requested state.";
                return TypedResults.Ok();
            case WorkitemOutcome.NotFound:
                return TypedResults.Problem($"There is no workitem {uid}.", statusCode: 404);
            case WorkitemOutcome.Exists:
                return TypedResults.Problem($"There is a workitem {uid} already.", statusCode: 409);
            case WorkitemOutcome.WrongTransaction:
                return TypedResults.Problem("The Transaction UID is missing or not the one that the workitem was claimed with.", statusCode: 409);
            case WorkitemOutcome.NotFinal:
                return TypedResults.Problem(
                    "The workitem cannot be completed: its UnifiedProcedureStepPerformedProcedureSequence has no PerformedProcedureStepEndDateTime.", statusCode: 409);
            default:
                return TypedResults.Problem("The state of the workitem does not allow this.", statusCode: 409);
        }
    }
}
