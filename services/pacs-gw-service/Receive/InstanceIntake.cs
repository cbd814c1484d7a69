using System.Collections.Frozen;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.Rules;
using Yizhan.Platform.Telemetry;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Receive;

/// <summary>
/// The one way in for instances, whatever they arrive by. An instance streams through <see cref="InstanceReception"/> into a blob
/// while it is hashed and inspected; one append makes blob and event durable together; only then is there a success to report.
/// </summary>
internal sealed partial class InstanceIntake(
    IEventLog log, IBlobStore blobs, ArchivedContent archived, RuleBook rules, GatewayMetrics metrics, TimeProvider clock, IOptions<PacsGwOptions> options, ILogger<InstanceIntake> logger)
{
    /// <summary>DICOM Instances Transferred (PS3.15 A.5.3.7).</summary>
    private const string InstancesTransferred = "110104";

    private readonly ILogger _logger = logger;
    private readonly FrozenSet<string> _privateSopClasses = options.Value.PrivateSopClasses.ToFrozenSet();

    /// <summary>True for the storage SOP classes of the standard and the configured private ones.</summary>
    public bool Stores(string sopClassUid) =>
        DicomUids.StorageSopClasses.ContainsKey(sopClassUid) || _privateSopClasses.Contains(sopClassUid);

    /// <summary>Why a rule refuses an instance; null when none does.</summary>
    internal string? Rejection(IntakeSource source, DicomDataset header) =>
        RuleEngine.Decide(rules.Rules, new RuleSubject(source.CallingAeTitle, source.CalledAeTitle, header)).Rejection is { } rule
            ? $"Rule '{rule.Name}': {rule.Reject}"
            : null;

    /// <summary>Starts one instance. Never throws for lack of room: the reception then drains what comes and reports it.</summary>
    public InstanceReception Begin(IntakeSource source, string transferSyntaxUid)
    {
        try
        {
            return new InstanceReception(this, source, transferSyntaxUid, blobs.Begin(Lane.Bulk));
        }
        catch (SpoolFullException e)
        {
            return new InstanceReception(this, source, transferSyntaxUid, e);
        }
    }

    /// <summary>Makes a complete blob and its event durable, with an audit entry for the first instance of each (source, study).</summary>
    internal async Task<IntakeResult> AppendAsync(
        IntakeSource source, InstanceStored stored, string? patientId, BlobRef blob, CancellationToken cancellationToken)
    {
        var nowMs = clock.GetUtcNow().ToUnixTimeMilliseconds();

        // Equal bytes in an equal encoding are the same fact, however often they are sent; at most 199 characters.
        var id = $"dicom/{log.Site}/{stored.TransferSyntaxUid}/{stored.Sha256}";
        var entries = new List<Entry>(2) { Entries.Of(stored, blob, id, nowMs) with { TraceParent = Tracing.Parent } };
        var audit = source.NeedsAudit(stored.StudyInstanceUid);
        if (audit)
        {
            var record = new AuditRecord(
                InstancesTransferred, "C", 0, source.Agent, source.Address, $"pacs-gw@{log.Site}",
                $"study/{stored.StudyInstanceUid}", $"received by {source.CalledAeTitle}", nowMs, Entries.AuditedPatient(patientId));
            entries.Add(Entries.Of(record, $"audit/{log.Site}/{source.Id}/{stored.StudyInstanceUid}") with { TraceParent = Tracing.Parent });
        }

        var from = clock.GetTimestamp();
        var receipts = await log.AppendAsync(entries, cancellationToken);
        if (receipts[0].AlreadyKnown && !await archived.ContainsAsync(stored, cancellationToken))
        {
            // It was here and was taken out since. Whoever sends it again wants it back, so it is a new fact.
            entries = [entries[0] with { Id = $"{id}/{log.LastPosition}" }];
            receipts = await log.AppendAsync(entries, cancellationToken);
        }

        metrics.Stage("commit", clock.GetElapsedTime(from));
        if (audit)
        {
            source.Audited(stored.StudyInstanceUid);
        }

        return new IntakeResult(
            receipts[0].AlreadyKnown ? IntakeOutcome.AlreadyStored : IntakeOutcome.Stored,
            stored.SopClassUid, stored.SopInstanceUid, stored.StudyInstanceUid, stored.SeriesInstanceUid);
    }

    /// <summary>For the time that an instance takes.</summary>
    internal TimeProvider Clock => clock;

    /// <summary>Logs and counts how an instance ended.</summary>
    internal void Ended(IntakeSource source, IntakeResult result, long bytes, long began)
    {
        metrics.Stage("receive", clock.GetElapsedTime(began));
        metrics.Instance(source.CallingAeTitle, result.Status, result.IsDurable ? bytes : 0);
        switch (result.Outcome)
        {
            case IntakeOutcome.Stored:
            case IntakeOutcome.AlreadyStored:
                Stored(result.SopInstanceUid, source.CallingAeTitle, source.Id, result.Outcome);
                break;
            case IntakeOutcome.ProcessingFailure:
                Failed(result.SopInstanceUid, source.CallingAeTitle, source.Id, result.Reason);
                break;
            default:
                Refused(result.SopInstanceUid, source.CallingAeTitle, source.Id, result.Status, result.Reason);
                break;
        }
    }

    [LoggerMessage(3001, LogLevel.Debug, "Instance {SopInstanceUid} from {CallingAeTitle} ({AssociationId}): {Outcome}.")]
    private partial void Stored(string sopInstanceUid, string callingAeTitle, string associationId, IntakeOutcome outcome);

    [LoggerMessage(3002, LogLevel.Warning,
        "Instance '{SopInstanceUid}' from {CallingAeTitle} ({AssociationId}) was refused with status {Status:X4}: {Reason}")]
    private partial void Refused(string sopInstanceUid, string callingAeTitle, string associationId, ushort status, string reason);

    [LoggerMessage(3003, LogLevel.Error,
        "Instance '{SopInstanceUid}' from {CallingAeTitle} ({AssociationId}) could not be stored: {Reason}")]
    private partial void Failed(string sopInstanceUid, string callingAeTitle, string associationId, string reason);
}
