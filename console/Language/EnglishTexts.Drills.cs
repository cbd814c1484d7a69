using System.Globalization;

namespace Yizhan.Console.Language;

internal sealed partial class EnglishTexts
{
    public override string Drills => "Recovery drills";
    public override string Drill => "Recovery drill";
    public override string DrillsNotForYou => "Drills are shown to operators and site engineers. Your roles are neither.";
    public override string DrillsHint => "Each kind is run once a quarter against processes of its own, judged from outside by its own ledger, and recorded in the audit log. A drill is started where somebody stands beside it, with the command.";
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
