using System.Text.Json;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;
using Yizhan.PacsGw.Peers;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Commitment;

/// <summary>
/// Takes requests for storage commitment and reports on our own ones. Both are events before they are answered, so neither is forgotten by a restart;
/// <see cref="CommitmentReporter"/> tells the peer.
/// </summary>
internal sealed class CommitmentScp(IEventLog log, TimeProvider clock)
{
    /// <summary>Answers one N-ACTION-RQ (PS3.4 §J.3.2).</summary>
    public async Task ServeActionAsync(PeerAssociation association, DimseMessage message, CancellationToken cancellationToken)
    {
        if (await association.ReadAsync(message, cancellationToken) is not { } dataset)
        {
            return;
        }

        var command = message.Command;
        var transaction = dataset.GetString(DicomTags.TransactionUID);
        var references = CommitmentDataSet.References(dataset, DicomTags.ReferencedSOPSequence);
        var (status, comment) = command.SopClassUid != DicomUids.StorageCommitmentPushModel
                ? (DimseStatus.NoSuchSopClass, "Only storage commitment has actions here.")
            : command.SopInstanceUid != DicomUids.StorageCommitmentPushModelInstance
                ? (DimseStatus.NoSuchSopInstance, "The instance is not the well-known one of storage commitment.")
            : command.GetUInt16(CommandElement.ActionTypeId) != CommitmentDataSet.RequestAction
                ? (DimseStatus.NoSuchActionType, "The only action is 1, request storage commitment.")
            : transaction is null || !Uid.IsValid(transaction)
                ? (DimseStatus.InvalidArgumentValue, "Transaction UID (0008,1195) is missing or not a UID.")
            : references.Count == 0
                ? (DimseStatus.InvalidArgumentValue, "Referenced SOP Sequence (0008,1199) names no instance.")
            : (DimseStatus.Success, (string?)null);
        if (status == DimseStatus.Success)
        {
            (status, comment) = await AppendAsync(
                CommitmentRequested.EventType, $"commitment/{log.Site}/{association.Peer.AeTitle}/{transaction}", transaction!,
                JsonSerializer.SerializeToUtf8Bytes(
                    new CommitmentRequested(association.Peer.AeTitle, transaction!, references), ContractsJson.Default.CommitmentRequested),
                cancellationToken);
        }

        await association.RespondAsync(message, status, comment, cancellationToken);
    }

    /// <summary>Answers one N-EVENT-REPORT-RQ about a request of ours (PS3.4 §J.3.3).</summary>
    public async Task ServeReportAsync(PeerAssociation association, DimseMessage message, CancellationToken cancellationToken)
    {
        if (await association.ReadAsync(message, cancellationToken) is { } dataset)
        {
            var (status, comment) = await TakeReportAsync(association.Peer.AeTitle, dataset, cancellationToken);
            await association.RespondAsync(message, status, comment, cancellationToken);
        }
    }

    /// <summary>Makes a peer's report durable; the status to answer with.</summary>
    public async Task<(ushort Status, string? Comment)> TakeReportAsync(string peer, DicomDataset report, CancellationToken cancellationToken)
    {
        if (report.GetString(DicomTags.TransactionUID) is not { } transaction || !Uid.IsValid(transaction))
        {
            return (DimseStatus.InvalidArgumentValue, "Transaction UID (0008,1195) is missing or not a UID.");
        }

        var received = new CommitmentReceived(
            peer, transaction, Instances(DicomTags.ReferencedSOPSequence), Instances(DicomTags.FailedSOPSequence));
        return await AppendAsync(
            CommitmentReceived.EventType, $"commitment-received/{log.Site}/{peer}/{transaction}", transaction,
            JsonSerializer.SerializeToUtf8Bytes(received, ContractsJson.Default.CommitmentReceived), cancellationToken);

        IReadOnlyList<string> Instances(DicomTag sequence) =>
            [.. CommitmentDataSet.References(report, sequence).SelectMany(r => r.SopInstanceUids)];
    }

    private async Task<(ushort Status, string? Comment)> AppendAsync(
        string type, string id, string key, byte[] data, CancellationToken cancellationToken)
    {
        if (data.Length > Entry.MaxDataBytes)
        {
            return (DimseStatus.ResourceLimitation, "Too many instances at once: ask in several transactions.");
        }

        try
        {
            var entry = new Entry(Lane.Normal, type, id, key, clock.GetUtcNow().ToUnixTimeMilliseconds(), data);
            await log.AppendAsync([entry], cancellationToken);
            return (DimseStatus.Success, null);
        }
        catch (SpoolFullException)
        {
            return (DimseStatus.ResourceLimitation, "There is no room for the request now: try again later.");
        }
        catch (IOException)
        {
            return (DimseStatus.ProcessingFailure, "The disk failed.");
        }
    }
}
