using Yizhan.Contracts;
using Yizhan.Dicom;

namespace Yizhan.PacsGw.Commitment;

/// <summary>The data sets of storage commitment (PS3.4 tables J.3-1 and J.3-2), both ways.</summary>
internal static class CommitmentDataSet
{
    /// <summary>N-ACTION: request storage commitment.</summary>
    public const ushort RequestAction = 1;

    /// <summary>N-EVENT-REPORT: all instances are committed.</summary>
    public const ushort Successful = 1;

    /// <summary>N-EVENT-REPORT: some are not.</summary>
    public const ushort FailuresExist = 2;

    /// <summary>Failure reason (0008,1197) of PS3.3 §C.14.1.1: no such object instance.</summary>
    private const int NoSuchInstance = 0x0112;

    /// <summary>The instances of a sequence, by SOP class.</summary>
    public static IReadOnlyList<SopReferences> References(DicomDataset dataset, DicomTag sequence) =>
    [
        .. dataset.GetItems(sequence)
            .Select(item => (Class: item.GetString(DicomTags.ReferencedSOPClassUID), Instance: item.GetString(DicomTags.ReferencedSOPInstanceUID)))
            .Where(r => r.Class is not null && r.Instance is not null)
            .GroupBy(r => r.Class!, r => r.Instance!, StringComparer.Ordinal)
            .Select(g => new SopReferences(g.Key, [.. g.Distinct(StringComparer.Ordinal)])),
    ];

    /// <summary>A request.</summary>
    public static DicomDataset Request(string transactionUid, IReadOnlyList<SopReferences> references) => new DicomDataset()
        .Set(DicomTags.TransactionUID, transactionUid)
        .Set(DicomTags.ReferencedSOPSequence, [.. Items(references)]);

    /// <summary>A report.</summary>
    public static DicomDataset Report(
        string transactionUid, string aeTitle, IReadOnlyList<SopReferences> committed, IReadOnlyList<SopReferences> failed)
    {
        var report = new DicomDataset().Set(DicomTags.RetrieveAETitle, aeTitle).Set(DicomTags.TransactionUID, transactionUid);
        if (committed.Count > 0)
        {
            report.Set(DicomTags.ReferencedSOPSequence, [.. Items(committed)]);
        }

        if (failed.Count > 0)
        {
            report.Set(DicomTags.FailedSOPSequence, [.. Items(failed).Select(item => item.Set(DicomTags.FailureReason, NoSuchInstance))]);
        }

        return report;
    }

    private static IEnumerable<DicomDataset> Items(IEnumerable<SopReferences> references) => references.SelectMany(r =>
        r.SopInstanceUids.Select(uid => new DicomDataset()
            .Set(DicomTags.ReferencedSOPClassUID, r.SopClassUid)
            .Set(DicomTags.ReferencedSOPInstanceUID, uid)));
}
