using System.Security.Cryptography;
using System.Text.Json;
using Yizhan.Contracts;
using Yizhan.Storage;

namespace Yizhan.Audit;

/// <summary>What becomes an entry of the log, before it is sealed.</summary>
/// <param name="Kind">One of the kinds below.</param>
/// <param name="Origin">Entry of the event log that it comes from.</param>
/// <param name="Payload">What is sealed.</param>
/// <param name="Facts">What a search finds it by.</param>
internal sealed record AuditDraft(string Kind, EntryIdentity Origin, AuditPayload Payload, AuditFacts Facts)
{
    /// <summary>A service wrote the record.</summary>
    public const string Recorded = "record";

    /// <summary>Another system sent it, as FHIR or ATNA.</summary>
    public const string Message = "message";

    /// <summary>The first instance of an association of another site arrived here (PS3.15 A.5.3.7, DICOM Instances Transferred).</summary>
    public const string Transferred = "transfer";

    /// <summary>An entry said that it is an audit record and is none: the fact is kept, with the hash of its bytes.</summary>
    public const string Unreadable = "unreadable";

    /// <summary>A source did not deliver a part of its sequence.</summary>
    public const string Gap = "gap";

    /// <summary>The key of a subject was destroyed.</summary>
    public const string Erasure = "erasure";

    private const string InstancesTransferred = "110104";
    private const string SecurityAlert = "110113";
    private const int MaxTextLength = 256;

    /// <summary>The draft of an entry; null when it is nothing for the audit. The same entry always gives the same draft.</summary>
    /// <param name="entry">The entry.</param>
    /// <param name="site">Site of this node: what was stored here was not transferred.</param>
    public static AuditDraft? From(LoggedEntry entry, string site)
    {
        try
        {
            return entry.Entry.Type switch
            {
                AuditRecord.EventType => FromRecord(entry),
                AuditMessage.EventType => FromMessage(entry),
                ErasureOrder.EventType when entry.Identity.Site == site => FromErasure(entry, site),
                InstanceStored.EventType when entry.Identity.Site != site => FromInstance(entry, site),
                _ => null,
            };
        }
        catch (JsonException)
        {
            return FromUnreadable(entry, "it is not the JSON of its type");
        }
    }

    /// <summary>That entries between <paramref name="after"/> and this one never came.</summary>
    public static AuditDraft MissingBefore(LoggedEntry entry, long after, string site)
    {
        var (from, _, lane, sequence) = entry.Identity;
        var record = new AuditRecord(
            SecurityAlert, "E", 8, $"site/{from}", null, $"audit@{site}", $"site/{from}",
            $"Lane {lane} did not deliver its sequences {after + 1} to {sequence - 1}.", entry.Entry.TimeMs);
        var draft = Of(Gap, entry, record);
        return draft with { Origin = entry.Identity with { Sequence = sequence - 1 }, Payload = draft.Payload with { Id = $"audit/gap/{entry.Entry.Id}" } };
    }

    private static AuditDraft FromRecord(LoggedEntry entry)
    {
        var record = JsonSerializer.Deserialize(entry.Entry.Data.Span, ContractsJson.Default.AuditRecord);
        return record is null ? FromUnreadable(entry, "it is null")
            : AuditRecordRules.ProblemOf(record) is { } problem ? FromUnreadable(entry, problem)
            : new AuditDraft(Recorded, entry.Identity, new AuditPayload(AuditRecord.EventType, entry.Entry.Id, null, entry.Entry.Data), AuditFacts.Of(record));
    }

    private static AuditDraft FromMessage(LoggedEntry entry) =>
        JsonSerializer.Deserialize(entry.Entry.Data.Span, AuditJson.Default.AuditMessage) is { } message
            ? new AuditDraft(Message, entry.Identity, new AuditPayload(AuditMessage.EventType, entry.Entry.Id, null, entry.Entry.Data), message.Facts)
            : FromUnreadable(entry, "it is null");

    private static AuditDraft FromErasure(LoggedEntry entry, string site)
    {
        var order = JsonSerializer.Deserialize(entry.Entry.Data.Span, AuditJson.Default.ErasureOrder)!;
        return new AuditDraft(
            Erasure, entry.Identity, new AuditPayload(ErasureOrder.EventType, entry.Entry.Id, null, entry.Entry.Data), AuditFacts.Of(order.ToRecord(site)));
    }

    private static AuditDraft FromInstance(LoggedEntry entry, string site)
    {
        var stored = JsonSerializer.Deserialize(entry.Entry.Data.Span, ContractsJson.Default.InstanceStored);
        if (stored is not { StudyInstanceUid.Length: > 0 and <= MaxTextLength, AssociationId.Length: > 0 and <= MaxTextLength })
        {
            return FromUnreadable(entry, "its study or association is missing or too long");
        }

        var record = new AuditRecord(
            InstancesTransferred, "C", 0, $"site/{entry.Identity.Site}", null, $"audit@{site}", $"study/{stored.StudyInstanceUid}", null, entry.Entry.TimeMs);
        return Of(Transferred, entry, record, stored.AssociationId);
    }

    private static AuditDraft FromUnreadable(LoggedEntry entry, string why)
    {
        var hash = Convert.ToHexStringLower(SHA256.HashData(entry.Entry.Data.Span));
        return Of(Unreadable, entry, new AuditRecord(
            SecurityAlert, "E", 8, $"site/{entry.Identity.Site}", null, "audit", $"event/{entry.Entry.Id}",
            $"Entry of {entry.Entry.Data.Length} bytes with SHA-256 {hash} is not readable: {why}", entry.Entry.TimeMs));
    }

    private static AuditDraft Of(string kind, LoggedEntry entry, AuditRecord record, string? association = null)
    {
        var data = JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord);
        return new AuditDraft(kind, entry.Identity, new AuditPayload(AuditRecord.EventType, entry.Entry.Id, association, data), AuditFacts.Of(record));
    }
}
