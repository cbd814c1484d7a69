using Yizhan.Dicom.Network;

namespace Yizhan.PacsGw.Receive;

/// <summary>How taking in one instance ended.</summary>
internal enum IntakeOutcome
{
    /// <summary>It is durable, and new.</summary>
    Stored,

    /// <summary>It is durable; equal content was here before and no second copy was made.</summary>
    AlreadyStored,

    /// <summary>There is no room. The sender may try again later.</summary>
    OutOfResources,

    /// <summary>The data set is no complete DICOM data set.</summary>
    CannotUnderstand,

    /// <summary>The data set is not what the request says it is.</summary>
    DoesNotMatch,

    /// <summary>Its SOP class is not stored here.</summary>
    SopClassNotSupported,

    /// <summary>A rule of this site refuses it.</summary>
    Rejected,

    /// <summary>The disk or the log failed.</summary>
    ProcessingFailure,
}

/// <summary>The result of taking in one instance.</summary>
/// <param name="Outcome">How it ended.</param>
/// <param name="SopClassUid">What it is; empty when that could not be read.</param>
/// <param name="SopInstanceUid">Which it is; empty when that could not be read.</param>
/// <param name="StudyInstanceUid">Its study; empty when that could not be read.</param>
/// <param name="SeriesInstanceUid">Its series; empty when that could not be read.</param>
/// <param name="Reason">What is wrong and where, without patient data; empty when nothing is.</param>
internal sealed record IntakeResult(
    IntakeOutcome Outcome,
    string SopClassUid,
    string SopInstanceUid,
    string StudyInstanceUid = "",
    string SeriesInstanceUid = "",
    string Reason = "")
{
    /// <summary>True when the sender may forget its copy.</summary>
    public bool IsDurable => Outcome is IntakeOutcome.Stored or IntakeOutcome.AlreadyStored;

    /// <summary>The status of PS3.4 §B.2.3, also the failure reason of STOW-RS (PS3.18 §10.5.3).</summary>
    public ushort Status => Outcome switch
    {
        IntakeOutcome.Stored or IntakeOutcome.AlreadyStored => DimseStatus.Success,
        IntakeOutcome.OutOfResources => DimseStatus.OutOfResources,
        IntakeOutcome.CannotUnderstand => DimseStatus.CannotUnderstand,
        IntakeOutcome.DoesNotMatch => DimseStatus.DataSetDoesNotMatchSopClass,
        IntakeOutcome.SopClassNotSupported => DimseStatus.SopClassNotSupported,
        IntakeOutcome.Rejected => DimseStatus.NotAuthorized,
        _ => DimseStatus.ProcessingFailure,
    };
}
