using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Yizhan.Audit.Tree;
using Yizhan.Contracts;
using Yizhan.Transparency;

namespace Yizhan.Audit;

/// <summary>JSON of the service's HTTP surface. A member that is not known is refused: it is a mistyped one.</summary>
[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(AuditRecord))]
[JsonSerializable(typeof(AuditMessage))]
[JsonSerializable(typeof(ErasureOrder))]
[JsonSerializable(typeof(AuditState))]
[JsonSerializable(typeof(AcceptedRecord))]
[JsonSerializable(typeof(FoundRecords))]
[JsonSerializable(typeof(InclusionProof))]
[JsonSerializable(typeof(ConsistencyProof))]
[JsonSerializable(typeof(VerifyLine))]
[JsonSerializable(typeof(ErasureRequest))]
[JsonSerializable(typeof(HoldRequest))]
[JsonSerializable(typeof(SubjectSummary))]
internal sealed partial class AuditJson : JsonSerializerContext
{
    /// <summary>Without escapes that JSON does not need: a message inside of a text would double.</summary>
    public static AuditJson Plain => field ??= new(new JsonSerializerOptions(Default.Options) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
}

/// <summary>A record is durable.</summary>
/// <param name="Id">Its id, by which it is found once it is in the tree.</param>
/// <param name="AlreadyKnown">True when a record with the same idempotency key was here.</param>
internal sealed record AcceptedRecord(string Id, bool AlreadyKnown);

/// <summary>Records that were looked for, the newest first.</summary>
/// <param name="Size">Size of the log that was searched.</param>
/// <param name="Records">Them.</param>
internal sealed record FoundRecords(long Size, IReadOnlyList<FoundRecord> Records);

/// <summary>A record with its place.</summary>
/// <param name="Index">Its place in the log: <c>GET /audit/records/{index}/proof</c> proves it.</param>
/// <param name="Kind">What it is.</param>
/// <param name="Site">Site that it comes from.</param>
/// <param name="Id">Id of the event.</param>
/// <param name="Record">What it says, in the words of a search.</param>
/// <param name="Original">The message of another system; null for a record of this platform.</param>
/// <param name="Format">Of <paramref name="Original"/>: <c>fhir</c> or <c>atna</c>.</param>
internal sealed record FoundRecord(long Index, string Kind, string Site, string Id, AuditFacts Record, string? Format, string? Original)
{
    /// <summary>Of an entry whose key is there.</summary>
    public static FoundRecord Of(AuditEntry entry)
    {
        var message = entry.Payload!.ToMessage();
        return new FoundRecord(entry.Index, entry.Leaf.Kind, entry.Leaf.Source.Site, entry.Payload.Id, entry.Facts!, message?.Format, message?.Original);
    }
}

/// <summary>That a leaf is in the log (RFC 6962 §2.1.1). Hashes and bytes are base64.</summary>
/// <param name="Index">Place of the leaf.</param>
/// <param name="Size">Size of the tree.</param>
/// <param name="Leaf">Bytes of the leaf.</param>
/// <param name="LeafHash">SHA-256(0x00 ‖ leaf).</param>
/// <param name="Proof">Siblings from the leaf up.</param>
/// <param name="Root">Root of the tree.</param>
/// <param name="Checkpoint">Signed note over size and root; null when the size is not that of the current one.</param>
/// <param name="Salt">SHA-256(salt ‖ payload) is in the leaf. Null when the key was destroyed.</param>
/// <param name="Payload">What was recorded; null when the key was destroyed.</param>
internal sealed record InclusionProof(
    long Index, long Size, string Leaf, string LeafHash, IReadOnlyList<string> Proof, string Root, string? Checkpoint, string? Salt, string? Payload)
{
    /// <summary>The proof of an entry in the tree of a size.</summary>
    public static InclusionProof Of(AuditLog log, AuditEntry entry, Published current, long size)
    {
        var proofs = log.Reader.Proofs(size);
        return new InclusionProof(
            entry.Index,
            size,
            Convert.ToBase64String(entry.LeafBytes.Span),
            Merkle.LeafHash(entry.LeafBytes.Span).ToBase64(),
            [.. proofs.Inclusion(entry.Index, size).Select(h => h.ToBase64())],
            proofs.Root(size).ToBase64(),
            size == current.Checkpoint.Size ? System.Text.Encoding.UTF8.GetString(current.Note) : null,
            entry.Opened is { } opened ? Convert.ToBase64String(opened.Salt.Span) : null,
            entry.Opened is { } o ? Convert.ToBase64String(o.Payload.Span) : null);
    }
}

/// <summary>That one tree begins with another (RFC 6962 §2.1.2).</summary>
internal sealed record ConsistencyProof(long From, long To, string FromRoot, string ToRoot, IReadOnlyList<string> Proof);

/// <summary>A line of <c>GET /audit/verify</c>. The last one has <c>ok</c>.</summary>
internal sealed record VerifyLine(long Checked, bool? Ok, string? Problem, long? BadEntry, long? Size, IReadOnlyList<string>? Remarks);

/// <summary>Body of an order to erase.</summary>
/// <param name="Agent">Who orders it.</param>
/// <param name="Reason">Why, without naming the person.</param>
internal sealed record ErasureRequest(string Agent, string Reason);

/// <summary>Body of a legal hold.</summary>
/// <param name="Agent">Who sets it.</param>
/// <param name="Reason">Why.</param>
internal sealed record HoldRequest(string Agent, string Reason);

/// <summary>The key store in numbers.</summary>
/// <param name="Keys">Subjects that can be read.</param>
/// <param name="Destroyed">Keys that were destroyed.</param>
/// <param name="Holds">Legal holds.</param>
internal sealed record SubjectSummary(long Keys, long Destroyed, IReadOnlyList<Sealing.LegalHold> Holds);
