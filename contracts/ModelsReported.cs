namespace Yizhan.Contracts;

/// <summary>What a site says of its models, when something of it has changed. Event type <see cref="EventType"/>; the newest of a site counts. <c>GET /fleet/models</c> has one for each site.</summary>
/// <param name="Site">The site.</param>
/// <param name="AtMs">When, Unix milliseconds UTC by the site's clock.</param>
/// <param name="Models">Every model that is there.</param>
/// <param name="Orders">Orders of the centre that are on their way to the site or that it has not done yet; the centre adds them.</param>
public sealed record ModelsReported(string Site, long AtMs, IReadOnlyList<ModelReport> Models, IReadOnlyList<RolloutOrder>? Orders = null)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.ai.models-reported.v1";
}

/// <summary>A model at a site.</summary>
/// <param name="Model">Its name.</param>
/// <param name="InUse">A rule of the site names it: studies are analysed by it. Otherwise it only answers requests.</param>
/// <param name="Stable">The version for all studies that the candidate does not get.</param>
/// <param name="Candidate">A version on its way; null for none.</param>
/// <param name="Percent">Percent of the studies that the candidate gets; 0: it only watches.</param>
/// <param name="Stopped">Why nothing is analysed; null when it is.</param>
/// <param name="Versions">Oldest first.</param>
/// <param name="History">The newest changes, at most five.</param>
public sealed record ModelReport(
    string Model, bool InUse, string Stable, string? Candidate, int Percent, string? Stopped, IReadOnlyList<VersionReport> Versions, IReadOnlyList<RolloutChange> History);

/// <summary>How a version does at a site. Figures are of its newest series there (<c>ai-infer:guard:window</c>).</summary>
/// <param name="Version">Version.</param>
/// <param name="State">READY, LOADING or UNAVAILABLE.</param>
/// <param name="RunsOn">What runs it and why; null while it is not loaded.</param>
/// <param name="ClinicalUse">False: not for clinical use.</param>
/// <param name="Series">Series that the figures are of.</param>
/// <param name="Failed">How many of them failed.</param>
/// <param name="MedianMs">Median time of one, milliseconds; null while there is none.</param>
/// <param name="InputDrift">Population stability index of what went in, against the first series there; null while there are too few.</param>
/// <param name="ResultDrift">The same of what came out.</param>
public sealed record VersionReport(
    string Version, string State, string? RunsOn, bool ClinicalUse, int Series, int Failed, double? MedianMs, double? InputDrift, double? ResultDrift);

/// <summary>
/// A change of a rollout that somebody at the centre wants at a site: an event of the centre's log, and once it is there of the site's (<see cref="EventType"/>), which does it as if
/// it were asked there.
/// </summary>
/// <param name="Number">Greater than those before; the order's identity.</param>
/// <param name="Site">The site.</param>
/// <param name="Model">Model.</param>
/// <param name="Action">promote, hold or rollback.</param>
/// <param name="Request">What exactly, and why.</param>
/// <param name="Who">Who, by the centre's sign-in.</param>
/// <param name="AtMs">When, Unix milliseconds UTC.</param>
public sealed record RolloutOrder(long Number, string Site, string Model, string Action, RolloutRequest Request, string Who, long AtMs)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.ai.rollout-ordered.v1";

    /// <summary>An order that could not be delivered for so long is void: what was right then may be wrong now.</summary>
    public static readonly TimeSpan Life = TimeSpan.FromDays(7);

    /// <summary>What can be ordered.</summary>
    public static IReadOnlyList<string> Actions { get; } = ["promote", "hold", "rollback"];
}

/// <summary>A result of a model with the site that it is of; an element of <c>GET /fleet/findings</c>.</summary>
/// <param name="Site">The site.</param>
/// <param name="Result">The result.</param>
public sealed record SiteAnalysis(string Site, AnalysisFinished Result);
