using System.Buffers;
using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using Yizhan.Contracts;
using Yizhan.Dicom;

namespace Yizhan.PacsGw.Archive;

/// <summary>
/// What the archive keeps of a header, as DICOM JSON (PS3.18 annex F). A BulkDataURI in it is relative to the DICOMweb root,
/// <c>studies/…/bulkdata/PATH</c>; it gets the root that the client used when it is sent.
/// </summary>
internal static class Metadata
{
    /// <summary>A binary value of more bytes becomes bulk data.</summary>
    public const int MaxInlineBytes = 1024;

    private static readonly JsonWriterOptions WriterOptions = new()
    {
        // JSON sent as JSON needs no escaping for HTML, and Chinese text stays a third of the size.
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        MaxDepth = JsonAttributes.MaxDepth,
    };

    /// <summary>The JSON of a header.</summary>
    public static byte[] Create(InstanceStored stored, InstanceHeader header)
    {
        var root = $"studies/{stored.StudyInstanceUid}/series/{stored.SeriesInstanceUid}/instances/{stored.SopInstanceUid}/bulkdata/";
        var paths = new Dictionary<DicomElement, string>(ReferenceEqualityComparer.Instance);
        FindBulkData(header.Dataset, "", paths);
        foreach (var large in header.LargeValues)
        {
            var element = large.IsEncapsulated
                ? DicomElement.OfFragments(large.Tag, [ReadOnlyMemory<byte>.Empty], large.Vr)
                : DicomElement.OfValue(large.Tag, large.Vr, new byte[1]);
            header.Dataset.Set(element);
            paths[element] = large.Tag.ToJsonName();
        }

        return Write(header.Dataset, new DicomJsonOptions
        {
            BulkDataUri = element => paths.TryGetValue(element, out var path) ? root + path : null,
        });
    }

    /// <summary>The JSON of an instance whose header cannot be decoded: what the event says.</summary>
    public static byte[] Minimal(InstanceStored stored) => Write(
        new DicomDataset()
            .Set(DicomTags.SOPClassUID, stored.SopClassUid)
            .Set(DicomTags.SOPInstanceUID, stored.SopInstanceUid)
            .Set(DicomTags.StudyInstanceUID, stored.StudyInstanceUid)
            .Set(DicomTags.SeriesInstanceUID, stored.SeriesInstanceUid),
        DicomJsonOptions.Default);

    /// <summary>The value at a path such as <c>00282000</c> or <c>00540016/0/00181234</c>: tags, and numbers of items between them.</summary>
    public static DicomElement? Find(DicomDataset dataset, string path)
    {
        var parts = path.Split('/');
        for (var i = 0; ; i += 2)
        {
            if (parts[i].Length != 8 || !DicomTag.TryParse(parts[i], out var tag) || !dataset.TryGet(tag, out var element))
            {
                return null;
            }

            if (i == parts.Length - 1)
            {
                return element;
            }

            if (i + 2 >= parts.Length || element.Items is not { } items
                || !int.TryParse(parts[i + 1], NumberStyles.None, CultureInfo.InvariantCulture, out var item) || item >= items.Count)
            {
                return null;
            }

            dataset = items[item];
        }
    }

    /// <summary>Depth is bounded by the parser (<see cref="DicomLimits.MaxDepth"/>), so recursion is too.</summary>
    private static void FindBulkData(DicomDataset dataset, string prefix, Dictionary<DicomElement, string> paths)
    {
        foreach (var element in dataset)
        {
            if (element.Value.Length > MaxInlineBytes)
            {
                paths.Add(element, prefix + element.Tag.ToJsonName());
            }

            for (var i = 0; i < element.Items?.Count; i++)
            {
                FindBulkData(element.Items[i], $"{prefix}{element.Tag.ToJsonName()}/{i}/", paths);
            }
        }
    }

    private static byte[] Write(DicomDataset dataset, DicomJsonOptions options)
    {
        var json = new ArrayBufferWriter<byte>(4096);
        using (var writer = new Utf8JsonWriter(json, WriterOptions))
        {
            DicomJson.Write(writer, dataset, options);
        }

        return json.WrittenSpan.ToArray();
    }
}
