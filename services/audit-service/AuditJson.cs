using System.Text.Json;
using System.Text.Json.Serialization;
using Yizhan.Contracts;

namespace Yizhan.Audit;

/// <summary>JSON of the service's HTTP surface. A member that is not known is refused: it is a mistyped one.</summary>
[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(AuditRecord))]
[JsonSerializable(typeof(AcceptedRecord))]
[JsonSerializable(typeof(FoundRecords))]
[JsonSerializable(typeof(InclusionProof))]
[JsonSerializable(typeof(ConsistencyProof))]
[JsonSerializable(typeof(VerifyLine))]
internal sealed partial class AuditJson : JsonSerializerContext;

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
/// <param name="Leaf">The leaf.</param>
internal sealed record FoundRecord(long Index, JsonElement Leaf);

/// <summary>That a leaf is in the log (RFC 6962 §2.1.1). Hashes and bytes are base64.</summary>
/// <param name="Index">Place of the leaf.</param>
/// <param name="Size">Size of the tree.</param>
/// <param name="Leaf">Bytes of the leaf.</param>
/// <param name="LeafHash">SHA-256(0x00 ‖ leaf).</param>
/// <param name="Proof">Siblings from the leaf up.</param>
/// <param name="Root">Root of the tree.</param>
/// <param name="Checkpoint">Signed note over size and root; null when the size is not that of the current one.</param>
internal sealed record InclusionProof(
    long Index, long Size, string Leaf, string LeafHash, IReadOnlyList<string> Proof, string Root, string? Checkpoint);

/// <summary>That one tree begins with another (RFC 6962 §2.1.2).</summary>
internal sealed record ConsistencyProof(long From, long To, string FromRoot, string ToRoot, IReadOnlyList<string> Proof);

/// <summary>A line of <c>GET /audit/verify</c>. The last one has <c>ok</c>.</summary>
internal sealed record VerifyLine(long Checked, bool? Ok, string? Problem, long? BadEntry, long? Size, IReadOnlyList<string>? Remarks);
