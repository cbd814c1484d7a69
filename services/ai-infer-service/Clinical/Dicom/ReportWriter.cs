using System.Globalization;
using Yizhan.AiInfer.Repository;
using Yizhan.Dicom;
using static Yizhan.AiInfer.Clinical.Dicom.Producer;

namespace Yizhan.AiInfer.Clinical.Dicom;

/// <summary>Imaging Measurement Report (PS3.16 TID 1500) in a Comprehensive 3D SR: one group of measurements (TID 1411) for each finding, pointing to its segment.</summary>
internal static class ReportWriter
{
    /// <summary>Comprehensive 3D SR Storage.</summary>
    public const string SopClassUid = "1.2.840.10008.5.1.4.1.1.88.34";

    private static readonly Code Millilitre = new("ml", "UCUM", "milliliter");
    private static readonly Code Hounsfield = new("[hnsf'U]", "UCUM", "Hounsfield unit");
    private static readonly Code NoUnits = new("1", "UCUM", "no units");

    /// <summary>Writes the report, also when nothing was found: that is a result too.</summary>
    public static DicomDataset Write(Producer producer, Analysis analysis, DicomDataset? segmentation)
    {
        var series = producer.Series;
        var ct = series.First.GetString(DicomTags.Modality) == "CT";
        var content = new List<DicomDataset>
        {
            Content("HAS CONCEPT MOD", "CODE", new("121049", "DCM", "Language of Content Item and Descendants"), CodeValue(new("en", "RFC5646", "English"))),
            Content("HAS OBS CONTEXT", "CODE", new("121005", "DCM", "Observer Type"), CodeValue(new("121007", "DCM", "Device"))),
            Content("HAS OBS CONTEXT", "UIDREF", new("121012", "DCM", "Device Observer UID"), d => d.Set(Tag("UID"), producer.Uid("device"))),
            Text("HAS OBS CONTEXT", new("121013", "DCM", "Device Observer Name"), $"{producer.Bundle.Manifest.Name} {producer.Bundle.Manifest.Version}"),
            Text("HAS OBS CONTEXT", new("121014", "DCM", "Device Observer Manufacturer"), "Yizhan"),
            Text("HAS OBS CONTEXT", new("121015", "DCM", "Device Observer Model Name"), producer.Bundle.Manifest.Name),
            Content("HAS CONCEPT MOD", "CODE", new("121058", "DCM", "Procedure reported"), CodeValue(ct ? new("77477000", "SCT", "Computed tomography") : new("113091000", "SCT", "Magnetic resonance imaging"))),
            Container("CONTAINS", new("111028", "DCM", "Image Library"), [Container("CONTAINS", new("126200", "DCM", "Image Library Group"),
                [.. series.Slices.Select(s => Image("CONTAINS", null, Reference(s)))])]),
        };
        content.Add(analysis.Findings.Count > 0
            ? Container("CONTAINS", new("126010", "DCM", "Imaging Measurements"), [.. analysis.Findings.Select(f => Group(producer, f, segmentation!, ct))])
            : Container("CONTAINS", new("C0034375", "UMLS", "Qualitative Evaluations"),
                [Content("CONTAINS", "CODE", new("121071", "DCM", "Finding"), CodeValue(new("260415000", "SCT", "Not detected")))]));
        if (producer.Warning is { } warning)
        {
            // TID 1500 has no row for it, and a reader must not miss it: it is the document's own description too.
            content.Add(Container("CONTAINS", new("C0034375", "UMLS", "Qualitative Evaluations"), [Text("CONTAINS", new("121106", "DCM", "Comment"), warning)]));
        }

        var evidence = Evidence(series, segmentation);
        return producer.Begin(SopClassUid, "SR", "measurements")
            .Set(Tag("ValueType"), "CONTAINER")
            .Set(Tag("ContinuityOfContent"), "SEPARATE")
            .Set(Tag("ConceptNameCodeSequence"), [Coded(new("126000", "DCM", "Imaging Measurement Report"))])
            .Set(Tag("ContentTemplateSequence"), [new DicomDataset().Set(Tag("MappingResource"), "DCMR").Set(Tag("TemplateIdentifier"), "1500")])
            .Set(Tag("CompletionFlag"), "COMPLETE")
            .Set(Tag("VerificationFlag"), "UNVERIFIED")
            .Set(Tag("PreliminaryFlag"), "PRELIMINARY")
            .Set(DicomElement.OfItems(Tag("ReferencedPerformedProcedureStepSequence"), []))
            .Set(DicomElement.OfItems(Tag("PerformedProcedureCodeSequence"), []))
            .Set(Tag("CurrentRequestedProcedureEvidenceSequence"), [evidence])
            .Set(Tag("ContentSequence"), content);
    }

    private static DicomDataset Group(Producer producer, Finding finding, DicomDataset segmentation, bool ct)
    {
        var name = Cut($"{finding.Segment.Label} {finding.Number}", 64);
        return Container("CONTAINS", new("125007", "DCM", "Measurement Group"),
        [
            Text("HAS OBS CONTEXT", new("112039", "DCM", "Tracking Identifier"), name),
            Content("HAS OBS CONTEXT", "UIDREF", new("112040", "DCM", "Tracking Unique Identifier"), d => d.Set(Tag("UID"), producer.Uid($"finding {finding.Number}"))),
            Content("CONTAINS", "CODE", new("276214006", "SCT", "Finding category"), CodeValue(finding.Segment.Category)),
            Content("CONTAINS", "CODE", new("121071", "DCM", "Finding"), CodeValue(finding.Segment.Type)),
            Image("CONTAINS", new("121191", "DCM", "Referenced Segment"),
                Reference(DicomUids.SegmentationStorage, segmentation.GetString(DicomTags.SOPInstanceUID)!).Set(Tag("ReferencedSegmentNumber"), (long)finding.Number)),
            Content("CONTAINS", "UIDREF", new("121232", "DCM", "Source series for segmentation"), d => d.Set(Tag("UID"), producer.Series.SeriesUid)),
            Text("HAS CONCEPT MOD", new("111001", "DCM", "Algorithm Name"), producer.Bundle.Manifest.Name),
            Text("HAS CONCEPT MOD", new("111003", "DCM", "Algorithm Version"), producer.Bundle.Manifest.Version),
            Number(new("118565006", "SCT", "Volume"), finding.VolumeMl, Millilitre),
            ct ? Number(new("112031", "DCM", "Attenuation Coefficient"), finding.Mean, Hounsfield, new("373098007", "SCT", "Mean"))
                : Number(new("110852", "DCM", "MR signal intensity"), finding.Mean, NoUnits, new("373098007", "SCT", "Mean")),
        ]).Set(Tag("ContentTemplateSequence"), [new DicomDataset().Set(Tag("MappingResource"), "DCMR").Set(Tag("TemplateIdentifier"), "1411")]);
    }

    private static DicomDataset Evidence(SeriesImage series, DicomDataset? segmentation)
    {
        var list = new List<DicomDataset> { new DicomDataset().Set(Tag("SeriesInstanceUID"), series.SeriesUid).Set(Tag("ReferencedSOPSequence"), [.. series.Slices.Select(Reference)]) };
        if (segmentation is not null)
        {
            list.Add(new DicomDataset()
                .Set(Tag("SeriesInstanceUID"), segmentation.GetString(Tag("SeriesInstanceUID"))!)
                .Set(Tag("ReferencedSOPSequence"), [Reference(segmentation)]));
        }

        return new DicomDataset().Set(DicomTags.StudyInstanceUID, series.StudyUid).Set(Tag("ReferencedSeriesSequence"), list);
    }

    private static DicomDataset Container(string relationship, Code name, IReadOnlyList<DicomDataset> content) =>
        Content(relationship, "CONTAINER", name, d => d.Set(Tag("ContinuityOfContent"), "SEPARATE").Set(Tag("ContentSequence"), content));

    private static DicomDataset Text(string relationship, Code name, string text) => Content(relationship, "TEXT", name, d => d.Set(Tag("TextValue"), text));

    private static DicomDataset Image(string relationship, Code? name, DicomDataset reference) => Content(relationship, "IMAGE", name, d => d.Set(Tag("ReferencedSOPSequence"), [reference]));

    private static DicomDataset Number(Code name, double value, Code unit, Code? derivation = null)
    {
        var item = Content("CONTAINS", "NUM", name, d => d.Set(Tag("MeasuredValueSequence"), [new DicomDataset()
            .Set(Tag("NumericValue"), value.ToString("0.####", CultureInfo.InvariantCulture))
            .Set(Tag("MeasurementUnitsCodeSequence"), [Coded(unit)])]));
        return derivation is null ? item : item.Set(Tag("ContentSequence"), [Content("HAS CONCEPT MOD", "CODE", new("121401", "DCM", "Derivation"), CodeValue(derivation))]);
    }

    private static Func<DicomDataset, DicomDataset> CodeValue(Code code) => d => d.Set(Tag("ConceptCodeSequence"), [Coded(code)]);

    private static DicomDataset Content(string relationship, string type, Code? name, Func<DicomDataset, DicomDataset> value)
    {
        var item = new DicomDataset().Set(Tag("RelationshipType"), relationship).Set(Tag("ValueType"), type);
        return value(name is null ? item : item.Set(Tag("ConceptNameCodeSequence"), [Coded(name)]));
    }
}
