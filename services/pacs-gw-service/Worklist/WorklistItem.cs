using System.Globalization;
using System.Numerics;
using System.Security.Cryptography;
using System.Text;
using Yizhan.Contracts;
using Yizhan.Dicom;

namespace Yizhan.PacsGw.Worklist;

/// <summary>Orders as data sets of the modality worklist (PS3.4 table K.6-1).</summary>
internal static class WorklistItem
{
    /// <summary>Study Instance UID that the step's study shall have.</summary>
    public static string StudyOf(ProcedureScheduled order) =>
        order.StudyInstanceUid.Length > 0 ? order.StudyInstanceUid
            : "2.25." + new BigInteger(SHA256.HashData(Encoding.UTF8.GetBytes("yizhan order " + order.Id)).AsSpan(0, 16), isUnsigned: true, isBigEndian: true)
                .ToString(CultureInfo.InvariantCulture);

    /// <summary>Scheduled Procedure Step ID.</summary>
    public static string StepOf(ProcedureScheduled order) =>
        order.ScheduledProcedureStepId.Length > 0 ? order.ScheduledProcedureStepId : order.Id[..Math.Min(order.Id.Length, 16)];

    /// <summary>What is wrong with an order; null when nothing is.</summary>
    public static string? Problem(ProcedureScheduled order) =>
        order.Id.Length is 0 or > 64 ? "id must have 1 to 64 characters."
        : order.Status is not ("SCHEDULED" or "CANCELLED" or "COMPLETED") ? "status must be SCHEDULED, CANCELLED or COMPLETED."
        : order.StudyInstanceUid.Length > 0 && !Uid.IsValid(order.StudyInstanceUid) ? "studyInstanceUid must be a UID or empty."
        : order.ScheduledStart.Length is not (8 or 14) || !order.ScheduledStart.All(char.IsAsciiDigit)
            ? "scheduledStart must be YYYYMMDD or YYYYMMDDHHMMSS, in local time."
        : order.PatientId.Length == 0 || order.PatientName.Length == 0 ? "patientId and patientName must not be empty."
        : Values(order).Any(v => v.Contains('\\', StringComparison.Ordinal) || v.Any(char.IsControl))
            ? "No value may have a backslash or a control character."
        : null;

    /// <summary>The data set.</summary>
    public static DicomDataset ToDataset(ProcedureScheduled order) => new DicomDataset()
        .Set(DicomTags.SpecificCharacterSet, "ISO_IR 192")
        .Set(DicomTags.AccessionNumber, order.AccessionNumber)
        .Set(DicomTags.ReferringPhysicianName, order.ReferringPhysicianName)
        .Set(DicomTags.PatientName, order.PatientName)
        .Set(DicomTags.PatientID, order.PatientId)
        .Set(DicomTags.IssuerOfPatientID, order.IssuerOfPatientId)
        .Set(DicomTags.PatientBirthDate, order.PatientBirthDate)
        .Set(DicomTags.PatientSex, order.PatientSex)
        .Set(DicomTags.StudyInstanceUID, StudyOf(order))
        .Set(DicomTags.RequestedProcedureDescription, order.RequestedProcedureDescription)
        .Set(DicomTags.RequestedProcedureID, order.RequestedProcedureId)
        .Set(
            DicomTags.ScheduledProcedureStepSequence,
            new DicomDataset()
                .Set(DicomTags.SpecificCharacterSet, "ISO_IR 192")
                .Set(DicomTags.Modality, order.Modality)
                .Set(DicomTags.ScheduledStationAETitle, order.ScheduledStationAeTitle)
                .Set(DicomTags.ScheduledProcedureStepStartDate, order.ScheduledStart[..8])
                .Set(DicomTags.ScheduledProcedureStepStartTime, order.ScheduledStart[8..])
                .Set(DicomTags.ScheduledProcedureStepDescription, order.ScheduledProcedureStepDescription)
                .Set(DicomTags.ScheduledProcedureStepID, StepOf(order))
                .Set(DicomTags.ScheduledProcedureStepStatus, "SCHEDULED"));

    private static string[] Values(ProcedureScheduled order) =>
    [
        order.AccessionNumber, order.PatientId, order.IssuerOfPatientId, order.PatientName, order.PatientBirthDate, order.PatientSex,
        order.RequestedProcedureId, order.RequestedProcedureDescription, order.ReferringPhysicianName, order.ScheduledStationAeTitle,
        order.Modality, order.ScheduledProcedureStepId, order.ScheduledProcedureStepDescription,
    ];
}
