namespace Yizhan.Contracts;

/// <summary>Who can sign in at a site without the centre: the body of <c>GET /station/sign-in</c>.</summary>
/// <param name="Issuer">Issuer of the site's tokens.</param>
/// <param name="CentreIssuer">Issuer whose tokens count here, too; empty while none is known.</param>
/// <param name="List">Number of the list; null before the first.</param>
/// <param name="ValidUntilMs">Until when it counts, Unix milliseconds UTC; null before the first.</param>
/// <param name="Accounts">How many can sign in.</param>
/// <param name="ToReview">Emergency accesses that nobody has looked at.</param>
public sealed record SiteSignInView(string Issuer, string CentreIssuer, long? List, long? ValidUntilMs, int Accounts, int ToReview);
