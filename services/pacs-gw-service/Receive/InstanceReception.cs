using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Receive;

/// <summary>What a request says about the instance that it brings; null where it says nothing.</summary>
/// <param name="SopClassUid">What it is.</param>
/// <param name="SopInstanceUid">Which it is.</param>
/// <param name="StudyInstanceUid">Where it belongs.</param>
internal sealed record Expectation(string? SopClassUid = null, string? SopInstanceUid = null, string? StudyInstanceUid = null);

/// <summary>
/// One instance on its way in. Bytes that come after something went wrong are drained, so that the association or request goes
/// on with the next one. Dispose it after <see cref="CompleteAsync"/>, or to give the instance up. Not for concurrent use.
/// </summary>
internal sealed class InstanceReception : IAsyncDisposable
{
    private readonly InstanceIntake _intake;
    private readonly IntakeSource _source;
    private readonly string _transferSyntaxUid;
    private readonly BlobWriter? _blob;
    private readonly DicomStreamInspector _inspector;
    private readonly long _began;
    private (IntakeOutcome Outcome, string Reason)? _failure;

    public InstanceReception(InstanceIntake intake, IntakeSource source, string transferSyntaxUid, BlobWriter blob)
    {
        (_intake, _source, _transferSyntaxUid, _blob) = (intake, source, transferSyntaxUid, blob);
        _inspector = new DicomStreamInspector(DicomTransferSyntax.Get(transferSyntaxUid));
        _began = intake.Clock.GetTimestamp();
    }

    public InstanceReception(InstanceIntake intake, IntakeSource source, string transferSyntaxUid, SpoolFullException full)
    {
        (_intake, _source, _transferSyntaxUid) = (intake, source, transferSyntaxUid);
        _inspector = new DicomStreamInspector(DicomTransferSyntax.Get(transferSyntaxUid));
        _began = intake.Clock.GetTimestamp();
        _failure = (IntakeOutcome.OutOfResources, full.Message);
    }

    /// <summary>Takes the next bytes of the data set; the memory may be used again when this returns.</summary>
    public async ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        if (_failure is not null)
        {
            return;
        }

        try
        {
            _inspector.Push(bytes.Span);
            await _blob!.WriteAsync(bytes, cancellationToken);
        }
        catch (Exception e) when (Classify(e) is { } failure)
        {
            _failure = failure;
        }
    }

    /// <summary>Ends the instance without storing it.</summary>
    public IntakeResult Refuse(IntakeOutcome outcome, string reason)
    {
        _failure ??= (outcome, reason);
        return Finish(new Expectation());
    }

    /// <summary>
    /// Ends the data set and returns once it is durable or refused.
    /// </summary>
    /// <param name="expected">What the request says it is.</param>
    /// <param name="cancellationToken">Stops the wait, not an append under way.</param>
    public async Task<IntakeResult> CompleteAsync(Expectation expected, CancellationToken cancellationToken)
    {
        try
        {
            if (_failure is null)
            {
                _inspector.Complete();
                _failure = Check(expected);
            }

            if (_failure is null)
            {
                var blob = await _blob!.CompleteAsync(cancellationToken);
                var result = await _intake.AppendAsync(_source, Describe(blob), _inspector.Header.GetString(DicomTags.PatientID), blob, cancellationToken);
                _intake.Ended(_source, result, _inspector.BytesPushed, _began);
                return result;
            }
        }
        catch (Exception e) when (Classify(e) is { } failure)
        {
            _failure = failure;
        }

        return Finish(expected);
    }

    /// <summary>What no entry refers to is given up.</summary>
    public ValueTask DisposeAsync() => _blob?.DisposeAsync() ?? ValueTask.CompletedTask;

    private IntakeResult Finish(Expectation expected)
    {
        var (outcome, reason) = _failure!.Value;
        var header = _inspector.Header;
        var result = new IntakeResult(
            outcome,
            expected.SopClassUid ?? header.GetString(DicomTags.SOPClassUID) ?? "",
            expected.SopInstanceUid ?? header.GetString(DicomTags.SOPInstanceUID) ?? "",
            header.GetString(DicomTags.StudyInstanceUID) ?? "",
            header.GetString(DicomTags.SeriesInstanceUID) ?? "",
            reason);
        _intake.Ended(_source, result, _inspector.BytesPushed, _began);
        return result;
    }

    /// <summary>The world's failures and the sender's become a status; ours stay exceptions.</summary>
    private static (IntakeOutcome, string)? Classify(Exception e) => e switch
    {
        DicomFormatException format => (IntakeOutcome.CannotUnderstand, format.Message),
        SpoolFullException full => (IntakeOutcome.OutOfResources, full.Message),
        IOException or BlobMissingException => (IntakeOutcome.ProcessingFailure, e.Message),
        _ => null,
    };

    private (IntakeOutcome, string)? Check(Expectation expected)
    {
        var header = _inspector.Header;
        foreach (var tag in (ReadOnlySpan<DicomTag>)
            [DicomTags.SOPClassUID, DicomTags.SOPInstanceUID, DicomTags.StudyInstanceUID, DicomTags.SeriesInstanceUID])
        {
            var uid = header.GetString(tag);
            if (string.IsNullOrEmpty(uid))
            {
                return (IntakeOutcome.CannotUnderstand, $"The data set has no value of {tag}.");
            }

            if (!Uid.IsValid(uid))
            {
                return (IntakeOutcome.CannotUnderstand, $"The value of {tag} is not a UID: digits and dots, at most 64 characters.");
            }
        }

        foreach (var (tag, said) in (ReadOnlySpan<(DicomTag, string?)>)
        [
            (DicomTags.SOPClassUID, expected.SopClassUid),
            (DicomTags.SOPInstanceUID, expected.SopInstanceUid),
            (DicomTags.StudyInstanceUID, expected.StudyInstanceUid),
        ])
        {
            if (said is not null && said != header.GetString(tag))
            {
                return (IntakeOutcome.DoesNotMatch, $"{tag} of the data set is not that of the request.");
            }
        }

        return !_intake.Stores(header.GetString(DicomTags.SOPClassUID)!)
            ? (IntakeOutcome.SopClassNotSupported, "Its SOP class is neither a storage class of the standard nor in pacs-gw:privateSopClasses.")
            : _intake.Rejection(_source, header) is { } reason ? (IntakeOutcome.Rejected, reason)
            : null;
    }

    private InstanceStored Describe(BlobRef blob)
    {
        var header = _inspector.Header;
        return new InstanceStored(
            header.GetString(DicomTags.StudyInstanceUID)!,
            header.GetString(DicomTags.SeriesInstanceUID)!,
            header.GetString(DicomTags.SOPInstanceUID)!,
            header.GetString(DicomTags.SOPClassUID)!,
            _transferSyntaxUid,
            blob.Hash.ToString(),
            blob.Length,
            _source.CallingAeTitle,
            _source.CalledAeTitle,
            _source.Id);
    }
}
