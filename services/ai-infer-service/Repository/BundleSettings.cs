using Yizhan.AiInfer.Engine;

namespace Yizhan.AiInfer.Repository;

/// <summary>
/// What the product needs to know of a bundle beyond MONAI's own files: <c>configs/yizhan.json</c>. All of it may be absent; a bundle without <paramref name="Clinical"/>
/// serves the Open Inference Protocol only.
/// </summary>
/// <param name="Isolation"><c>process</c>: the model runs in a process of its own. Default in this one.</param>
/// <param name="Runner">Queue and batches.</param>
/// <param name="Clinical">How a study is analysed.</param>
/// <param name="Figures">Figures that the author publishes, and the command that prints them.</param>
/// <param name="ClinicalUse">Whether the model may be used for clinical decisions. Default false: every result says so.</param>
internal sealed record BundleSettings(
    string? Isolation = null, RunnerSettings? Runner = null, ClinicalSettings? Clinical = null, PublishedFigures? Figures = null, bool ClinicalUse = false);

/// <summary>How a series is analysed.</summary>
/// <param name="Task"><c>segmentation</c>: the only one that studies are analysed by.</param>
/// <param name="Modality">Modality that the model was made for.</param>
/// <param name="BodyParts">Body Part Examined that it was made for, upper case; empty for any.</param>
/// <param name="Segments">What the labels mean.</param>
/// <param name="UrgentAboveMl">A finding of at least so many millilitres travels in lane urgent; null for never.</param>
/// <param name="MinFindingMl">Smaller findings are not reported. Default 0.</param>
/// <param name="MinSlices">Fewest slices of a series. Default 1.</param>
/// <param name="SecondaryCapture">Pictures with the outlines of what was found are stored too, for viewers without segmentations; a rule of the site may say otherwise. Default false.</param>
internal sealed record ClinicalSettings(
    string Task, string Modality, IReadOnlyList<string> BodyParts, IReadOnlyList<SegmentSettings> Segments, double? UrgentAboveMl = null, double MinFindingMl = 0,
    int MinSlices = 1, bool SecondaryCapture = false);

/// <summary>One label of a model.</summary>
/// <param name="Value">Value in the label map.</param>
/// <param name="Label">Name for people.</param>
/// <param name="Category">Segmented property category.</param>
/// <param name="Type">Segmented property type.</param>
/// <param name="Color">CIELab as DICOM has it: three values of 0 to 65535; null for none.</param>
/// <param name="Components">Each connected component is a finding of its own.</param>
internal sealed record SegmentSettings(int Value, string Label, Code Category, Code Type, IReadOnlyList<int>? Color = null, bool Components = false);

/// <summary>A coded concept (PS3.16).</summary>
/// <param name="Value">Code Value.</param>
/// <param name="Scheme">Coding Scheme Designator: SCT, DCM, UCUM …</param>
/// <param name="Meaning">Code Meaning.</param>
internal sealed record Code(string Value, string Scheme, string Meaning);

/// <summary>Figures of a test set.</summary>
/// <param name="TestSet">What it was measured on.</param>
/// <param name="Command">What prints them again.</param>
/// <param name="Values">Figures by name.</param>
internal sealed record PublishedFigures(string TestSet, string Command, IReadOnlyDictionary<string, double> Values);
