using Yizhan.Dicom;
using static Yizhan.AiInfer.Clinical.Dicom.Producer;

namespace Yizhan.AiInfer.Clinical.Dicom;

/// <summary>DICOM Segmentation, binary (PS3.3 A.51): one segment for each finding, a frame for each slice that it touches.</summary>
internal static class SegmentationWriter
{
    /// <summary>Writes the segments; null when there is no finding, because a segmentation has at least one frame.</summary>
    public static DicomDataset? Write(Producer producer, Analysis analysis)
    {
        var (series, size) = (producer.Series, producer.Series.Image.Size);
        var frames = Frames(analysis, size);
        if (frames.Count == 0)
        {
            return null;
        }

        var organization = producer.Uid("dimensions");
        var segmentation = producer.Begin(DicomUids.SegmentationStorage, "SEG", "segmentation");
        Copy(series.First, segmentation, "FrameOfReferenceUID");
        Copy(series.First, segmentation, "PositionReferenceIndicator");
        if (!segmentation.Contains(Tag("PositionReferenceIndicator")))
        {
            segmentation.SetBytes(Tag("PositionReferenceIndicator"), default);
        }

        return segmentation
            .Set(Tag("ImageType"), "DERIVED", "PRIMARY")
            .Set(Tag("ContentLabel"), "FINDINGS")
            .Set(Tag("ContentDescription"), Cut(producer.Warning ?? "Findings of a model", 64))
            .SetBytes(Tag("ContentCreatorName"), default)
            .Set(Tag("SegmentationType"), "BINARY")
            .Set(Tag("SegmentsOverlap"), "NO")
            .Set(Tag("LossyImageCompression"), "00")
            .Set(Tag("SamplesPerPixel"), 1L)
            .Set(Tag("PhotometricInterpretation"), "MONOCHROME2")
            .Set(Tag("NumberOfFrames"), (long)frames.Count)
            .Set(Tag("Rows"), (long)size[0])
            .Set(Tag("Columns"), (long)size[1])
            .Set(Tag("BitsAllocated"), 1L).Set(Tag("BitsStored"), 1L).Set(Tag("HighBit"), 0L).Set(Tag("PixelRepresentation"), 0L)
            .Set(Tag("SegmentSequence"), [.. analysis.Findings.Select(f => Segment(producer, f))])
            .Set(Tag("DimensionOrganizationSequence"), [new DicomDataset().Set(Tag("DimensionOrganizationUID"), organization)])
            .Set(Tag("DimensionIndexSequence"), [Dimension(organization, "ReferencedSegmentNumber", "SegmentIdentificationSequence"), Dimension(organization, "ImagePositionPatient", "PlanePositionSequence")])
            .Set(Tag("SharedFunctionalGroupsSequence"), [Shared(series)])
            .Set(Tag("PerFrameFunctionalGroupsSequence"), [.. frames.Select(f => PerFrame(series, f))])
            .Set(Tag("ReferencedSeriesSequence"), [new DicomDataset()
                .Set(Tag("SeriesInstanceUID"), series.SeriesUid)
                .Set(Tag("ReferencedInstanceSequence"), [.. frames.Select(f => f.Slice).Distinct().Order().Select(k => Reference(series.Slices[k]))])])
            .SetBytes(Tag("PixelData"), Bits(analysis.Map, frames, size), DicomVr.OB);
    }

    private static List<(int Number, int Slice, int Index)> Frames(Analysis analysis, int[] size)
    {
        var touched = new bool[analysis.Findings.Count + 1, size[2]];
        for (var n = 0; n < analysis.Map.Length; n++)
        {
            touched[analysis.Map[n], n % size[2]] = true;
        }

        // The second dimension counts positions over all frames, as its values have to agree between segments.
        var positions = Enumerable.Range(0, size[2]).Where(k => analysis.Findings.Any(f => touched[f.Number, k])).ToList();
        return [.. analysis.Findings.SelectMany(f => positions.Where(k => touched[f.Number, k]).Select(k => (f.Number, k, positions.IndexOf(k) + 1)))];
    }

    /// <summary>One bit a pixel, the first in the lowest bit, frames without padding between them (PS3.5 §8.1.1), padded to whole words.</summary>
    private static byte[] Bits(byte[] map, List<(int Number, int Slice, int Index)> frames, int[] size)
    {
        var plane = size[0] * size[1];
        var bits = new byte[((long)frames.Count * plane + 15) / 16 * 2];
        long at = 0;
        foreach (var frame in frames)
        {
            for (var n = 0; n < plane; n++, at++)
            {
                if (map[(long)n * size[2] + frame.Slice] == frame.Number)
                {
                    bits[at >> 3] |= (byte)(1 << (int)(at & 7));
                }
            }
        }

        return bits;
    }

    private static DicomDataset Segment(Producer producer, Finding finding)
    {
        var segment = new DicomDataset()
            .Set(Tag("SegmentNumber"), (long)finding.Number)
            .Set(Tag("SegmentLabel"), Cut($"{finding.Segment.Label} {finding.Number}", 64))
            .Set(Tag("SegmentAlgorithmType"), "AUTOMATIC")
            .Set(Tag("SegmentAlgorithmName"), Cut($"{producer.Bundle.Manifest.Name} {producer.Bundle.Manifest.Version}", 64))
            .Set(Tag("SegmentedPropertyCategoryCodeSequence"), [Coded(finding.Segment.Category)])
            .Set(Tag("SegmentedPropertyTypeCodeSequence"), [Coded(finding.Segment.Type)])
            .Set(Tag("TrackingID"), Cut($"{finding.Segment.Label} {finding.Number}", 64))
            .Set(Tag("TrackingUID"), producer.Uid($"finding {finding.Number}"));
        if (producer.Warning is { } warning)
        {
            segment.Set(Tag("SegmentDescription"), warning);
        }

        if (finding.Segment.Color is [var l, var a, var b])
        {
            segment.Set(Tag("RecommendedDisplayCIELabValue"), l, a, b);
        }

        return segment;
    }

    private static DicomDataset Dimension(string organization, string pointer, string group) => new DicomDataset()
        .Set(Tag("DimensionOrganizationUID"), organization)
        .Set(DicomElement.OfValue(Tag("DimensionIndexPointer"), DicomVr.AT, TagBytes(pointer)))
        .Set(DicomElement.OfValue(Tag("FunctionalGroupPointer"), DicomVr.AT, TagBytes(group)))
        .Set(Tag("DimensionDescriptionLabel"), pointer);

    private static DicomDataset Shared(SeriesImage series)
    {
        var measures = new DicomDataset();
        Copy(series.First, measures, "PixelSpacing");
        measures.Set(Tag("SliceThickness"), Math.Round(series.Image.Affine.Spacing(2), 6)).Set(Tag("SpacingBetweenSlices"), Math.Round(series.Image.Affine.Spacing(2), 6));
        var orientation = new DicomDataset();
        Copy(series.First, orientation, "ImageOrientationPatient");
        return new DicomDataset().Set(Tag("PixelMeasuresSequence"), [measures]).Set(Tag("PlaneOrientationSequence"), [orientation]);
    }

    private static DicomDataset PerFrame(SeriesImage series, (int Number, int Slice, int Index) frame)
    {
        var slice = series.Slices[frame.Slice];
        var position = new DicomDataset();
        Copy(slice, position, "ImagePositionPatient");
        return new DicomDataset()
            .Set(Tag("FrameContentSequence"), [new DicomDataset().Set(Tag("DimensionIndexValues"), frame.Number, frame.Index)])
            .Set(Tag("PlanePositionSequence"), [position])
            .Set(Tag("SegmentIdentificationSequence"), [new DicomDataset().Set(Tag("ReferencedSegmentNumber"), (long)frame.Number)])
            .Set(Tag("DerivationImageSequence"), [new DicomDataset()
                .Set(Tag("DerivationCodeSequence"), [Coded(new("113076", "DCM", "Segmentation"))])
                .Set(Tag("SourceImageSequence"), [Reference(slice)
                    .Set(Tag("SpatialLocationsPreserved"), "YES")
                    .Set(Tag("PurposeOfReferenceCodeSequence"), [Coded(new("121322", "DCM", "Source image for image processing operation"))])])]);
    }

    private static void Copy(DicomDataset from, DicomDataset to, string keyword)
    {
        if (from.TryGet(Tag(keyword), out var element))
        {
            to.Set(element);
        }
    }

    private static byte[] TagBytes(string keyword)
    {
        var tag = Tag(keyword);
        return [(byte)tag.Group, (byte)(tag.Group >> 8), (byte)tag.Element, (byte)(tag.Element >> 8)];
    }
}
