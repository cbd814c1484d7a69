namespace Yizhan.PacsGw.Archive;

/// <summary>Levels of the query model of PS3.4 C.6.2 (study root).</summary>
internal enum ArchiveLevel
{
    /// <summary>Patient and study attributes.</summary>
    Study,

    /// <summary>Series attributes.</summary>
    Series,

    /// <summary>Everything else.</summary>
    Instance,
}

/// <summary>Which attribute belongs to which level: by the modules of PS3.3 that describe a patient, a study, a series and equipment.</summary>
internal static class ArchiveLevels
{
    private static readonly HashSet<uint> Study =
    [
        0x00080020, 0x00080030, 0x00080050, 0x00080051, 0x00080090, 0x00080096, 0x0008009C, 0x0008009D, 0x00080201,
        0x00081030, 0x00081032, 0x00081048, 0x00081049, 0x00081060, 0x00081062, 0x00081080, 0x00081084, 0x00081110,
        0x0020000D, 0x00200010, 0x00321032, 0x00321033, 0x00321060, 0x00321064, 0x00380010, 0x00380014,
    ];

    private static readonly HashSet<uint> Series =
    [
        0x00080021, 0x00080031, 0x00080060, 0x00080068, 0x00080070, 0x00080080, 0x00080081, 0x00080082, 0x00081010, 0x0008103E,
        0x0008103F, 0x00081040, 0x00081050, 0x00081052, 0x00081070, 0x00081072, 0x00081090, 0x00081111, 0x00081250, 0x00180015,
        0x00181000, 0x00181020, 0x00181030, 0x00185100, 0x0020000E, 0x00200011, 0x00200060, 0x00400244, 0x00400245, 0x00400250,
        0x00400251, 0x00400253, 0x00400254, 0x00400260, 0x00400275,
    ];

    public static ArchiveLevel Of(uint tag) =>
        tag >> 16 == 0x0010 || Study.Contains(tag) ? ArchiveLevel.Study
        : Series.Contains(tag) ? ArchiveLevel.Series
        : ArchiveLevel.Instance;
}
