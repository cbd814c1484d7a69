using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;
using Yizhan.Platform.Releases;

namespace Yizhan.Fleet.Releases;

/// <summary>Releases over HTTP. Who may do what is decided by signatures, not by who calls: a release carries its own.</summary>
internal static class ReleaseEndpoints
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/releases", (ReleaseCentre releases) => TypedResults.Ok(releases.List())).WithSummary("All releases, the newest first").Needs(Permission.ReadFleet);
        routes.MapPost("/releases", ProposeAsync).WithSummary("Proposes a release: the archive, signed by its proposer").Needs(Permission.ReleaseConfiguration);
        routes.MapGet("/releases/{version}/bundle", Bundle).WithSummary("The archive of a release, with the signatures that it has").Needs(Permission.ReadFleet);
        routes.MapGet("/releases/trust", Trust).WithSummary("Whose signatures on releases count").Needs(Permission.ReadFleet);
        routes.MapPost("/releases/{version}/approvals", Approve).WithSummary("Approves a release: a signature over its manifest").Needs(Permission.ReleaseConfiguration);
    }

    private static async Task<Results<Ok<ReleaseView>, ProblemHttpResult>> ProposeAsync(
        HttpRequest request, ReleaseCentre releases, CancellationToken cancellationToken)
    {
        try
        {
            return TypedResults.Ok(releases.Propose(await ReleaseBundle.ReadAsync(request.Body, cancellationToken)));
        }
        catch (ReleaseRefusedException e)
        {
            return Problem(e);
        }
    }

    private static Results<FileContentHttpResult, ProblemHttpResult> Bundle(string version, ReleaseCentre releases) =>
        ReleaseVersion.TryParse(version, out var parsed) && releases.Find(parsed) is { } release
            ? TypedResults.File(release.ToBytes(), "application/x-tar", $"{version}.tar")
            : NotHere(version);

    private static Results<Ok<ReleaseTrustView>, ProblemHttpResult> Trust(ReleaseCentre releases)
    {
        try
        {
            return releases.WhoCounts() is { } trust
                ? TypedResults.Ok(new ReleaseTrustView(trust.Serial, trust.Approvals, [.. trust.Keys.Select(k => new ReleaseKeyView(k.Name, k.Person, k.PublicKey, k.Fingerprint, k.Revoked))]))
                : TypedResults.Ok(new ReleaseTrustView(0, 0, []));
        }
        catch (ReleaseRefusedException e)
        {
            return Problem(e);
        }
    }

    private static Results<Ok<ReleaseView>, ProblemHttpResult> Approve(string version, ReleaseApproval approval, ReleaseCentre releases)
    {
        var signature = new byte[approval.Signature.Length];
        if (!Convert.TryFromBase64String(approval.Signature, signature, out var length))
        {
            return TypedResults.Problem("signature is not base64.", statusCode: 400);
        }

        try
        {
            return ReleaseVersion.TryParse(version, out var parsed) && releases.Approve(parsed, approval.Key, signature[..length]) is { } view
                ? TypedResults.Ok(view)
                : NotHere(version);
        }
        catch (ReleaseRefusedException e)
        {
            return Problem(e);
        }
    }

    private static ProblemHttpResult NotHere(string version) =>
        TypedResults.Problem($"There is no release '{version}'; accepted: one of GET /fleet/releases.", statusCode: 404);

    private static ProblemHttpResult Problem(ReleaseRefusedException e) => TypedResults.Problem(
        e.Message, title: e.Reason.ToString(), statusCode: e.Reason switch
        {
            ReleaseRefusal.TooLarge => 413,
            ReleaseRefusal.Older or ReleaseRefusal.OwnProposal => 409,
            ReleaseRefusal.NoTrust => 503,
            _ => 422,
        });
}
