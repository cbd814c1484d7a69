namespace Yizhan.Contracts;

/// <summary>A system that the EMR adapter talks to; an element of <c>GET /emr-adapter/systems</c>.</summary>
/// <param name="Name">Its name in the settings.</param>
/// <param name="Driver">hl7, fhir, openmrs or bahmni.</param>
/// <param name="Waiting">Messages that it has not taken yet.</param>
/// <param name="Delivered">Messages that it has taken and that are still remembered.</param>
/// <param name="DeadLetters">Messages that wait for a person.</param>
/// <param name="Unlinked">Results whose patient or order is not known yet.</param>
/// <param name="OldestMs">When the oldest waiting one was queued, Unix milliseconds; null when none waits.</param>
/// <param name="Problem">Why nothing gets through now; null when something does.</param>
/// <param name="WaitingBytes">Bytes that wait.</param>
public sealed record EmrSystemView(
    string Name, string Driver, long Waiting, long Delivered, long DeadLetters, long Unlinked, long? OldestMs, string? Problem, long WaitingBytes);

/// <summary>A message for a system; an element of <c>GET /emr-adapter/messages</c> and <c>GET /emr-adapter/dead-letters</c>.</summary>
/// <param name="Key">For <c>POST /emr-adapter/dead-letters/KEY/replay</c>.</param>
/// <param name="Direction">out, or in for what a system gave us and we could not take.</param>
/// <param name="System">The system.</param>
/// <param name="Kind">order, study, report, finding or note.</param>
/// <param name="Subject">What it is about: an identifier of an order, study, report or finding.</param>
/// <param name="State">waiting, delivered, dead, unlinked or superseded.</param>
/// <param name="Attempts">How often it was tried.</param>
/// <param name="Reason">Why it was refused or still waits; empty when nothing is wrong.</param>
/// <param name="QueuedMs">When it was queued, Unix milliseconds UTC.</param>
/// <param name="EndedMs">When it was delivered or given up; null before.</param>
/// <param name="ControlId">MSH-10, or the identifier by which the other side knows it.</param>
public sealed record EmrMessageView(
    long Key, string Direction, string System, string Kind, string Subject, string State, int Attempts, string Reason, long QueuedMs, long? EndedMs, string ControlId);

/// <summary>An order as the adapter has it; an element of <c>GET /emr-adapter/orders</c>.</summary>
/// <param name="OrderId">Its identity.</param>
/// <param name="Source">Who ordered.</param>
/// <param name="State">active, cancelled, replaced or completed.</param>
/// <param name="PlacerOrderNumber">Order number at the source.</param>
/// <param name="AccessionNumber">Accession number.</param>
/// <param name="PatientId">Patient ID.</param>
/// <param name="StudyInstanceUid">UID that its study has.</param>
/// <param name="Description">What is to be done.</param>
/// <param name="OrderedMs">When the source said so last, Unix milliseconds UTC.</param>
public sealed record EmrOrderView(
    string OrderId, string Source, string State, string PlacerOrderNumber, string AccessionNumber, string PatientId, string StudyInstanceUid, string Description,
    long OrderedMs);

/// <summary>A code that no map knows; an element of <c>GET /emr-adapter/unmapped</c>.</summary>
/// <param name="Map">The map that lacks it.</param>
/// <param name="System">Its code system.</param>
/// <param name="Code">The code.</param>
/// <param name="Text">What the source calls it.</param>
/// <param name="Orders">Orders that carry it.</param>
/// <param name="FirstMs">When it was first seen, Unix milliseconds UTC.</param>
public sealed record UnmappedCodeView(string Map, string System, string Code, string Text, long Orders, long FirstMs);

/// <summary>Identifiers that contradict each other; an element of <c>GET /emr-adapter/identity-conflicts</c>.</summary>
/// <param name="Key">Its number.</param>
/// <param name="PatientId">The patient.</param>
/// <param name="Issuer">Who gives that identifier out.</param>
/// <param name="Problem">What is wrong, without names.</param>
/// <param name="FirstMs">When it was first seen, Unix milliseconds UTC.</param>
/// <param name="OtherPatientId">The patient that it may be one with; empty when the contradiction is within one patient.</param>
/// <param name="OtherIssuer">Who gives that identifier out.</param>
public sealed record IdentityConflictView(long Key, string PatientId, string Issuer, string Problem, long FirstMs, string OtherPatientId = "", string OtherIssuer = "");

/// <summary>What a message would become; the answer to <c>POST /emr-adapter/preview</c>. Nothing is stored.</summary>
/// <param name="Kind">What the input is, such as <c>ORM^O01</c> or <c>ServiceRequest</c>.</param>
/// <param name="Answer">What its sender would be told: AA, AE, AR, accepted or refused.</param>
/// <param name="Reason">Why, when it is refused; empty otherwise.</param>
/// <param name="Orders">Orders.</param>
/// <param name="Patients">Patients.</param>
/// <param name="Unmapped">Codes that no map knows, as <c>system|code</c>.</param>
public sealed record EmrPreview(
    string Kind, string Answer, string Reason, IReadOnlyList<ImagingOrder> Orders, IReadOnlyList<PatientChanged> Patients, IReadOnlyList<string> Unmapped);

/// <summary>What a system was told of a study; an element of <c>GET /emr-adapter/studies?uid=UID&amp;uid=…</c>.</summary>
/// <param name="StudyInstanceUid">(0020,000D).</param>
/// <param name="System">The system.</param>
/// <param name="Kind">study, report or finding.</param>
/// <param name="State">waiting, delivered, dead or unlinked.</param>
/// <param name="QueuedMs">When it was queued, Unix milliseconds UTC.</param>
/// <param name="EndedMs">When it was delivered or given up; null before.</param>
public sealed record EmrStudyView(string StudyInstanceUid, string System, string Kind, string State, long QueuedMs, long? EndedMs);
