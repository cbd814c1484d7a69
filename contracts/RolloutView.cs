namespace Yizhan.Contracts;

/// <summary>How the versions of a model share the studies of a node: <c>GET /ai-infer/rollouts/{model}</c>.</summary>
/// <param name="Model">Model.</param>
/// <param name="Stable">The version for all studies that the candidate does not get.</param>
/// <param name="Candidate">A version on its way; null when there is none.</param>
/// <param name="Percent">Percent of the studies that the candidate gets; 0: it only watches.</param>
/// <param name="Stopped">Why nothing is analysed; null when it is.</param>
/// <param name="History">Newest first.</param>
public sealed record RolloutView(string Model, string Stable, string? Candidate, int Percent, string? Stopped, IReadOnlyList<RolloutChange> History);

/// <summary>One change of a rollout.</summary>
/// <param name="AtMs">When, Unix milliseconds UTC.</param>
/// <param name="Action">begin, promote, hold (of a candidate), stop (of the model) or rollback.</param>
/// <param name="Version">Version that it was about.</param>
/// <param name="Percent">Percent of the studies that it then had.</param>
/// <param name="Who">Who did it; <c>guard</c> when the node did it by itself.</param>
/// <param name="Reason">Why.</param>
public sealed record RolloutChange(long AtMs, string Action, string Version, int Percent, string Who, string Reason);

/// <summary>Asks for a change: <c>POST /ai-infer/rollouts/{model}/promote|hold|rollback</c>.</summary>
/// <param name="Reason">Why: 1 to 500 characters.</param>
/// <param name="Version">Version to promote.</param>
/// <param name="Percent">0, 10, 50 or 100.</param>
/// <param name="All">Hold the whole model, not only its candidate.</param>
public sealed record RolloutRequest(string Reason, string? Version = null, int? Percent = null, bool All = false);
