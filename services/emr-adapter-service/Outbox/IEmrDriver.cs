using Yizhan.Contracts;

namespace Yizhan.EmrAdapter.Outbox;

/// <summary>How one kind of system is told something. One instance for each system; calls for different patients may be concurrent.</summary>
internal interface IEmrDriver : IAsyncDisposable
{
    /// <summary>
    /// Tells it, and returns once the system has said that it keeps it. The same message may come again after a lost answer or a crash: it must have one
    /// effect there.
    /// </summary>
    /// <exception cref="Fhir.FhirException">It did not do what it was asked; says what that means.</exception>
    /// <exception cref="InvalidDataException">The fact cannot be said to any system as it is: a document is missing or too long.</exception>
    Task<SendOutcome> SendAsync(OutboxMessage message, CancellationToken cancellationToken);
}

/// <summary>How a try ended; each case says who does what next.</summary>
internal abstract record SendOutcome
{
    /// <summary>The system has it.</summary>
    public sealed record Delivered : SendOutcome;

    /// <summary>It can never be taken as it is: a dead letter for a person.</summary>
    /// <param name="Reason">What the system said, without patient data.</param>
    public sealed record Refused(string Reason) : SendOutcome;

    /// <summary>It was not taken now, and it may be this message: tried again some times, then a dead letter if others get through.</summary>
    /// <param name="Reason">What the system said.</param>
    public sealed record Failed(string Reason) : SendOutcome;

    /// <summary>The system is away, or does not let us in: nothing is held against the message.</summary>
    /// <param name="Reason">What happened.</param>
    public sealed record Unreachable(string Reason) : SendOutcome;
}

/// <summary>A message of the outbox.</summary>
/// <param name="Pk">Its key.</param>
/// <param name="System">Whom it is for.</param>
/// <param name="Fact">The business fact, the same for each retransmission.</param>
/// <param name="ControlId">MSH-10, and the value of the identifier by which it is found again: made of the system and the fact.</param>
/// <param name="Lane">The patient: messages of one lane are sent one after another.</param>
/// <param name="Attempts">Tries that failed.</param>
/// <param name="FailingSinceMs">When the first of them failed.</param>
/// <param name="Content">What to say.</param>
/// <param name="TraceParent">Trace of the work that it comes from (W3C Trace Context); null when that was not traced.</param>
internal sealed record OutboxMessage(long Pk, string System, string Fact, string ControlId, string Lane, int Attempts, long? FailingSinceMs, Outgoing Content, string? TraceParent = null);

/// <summary>What a system is to be told, with all that a mapping needs.</summary>
/// <param name="Kind">order, study, report, finding, note or recording (of a dictated note).</param>
/// <param name="Fact">Identity of the fact.</param>
/// <param name="Subject">What it is about: the newest message of a subject counts.</param>
/// <param name="Site">Site that the fact is from.</param>
/// <param name="Patient">Whom it is about; null until that is known.</param>
/// <param name="Order">The order that it answers; null when there is none.</param>
internal sealed record Outgoing(string Kind, string Fact, string Subject, string Site, EmrPatient? Patient, ImagingOrder? Order)
{
    /// <summary>Study Instance UID; may be empty for a note.</summary>
    public string StudyInstanceUid { get; init; } = "";

    /// <summary>Accession number.</summary>
    public string AccessionNumber { get; init; } = "";

    /// <summary>Patient ID that the fact itself names.</summary>
    public string PatientId { get; init; } = "";

    public StudySummary? Study { get; init; }

    public ReportIssued? Report { get; init; }

    public AnalysisFinished? Analysis { get; init; }

    public DictationRecorded? Recording { get; init; }

    public ProcedureScheduled? Step { get; init; }
}

/// <summary>A study as far as it has come.</summary>
/// <param name="Modality">(0008,0060) of its first instance.</param>
/// <param name="Started">(0008,0020) and (0008,0030), YYYYMMDD[HHMMSS].</param>
/// <param name="Series">Series UIDs.</param>
/// <param name="Instances">Number of instances.</param>
internal sealed record StudySummary(string Modality, string Started, IReadOnlyList<string> Series, long Instances);
