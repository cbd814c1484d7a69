namespace Yizhan.Contracts;

/// <summary>A configuration release as the centre has it; an element of <c>GET /fleet/releases</c>, newest first.</summary>
/// <param name="Version"><c>config-YY.MM.patch</c>.</param>
/// <param name="Digest">SHA-256 of its manifest, 64 lower-case hex digits.</param>
/// <param name="State">proposed, rolling out, stopped, complete (every site runs it) or replaced (a newer one is signed).</param>
/// <param name="ProposedBy">Who proposed it.</param>
/// <param name="Approvers">Who approved it.</param>
/// <param name="ApprovalsNeeded">How many must.</param>
/// <param name="RingPercent">10, 50 or 100: the share of its sites to which it is offered; 0 while it is proposed.</param>
/// <param name="Waits">Why the next ring does not begin yet, or why it was stopped; null when there is nothing to wait for.</param>
/// <param name="CreatedMs">Unix milliseconds UTC.</param>
/// <param name="ExpiresMs">Unix milliseconds UTC.</param>
/// <param name="Note">Why it was made.</param>
/// <param name="Sites">Each site of the release.</param>
public sealed record ReleaseView(
    string Version,
    string Digest,
    string State,
    string ProposedBy,
    IReadOnlyList<string> Approvers,
    int ApprovalsNeeded,
    int RingPercent,
    string? Waits,
    long CreatedMs,
    long ExpiresMs,
    string Note,
    IReadOnlyList<ReleaseSite> Sites);

/// <summary>A site of a release.</summary>
/// <param name="SiteId">The site.</param>
/// <param name="Runs">Version that it reported last; null when it reported none.</param>
/// <param name="State">applied, on trial, refused, offered, or waiting (its ring has not begun, or it is offline).</param>
/// <param name="Online">Whether it is heard now.</param>
/// <param name="Problem">Why it was refused; null else.</param>
public sealed record ReleaseSite(string SiteId, string? Runs, string State, bool Online, string? Problem);

/// <summary>The body of <c>POST /fleet/releases/{version}/approvals</c>.</summary>
/// <param name="Key">Name of the key.</param>
/// <param name="Signature">ECDSA P-256 with SHA-256 over the manifest, DER in base64.</param>
public sealed record ReleaseApproval(string Key, string Signature);

/// <summary>Whose signatures on releases count at the centre: <c>GET /fleet/releases/trust</c>.</summary>
/// <param name="Serial">Grows with each change; 0 when there is no trust file.</param>
/// <param name="Approvals">How many people other than the proposer must have signed.</param>
/// <param name="Keys">Keys of people.</param>
public sealed record ReleaseTrustView(int Serial, int Approvals, IReadOnlyList<ReleaseKeyView> Keys);

/// <summary>A key of the trust list.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Person">Whose it is: keys of one person count once.</param>
/// <param name="PublicKey">ECDSA P-256, SubjectPublicKeyInfo in base64.</param>
/// <param name="Fingerprint">SHA-256 of the public key, in groups of four hex digits.</param>
/// <param name="Revoked">True when its signatures make a release unacceptable.</param>
public sealed record ReleaseKeyView(string Name, string Person, string PublicKey, string Fingerprint, bool Revoked);
