namespace Yizhan.Contracts;

/// <summary>
/// A recovery drill is over: what it did, what it measured from outside, and whether it passed. Event type <see cref="EventType"/>, in the same append as its
/// audit record; the body of <c>POST /fleet/log/drills</c> and <c>POST /station/log/drills</c>, and the report itself.
/// </summary>
/// <param name="Id">Of this run: 8 to 80 of a-z, 0-9 and '-'.</param>
/// <param name="Kind">One of <see cref="DrillKinds.All"/>.</param>
/// <param name="Against"><c>local</c>: processes of its own; else the address of the node that it looked at.</param>
/// <param name="Passed">Every check holds and nothing acknowledged is lost or doubled.</param>
/// <param name="StartedMs">Unix milliseconds UTC.</param>
/// <param name="FinishedMs">Unix milliseconds UTC.</param>
/// <param name="Accepted">Items that were acknowledged to the drill's own sender.</param>
/// <param name="Delivered">Of those, how many are at the centre with every byte.</param>
/// <param name="Lost">Acknowledged, but not there.</param>
/// <param name="Duplicates">How many are there more than once.</param>
/// <param name="RtoSeconds">From the fault until the service was there again; null when that was not measured.</param>
/// <param name="RpoEntries">Acknowledged items that the recovery did not bring back; null when that was not measured.</param>
/// <param name="Summary">One sentence.</param>
/// <param name="Limits">Within which limits it acted.</param>
/// <param name="Checks">What was checked.</param>
/// <param name="Steps">What happened when.</param>
/// <param name="NotShown">What this run did not show, each with the reason.</param>
public sealed record DrillFinished(
    string Id, string Kind, string Against, bool Passed, long StartedMs, long FinishedMs, long Accepted, long Delivered, long Lost, long Duplicates, double? RtoSeconds,
    long? RpoEntries, string Summary, IReadOnlyList<string> Limits, IReadOnlyList<DrillCheck> Checks, IReadOnlyList<DrillStep> Steps, IReadOnlyList<string> NotShown)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.drill.finished.v1";

    /// <summary>Most bytes of a report.</summary>
    public const int MaxBytes = 64 * 1024;

    /// <summary>What the audit is asked for to find the run.</summary>
    public static string EntityOf(string id) => $"drill/{id}";
}

/// <summary>The drills that there are.</summary>
public static class DrillKinds
{
    /// <summary>Their names, as <c>yizhan drill list</c> has them.</summary>
    public static IReadOnlyList<string> All { get; } = ["outage", "power-cut", "ransomware", "model-anomaly", "zone-loss", "bad-release"];
}

/// <summary>Something that a drill checked.</summary>
/// <param name="Name">What should be so.</param>
/// <param name="Ok">Whether it is.</param>
/// <param name="Detail">What was found.</param>
public sealed record DrillCheck(string Name, bool Ok, string Detail);

/// <summary>Something that happened in a drill.</summary>
/// <param name="AtSeconds">Since its begin.</param>
/// <param name="Text">What.</param>
public sealed record DrillStep(double AtSeconds, string Text);

/// <summary>A kind of drill as the centre sees it; an element of <c>GET /fleet/drills</c>.</summary>
/// <param name="Kind">One of <see cref="DrillKinds.All"/>.</param>
/// <param name="State"><c>passed</c>, <c>failed</c> (the newest run), <c>overdue</c> or <c>never</c>.</param>
/// <param name="LastSuccessMs">When the newest run that passed ended, Unix milliseconds UTC; null when there was none.</param>
/// <param name="DueMs">Until when the next one should have passed; null when there was none yet: at once.</param>
/// <param name="Runs">The newest runs, newest first.</param>
public sealed record DrillView(string Kind, string State, long? LastSuccessMs, long? DueMs, IReadOnlyList<DrillRun> Runs);

/// <summary>One run of a drill.</summary>
/// <param name="Id">Its id: <c>GET /fleet/drills/{id}</c> has the report.</param>
/// <param name="Site">Whose log recorded it.</param>
/// <param name="Against">What it ran against.</param>
/// <param name="Passed">Whether it passed.</param>
/// <param name="FinishedMs">Unix milliseconds UTC.</param>
/// <param name="Lost">Acknowledged, but lost.</param>
/// <param name="Duplicates">There more than once.</param>
/// <param name="RtoSeconds">Recovery time.</param>
/// <param name="RpoEntries">Items that recovery did not bring back.</param>
/// <param name="Summary">One sentence.</param>
public sealed record DrillRun(
    string Id, string Site, string Against, bool Passed, long FinishedMs, long Lost, long Duplicates, double? RtoSeconds, long? RpoEntries, string Summary);

/// <summary>What the console needs to start and follow a drill: <c>GET /fleet/drills/current</c>.</summary>
/// <param name="Allowed">Whether this node starts drills (<c>fleet:drillCommand</c>).</param>
/// <param name="Run">What runs, or ran last since the node was started; null when none did.</param>
public sealed record DrillDeskView(bool Allowed, DrillRunView? Run);

/// <summary>A drill that was started from the console.</summary>
/// <param name="Id">Of the start, not of the report.</param>
/// <param name="Kind">One of <see cref="DrillKinds.All"/>.</param>
/// <param name="Who">Who started it.</param>
/// <param name="StartedMs">Unix milliseconds UTC.</param>
/// <param name="EndedMs">Unix milliseconds UTC; null while it runs.</param>
/// <param name="State">running, ending (it was cancelled), passed, failed, cancelled, or broken (it ended without a report).</param>
/// <param name="ReportId">Id of its report; null when there is none.</param>
/// <param name="FirstLine">How many lines there were before those of <paramref name="Lines"/>.</param>
/// <param name="Lines">The newest lines that it said.</param>
public sealed record DrillRunView(
    string Id, string Kind, string Who, long StartedMs, long? EndedMs, string State, string? ReportId, long FirstLine, IReadOnlyList<string> Lines);

/// <summary>The body of <c>POST /fleet/drills/current</c>.</summary>
/// <param name="Kind">One of <see cref="DrillKinds.All"/>.</param>
/// <param name="Quick">Less data and fewer repetitions, as <c>yizhan drill run --quick</c>.</param>
public sealed record DrillStart(string Kind, bool Quick = false);
