namespace Yizhan.Console.Language;

internal sealed partial class EnglishTexts
{
    public override string Models => "Models";
    public override string ModelsNotForYou => "Models are shown to clinicians and site engineers. Your roles are neither.";
    public override string ModelsHint => "What each site says of its own models. A change is an order: the site does it when it hears of it, and its next report says so. At the site itself, yizhan model hold works without the line.";
    public override string NoModels => "No site has reported a model yet.";
    public override string ReportedByTheSite => "Reported by the site";
    public override string Model => "Model";
    public override string ModelShare => "Studies";
    public override string ModelFigures => "Newest series";
    public override string ModelDrift => "Drift: inputs, results";
    public override string ModelChange => "Change";
    public override string ModelReason => "Why";
    public override string ModelNotInUse => "no rule of the site names it";
    public override string ForClinicalUse => "for clinical use";
    public override string NotForClinicalUse => "not for clinical use";
    public override string ModelStopped => "stopped";
    public override string OnlyWatches => "only watches";
    public override string NoStudies => "none";
    public override string StopModel => "Stop the model";
    public override string HoldVersion => "Hold this version";
    public override string RollBack => "Roll back";
    public override string Findings => "Findings of models";
    public override string FindingsHint => "Proposals to whoever reads the study; nobody has confirmed them.";
    public override string NoFindings => "No model has looked at a study yet.";
    public override string UrgentFinding => "urgent";

    public override string SeriesAndFailed(int series, int failed) => $"{series} series, {failed} failed";

    public override string MedianTime(double ms) => $"median {ms:0} ms";

    public override string PercentOfStudies(int percent) => $"{percent} % of the studies";

    public override string PromoteTo(int percent) => $"Promote to {percent} %";

    public override string OrderOnItsWay(string action, string version, string who) => $"On its way to the site: {action} {version}, by {who}:";

    public override string ObservationsOf(int count) => count == 1 ? "1 Observation" : $"{count} Observations";

    public override string ModelAction(string action) => action switch { "begin" => "begin", "promote" => "promote", "hold" => "hold", "stop" => "stop", "rollback" => "roll back", "refused" => "refused by the site", _ => action };

    public override string AnalysisOutcome(string outcome) => outcome switch { "findings" => "findings", "none" => "nothing found", "refused" => "refused", "failed" => "failed", _ => outcome };
}
