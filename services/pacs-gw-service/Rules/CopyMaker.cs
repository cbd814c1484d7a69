using Yizhan.Dicom;
using Yizhan.PacsGw.Deidentify;

namespace Yizhan.PacsGw.Rules;

/// <summary>A copy as it is sent.</summary>
/// <param name="SopClassUid">What it is.</param>
/// <param name="SopInstanceUid">Which it is; another than the original's once de-identified.</param>
/// <param name="Syntax">Its transfer syntax, that of the original.</param>
/// <param name="Dataset">The data set.</param>
/// <param name="Changed">Attributes that were coerced.</param>
internal sealed record MadeCopy(string SopClassUid, string SopInstanceUid, DicomTransferSyntax Syntax, DicomDataset Dataset, IReadOnlyList<DicomTag> Changed);

/// <summary>Makes what a rule sends out of what was received: coerced, then de-identified.</summary>
internal sealed class CopyMaker(RuleSet rules, Func<string, Pseudonyms> projects, string system, TimeProvider clock)
{
    /// <summary>True when a copy is not the stored bytes.</summary>
    public static bool Changes(RuleDecision decision, Rule rule) => rule.Deidentify is not null || RuleEngine.CoercionsFor(decision, rule).Count > 0;

    /// <summary>Makes the copy.</summary>
    /// <param name="decision">What the rules say about the instance.</param>
    /// <param name="rule">Whose copy this is.</param>
    /// <param name="dataset">The whole data set, parsed for this copy alone.</param>
    /// <param name="syntax">Its transfer syntax.</param>
    /// <param name="source">Who sent it.</param>
    /// <exception cref="NotDeidentifiableException">It cannot be made anonymous; it must not be sent.</exception>
    public MadeCopy Make(RuleDecision decision, Rule rule, DicomDataset dataset, DicomTransferSyntax syntax, string source)
    {
        var changed = Coercion.Apply(dataset, RuleEngine.CoercionsFor(decision, rule), system, source, clock.GetUtcNow());
        if (rule.Deidentify is { } name)
        {
            var profile = rules.Profiles[name];
            new Deidentifier(profile, projects(profile.Project)).Apply(dataset, syntax);
        }

        return new MadeCopy(
            dataset.GetString(DicomTags.SOPClassUID) ?? "", dataset.GetString(DicomTags.SOPInstanceUID) ?? "", syntax, dataset, changed);
    }
}
