using System.Text.Json;
using System.Text.Json.Serialization;
using System.Threading.RateLimiting;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.Tokens;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;

namespace Yizhan.Station.SignIn;

/// <summary>Body of <c>POST /station/sign-in</c>.</summary>
internal sealed record SignInRequest(string Name, string Pin)
{
    /// <summary>It does not belong into a log.</summary>
    public override string ToString() => nameof(SignInRequest);
}

/// <summary>Body of <c>POST /station/emergencies</c>.</summary>
internal sealed record EmergencyRequest(string Name, string Pin, string Reason, int Minutes = 30)
{
    /// <summary>It does not belong into a log.</summary>
    public override string ToString() => nameof(EmergencyRequest);
}

/// <summary>A token (RFC 6749 §5.1).</summary>
internal sealed record SignInAnswer(
    [property: JsonPropertyName("access_token")] string AccessToken, [property: JsonPropertyName("token_type")] string TokenType,
    [property: JsonPropertyName("expires_in")] int ExpiresIn);

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(SignInRequest))]
[JsonSerializable(typeof(EmergencyRequest))]
[JsonSerializable(typeof(SignInAnswer))]
internal sealed partial class SignInEndpointsJson : JsonSerializerContext;

/// <summary>Bounds how often one address may try; the locks of the accounts come on top.</summary>
internal sealed class SignInAttempts(IOptions<StationOptions> options) : IDisposable
{
    private readonly PartitionedRateLimiter<string> _limiter = PartitionedRateLimiter.Create<string, string>(address =>
        RateLimitPartition.GetFixedWindowLimiter(address, _ => new FixedWindowRateLimiterOptions { PermitLimit = options.Value.SignInAttemptsPerMinute, Window = TimeSpan.FromMinutes(1), QueueLimit = 0 }));

    public bool MayTry(HttpContext context)
    {
        using var lease = _limiter.AttemptAcquire(context.Connection.RemoteIpAddress?.ToString() ?? "unknown");
        return lease.IsAcquired;
    }

    public void Dispose() => _limiter.Dispose();
}

/// <summary>Signing in at the site, emergency access, and its review.</summary>
internal static class SignInEndpoints
{
    private const string Why = "Signing in is how somebody gets a name; attempts are counted, wrong ones lock the account for a while.";

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapPost("/sign-in", SignInAsync).WithSummary("A token of the site for who is on its list").OpenToAll(Why);
        routes.MapGet("/sign-in", View).WithSummary("Which list of accounts is here").Needs(Permission.ReadSpool);
        routes.MapGet("/sign-in/keys", Keys).WithSummary("Keys of the site's tokens (RFC 7517)").OpenToAll("Public keys.");
        routes.MapPost("/emergencies", BreakGlassAsync).WithSummary("Emergency access, with a reason, for up to 60 minutes").OpenToAll(Why);
        routes.MapGet("/emergencies", (SiteSignIn signIn) => TypedResults.Ok(signIn.ToReview)).WithSummary("Emergency access that nobody has looked at").Needs(Permission.ReviewEmergencies);
        routes.MapPost("/emergencies/{id}/review", ReviewAsync).WithSummary("Closes an emergency access of somebody else").Needs(Permission.ReviewEmergencies);
    }

    private static async Task<Results<Ok<SignInAnswer>, ProblemHttpResult>> SignInAsync(
        SignInRequest request, HttpContext context, SiteSignIn signIn, SignInAttempts attempts, CancellationToken cancellationToken) =>
        attempts.MayTry(context)
            ? Answer(context, await signIn.SignInAsync(request.Name, request.Pin, cancellationToken), SiteSignIn.TokenLife)
            : TooMany(context);

    private static async Task<Results<Ok<SignInAnswer>, ProblemHttpResult>> BreakGlassAsync(
        EmergencyRequest request, HttpContext context, SiteSignIn signIn, SignInAttempts attempts, CancellationToken cancellationToken)
    {
        if (!attempts.MayTry(context))
        {
            return TooMany(context);
        }

        try
        {
            var life = TimeSpan.FromMinutes(request.Minutes);
            return Answer(context, await signIn.BreakGlassAsync(request.Name, request.Pin, request.Reason, life, cancellationToken), life);
        }
        catch (ArgumentException e)
        {
            return TypedResults.Problem(e.Message, statusCode: 400);
        }
        catch (IOException e)
        {
            return TypedResults.Problem(e.Message, statusCode: 503);
        }
    }

    private static async Task<Results<NoContent, ProblemHttpResult>> ReviewAsync(
        string id, EmergencyVerdict verdict, HttpContext context, SiteSignIn signIn, CancellationToken cancellationToken)
    {
        try
        {
            return await signIn.ReviewAsync(id, Caller.AgentOf(context), verdict.Verdict, cancellationToken)
                ? TypedResults.NoContent()
                : TypedResults.Problem($"No emergency access '{id}' waits for review.", statusCode: 404);
        }
        catch (ArgumentException e)
        {
            return TypedResults.Problem(e.Message, statusCode: 400);
        }
    }

    private static Ok<SiteSignInView> View(SiteSignIn signIn) => TypedResults.Ok(new SiteSignInView(
        signIn.Issuer, signIn.List?.Issuer ?? "", signIn.List?.Number, signIn.ValidUntilMs,
        signIn.List?.Accounts.Count ?? 0, signIn.ToReview.Count));

    private static ContentHttpResult Keys(SiteIssuer issuer)
    {
        var keys = issuer.Keys().Cast<ECDsaSecurityKey>().Select(JsonWebKeyConverter.ConvertFromECDsaSecurityKey)
            .Select(k => new { kty = k.Kty, crv = k.Crv, x = k.X, y = k.Y, kid = k.Kid, use = "sig", alg = "ES256" });
        return TypedResults.Content(JsonSerializer.Serialize(new { keys }), "application/jwk-set+json");
    }

    private static Results<Ok<SignInAnswer>, ProblemHttpResult> Answer(HttpContext context, (SignInOutcome Outcome, string? Token) result, TimeSpan life)
    {
        context.Response.Headers.CacheControl = "no-store";
        return result.Outcome switch
        {
            SignInOutcome.SignedIn => TypedResults.Ok(new SignInAnswer(result.Token!, "Bearer", (int)life.TotalSeconds)),
            SignInOutcome.Wrong => TypedResults.Problem("Name or PIN is wrong.", statusCode: 401),
            SignInOutcome.Locked => TypedResults.Problem("Too many wrong PINs; try again later.", statusCode: 429),
            _ => TypedResults.Problem(
                "This site has no list of accounts, or one that is older than 30 days: the centre sends one over the link (docs/operations/sign-in.md).", statusCode: 503),
        };
    }

    private static ProblemHttpResult TooMany(HttpContext context)
    {
        context.Response.Headers.RetryAfter = "60";
        return TypedResults.Problem("Too many attempts from this address; try again in a minute.", statusCode: 429);
    }
}
