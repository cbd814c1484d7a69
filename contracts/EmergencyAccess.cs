namespace Yizhan.Contracts;

/// <summary>Somebody has taken emergency access at a site (break-glass); in lane urgent, in the same append as its audit record.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Site">The site.</param>
/// <param name="Who">Who took it: the name of the account.</param>
/// <param name="Reason">Why, as they typed it: 10 to 500 characters.</param>
/// <param name="FromMs">Begin, Unix milliseconds UTC.</param>
/// <param name="UntilMs">End, at most 60 minutes later.</param>
public sealed record EmergencyTaken(string Id, string Site, string Who, string Reason, long FromMs, long UntilMs)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.emergency.taken.v1";
}

/// <summary>Somebody else has looked at it.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Site">The site.</param>
/// <param name="Reviewer">Who looked at it; never who took it.</param>
/// <param name="Verdict">What was found, 1 to 200 characters.</param>
/// <param name="AtMs">When, Unix milliseconds UTC.</param>
public sealed record EmergencyReviewed(string Id, string Site, string Reviewer, string Verdict, long AtMs)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.emergency.reviewed.v1";
}

/// <summary>An emergency access in the queue of review; an element of <c>GET /fleet/emergencies</c> and of <c>GET /station/emergencies</c>.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Site">The site.</param>
/// <param name="Who">Who took it.</param>
/// <param name="Reason">Why.</param>
/// <param name="FromMs">Begin, Unix milliseconds UTC.</param>
/// <param name="UntilMs">End.</param>
/// <param name="Reviewer">Who has looked at it; null while it waits.</param>
/// <param name="Verdict">What was found; null while it waits.</param>
public sealed record EmergencyView(string Id, string Site, string Who, string Reason, long FromMs, long UntilMs, string? Reviewer = null, string? Verdict = null);

/// <summary>Body of a review.</summary>
/// <param name="Verdict">What was found, 1 to 200 characters.</param>
public sealed record EmergencyVerdict(string Verdict);

/// <summary>What a site gets ahead for signing people in without the centre; the body of <c>GET /auth/sites/{site}/accounts</c>, for the fleet service alone.</summary>
/// <param name="Issuer">Name of the issuer.</param>
/// <param name="Keys">Its public keys (RFC 7517).</param>
/// <param name="Accounts">Who has a role at the site.</param>
public sealed record SiteDirectory(string Issuer, System.Text.Json.JsonElement Keys, IReadOnlyList<DirectoryAccount> Accounts);

/// <summary>Somebody of that list.</summary>
/// <param name="Name">Name to sign in with.</param>
/// <param name="PasswordHash">Slow hash of the password, as <c>pbkdf2-sha512$ROUNDS$SALT$HASH</c>.</param>
/// <param name="Roles">Roles at the site.</param>
public sealed record DirectoryAccount(string Name, string PasswordHash, IReadOnlyList<string> Roles);
