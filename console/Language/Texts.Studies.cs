namespace Yizhan.Console.Language;

/// <summary>Texts of the pages of studies and their images.</summary>
public abstract partial class Texts
{
#pragma warning disable CS1591
    public abstract string StudiesNotForYou { get; }
    public abstract string FindStudies { get; }
    public abstract string PatientName { get; }
    public abstract string AccessionNumber { get; }
    public abstract string StudyNameHint { get; }
    public abstract string FoundStudies { get; }
    public abstract string NoStudyFound { get; }
    public abstract string NoStudyFoundHint { get; }
    public abstract string Images { get; }
    public abstract string OpenImages { get; }
    public abstract string OpenImagesOf(string who);
    public abstract string WayOfStudy { get; }
    public abstract string StudyNotHere { get; }
    public abstract string BackToStudies { get; }
    public abstract string StepName(string name);
    public abstract string StepStateName(string state);

    /// <summary>Words of the viewer, which draws itself in the browser.</summary>
    public abstract IReadOnlyDictionary<string, string> Viewer { get; }
}
