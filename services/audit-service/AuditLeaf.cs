using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Yizhan.Contracts;
using Yizhan.Storage;

namespace Yizhan.Audit;

/// <summary>What a leaf of the tree says. Its bytes are RFC 8785 JSON, so that anybody who knows the values can make them again.</summary>
/// <param name="Kind">One of the kinds below.</param>
/// <param name="Origin">Entry of the event log that it comes from.</param>
/// <param name="Id">Id of that entry.</param>
/// <param name="Association">Of a transfer: the association of its instances. Null else.</param>
/// <param name="Record">The record.</param>
internal sealed record AuditLeaf(string Kind, EntryIdentity Origin, string Id, string? Association, AuditRecord Record)
{
    /// <summary>A service wrote the record.</summary>
    public const string Recorded = "record";

    /// <summary>The first instance of an association of another site arrived here (PS3.15 A.5.3.7, DICOM Instances Transferred).</summary>
    public const string Transferred = "transfer";

    /// <summary>An entry said that it is an audit record and is none: the fact is kept, with the hash of its bytes.</summary>
    public const string Unreadable = "unreadable";

    private const int Version = 1;
    private const string InstancesTransferred = "110104";
    private const string SecurityAlert = "110113";
    private const int MaxTextLength = 256;

    /// <summary>The leaf of an entry; null when it is nothing for the audit. The same entry always gives the same leaf.</summary>
    /// <param name="entry">The entry.</param>
    /// <param name="site">Site of this node: what was stored here was not transferred.</param>
    public static AuditLeaf? From(LoggedEntry entry, string site)
    {
        try
        {
            return entry.Entry.Type switch
            {
                AuditRecord.EventType => FromRecord(entry),
                InstanceStored.EventType when entry.Identity.Site != site => FromInstance(entry, site),
                _ => null,
            };
        }
        catch (JsonException)
        {
            return FromUnreadable(entry, "it is not the JSON of its type");
        }
    }

    private static AuditLeaf FromRecord(LoggedEntry entry)
    {
        var record = JsonSerializer.Deserialize(entry.Entry.Data.Span, ContractsJson.Default.AuditRecord);
        return record is null ? FromUnreadable(entry, "it is null")
            : AuditRecordRules.ProblemOf(record) is { } problem ? FromUnreadable(entry, problem)
            : new AuditLeaf(Recorded, entry.Identity, entry.Entry.Id, Association: null, record);
    }

    private static AuditLeaf FromInstance(LoggedEntry entry, string site)
    {
        var stored = JsonSerializer.Deserialize(entry.Entry.Data.Span, ContractsJson.Default.InstanceStored);
        if (stored is not { StudyInstanceUid.Length: > 0 and <= MaxTextLength, AssociationId.Length: > 0 and <= MaxTextLength })
        {
            return FromUnreadable(entry, "its study or association is missing or too long");
        }

        var record = new AuditRecord(
            InstancesTransferred, "C", 0, $"site/{entry.Identity.Site}", null, $"audit@{site}", $"study/{stored.StudyInstanceUid}", null, entry.Entry.TimeMs);
        return new AuditLeaf(Transferred, entry.Identity, entry.Entry.Id, stored.AssociationId, record);
    }

    private static AuditLeaf FromUnreadable(LoggedEntry entry, string why)
    {
        var hash = Convert.ToHexStringLower(SHA256.HashData(entry.Entry.Data.Span));
        var record = new AuditRecord(
            SecurityAlert, "E", 8, $"site/{entry.Identity.Site}", null, "audit", $"event/{entry.Entry.Id}",
            $"Entry of {entry.Entry.Data.Length} bytes with SHA-256 {hash} is not readable: {why}", entry.Entry.TimeMs);
        return new AuditLeaf(Unreadable, entry.Identity, entry.Entry.Id, Association: null, record);
    }

    /// <summary>The canonical bytes: members sorted, no white space, null members left out, no escape that JSON does not need.</summary>
    public byte[] ToBytes()
    {
        var json = new StringBuilder(512).Append('{');
        Add("action", Record.Action);
        Add("agent", Record.Agent);
        Add("agentAddress", Record.AgentAddress);
        Add("association", Association);
        Add("detail", Record.Detail);
        Add("entity", Record.Entity);
        Add("eventId", Record.EventId);
        Add("id", Id);
        Add("kind", Kind);
        json.Append(CultureInfo.InvariantCulture, $"\"origin\":{{\"epoch\":\"{Origin.Epoch:D}\",\"lane\":{(int)Origin.Lane},\"sequence\":{Origin.Sequence},");
        Add("site", Origin.Site);
        json.Length--;
        json.Append(CultureInfo.InvariantCulture, $"}},\"outcome\":{Record.Outcome},\"recordedMs\":{Record.RecordedMs},");
        Add("source", Record.Source);
        return Encoding.UTF8.GetBytes(json.Append(CultureInfo.InvariantCulture, $"\"v\":{Version}}}").ToString());

        void Add(string name, string? value)
        {
            if (value is not null)
            {
                json.Append('"').Append(name).Append("\":");
                AppendText(json, value);
                json.Append(',');
            }
        }
    }

    /// <summary>Reads what <see cref="ToBytes"/> wrote.</summary>
    /// <exception cref="JsonException">The bytes are no leaf.</exception>
    public static AuditLeaf Parse(ReadOnlyMemory<byte> bytes)
    {
        using var json = JsonDocument.Parse(bytes);
        var leaf = json.RootElement;
        try
        {
            var origin = leaf.GetProperty("origin");
            string Text(string name) => leaf.GetProperty(name).GetString()!;
            string? TextOrNull(string name) => leaf.TryGetProperty(name, out var value) ? value.GetString() : null;
            return new AuditLeaf(
                Text("kind"),
                new EntryIdentity(
                    origin.GetProperty("site").GetString()!, origin.GetProperty("epoch").GetGuid(),
                    (Lane)origin.GetProperty("lane").GetByte(), origin.GetProperty("sequence").GetInt64()),
                Text("id"),
                TextOrNull("association"),
                new AuditRecord(
                    Text("eventId"), Text("action"), leaf.GetProperty("outcome").GetInt32(), Text("agent"), TextOrNull("agentAddress"),
                    Text("source"), Text("entity"), TextOrNull("detail"), leaf.GetProperty("recordedMs").GetInt64()));
        }
        catch (Exception e) when (e is KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new JsonException("A leaf of the audit tree does not have the members of version 1.", e);
        }
    }

    /// <summary>RFC 8785 §3.2.2.2.</summary>
    private static void AppendText(StringBuilder json, string value)
    {
        json.Append('"');
        foreach (var c in value)
        {
            _ = c switch
            {
                '"' => json.Append("\\\""),
                '\\' => json.Append("\\\\"),
                '\b' => json.Append("\\b"),
                '\t' => json.Append("\\t"),
                '\n' => json.Append("\\n"),
                '\f' => json.Append("\\f"),
                '\r' => json.Append("\\r"),
                < ' ' => json.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}"),
                _ => json.Append(c),
            };
        }

        json.Append('"');
    }
}
