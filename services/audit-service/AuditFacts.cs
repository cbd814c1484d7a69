using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Yizhan.Contracts;
using Yizhan.Storage;

namespace Yizhan.Audit;

/// <summary>What a record says in the words that a search uses, whatever form it came in. Members are those of FHIR AuditEvent.</summary>
/// <param name="Type">Code of the event, such as 110103.</param>
/// <param name="Subtypes">Codes that say more, such as ITI-8 or <c>read</c>.</param>
/// <param name="Action">C, R, U, D or E.</param>
/// <param name="Outcome">0, 4, 8 or 12.</param>
/// <param name="RecordedMs">Unix milliseconds.</param>
/// <param name="Agents">Who: user ids, alternative ids, names of systems.</param>
/// <param name="Addresses">Their network addresses.</param>
/// <param name="Patients">Ids of patients, without a prefix.</param>
/// <param name="Entities">What it was done to: <c>study/1.2.3</c>, <c>patient/…</c>, identifiers, references.</param>
/// <param name="Source">What recorded it.</param>
/// <param name="SourceSite">Where that is; null when it does not say.</param>
/// <param name="Detail">A few words for people; may be null.</param>
internal sealed record AuditFacts(
    string Type,
    IReadOnlyList<string> Subtypes,
    string Action,
    int Outcome,
    long RecordedMs,
    IReadOnlyList<string> Agents,
    IReadOnlyList<string> Addresses,
    IReadOnlyList<string> Patients,
    IReadOnlyList<string> Entities,
    string Source,
    string? SourceSite,
    string? Detail)
{
    private const string PatientPrefix = "patient/";

    /// <summary>The facts of a platform record.</summary>
    public static AuditFacts Of(AuditRecord record) => new(
        record.EventId, [], record.Action, record.Outcome, record.RecordedMs, [record.Agent], record.AgentAddress is { } address ? [address] : [],
        PatientsOf(record), [record.Entity], record.Source, null, record.Detail);

    /// <summary>Whose key seals the record: the first patient, or what it is about. Erasing a person erases what names them.</summary>
    public string Subject => Patients.Count > 0 ? PatientPrefix + Patients[0] : Entities.Count > 0 ? Entities[0] : "source/" + Source;

    private static string[] PatientsOf(AuditRecord record) =>
        record.Patient is { Length: > 0 } patient ? [patient]
        : record.Entity.StartsWith(PatientPrefix, StringComparison.Ordinal) ? [record.Entity[PatientPrefix.Length..]]
        : [];
}

/// <summary>A message of another system, kept as it came.</summary>
/// <param name="Format"><c>fhir</c> (AuditEvent R4, JSON) or <c>atna</c> (AuditMessage, XML).</param>
/// <param name="Facts">What was read out of it.</param>
/// <param name="Original">The message.</param>
internal sealed record AuditMessage(string Format, AuditFacts Facts, string Original)
{
    public const string EventType = "yizhan.audit.message.v1";
    public const string Fhir = "fhir";
    public const string Atna = "atna";

    /// <summary>
    /// The entry of a message. Its id is the hash of what came, so that a sender may send it again as often as it likes.
    /// </summary>
    /// <param name="format">Of <paramref name="original"/>.</param>
    /// <param name="facts">What was read out of it.</param>
    /// <param name="original">What is kept.</param>
    /// <param name="sent">What came, when that is more than what is kept; null: <paramref name="original"/>.</param>
    public static Entry ToEntry(string format, AuditFacts facts, string original, ReadOnlySpan<byte> sent = default)
    {
        var hash = Convert.ToHexStringLower(sent.IsEmpty ? SHA256.HashData(Encoding.UTF8.GetBytes(original)) : SHA256.HashData(sent));
        var data = JsonSerializer.SerializeToUtf8Bytes(new AuditMessage(format, facts, original), AuditJson.Plain.AuditMessage);
        return new Entry(AuditRecordRules.LaneOf(facts.Type), EventType, $"audit/{format}/{hash}", facts.Subject, facts.RecordedMs, data);
    }
}

/// <summary>That the key of a subject is to be destroyed. Only this node's own event counts: it is the order, and what is left of it.</summary>
/// <param name="KeyId">The key.</param>
/// <param name="Agent">Who ordered it.</param>
/// <param name="Reason">Why, without naming the person.</param>
/// <param name="RecordedMs">When, Unix milliseconds.</param>
internal sealed record ErasureOrder(Guid KeyId, string Agent, string Reason, long RecordedMs)
{
    public const string EventType = "yizhan.audit.erasure.v1";

    /// <summary>What an auditor reads: Audit Log Used (110101), deleted.</summary>
    public AuditRecord ToRecord(string site) => new("110101", "D", 0, Agent, null, $"audit@{site}", $"subject-key/{KeyId:D}", Reason, RecordedMs);
}
