using System.Globalization;
using System.Text.Json.Nodes;

namespace Yizhan.DicomWeb;

/// <summary>What a server says of the instances of one STOW-RS request (PS3.18 §10.5.3, PS3.3 of the Store Instances Response Module).</summary>
/// <param name="Stored">SOP Instance UIDs that it has taken.</param>
/// <param name="Failed">Those that it has not.</param>
public sealed record StowAnswer(IReadOnlyList<string> Stored, IReadOnlyList<StowFailure> Failed)
{
    private const string ReferencedSopSequence = "00081199";
    private const string FailedSopSequence = "00081198";
    private const string OtherFailuresSequence = "0008119A";
    private const string ReferencedSopInstanceUid = "00081155";
    private const string FailureReason = "00081197";

    internal static StowAnswer Read(JsonNode? json)
    {
        var answer = json is JsonArray { Count: 1 } list ? list[0] : json;
        return new StowAnswer(
            [.. Items(answer, ReferencedSopSequence).Select(i => Value(i, ReferencedSopInstanceUid))],
            [.. Items(answer, FailedSopSequence).Concat(Items(answer, OtherFailuresSequence)).Select(i => new StowFailure(
                Value(i, ReferencedSopInstanceUid), int.TryParse(Value(i, FailureReason), NumberStyles.None, CultureInfo.InvariantCulture, out var reason) ? reason : null))]);
    }

    private static JsonArray Items(JsonNode? dataset, string tag) =>
        dataset is JsonObject found && found[tag] is JsonObject attribute && attribute["Value"] is JsonArray items ? items : [];

    private static string Value(JsonNode? item, string tag) =>
        item is JsonObject found && found[tag] is JsonObject attribute && attribute["Value"] is JsonArray { Count: > 0 } values ? values[0]?.ToString() ?? "" : "";
}

/// <summary>An instance that was not taken.</summary>
/// <param name="SopInstanceUid">Which; empty when the server could not tell.</param>
/// <param name="Reason">Failure Reason (0008,1197), such as 0xA700 for out of resources; null when none was given.</param>
public sealed record StowFailure(string SopInstanceUid, int? Reason);
