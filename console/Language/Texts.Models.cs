namespace Yizhan.Console.Language;

/// <summary>Texts of the page of models.</summary>
public abstract partial class Texts
{
#pragma warning disable CS1591
    public abstract string Models { get; }
    public abstract string ModelsNotForYou { get; }
    public abstract string ModelsHint { get; }
    public abstract string NoModels { get; }
    public abstract string ReportedByTheSite { get; }
    public abstract string Model { get; }
    public abstract string ModelShare { get; }
    public abstract string ModelFigures { get; }
    public abstract string ModelDrift { get; }
    public abstract string ModelChange { get; }
    public abstract string ModelReason { get; }
    public abstract string ModelNotInUse { get; }
    public abstract string ForClinicalUse { get; }
    public abstract string NotForClinicalUse { get; }
    public abstract string ModelStopped { get; }
    public abstract string OnlyWatches { get; }
    public abstract string NoStudies { get; }
    public abstract string StopModel { get; }
    public abstract string HoldVersion { get; }
    public abstract string RollBack { get; }
    public abstract string Findings { get; }
    public abstract string FindingsHint { get; }
    public abstract string NoFindings { get; }
    public abstract string UrgentFinding { get; }
    public abstract string SeriesAndFailed(int series, int failed);
    public abstract string MedianTime(double ms);
    public abstract string PercentOfStudies(int percent);
    public abstract string PromoteTo(int percent);
    public abstract string OrderOnItsWay(string action, string version, string who);
    public abstract string ObservationsOf(int count);
    public abstract string ModelAction(string action);
    public abstract string AnalysisOutcome(string outcome);
}
