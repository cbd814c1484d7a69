namespace Yizhan.Console.Language;

/// <summary>Texts of the pages of recovery drills.</summary>
public abstract partial class Texts
{
#pragma warning disable CS1591
    public abstract string Drills { get; }
    public abstract string Drill { get; }
    public abstract string DrillsNotForYou { get; }
    public abstract string DrillsHint { get; }
    public abstract string DrillLastSuccess { get; }
    public abstract string DrillDue { get; }
    public abstract string DrillStart { get; }
    public abstract string DrillRunTime { get; }
    public abstract string DrillResult { get; }
    public abstract string DrillLost { get; }
    public abstract string DrillTwice { get; }
    public abstract string DrillSummary { get; }
    public abstract string DrillPassed { get; }
    public abstract string DrillFailed { get; }
    public abstract string DrillAccepted { get; }
    public abstract string DrillDelivered { get; }
    public abstract string DrillInAudit { get; }
    public abstract string DrillGone { get; }
    public abstract string DrillChecks { get; }
    public abstract string DrillSteps { get; }
    public abstract string DrillLimits { get; }
    public abstract string DrillNotShown { get; }
    public abstract string DrillStartHere { get; }
    public abstract string DrillStartTitle(string kind);
    public abstract string DrillStartSays { get; }
    public abstract string DrillStartYes { get; }
    public abstract string DrillNotNow { get; }
    public abstract string DrillProgress { get; }
    public abstract string DrillStartedBy(string who);
    public abstract string DrillLinesBefore(long count);
    public abstract string DrillCancel { get; }
    public abstract string DrillCancelSays { get; }
    public abstract string DrillCancelYes { get; }
    public abstract string DrillGoOn { get; }
    public abstract string DrillLeave { get; }
    public abstract string DrillReadReport { get; }
    public abstract string DrillBroken { get; }
    public abstract string DrillRunState(string state);
    public abstract string DrillRuns(string kind);
    public abstract string DrillKindName(string kind);
    public abstract string DrillStateName(string state);
    public abstract string DrillSeconds(double seconds);
#pragma warning restore CS1591
}
