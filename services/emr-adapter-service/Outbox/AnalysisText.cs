using System.Globalization;
using Yizhan.Contracts;

namespace Yizhan.EmrAdapter.Outbox;

/// <summary>What a model found, in words, for systems that show text.</summary>
internal static class AnalysisText
{
    /// <summary>One line: who looked, what was found, and that it is not for clinical use where it is not.</summary>
    public static string Of(AnalysisFinished analysis)
    {
        var findings = analysis.Findings.Count == 0
            ? "nothing found"
            : string.Join("; ", analysis.Findings.Select(f => string.Create(CultureInfo.InvariantCulture, $"{f.Label}, {f.VolumeMl:0.##} mL{(f.Urgent ? ", urgent" : "")}")));
        return $"{analysis.Model} {analysis.Version}: {findings}.{(analysis.Reason is { Length: > 0 } reason ? " " + reason : "")}{(analysis.ClinicalUse ? "" : " NOT FOR CLINICAL USE.")}";
    }
}
