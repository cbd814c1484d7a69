using Yizhan.Dicom;
using Yizhan.PacsGw.Archive;

namespace Yizhan.PacsGw.Query;

/// <summary>How the values of an attribute are compared (PS3.4 C.2.2.2).</summary>
internal enum MatchKind
{
    /// <summary>Single values or wildcards, case-sensitive.</summary>
    Text,

    /// <summary>One value, in which a backslash is a character.</summary>
    LongText,

    /// <summary>List of UIDs.</summary>
    Uid,

    /// <summary>Single value or wildcard on each component group, without regard to case and width.</summary>
    Name,

    /// <summary>Date or range of dates.</summary>
    Date,

    /// <summary>Time or range of times, each as precise as it is written.</summary>
    Time,

    /// <summary>Instant or range of instants, each as precise as it is written.</summary>
    DateTime,

    /// <summary>Equal numbers, however they are written.</summary>
    Number,
}

/// <summary>An attribute that a query names.</summary>
/// <param name="Path">Its tag; for an attribute in a sequence the tags of the sequences first.</param>
/// <param name="Level">Where it is kept.</param>
/// <param name="Kind">How it is compared.</param>
/// <param name="Column">SQL of its indexed column; null when it is only in the JSON.</param>
/// <param name="Keyword">How people call it. Safe to log: never the value.</param>
internal sealed record MatchKey(IReadOnlyList<uint> Path, ArchiveLevel Level, MatchKind Kind, string? Column, string Keyword)
{
    /// <summary>ModalitiesInStudy and SOPClassesInStudy are about what is below the study; they have no value of their own.</summary>
    public const uint ModalitiesInStudy = 0x00080061;

    /// <inheritdoc cref="ModalitiesInStudy"/>
    public const uint SopClassesInStudy = 0x00080062;

    /// <summary>Names with an index of their own.</summary>
    public const uint PatientName = 0x00100010;

    /// <inheritdoc cref="PatientName"/>
    public const uint ReferringPhysicianName = 0x00080090;

    private static readonly Dictionary<uint, string> Columns = new()
    {
        [0x0020000D] = "study.uid",
        [0x00080020] = "study.study_date",
        [0x00080030] = "study.study_time",
        [0x00080050] = "study.accession_number",
        [0x00100020] = "study.patient_id",
        [0x00100030] = "study.birth_date",
        [0x00100040] = "study.sex",
        [0x00200010] = "study.study_id",
        [0x00081030] = "study.description",
        [0x0020000E] = "series.uid",
        [0x00080060] = "series.modality",
        [0x00200011] = "series.number",
        [0x00080018] = "instance.sop_uid",
        [0x00080016] = "instance.sop_class",
        [0x00200013] = "instance.number",
    };

    /// <summary>Reads <c>PatientID</c>, <c>00100020</c> or <c>RequestAttributesSequence.ScheduledProcedureStepID</c>; null for anything else.</summary>
    public static MatchKey? Find(string name)
    {
        var path = new List<uint>();
        var keywords = new List<string>();
        var vr = DicomVr.None;
        foreach (var part in name.Split('.'))
        {
            if (path.Count == 8 || !TryFindTag(part, out var entry) || (path.Count > 0 && vr != DicomVr.SQ))
            {
                return null;
            }

            path.Add(entry.Tag.Value);
            keywords.Add(entry.Keyword);
            vr = entry.Vr;
        }

        return Of(path, vr, string.Join('.', keywords));
    }

    /// <summary>The key of an attribute by its path; null when it cannot be matched.</summary>
    /// <param name="path">Its tag; for an attribute in a sequence the tags of the sequences first.</param>
    public static MatchKey? Find(IReadOnlyList<DicomTag> path) =>
        path.All(tag => DicomDictionary.TryGet(tag, out _))
            ? Of([.. path.Select(tag => tag.Value)], DicomDictionary.GetVr(path[^1]), string.Join('.', path.Select(KeywordOf)))
            : null;

    private static MatchKey? Of(List<uint> path, DicomVr vr, string keyword)
    {
        if (path is [ModalitiesInStudy])
        {
            return new MatchKey(path, ArchiveLevel.Study, MatchKind.Text, null, keyword);
        }

        if (path is [SopClassesInStudy])
        {
            return new MatchKey(path, ArchiveLevel.Study, MatchKind.Uid, null, keyword);
        }

        var column = path.Count == 1 ? Columns.GetValueOrDefault(path[0]) : null;
        return KindOf(vr) is { } kind ? new MatchKey(path, ArchiveLevels.Of(path[0]), kind, column, keyword) : null;
    }

    private static string KeywordOf(DicomTag tag) => DicomDictionary.TryGet(tag, out var entry) ? entry.Keyword : "";

    /// <summary>A public element by keyword or by its eight hex digits.</summary>
    public static bool TryFindTag(string text, out DicomDictionaryEntry entry)
    {
        entry = default;
        return text.All(char.IsAsciiLetterOrDigit) && DicomTag.TryParse(text, out var tag) && DicomDictionary.TryGet(tag, out entry);
    }

    private static MatchKind? KindOf(DicomVr vr) => vr switch
    {
        DicomVr.UI => MatchKind.Uid,
        DicomVr.PN => MatchKind.Name,
        DicomVr.DA => MatchKind.Date,
        DicomVr.TM => MatchKind.Time,
        DicomVr.IS or DicomVr.DS or DicomVr.US or DicomVr.SS or DicomVr.UL or DicomVr.SL or DicomVr.UV or DicomVr.SV
            or DicomVr.FL or DicomVr.FD => MatchKind.Number,
        DicomVr.AE or DicomVr.AS or DicomVr.CS or DicomVr.LO or DicomVr.SH or DicomVr.UC => MatchKind.Text,
        DicomVr.LT or DicomVr.ST or DicomVr.UR or DicomVr.UT => MatchKind.LongText,
        DicomVr.DT => MatchKind.DateTime,
        _ => null,
    };
}
