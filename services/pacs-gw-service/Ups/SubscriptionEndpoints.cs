using System.Net.WebSockets;
using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.PacsGw.DicomWeb;
using Yizhan.Platform.Identity;

namespace Yizhan.PacsGw.Ups;

/// <summary>Subscriptions of UPS-RS (PS3.18 §11.10 to §11.12) and the connection for their events (§8.10.4).</summary>
internal static class SubscriptionEndpoints
{
    private const int MaxFilter = 2048;

    public static void Map(RouteGroupBuilder web)
    {
        web.MapPost("/workitems/{workitem}/subscribers/{aeTitle}", SubscribeAsync).WithSummary("UPS-RS: subscribe").Needs(Permission.ReadStudies);
        web.MapDelete("/workitems/{workitem}/subscribers/{aeTitle}", UnsubscribeAsync).WithSummary("UPS-RS: unsubscribe").Needs(Permission.ReadStudies);
        web.MapPost("/workitems/{workitem}/subscribers/{aeTitle}/suspend", SuspendAsync).WithSummary("UPS-RS: suspend a worklist subscription").Needs(Permission.ReadStudies);
        web.MapGet("/subscribers/{aeTitle}", ConnectAsync).WithSummary("UPS-RS: events, over a WebSocket").Needs(Permission.ReadStudies);
    }

    private static async Task<IResult> SubscribeAsync(
        HttpContext context, string workitem, string aeTitle, Workitems workitems, CancellationToken cancellationToken)
    {
        var query = context.Request.Query;
        if (Refusal(aeTitle) is { } refusal)
        {
            return refusal;
        }

        if (query["deletionlock"].ToString() is not ("" or "true" or "false") and var given)
        {
            return TypedResults.Problem($"deletionlock is '{given}'; accepted are true and false.", statusCode: 400);
        }

        // The filter as one parameter, as it is written since 2019, or each attribute as a parameter of its own, as before.
        var filter = string.Join(',', query.Where(q => q.Key is not ("deletionlock" or "accept" or "charset"))
            .Select(q => q.Key == "filter" ? q.Value.ToString() : $"{q.Key}={q.Value}"));
        if (workitem == Workitems.FilteredWorklist && filter.Length == 0)
        {
            return TypedResults.Problem("A filtered worklist needs a filter, such as ?filter=ProcedureStepState=SCHEDULED.", statusCode: 400);
        }

        if (workitem != Workitems.FilteredWorklist && filter.Length > 0)
        {
            return TypedResults.Problem($"A filter goes with the filtered worklist, {Workitems.FilteredWorklist}.", statusCode: 400);
        }

        if (filter.Length > MaxFilter)
        {
            return TypedResults.Problem($"The filter has {filter.Length} characters; at most {MaxFilter} are accepted.", statusCode: 400);
        }

        if (filter.Length > 0 && WorkitemFilter.Parse(filter, out var unknown) is null)
        {
            return TypedResults.Problem($"'{unknown}' is no attribute that can be matched.", statusCode: 400);
        }

        var outcome = workitem is Workitems.Worklist or Workitems.FilteredWorklist
            ? await workitems.SubscribeToWorklistAsync(aeTitle, filter, query["deletionlock"] == "true", cancellationToken)
            : await workitems.SubscribeAsync(aeTitle, workitem, cancellationToken);
        if (outcome != SubscriptionOutcome.Done)
        {
            return Answer(outcome, workitem, aeTitle);
        }

        // Where the events come.
        var root = DicomWebEndpoints.Root(context.Request);
        context.Response.Headers.ContentLocation = $"ws{root["http".Length..]}/subscribers/{Uri.EscapeDataString(aeTitle)}";
        return TypedResults.StatusCode(StatusCodes.Status201Created);
    }

    private static async Task<IResult> UnsubscribeAsync(string workitem, string aeTitle, Workitems workitems, CancellationToken cancellationToken) =>
        Answer(await workitems.UnsubscribeAsync(aeTitle, workitem, cancellationToken), workitem, aeTitle);

    private static async Task<IResult> SuspendAsync(string workitem, string aeTitle, Workitems workitems, CancellationToken cancellationToken) =>
        workitem is Workitems.Worklist or Workitems.FilteredWorklist
            ? Answer(await workitems.SuspendAsync(aeTitle, workitem, cancellationToken), workitem, aeTitle)
            : TypedResults.Problem($"Only {Workitems.Worklist} and {Workitems.FilteredWorklist} can be suspended; unsubscribe from a workitem.", statusCode: 400);

    private static async Task ConnectAsync(
        HttpContext context, string aeTitle, NotificationConnections connections, IHostApplicationLifetime lifetime)
    {
        var refusal = Refusal(aeTitle)
            ?? (!context.WebSockets.IsWebSocketRequest ? TypedResults.Problem("This is a WebSocket; send an upgrade.", statusCode: 400)
            : !connections.HasRoom ? TypedResults.Problem("As many notification connections are open as may be.", statusCode: 503)
            : null);
        if (refusal is not null)
        {
            await refusal.ExecuteAsync(context);
            return;
        }

        using var socket = await context.WebSockets.AcceptWebSocketAsync();
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, lifetime.ApplicationStopping);
        try
        {
            await connections.ServeAsync(socket, aeTitle, ending.Token);
        }
        catch (Exception e) when (e is WebSocketException or IOException)
        {
            // The line broke; the client opens it again.
            socket.Abort();
        }
    }

    private static ProblemHttpResult? Refusal(string aeTitle) =>
        aeTitle.Length is > 0 and <= 16 && aeTitle.Trim() == aeTitle && aeTitle.All(c => c is >= ' ' and <= '~' and not '\\')
            ? null
            : TypedResults.Problem("The subscriber is no AE title: 1 to 16 printable ASCII characters without backslash or outer spaces.", statusCode: 400);

    private static IResult Answer(SubscriptionOutcome outcome, string workitem, string aeTitle) => outcome switch
    {
        SubscriptionOutcome.Done => TypedResults.Ok(),
        SubscriptionOutcome.NotFound => TypedResults.Problem($"There is no workitem {workitem}, or {aeTitle} is not subscribed to it.", statusCode: 404),
        _ => TypedResults.Problem("As many application entities have subscribed as may.", statusCode: 503),
    };
}
