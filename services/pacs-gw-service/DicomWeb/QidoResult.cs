using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Microsoft.Data.Sqlite;
using Yizhan.PacsGw.Archive;

namespace Yizhan.PacsGw.DicomWeb;

/// <summary>Writes one row of a search as DICOM JSON: what the index keeps, and what PS3.18 §10.6.3.3 wants computed.</summary>
internal sealed class QidoResult(QidoQuery query, bool studyInPath, bool seriesInPath, string serviceRoot)
{
    /// <summary>Tables 10.6.3-3 to 10.6.3-5: what each level returns by itself. Study and series descriptions are what every list shows.</summary>
    private static readonly HashSet<uint> ByDefault =
    [
        0x00080005, 0x00080020, 0x00080030, 0x00080050, 0x00080090, 0x00080201, 0x00081030, 0x00100010, 0x00100020, 0x00100030,
        0x00100040, 0x0020000D, 0x00200010,
        0x00080060, 0x0008103E, 0x0020000E, 0x00200011, 0x00400244, 0x00400245, 0x00400275,
        0x00080016, 0x00080018, 0x00200013, 0x00280008, 0x00280010, 0x00280011, 0x00280100,
    ];

    private readonly List<(uint Tag, ReadOnlyMemory<byte> Json)> _attributes = [];

    /// <summary>Writes the object of the current row.</summary>
    public void Write(IBufferWriter<byte> json, SqliteDataReader row)
    {
        _attributes.Clear();
        var study = row.GetString(0);
        var url = $"{serviceRoot}/studies/{study}";
        Add(0x00080005, "CS", ["ISO_IR 192"]);
        Add(0x00080056, "CS", ["ONLINE"]);
        if (query.Level == ArchiveLevel.Study || !studyInPath)
        {
            AddKept((byte[])row[1], level => level == ArchiveLevel.Study);
            Add(0x00080061, "CS", row.GetString(2).Split('\\', StringSplitOptions.RemoveEmptyEntries));
            Add(0x00201206, row.GetInt64(3));
            Add(0x00201208, row.GetInt64(4));
        }

        Add(0x0020000D, "UI", [study]);
        if (query.Level >= ArchiveLevel.Series)
        {
            url += $"/series/{row.GetString(5)}";
            if (query.Level == ArchiveLevel.Series || !seriesInPath)
            {
                AddKept((byte[])row[6], level => level == ArchiveLevel.Series);
                Add(0x00201209, row.GetInt64(7));
            }

            Add(0x0020000E, "UI", [row.GetString(5)]);
        }

        if (query.Level == ArchiveLevel.Instance)
        {
            url += $"/instances/{row.GetString(8)}";
            AddKept((byte[])row[9], level => level == ArchiveLevel.Instance || query.IncludeAll);
            Add(0x00083002, "UI", [row.GetString(10)]);
        }

        Add(0x00081190, "UR", [url]);
        JsonAttributes.Write(json, _attributes.DistinctBy(a => a.Tag));
    }

    private void AddKept(byte[] kept, Func<ArchiveLevel, bool> atLevel)
    {
        var attributes = new JsonAttributes(kept);
        foreach (var tag in attributes.Tags)
        {
            // The character set is that of the answer, not that of the file; it was added already.
            if (tag != 0x00080005 && atLevel(ArchiveLevels.Of(tag))
                && (query.IncludeAll || ByDefault.Contains(tag) || query.Include.Contains(tag)))
            {
                _attributes.Add((tag, attributes[tag]));
            }
        }
    }

    /// <summary>An attribute without values has no <c>Value</c> either (PS3.18 F.2.5).</summary>
    private void Add(uint tag, string vr, string[] values) => _attributes.Add((tag, Encoding.UTF8.GetBytes(values.Length == 0
        ? $$"""{"vr":"{{vr}}"}"""
        : $$"""{"vr":"{{vr}}","Value":[{{string.Join(',', values.Select(v => $"\"{JsonEncodedText.Encode(v)}\""))}}]}""")));

    private void Add(uint tag, long value) => _attributes.Add((tag, Encoding.UTF8.GetBytes(
        string.Create(CultureInfo.InvariantCulture, $$"""{"vr":"IS","Value":[{{value}}]}"""))));
}
