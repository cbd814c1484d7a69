using System.Text.Json;
using System.Text.Json.Serialization;
using Yizhan.Transparency;

namespace Yizhan.Console.Audit;

/// <summary>JSON of the audit service, as far as the page shows it.</summary>
[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(FoundRecords))]
[JsonSerializable(typeof(RecordProof))]
[JsonSerializable(typeof(VerifyLine))]
internal sealed partial class AuditAnswers : JsonSerializerContext;

/// <summary>Answer of <c>GET /audit/records</c>.</summary>
internal sealed record FoundRecords(IReadOnlyList<FoundRecord> Records);

/// <summary>A record and its place in the log.</summary>
public sealed record FoundRecord(long Index, string Site, RecordFacts Record);

/// <summary>What a record says.</summary>
public sealed record RecordFacts(
    string Type, string Action, int Outcome, long RecordedMs, IReadOnlyList<string> Agents, IReadOnlyList<string> Patients, IReadOnlyList<string> Entities,
    string? Detail = null);

/// <summary>The last line of <c>GET /audit/verify</c>.</summary>
internal sealed record VerifyLine(long Checked, bool? Ok = null, long? BadEntry = null);

/// <summary>Answer of <c>GET /audit/records/{index}/proof</c>. Hashes and bytes are base64.</summary>
internal sealed record RecordProof(byte[] Leaf, IReadOnlyList<byte[]> Proof, string? Checkpoint = null, byte[]? Salt = null, byte[]? Payload = null)
{
    /// <summary>True when the leaf is in the tree of the checkpoint, holds the hash of the payload, and the payload says what is shown.</summary>
    public bool Proves(FoundRecord shown, Checkpoint checkpoint) =>
        Salt is not null && Payload is not null && Proof.All(h => h.Length == TreeHash.Size)
        && Merkle.IsIncluded(Merkle.LeafHash(Leaf), shown.Index, checkpoint.Size, [.. Proof.Select(h => new TreeHash(h))], checkpoint.Root)
        && AuditLeaf.TryParse(Leaf, out var leaf) && leaf.Payload == TreeHash.Of([.. Salt, .. Payload])
        && Says(JsonDocument.Parse(Payload).RootElement.GetProperty("data"), shown.Record);

    /// <summary>A record of the platform names one agent and one entity; a message of another system has the facts in the words of the search.</summary>
    private static bool Says(JsonElement data, RecordFacts shown)
    {
        var facts = data.TryGetProperty("facts", out var read) ? read : data;
        return facts.GetProperty("recordedMs").GetInt64() == shown.RecordedMs
            && Holds(facts, "action", [shown.Action]) && Holds(facts, "agent", shown.Agents) && Holds(facts, "agents", shown.Agents)
            && Holds(facts, "entity", shown.Entities) && Holds(facts, "entities", shown.Entities)
            && Holds(facts, "patient", shown.Patients) && Holds(facts, "patients", shown.Patients);
    }

    /// <summary>True when the member is not there, or has these values.</summary>
    private static bool Holds(JsonElement facts, string member, IReadOnlyList<string> values) =>
        !facts.TryGetProperty(member, out var value) || value.ValueKind switch
        {
            JsonValueKind.Array => value.EnumerateArray().Select(v => v.GetString()).SequenceEqual(values),
            JsonValueKind.String => values is [var only] && only == value.GetString(),
            _ => true,
        };
}

/// <summary>A record with what its proof says.</summary>
public sealed record ProvenRecord(FoundRecord Found, ProofState Proof);

/// <summary>Whether a record is what was signed.</summary>
public enum ProofState
{
    /// <summary>The signed checkpoint proves it.</summary>
    Verified,

    /// <summary>There is a proof, and it does not prove this.</summary>
    Wrong,

    /// <summary>The service gave no proof: the entry has expired.</summary>
    Missing,
}

/// <summary>What a verification of the whole log found.</summary>
/// <param name="At">When it ended.</param>
/// <param name="Ok">All is what was signed.</param>
/// <param name="Entries">Entries that were checked.</param>
/// <param name="BadEntry">The first that is wrong, when one can be named.</param>
public sealed record LogVerification(DateTimeOffset At, bool Ok, long Entries, long? BadEntry);
