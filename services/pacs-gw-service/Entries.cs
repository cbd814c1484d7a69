using System.Text.Json;
using Yizhan.Contracts;
using Yizhan.Storage;

namespace Yizhan.PacsGw;

/// <summary>Entries of this service for the event log.</summary>
internal static class Entries
{
    /// <summary>An audit record as an entry; its key is what it is about.</summary>
    public static Entry Of(AuditRecord record, string id) => new(
        Lane.Normal, AuditRecord.EventType, id, record.Entity, record.RecordedMs,
        JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord));

    /// <summary>A Patient ID (0010,0020) as an audit record may carry it: null when there is none, or one that is too long to be searched for.</summary>
    public static string? AuditedPatient(string? patientId) => patientId is { Length: > 0 and <= AuditRecord.MaxPatientLength } ? patientId : null;

    /// <summary>A changed workitem as an entry; entries of one workitem keep their order.</summary>
    public static Entry Of(WorkitemChanged changed, string id, long timeMs) => new(
        Lane.Normal, WorkitemChanged.EventType, id, changed.WorkitemUid, timeMs,
        JsonSerializer.SerializeToUtf8Bytes(changed, ContractsJson.Default.WorkitemChanged));

    /// <summary>A deletion as an entry; it keeps its order with the deletions and changes of its study.</summary>
    public static Entry Of(InstancesDeleted deleted, string id, long timeMs) => new(
        Lane.Normal, InstancesDeleted.EventType, id, deleted.StudyInstanceUid, timeMs,
        JsonSerializer.SerializeToUtf8Bytes(deleted, ContractsJson.Default.InstancesDeleted));

    /// <summary>A stored instance as an entry; entries of one study keep their order.</summary>
    public static Entry Of(InstanceStored stored, BlobRef blob, string id, long timeMs) => new(
        Lane.Bulk, InstanceStored.EventType, id, stored.StudyInstanceUid, timeMs,
        JsonSerializer.SerializeToUtf8Bytes(stored, ContractsJson.Default.InstanceStored))
    {
        Blobs = [blob],
    };
}
