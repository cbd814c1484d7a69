namespace Yizhan.Contracts;

/// <summary>A study as the archive lists it; an element of <c>GET /pacs-gw/studies</c>, newest first.</summary>
/// <param name="StudyInstanceUid">(0020,000D).</param>
/// <param name="PatientId">(0010,0020), empty when the data set had none.</param>
/// <param name="PatientName">(0010,0010) decoded; component groups joined by <c>=</c>.</param>
/// <param name="StudyDate">(0008,0020) as YYYYMMDD, empty when unknown.</param>
/// <param name="StudyDescription">(0008,1030).</param>
/// <param name="Modalities">(0008,0060) of its series, sorted.</param>
/// <param name="Series">Series that are here.</param>
/// <param name="Instances">Instances that are here.</param>
/// <param name="Bytes">Their data sets, in bytes.</param>
/// <param name="SiteId">Site that received it first.</param>
/// <param name="FirstStoredMs">When its first instance became durable at the site, Unix milliseconds UTC.</param>
/// <param name="LastIndexedMs">When its newest instance was indexed here, Unix milliseconds UTC.</param>
public sealed record StudyView(
    string StudyInstanceUid,
    string PatientId,
    string PatientName,
    string StudyDate,
    string StudyDescription,
    IReadOnlyList<string> Modalities,
    int Series,
    int Instances,
    long Bytes,
    string SiteId,
    long FirstStoredMs,
    long LastIndexedMs);

/// <summary>How far a study has come in this archive; an element of <c>GET /pacs-gw/studies/progress?uid=UID&amp;uid=…</c>. Nothing of a patient.</summary>
/// <param name="StudyInstanceUid">(0020,000D).</param>
/// <param name="SiteId">Site that received it first.</param>
/// <param name="FirstStoredMs">When its first instance became durable at the site, and was acknowledged; Unix milliseconds UTC.</param>
/// <param name="LastStoredMs">The same of its last instance that is here.</param>
/// <param name="LastIndexedMs">When its newest instance was indexed here.</param>
/// <param name="Instances">Instances that are here.</param>
/// <param name="ResultMs">When the first result of an analysis (a segmentation or a report) became durable; null when there is none.</param>
public sealed record StudyProgress(
    string StudyInstanceUid, string SiteId, long FirstStoredMs, long LastStoredMs, long LastIndexedMs, int Instances, long? ResultMs);
