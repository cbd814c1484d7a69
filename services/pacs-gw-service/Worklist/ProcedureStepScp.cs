using System.Text.Json;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.Peers;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Worklist;

/// <summary>
/// Modality performed procedure steps (PS3.4 annex F): what a modality does, as events. A step is created in progress, changed, and ended once; after that
/// it stays as it is.
/// </summary>
internal sealed class ProcedureStepScp(IEventLog log, ArchiveDatabase database, ArchiveProgress progress, TimeProvider clock) : IDisposable
{
    private const string InProgress = "IN PROGRESS";

    private static readonly string[] Statuses = [InProgress, "COMPLETED", "DISCONTINUED"];

    /// <summary>PS3.4 §F.7.2.1.3: the object may no longer be updated, as error ID of status 0x0110.</summary>
    private const ushort MayNotBeUpdated = 0xA710;

    // One at a time: whether a step exists and what it is must not change between looking and appending.
    private readonly SemaphoreSlim _one = new(1);

    /// <summary>Answers one N-CREATE-RQ (PS3.4 §F.7.2.1).</summary>
    public Task CreateAsync(PeerAssociation association, DimseMessage message, CancellationToken cancellationToken) =>
        ServeAsync(association, message, (known, given, uid) =>
            known is not null ? (DimseStatus.DuplicateSopInstance, "There is a procedure step with this UID already.", null)
            : !Uid.IsValid(uid) ? (DimseStatus.InvalidSopInstance, "The SOP Instance UID is missing or not a UID.", null)
            : given.GetString(DicomTags.PerformedProcedureStepStatus) != InProgress
                ? (DimseStatus.InvalidAttributeValue, "A new procedure step has status (0040,0252) IN PROGRESS.", null)
            : (DimseStatus.Success, null, given), cancellationToken);

    /// <summary>Answers one N-SET-RQ (PS3.4 §F.7.2.2).</summary>
    public Task SetAsync(PeerAssociation association, DimseMessage message, CancellationToken cancellationToken) =>
        ServeAsync(association, message, (known, given, _) =>
        {
            if (known is null)
            {
                return (DimseStatus.NoSuchSopInstance, "There is no procedure step with this UID.", null);
            }

            if (known.Status != InProgress)
            {
                return (DimseStatus.ProcessingFailure, "Performed Procedure Step Object may no longer be updated", null);
            }

            if (given.GetString(DicomTags.PerformedProcedureStepStatus) is { } status && !Statuses.Contains(status))
            {
                return (DimseStatus.InvalidAttributeValue, "Status (0040,0252) is IN PROGRESS, COMPLETED or DISCONTINUED.", null);
            }

            var step = DicomJson.Read(known.Attributes);
            foreach (var element in DicomJson.Read(DicomJson.ToUtf8Bytes(given)).Where(e => e.Tag != DicomTags.SpecificCharacterSet))
            {
                step.Set(element);
            }

            return (DimseStatus.Success, null, step.Set(DicomTags.SpecificCharacterSet, "ISO_IR 192"));
        }, cancellationToken);

    private async Task ServeAsync(
        PeerAssociation association,
        DimseMessage message,
        Func<PerformedProcedureStep?, DicomDataset, string, (ushort Status, string? Comment, DicomDataset? Step)> change,
        CancellationToken cancellationToken)
    {
        var command = message.Command;
        if (command.SopClassUid != DicomUids.ModalityPerformedProcedureStep)
        {
            await association.RespondAsync(message, DimseStatus.NoSuchSopClass, "Only procedure steps are created and set here.", cancellationToken);
            return;
        }

        if (await association.ReadAsync(message, cancellationToken) is not { } given)
        {
            return;
        }

        ushort status;
        string? comment;
        await _one.WaitAsync(cancellationToken);
        try
        {
            await progress.ReachedNowAsync(cancellationToken);
            var uid = command.SopInstanceUid ?? "";
            (status, comment, var step) = change(Find(uid), given, uid);
            if (step is not null)
            {
                (status, comment) = await AppendAsync(uid, association.Peer.AeTitle, step, cancellationToken);
            }
        }
        finally
        {
            _one.Release();
        }

        var response = command.CreateResponse(status, comment);
        if (command.Field == CommandField.NSetRequest && status == DimseStatus.ProcessingFailure && comment is not null)
        {
            response.SetUInt16(CommandElement.ErrorId, MayNotBeUpdated);
        }

        await association.RespondAsync(message, response, null, cancellationToken);
    }

    public void Dispose() => _one.Dispose();

    private PerformedProcedureStep? Find(string uid)
    {
        using var db = database.OpenReader();
        using var select = db.Command("SELECT event FROM procedure_step WHERE sop_uid = $1", uid);
        return select.ExecuteScalar() is string found ? JsonSerializer.Deserialize(found, ContractsJson.Default.PerformedProcedureStep) : null;
    }

    private async Task<(ushort Status, string? Comment)> AppendAsync(
        string uid, string peer, DicomDataset step, CancellationToken cancellationToken)
    {
        using var attributes = JsonDocument.Parse(DicomJson.ToUtf8Bytes(step));
        var data = JsonSerializer.SerializeToUtf8Bytes(
            new PerformedProcedureStep(uid, peer, step.GetString(DicomTags.PerformedProcedureStepStatus) ?? InProgress, attributes.RootElement),
            ContractsJson.Default.PerformedProcedureStep);
        if (data.Length > Entry.MaxDataBytes)
        {
            return (DimseStatus.ResourceLimitation, $"The procedure step has more than {Entry.MaxDataBytes} bytes.");
        }

        try
        {
            // Equal content is one fact: a modality that sends the same again gets success again.
            var entry = new Entry(
                Lane.Normal, PerformedProcedureStep.EventType, $"procedure-step/{log.Site}/{uid}/{ContentHash.Of(data)}", uid,
                clock.GetUtcNow().ToUnixTimeMilliseconds(), data);
            await log.AppendAsync([entry], cancellationToken);
            return (DimseStatus.Success, null);
        }
        catch (SpoolFullException)
        {
            return (DimseStatus.ResourceLimitation, "There is no room for the procedure step now: try again later.");
        }
    }
}
