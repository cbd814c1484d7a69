using System.Globalization;

namespace Yizhan.Console.Language;

internal sealed partial class EnglishTexts
{
    public override string Drills => "Recovery drills";
    public override string Drill => "Recovery drill";
    public override string DrillsNotForYou => "Drills are shown to operators and site engineers. Your roles are neither.";
    public override string DrillsHint => "Each kind is run once a quarter against processes of its own, judged from outside by its own ledger, and recorded in the audit log.";
    public override string DrillLastSuccess => "last passed";
    public override string DrillDue => "due";
    public override string DrillStart => "Run it:";
    public override string DrillRunTime => "Ended";
    public override string DrillResult => "Result";
    public override string DrillLost => "Lost";
    public override string DrillTwice => "Twice";
    public override string DrillSummary => "Summary";
    public override string DrillPassed => "passed";
    public override string DrillFailed => "failed";
    public override string DrillAccepted => "Acknowledged";
    public override string DrillDelivered => "At the centre";
    public override string DrillInAudit => "In the audit log as";
    public override string DrillGone => "There is no such run, or it was of long ago; the audit log still has it.";
    public override string DrillChecks => "What was checked";
    public override string DrillSteps => "What happened";
    public override string DrillLimits => "Within these limits";
    public override string DrillNotShown => "What this run did not show";
    public override string DrillStartHere => "Start";
    public override string DrillStartTitle(string kind) => $"Start the drill: {kind}";
    public override string DrillStartSays => "It starts nodes of its own on the machine of this centre, breaks them and judges what comes back. Nodes in use are not touched, but it takes processor, 2 GB of memory and 2 GB of disk for some minutes. Its start and its report go into the audit log in your name.";
    public override string DrillStartYes => "Start it now";
    public override string DrillNotNow => "Not now";
    public override string DrillProgress => "What the drill says";
    public override string DrillStartedBy(string who) => $"started by {who}";
    public override string DrillLinesBefore(long count) => $"{count} lines before these are no longer kept here.";
    public override string DrillCancel => "Stop the drill";
    public override string DrillCancelSays => "Its nodes are stopped and their data deleted. There is no report of it; the audit log says that you stopped it.";
    public override string DrillCancelYes => "Stop it";
    public override string DrillGoOn => "Let it go on";
    public override string DrillLeave => "You can leave this page: the drill goes on, and is here when you come back.";
    public override string DrillReadReport => "Read the report";
    public override string DrillBroken => "It ended without a report. The last lines say why; the log of the fleet has when.";

    public override string DrillRunState(string state) => state switch
    {
        "running" => "is running",
        "ending" => "is being stopped",
        "passed" => "passed",
        "failed" => "failed",
        "cancelled" => "was stopped",
        "broken" => "ended without a report",
        _ => state,
    };

    public override string DrillRuns(string kind) => $"Runs of: {kind}";

    public override string DrillKindName(string kind) => kind switch
    {
        "outage" => "The line is cut",
        "power-cut" => "The power goes",
        "ransomware" => "A site is encrypted",
        "model-anomaly" => "A model is poisoned",
        "zone-loss" => "The centre is lost",
        "bad-release" => "A release is bad",
        _ => kind,
    };

    public override string DrillStateName(string state) => state switch
    {
        "passed" => "passed",
        "failed" => "the newest run failed",
        "overdue" => "overdue",
        "never" => "never run",
        _ => state,
    };

    public override string DrillSeconds(double seconds) => seconds.ToString("0.0", CultureInfo.InvariantCulture) + " s";
}
