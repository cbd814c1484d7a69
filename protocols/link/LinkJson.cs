using System.Text.Json;
using System.Text.Json.Serialization;

namespace Yizhan.Link;

/// <summary>High-water marks of one site and epoch.</summary>
/// <param name="Epoch">The epoch that was asked for.</param>
/// <param name="Marks">One for each lane, urgent first: the highest sequence that is durable at the centre, 0 when none.</param>
/// <param name="Safe">
/// One for each lane: the highest sequence that a backup of the centre covers. Null when the centre makes no such promise; then its mark is all there is.
/// </param>
/// <param name="Last">One for each lane: an entry that the centre took; null for a lane of which it remembers none.</param>
public sealed record LinkMarks(Guid Epoch, IReadOnlyList<long> Marks, IReadOnlyList<long>? Safe = null, IReadOnlyList<LinkTaken?>? Last = null);

/// <summary>
/// What the centre took under a sequence. A site that has another entry there was restored from a copy without a new epoch: its sequences are used twice.
/// </summary>
/// <param name="Sequence">The sequence.</param>
/// <param name="Id">SHA-256 of the entry's id, 64 lower-case hex digits.</param>
public sealed record LinkTaken(long Sequence, string Id)
{
    /// <summary>An entry as it is remembered.</summary>
    public static LinkTaken Of(long sequence, string id) =>
        new(sequence, Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(id))));
}

/// <summary>The cumulative acknowledgement of one lane.</summary>
/// <param name="Mark">Everything up to this sequence is durable at the centre.</param>
public sealed record LinkMark(long Mark);

/// <summary>Asks which parts of some blobs the centre lacks.</summary>
/// <param name="Blobs">At most <see cref="LinkRoutes.MaxQuestionBlobs"/>.</param>
public sealed record MissingQuestion(IReadOnlyList<LinkBlob> Blobs);

/// <summary>A blob by content.</summary>
/// <param name="Sha256">64 lower-case hex digits.</param>
/// <param name="Length">Bytes.</param>
public sealed record LinkBlob(string Sha256, long Length);

/// <summary>What is missing, in the order of the question.</summary>
/// <param name="Blobs">For each blob its first missing ranges, in order; empty when it is complete.</param>
public sealed record MissingAnswer(IReadOnlyList<IReadOnlyList<LinkRange>> Blobs);

/// <summary>A range of bytes, on chunk boundaries.</summary>
/// <param name="Offset">First byte.</param>
/// <param name="Length">Bytes.</param>
public sealed record LinkRange(long Offset, long Length);

/// <summary>Answer to a run of chunks; they are durable.</summary>
/// <param name="Complete">True when the blob is whole and its hash is right.</param>
public sealed record ChunkAnswer(bool Complete);

/// <summary>A refusal: problem details (RFC 9457) with the members that tell a site what to do next.</summary>
/// <param name="Status">HTTP status; <c>docs/protocols/link.md</c> says who does what after each.</param>
/// <param name="Title">A short sentence.</param>
/// <param name="Detail">What was received and what would be accepted; never patient data.</param>
/// <param name="Mark">409: the lane's mark now. 422 on entries: the mark after those before the refused one were taken.</param>
/// <param name="Sequence">422 on entries: the refused one.</param>
/// <param name="Sha256">422 on blobs, 424: the blob that is meant.</param>
/// <param name="RetryAfterSeconds">503, 507: the same number as in Retry-After.</param>
public sealed record LinkProblem(
    int Status,
    string Title,
    string? Detail = null,
    long? Mark = null,
    long? Sequence = null,
    string? Sha256 = null,
    int? RetryAfterSeconds = null);

/// <summary>The one way in which the link's small bodies become JSON.</summary>
[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(LinkMarks))]
[JsonSerializable(typeof(LinkMark))]
[JsonSerializable(typeof(MissingQuestion))]
[JsonSerializable(typeof(MissingAnswer))]
[JsonSerializable(typeof(ChunkAnswer))]
[JsonSerializable(typeof(LinkProblem))]
public sealed partial class LinkJson : JsonSerializerContext;
