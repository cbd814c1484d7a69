using System.Text.Json;
using System.Threading.RateLimiting;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.Options;
using Yizhan.Platform.Certificates;
using Yizhan.Platform.Identity;

namespace Yizhan.Fleet.Enrolment;

/// <summary>An operator's order to take certificates back.</summary>
/// <param name="Reason">Why, 1 to 200 characters.</param>
/// <param name="Serial">Serial number of one certificate; null for all of the site until now.</param>
internal sealed record RevocationOrder(string Reason, string? Serial);

/// <summary>What operators do with machines (on the web), and the one route of the door for new devices.</summary>
internal static class EnrolmentEndpoints
{
    /// <summary>Routes for operators.</summary>
    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapPost("/sites/{site}/enrolment-tokens", InviteAsync).WithSummary("A token that makes one device this site").Needs(Permission.ManageMachines, "site");
        routes.MapPost("/sites/{site}/renewals", RenewAsync).WithSummary("Answers a renewal that came in a file").Needs(Permission.ManageMachines, "site");
        routes.MapPost("/sites/{site}/revocations", RevokeAsync).WithSummary("Takes certificates of a site back").Needs(Permission.ManageMachines, "site");
        routes.MapGet("/revocations", (EmbeddedCa ca) => TypedResults.Ok(ca.Revocations.All)).WithSummary("What was taken back, the oldest first").Needs(Permission.ReadFleet);
    }

    /// <summary>The route of the door for new devices: who has no certificate yet.</summary>
    /// <param name="routes">The link's server.</param>
    /// <param name="desk">Decides.</param>
    /// <param name="attempts">Bounds how often anybody may try.</param>
    public static void MapDoor(IEndpointRouteBuilder routes, EnrolmentDesk desk, RateLimiter attempts) =>
        routes.MapPost(Platform.Certificates.Enrolment.Route, async context =>
        {
            using var lease = attempts.AttemptAcquire();
            if (!lease.IsAcquired)
            {
                context.Response.Headers.RetryAfter = "60";
                await ProblemAsync(context, 429, "Too many attempts; try again in a minute.");
                return;
            }

            if (context.Request.ContentLength is not (> 0 and <= Platform.Certificates.Enrolment.MaxBytes))
            {
                await ProblemAsync(context, 413, $"The body needs a Content-Length of at most {Platform.Certificates.Enrolment.MaxBytes}.");
                return;
            }

            EnrolmentRequest? request;
            try
            {
                request = await JsonSerializer.DeserializeAsync(context.Request.Body, EnrolmentJson.Default.EnrolmentRequest, context.RequestAborted);
            }
            catch (JsonException)
            {
                request = null;
            }

            if (request is not { Token: not null, Request: not null })
            {
                await ProblemAsync(context, 400, "The body is not {\"token\":…,\"request\":…}.");
                return;
            }

            var address = context.Connection.RemoteIpAddress?.ToString() ?? "unknown";
            var (outcome, text) = await desk.EnrolAsync(request, address, context.RequestAborted);
            if (outcome == EnrolmentOutcome.Enrolled)
            {
                await context.Response.WriteAsJsonAsync(new CertificateAnswer(text, []), EnrolmentJson.Default.CertificateAnswer, null, context.RequestAborted);
                return;
            }

            await ProblemAsync(context, outcome switch { EnrolmentOutcome.BadRequest => 422, EnrolmentOutcome.UnknownToken => 401, _ => 410 }, text);
        });

    private static async Task<Results<Ok<EnrolmentToken>, ProblemHttpResult>> InviteAsync(
        string site, int? minutes, HttpContext context, EnrolmentDesk desk, LinkListener listener, IOptions<FleetOptions> options,
        CancellationToken cancellationToken)
    {
        try
        {
            var token = await desk.InviteAsync(
                site, new Uri($"https://{options.Value.LinkHosts[0]}:{listener.EnrolmentPort}"), minutes ?? 15, Caller.AgentOf(context), cancellationToken);
            context.Response.Headers.CacheControl = "no-store";
            return TypedResults.Ok(token);
        }
        catch (ArgumentException e)
        {
            return TypedResults.Problem(e.Message, statusCode: 400);
        }
    }

    private static async Task<Results<Ok<CertificateAnswer>, ProblemHttpResult>> RenewAsync(
        string site, RenewalBundle bundle, HttpContext context, EnrolmentDesk desk, CancellationToken cancellationToken)
    {
        if (bundle.Site != site)
        {
            return TypedResults.Problem($"The bundle is of '{bundle.Site}', the route of '{site}'.", statusCode: 400);
        }

        try
        {
            return TypedResults.Ok(await desk.RenewAsync(bundle, Caller.AgentOf(context), cancellationToken));
        }
        catch (Exception e) when (e is CertificateRefusedException or ArgumentException)
        {
            return TypedResults.Problem(e.Message, statusCode: 422);
        }
    }

    private static async Task<Results<Ok<Revocation>, ProblemHttpResult>> RevokeAsync(
        string site, RevocationOrder order, HttpContext context, EnrolmentDesk desk, CancellationToken cancellationToken)
    {
        try
        {
            return TypedResults.Ok(await desk.RevokeAsync(site, order.Serial, order.Reason ?? "", Caller.AgentOf(context), cancellationToken));
        }
        catch (ArgumentException e)
        {
            return TypedResults.Problem(e.Message, statusCode: 400);
        }
    }

    private static Task ProblemAsync(HttpContext context, int status, string detail) =>
        TypedResults.Problem(detail, statusCode: status).ExecuteAsync(context);
}
