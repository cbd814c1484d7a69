using Yizhan.Dicom;

namespace Yizhan.PacsGw.Ups;

/// <summary>An event of a workitem (PS3.4 Table CC.2.4-1), without the number that each receiver counts for itself.</summary>
/// <param name="WorkitemUid">Whose.</param>
/// <param name="Type">Event Type ID.</param>
/// <param name="Information">Its attributes.</param>
internal sealed record UpsEvent(string WorkitemUid, ushort Type, DicomDataset Information)
{
    private const string UpsPushSopClass = "1.2.840.10008.5.1.4.34.6.1";

    private static readonly DicomTag InputReadinessState = new(0x0040, 0x4041);
    private static readonly DicomTag ScheduledHumanPerformers = new(0x0040, 0x4034);
    private static readonly DicomTag ScheduledStationName = new(0x0040, 0x4025);
    private static readonly DicomTag ReasonForCancellation = new(0x0074, 0x1238);
    private static readonly DicomTag DiscontinuationReason = new(0x0074, 0x100E);
    private static readonly DicomTag ContactUri = new(0x0074, 0x100A);
    private static readonly DicomTag ContactDisplayName = new(0x0074, 0x100C);
    private static readonly DicomTag ProgressInformation = new(0x0074, 0x1002);
    private static readonly DicomTag RequestingAe = new(0x0074, 0x1236);

    /// <summary>UPS State Report: where it stands.</summary>
    public static UpsEvent StateReport(string uid, DicomDataset workitem) =>
        new(uid, 1, Chosen(workitem, Workitems.State, InputReadinessState, ReasonForCancellation, DiscontinuationReason));

    /// <summary>UPS Cancel Requested: whoever claimed it is asked to cancel.</summary>
    /// <param name="uid">Which.</param>
    /// <param name="request">What was said with the request.</param>
    /// <param name="aeTitle">Who asks, when the request does not say.</param>
    public static UpsEvent CancelRequested(string uid, DicomDataset request, string aeTitle)
    {
        var information = Chosen(request, RequestingAe, ReasonForCancellation, DiscontinuationReason, ContactUri, ContactDisplayName);
        return new(uid, 2, information.GetString(RequestingAe) is null ? information.Set(RequestingAe, aeTitle) : information);
    }

    /// <summary>What the change from one state of affairs to the next tells those who subscribed before it.</summary>
    public static IEnumerable<UpsEvent> Between(string uid, DicomDataset? before, DicomDataset after)
    {
        if (before is null || Differ(before, after, Workitems.State) || Differ(before, after, InputReadinessState))
        {
            yield return StateReport(uid, after);
        }

        if (before is not null && Differ(before, after, ProgressInformation))
        {
            yield return new(uid, 3, Chosen(after, ProgressInformation));
        }

        if (Differ(before, after, ScheduledHumanPerformers) || Differ(before, after, ScheduledStationName))
        {
            yield return new(uid, 5, Chosen(after, ScheduledStationName, ScheduledHumanPerformers));
        }
    }

    /// <summary>The payload of a text frame (PS3.18 §8.10.5): the N-EVENT-REPORT request as DICOM JSON.</summary>
    public byte[] ToJson(ushort messageId)
    {
        var report = new DicomDataset();
        foreach (var element in Information)
        {
            report.Set(element);
        }

        return DicomJson.ToUtf8Bytes(report
            .Set(DicomTags.AffectedSOPClassUID, UpsPushSopClass).Set(DicomTags.CommandField, 0x0100L).Set(DicomTags.MessageID, (long)messageId)
            .Set(DicomTags.CommandDataSetType, 0L).Set(DicomTags.AffectedSOPInstanceUID, WorkitemUid).Set(DicomTags.EventTypeID, (long)Type));
    }

    private static DicomDataset Chosen(DicomDataset from, params ReadOnlySpan<DicomTag> tags)
    {
        var chosen = new DicomDataset();
        foreach (var tag in tags)
        {
            if (from.TryGet(tag, out var element))
            {
                chosen.Set(element);
            }
        }

        return chosen;
    }

    private static bool Differ(DicomDataset? before, DicomDataset after, DicomTag tag) =>
        !DicomJson.ToUtf8Bytes(before is null ? new DicomDataset() : Chosen(before, tag)).AsSpan().SequenceEqual(DicomJson.ToUtf8Bytes(Chosen(after, tag)));
}
