using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.EmrAdapter.Orders;
using Yizhan.EmrAdapter.Outbox;
using Yizhan.EmrAdapter.Patients;
using Yizhan.Storage;

namespace Yizhan.EmrAdapter;

/// <summary>
/// Follows the event log: folds orders and patients, announces worklist steps, and notes what each system is to be told. What it makes of a batch and its place in
/// the log are one transaction; worklist events are durable before, under names that are the same each time, so each is once in the log.
/// </summary>
internal sealed partial class EmrFollower(
    EmrDatabase database, EmrOutbox outbox, OrderBook orders, IEventLog log, IBlobStore blobs, IOptions<EmrAdapterOptions> options, TimeProvider clock, ILogger<EmrFollower> logger)
    : BackgroundService, ILogConsumer
{
    /// <summary>Who holds the pins of documents that are still to be sent.</summary>
    public const string Holder = "emr-adapter";

    private const int MaxBatch = 256;

    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(2);

    private readonly ILogger _logger = logger;
    private readonly Dictionary<string, long> _since = [];
    private long _position;

    /// <inheritdoc/>
    public string Name => Holder;

    /// <summary>How far the log was followed.</summary>
    public long Position => Volatile.Read(ref _position);

    private string Feed => $"log/{log.Epoch:N}";

    /// <inheritdoc/>
    public ValueTask<long> ReadThroughAsync(CancellationToken cancellationToken) => new(Position);

    /// <summary>Returns once all that is in the log now is in the order book.</summary>
    public async Task ReachedNowAsync(CancellationToken cancellationToken)
    {
        var target = log.LastPosition;
        while (Position < target)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(2), clock, cancellationToken);
        }
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await BeginAsync(stoppingToken);
                while (true)
                {
                    await FollowAsync(stoppingToken);
                }
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (e is SqliteException or IOException or BlobMissingException)
            {
                Stalled(e, RetryAfter.TotalSeconds);
                await Task.Delay(RetryAfter, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    /// <summary>A system is told what happens from when it was first in the settings on, not what happened before.</summary>
    private async Task BeginAsync(CancellationToken cancellationToken)
    {
        var began = Now();
        await NoteWhatWasToldAsync(cancellationToken);
        await database.WriteAsync(
            db =>
            {
                if (EmrDatabase.Cursor(db, Feed) is not { } position)
                {
                    // A log that was restored is read again from its start; what is counted is counted again.
                    position = "0";
                    db.Command("UPDATE study SET instances = 0, series = ''").Go();
                }

                Volatile.Write(ref _position, long.Parse(position, CultureInfo.InvariantCulture));
                foreach (var system in options.Value.Systems.Select(s => s.Name))
                {
                    db.Command("INSERT INTO system (name, since) VALUES ($1, $2) ON CONFLICT DO NOTHING", system, log.LastPosition).Go();
                    _since[system] = db.Command("SELECT since FROM system WHERE name = $1", system).Single() as long? ?? 0;
                }

                // A map may have been completed since the last start.
                return orders.TermsChanged(db, log.Site, began).Select(step => ToEntry(step, $"terms/{began}")).ToList();
            },
            async announced =>
            {
                if (announced.Count > 0)
                {
                    await log.AppendAsync(announced, cancellationToken);
                }
            },
            cancellationToken);
        outbox.Begin();
    }

    /// <summary>
    /// A file that was put back may be older than the log beside it, which has a record of each message that was taken since: those are known before anything is sent.
    /// </summary>
    private async Task NoteWhatWasToldAsync(CancellationToken cancellationToken)
    {
        if (!database.Read(db => EmrDatabase.Cursor(db, Feed) is null && db.Command("SELECT 1 FROM cursor WHERE feed LIKE 'log/%' LIMIT 1").Single() is not null))
        {
            return;
        }

        for (var after = 0L; await log.ReadAsync(after, MaxBatch, cancellationToken) is { Count: > 0 } page; after = page[^1].Position)
        {
            outbox.Told([.. page.Where(e => e.Identity.Site == log.Site && OutboxSender.ControlIdOf(e.Entry) is not null).Select(e => OutboxSender.ControlIdOf(e.Entry)!)]);
        }
    }

    private async Task FollowAsync(CancellationToken cancellationToken)
    {
        if (outbox.Full() is { } full)
        {
            // What is not read stays in the log, which refuses its callers once it is full in turn.
            OutboxFull(full);
            await Task.WhenAny(outbox.Changed, Task.Delay(RetryAfter, clock, cancellationToken));
            cancellationToken.ThrowIfCancellationRequested();
            return;
        }

        var entries = await log.ReadAsync(Position, MaxBatch, cancellationToken);
        if (entries.Count == 0)
        {
            await TellStudiesAsync(cancellationToken);
            return;
        }

        var headers = await HeadersAsync(entries, cancellationToken);
        var added = false;
        await database.WriteAsync(
            db =>
            {
                var announced = new List<Entry>();
                foreach (var entry in entries)
                {
                    added |= FoldUnlessNonsense(db, entry, headers, announced);
                }

                added |= EmrOutbox.Relink(db, Link);
                EmrDatabase.MoveCursor(db, Feed, entries[^1].Position.ToString(CultureInfo.InvariantCulture));
                return announced;
            },
            async announced =>
            {
                if (announced.Count > 0)
                {
                    await log.AppendAsync(announced, cancellationToken);
                }
            },
            cancellationToken);
        Volatile.Write(ref _position, entries[^1].Position);
        if (added)
        {
            outbox.Signal();
        }
    }

    /// <summary>The same; what is not what its type says changes nothing: a site that writes that does not stop the others.</summary>
    private bool FoldUnlessNonsense(SqliteConnection db, LoggedEntry logged, Dictionary<string, DicomDataset> headers, List<Entry> announced)
    {
        var before = announced.Count;
        db.Command("SAVEPOINT one").Go();
        try
        {
            var owed = Fold(db, logged, headers, announced);
            db.Command("RELEASE one").Go();
            return owed;
        }
        catch (Exception e) when (e is JsonException or ArgumentException or FormatException or DicomFormatException)
        {
            db.Command("ROLLBACK TO one").Go();
            db.Command("RELEASE one").Go();
            announced.RemoveRange(before, announced.Count - before);
            Unreadable(logged.Entry.Type, logged.Position, logged.Identity.Site);
            return false;
        }
    }

    /// <summary>True when something is owed to a system now.</summary>
    private bool Fold(SqliteConnection db, LoggedEntry logged, Dictionary<string, DicomDataset> headers, List<Entry> announced)
    {
        var entry = logged.Entry;
        var data = entry.Data.Span;
        switch (entry.Type)
        {
            case ImagingOrder.EventType:
                var steps = orders.Apply(db, EventData.Read(data, ContractsJson.Default.ImagingOrder), logged.Identity.Site, Now());
                Announce(steps, logged, announced);
                return false;
            case PatientChanged.EventType:
                var change = EventData.Read(data, ContractsJson.Default.PatientChanged);
                if (change.Action == "MERGE")
                {
                    PatientIndex.Merge(db, change, Now());
                }
                else
                {
                    PatientIndex.Update(db, change.Patient, change.ChangedMs, Now());
                }

                Announce(orders.PatientChanged(db, change, logged.Identity.Site, Now()), logged, announced);
                return false;
            case TermMapped.EventType:
                orders.Learn(db, EventData.Read(data, ContractsJson.Default.TermMapped));

                // What waits here is announced here, whoever decided: the order's own site is what counts.
                announced.AddRange(orders.TermsChanged(db, log.Site, Now()).Select(step => ToEntry(step, entry.Id) with { TraceParent = entry.TraceParent }));
                return false;
            case ProcedureScheduled.EventType:
                var scheduled = EventData.Read(data, ContractsJson.Default.ProcedureScheduled);
                return Owe(db, logged, new Outgoing("order", entry.Id, scheduled.Id, logged.Identity.Site, null, null)
                {
                    Step = scheduled,
                    StudyInstanceUid = scheduled.StudyInstanceUid,
                    AccessionNumber = scheduled.AccessionNumber,
                    PatientId = scheduled.PatientId,
                });
            case ReportIssued.EventType:
                var report = EventData.Read(data, ContractsJson.Default.ReportIssued);
                return Owe(db, logged, new Outgoing(report.Kind == "NOTE" ? "note" : "report", entry.Id, report.ReportId, logged.Identity.Site, null, null)
                {
                    Report = report,
                    StudyInstanceUid = report.StudyInstanceUid,
                    AccessionNumber = report.AccessionNumber,
                    PatientId = report.PatientId,
                });
            case DictationRecorded.EventType:
                var recorded = EventData.Read(data, ContractsJson.Default.DictationRecorded);
                return Owe(db, logged, new Outgoing("recording", entry.Id, recorded.ReportId + "/recording", logged.Identity.Site, null, null)
                {
                    Recording = recorded,
                    PatientId = recorded.PatientId,
                });
            case AnalysisFinished.EventType:
                var analysis = EventData.Read(data, ContractsJson.Default.AnalysisFinished);

                // A model that was not made for the series, or that failed, says nothing about the patient.
                if (analysis is not { Outcome: "findings" or "none", ReportUid: { } result })
                {
                    return false;
                }

                orders.QueueUnmapped(db, analysis, Now());
                return Owe(db, logged, new Outgoing("finding", entry.Id, result, logged.Identity.Site, null, null)
                {
                    Analysis = analysis,
                    StudyInstanceUid = analysis.StudyInstanceUid,
                    PatientId = analysis.PatientId ?? "",
                });
            case InstanceStored.EventType:
                Note(db, EventData.Read(data, ContractsJson.Default.InstanceStored), entry.TraceParent, headers);
                return false;
            default:
                return false;
        }
    }

    private bool Owe(SqliteConnection db, LoggedEntry logged, Outgoing content)
    {
        var owed = false;
        foreach (var system in options.Value.Systems)
        {
            if (logged.Position > _since[system.Name] && EmrDrivers.IsTold(system, content.Kind))
            {
                outbox.Add(db, system.Name, Link(db, content), logged.Entry.TraceParent);
                owed = true;
            }
        }

        return owed;
    }

    /// <summary>Adds whom it is about and what ordered it, as far as that is known now.</summary>
    private static Outgoing Link(SqliteConnection db, Outgoing content)
    {
        var study = db.Command("SELECT patient_id, accession FROM study WHERE uid = $1", content.StudyInstanceUid).Rows(row => (Patient: row.GetString(0), Accession: row.GetString(1))).FirstOrDefault();
        var accession = content.AccessionNumber.Length > 0 ? content.AccessionNumber : study.Accession ?? "";
        var order = OrderBook.OfStudy(db, content.StudyInstanceUid, accession);
        var patient = order is not null ? PatientIndex.Find(db, order.Patient.PatientId, order.Patient.Issuer) ?? order.Patient
            : content.PatientId.Length > 0 ? PatientIndex.Find(db, content.PatientId)
            : study.Patient is { Length: > 0 } id ? PatientIndex.Find(db, id)
            : null;
        return content with
        {
            Order = order,
            Patient = patient,
            AccessionNumber = order is null ? accession : OrderBook.Accession(order),
            StudyInstanceUid = content.StudyInstanceUid.Length == 0 && order is not null ? OrderBook.StudyOf(order) : content.StudyInstanceUid,
        };
    }

    private void Announce(IReadOnlyList<ProcedureScheduled> steps, LoggedEntry cause, List<Entry> announced)
    {
        // What another site ordered is on its own worklist; that site has announced it.
        if (cause.Identity.Site == log.Site)
        {
            announced.AddRange(steps.Select(step => ToEntry(step, cause.Entry.Id) with { TraceParent = cause.Entry.TraceParent }));
        }
    }

    private Entry ToEntry(ProcedureScheduled step, string cause)
    {
        var id = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{cause}\n{step.Id}")));
        return new Entry(Lane.Normal, ProcedureScheduled.EventType, $"emr/step/{log.Site}/{id}", step.Id, Now(), JsonSerializer.SerializeToUtf8Bytes(step, ContractsJson.Default.ProcedureScheduled));
    }

    private void Note(SqliteConnection db, InstanceStored stored, string? traceParent, Dictionary<string, DicomDataset> headers)
    {
        if (headers.TryGetValue(stored.StudyInstanceUid, out var header))
        {
            db.Command(
                "INSERT INTO study (uid, patient_id, issuer, accession, modality, started, series, instances, told, last_ms) VALUES ($1, $2, $3, $4, $5, $6, '', 0, 0, 0) ON CONFLICT DO NOTHING",
                stored.StudyInstanceUid, Text(DicomTags.PatientID), Text(DicomTags.IssuerOfPatientID), Text(DicomTags.AccessionNumber), Text(DicomTags.Modality),
                Text(DicomTags.StudyDate) + Text(DicomTags.StudyTime).Split('.')[0]).Go();
        }

        db.Command(
            """
            UPDATE study SET instances = instances + 1, last_ms = $2, trace_parent = coalesce($4, trace_parent), series = CASE WHEN instr(series, $3) > 0 THEN series ELSE series || $3 || ' ' END WHERE uid = $1
            """, stored.StudyInstanceUid, Now(), stored.SeriesInstanceUid, traceParent).Go();

        string Text(DicomTag tag) => header.GetString(tag)?.Trim() ?? "";
    }

    /// <summary>The beginnings of the first instances of studies that are new: only they say the patient.</summary>
    private async Task<Dictionary<string, DicomDataset>> HeadersAsync(IReadOnlyList<LoggedEntry> entries, CancellationToken cancellationToken)
    {
        var headers = new Dictionary<string, DicomDataset>();
        foreach (var entry in entries.Where(e => e.Entry.Type == InstanceStored.EventType))
        {
            InstanceStored stored;
            try
            {
                stored = EventData.Read(entry.Entry.Data.Span, ContractsJson.Default.InstanceStored);
            }
            catch (JsonException)
            {
                // Said when its turn comes.
                continue;
            }

            if (!headers.ContainsKey(stored.StudyInstanceUid) && database.Read(db => db.Command("SELECT 1 FROM study WHERE uid = $1", stored.StudyInstanceUid).Single()) is null)
            {
                headers[stored.StudyInstanceUid] = await HeaderAsync(stored, cancellationToken);
            }
        }

        foreach (var entry in entries.Where(e => e.Entry.Type is ReportIssued.EventType or DictationRecorded.EventType && e.Entry.Blobs.Count > 0 && options.Value.Systems.Count > 0))
        {
            // Before the commit: a pin too many is ended with the delivery, one too few would lose the document.
            await blobs.PinAsync([.. entry.Entry.Blobs.Select(b => b.Hash)], Holder, cancellationToken);
        }

        return headers;
    }

    private async Task<DicomDataset> HeaderAsync(InstanceStored stored, CancellationToken cancellationToken)
    {
        if (!ContentHash.TryParse(stored.Sha256, out var hash) || await blobs.OpenAsync(hash, cancellationToken) is not { } blob)
        {
            return new DicomDataset();
        }

        await using (blob)
        {
            try
            {
                var inspector = new DicomStreamInspector(DicomTransferSyntax.Get(stored.TransferSyntaxUid));
                var buffer = new byte[64 * 1024];
                while (inspector.PixelDataOffset is null && inspector.BytesPushed < 1024 * 1024 && await blob.ReadAsync(inspector.BytesPushed, buffer, cancellationToken) is > 0 and var read)
                {
                    inspector.Push(buffer.AsSpan(0, read));
                }

                return inspector.Header;
            }
            catch (DicomFormatException e)
            {
                Undecodable(stored.StudyInstanceUid, e.Message);
                return new DicomDataset();
            }
        }
    }

    /// <summary>Tells of studies of which nothing came for a while, or waits until there is something to do.</summary>
    private async Task TellStudiesAsync(CancellationToken cancellationToken)
    {
        var quiet = options.Value.StudyQuietMs;
        var now = Now();
        var next = database.Read(db => db.Command("SELECT min(last_ms) FROM study WHERE told < instances").Single() as long?);
        if (next is not { } oldest || oldest + quiet > now)
        {
            using var wake = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            var due = next is { } at ? TimeSpan.FromMilliseconds(Math.Max(1, at + quiet - now)) : Timeout.InfiniteTimeSpan;
            var timer = Task.Delay(due, clock, wake.Token);
            await Task.WhenAny(log.WaitForMoreAsync(Position, wake.Token), timer);
            await wake.CancelAsync();
            cancellationToken.ThrowIfCancellationRequested();
            return;
        }

        database.Write(db =>
        {
            foreach (var study in db.Command("SELECT uid, modality, started, series, instances, accession, trace_parent FROM study WHERE told < instances AND last_ms <= $1 LIMIT 64", now - quiet)
                .Rows(row => (Uid: row.GetString(0), Summary: new StudySummary(row.GetString(1), row.GetString(2), row.GetString(3).Split(' ', StringSplitOptions.RemoveEmptyEntries), row.GetInt64(4)), Accession: row.GetString(5), TraceParent: row.IsDBNull(6) ? null : row.GetString(6))))
            {
                var content = Link(db, new Outgoing("study", $"study/{study.Uid}/{study.Summary.Instances}", study.Uid, log.Site, null, null)
                {
                    Study = study.Summary,
                    StudyInstanceUid = study.Uid,
                    AccessionNumber = study.Accession,
                });
                foreach (var system in options.Value.Systems.Where(s => EmrDrivers.IsTold(s, "study")))
                {
                    outbox.Add(db, system.Name, content, study.TraceParent);
                }

                db.Command("UPDATE study SET told = instances WHERE uid = $1", study.Uid).Go();
            }
        });
        outbox.Signal();
    }

    private long Now() => clock.GetUtcNow().ToUnixTimeMilliseconds();

    [LoggerMessage(4010, LogLevel.Error, "The event log is not followed; trying again in {Seconds} s.")]
    private partial void Stalled(Exception exception, double seconds);

    [LoggerMessage(4011, LogLevel.Warning, "As much waits for {System} as may: nothing more is read from the log until it takes something, or a person decides about its dead letters.")]
    private partial void OutboxFull(string system);

    [LoggerMessage(4012, LogLevel.Warning, "The data set of study {StudyInstanceUid} does not say its patient: {Reason}")]
    private partial void Undecodable(string studyInstanceUid, string reason);

    [LoggerMessage(4013, LogLevel.Error, "The event at position {Position} of site {Site} is not one of type {Type}: nothing is told of it.")]
    private partial void Unreadable(string type, long position, string site);
}
