using System.Text.Json;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Archive;

/// <summary>What the archive keeps of events other than instances: commitments to report, procedure steps, the worklist; and what was taken out.</summary>
internal sealed partial class ArchiveEvents(IEventLog log, ArchivePins pins, ILogger<ArchiveEvents> logger)
{
    private readonly ILogger _logger = logger;

    /// <summary>True for the types of events that <see cref="Apply"/> takes.</summary>
    public static bool Takes(string type) =>
        type is CommitmentRequested.EventType or CommitmentReported.EventType or CommitmentReceived.EventType
            or PerformedProcedureStep.EventType or ProcedureScheduled.EventType
            or InstancesDeleted.EventType;

    /// <summary>Writes what an event says. One that cannot be read is logged and passed over.</summary>
    public void Apply(ArchiveWriter writer, LoggedEntry entry)
    {
        var data = entry.Entry.Data.Span;
        try
        {
            switch (entry.Entry.Type)
            {
                case CommitmentRequested.EventType:
                    writer.AddCommitment(EventData.Read(data, ContractsJson.Default.CommitmentRequested), entry);
                    break;
                case CommitmentReported.EventType:
                    writer.EndCommitment(EventData.Read(data, ContractsJson.Default.CommitmentReported));
                    break;
                case CommitmentReceived.EventType:
                    writer.AddReceived(EventData.Read(data, ContractsJson.Default.CommitmentReceived), entry);
                    break;
                case PerformedProcedureStep.EventType:
                    ApplyStep(writer, EventData.Read(data, ContractsJson.Default.PerformedProcedureStep), entry);
                    break;
                case InstancesDeleted.EventType when entry.Identity.Site == log.Site:
                    pins.Leaving(writer.Remove(EventData.Read(data, ContractsJson.Default.InstancesDeleted), entry.Position));
                    break;
                case ProcedureScheduled.EventType:
                    writer.Schedule(EventData.Read(data, ContractsJson.Default.ProcedureScheduled));
                    break;
            }
        }
        catch (Exception e) when (e is JsonException or DicomFormatException or ArgumentException)
        {
            Unreadable(entry.Entry.Type, entry.Position, entry.Identity.Site);
        }
    }

    /// <summary>A step that has ended closes the entries of the worklist that it was done for.</summary>
    private static void ApplyStep(ArchiveWriter writer, PerformedProcedureStep step, LoggedEntry entry)
    {
        writer.SetProcedureStep(step, entry);
        if (step.Status == "IN PROGRESS")
        {
            return;
        }

        foreach (var done in DicomJson.Read(step.Attributes).GetItems(DicomTags.ScheduledStepAttributesSequence))
        {
            writer.CloseStep(
                done.GetString(DicomTags.StudyInstanceUID) ?? "", done.GetString(DicomTags.ScheduledProcedureStepID) ?? "");
        }
    }

    [LoggerMessage(3123, LogLevel.Error, "The event of type {Type} at position {Position} from {Site} cannot be read; it was passed over.")]
    private partial void Unreadable(string type, long position, string site);
}
