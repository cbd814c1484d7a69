namespace Yizhan.Contracts;

/// <summary>
/// A person took a study, a series or an instance out of the archive of the site that appended this. Event type <see cref="EventType"/>. It counts
/// for what that archive had before it, and for that archive alone: the copy of another site stays.
/// </summary>
/// <param name="StudyInstanceUid">(0020,000D).</param>
/// <param name="SeriesInstanceUid">(0020,000E); null for the whole study.</param>
/// <param name="SopInstanceUid">(0008,0018); null for all of the series.</param>
public sealed record InstancesDeleted(string StudyInstanceUid, string? SeriesInstanceUid, string? SopInstanceUid)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.dicom.instances-deleted.v1";
}
