namespace Yizhan.Contracts;

/// <summary>Which configuration a site runs; part of <see cref="SiteStatus"/>.</summary>
/// <param name="Version">Release that runs, <c>config-YY.MM.patch</c>; null: the node's own settings.</param>
/// <param name="Digest">Its digest; null with it.</param>
/// <param name="OnTrial">True until the node has come up with it.</param>
/// <param name="RefusedDigest">Digest of the last release that was not taken or did not come up; null when there is none.</param>
/// <param name="Problem">Why, for people.</param>
public sealed record ConfigurationStatus(string? Version, string? Digest, bool OnTrial, string? RefusedDigest, string? Problem);
