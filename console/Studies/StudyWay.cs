using Yizhan.Contracts;

namespace Yizhan.Console.Studies;

/// <summary>How a step of a study's way stands.</summary>
public enum StepState
{
    /// <summary>Behind it.</summary>
    Done,

    /// <summary>Under way, or not begun.</summary>
    Open,

    /// <summary>Somebody has to look.</summary>
    Stopped,

    /// <summary>Nobody here can say.</summary>
    Unknown,
}

/// <summary>One step of a study's way.</summary>
/// <param name="Name">received, durable, shipped, indexed, analysed or emr.</param>
/// <param name="State">How it stands.</param>
/// <param name="AtMs">When it was done, Unix milliseconds UTC; null when it is not.</param>
internal sealed record Step(string Name, StepState State, long? AtMs);

/// <summary>The way of a study from the scanner to the EMR, from what the services say of it.</summary>
internal static class StudyWay
{
    private static readonly string[] Names = ["received", "durable", "shipped", "indexed", "analysed", "emr"];

    /// <summary>The steps, in order.</summary>
    /// <param name="progress">What the archive says; null while it has said nothing.</param>
    /// <param name="site">What the study's site said last; null when it never reported here.</param>
    /// <param name="atSite">Asked at the site itself, where studies are before they are shipped.</param>
    /// <param name="told">What EMRs were told; null when nobody here may know.</param>
    public static IReadOnlyList<Step> Of(StudyProgress? progress, SiteView? site, bool atSite, IEnumerable<EmrStudyView>? told) => progress is null
        ? [.. Names.Select(name => new Step(name, StepState.Unknown, null))]
        :
        [
            new("received", StepState.Done, progress.FirstStoredMs),
            new("durable", StepState.Done, progress.LastStoredMs),

            Shipped(progress, site, atSite),
            new("indexed", StepState.Done, progress.LastIndexedMs),
            new("analysed", progress.ResultMs is null ? StepState.Open : StepState.Done, progress.ResultMs),
            Emr(told?.ToArray()),
        ];

    /// <summary>
    /// What is at the centre was shipped before it was indexed; more may be on its way while the site keeps something as old. At the site that alone tells, and
    /// not when it was.
    /// </summary>
    private static Step Shipped(StudyProgress progress, SiteView? site, bool atSite) =>
        StillWaits(progress, site) ? new("shipped", StepState.Open, null)
        : !atSite ? new("shipped", StepState.Done, progress.LastIndexedMs)
        : new("shipped", site is null ? StepState.Unknown : StepState.Done, null);

    private static bool StillWaits(StudyProgress progress, SiteView? site) =>
        site?.Status.Lanes.FirstOrDefault(lane => lane.Lane == "bulk") is { Entries: > 0, OldestMs: { } oldest } && oldest <= progress.LastStoredMs;

    private static Step Emr(EmrStudyView[]? told) => told switch
    {
        null => new("emr", StepState.Unknown, null),
        _ when told.Any(t => t.State == "dead") => new("emr", StepState.Stopped, null),
        [] => new("emr", StepState.Open, null),
        _ => told.All(t => t.State == "delivered") ? new("emr", StepState.Done, told.Max(t => t.EndedMs)) : new("emr", StepState.Open, null),
    };
}
