using System.Text.Json;
using System.Text.Json.Serialization;

namespace Yizhan.Link;

/// <summary>
/// Stands in the centre's log at the sequence of an entry that cannot be taken, so that the sequence has no hole and nobody
/// can mistake a refused entry for one that never was. The entry itself stays in the site's quarantine.
/// </summary>
/// <param name="Type">Type of the entry.</param>
/// <param name="Id">Id of the entry.</param>
/// <param name="DataSha256">SHA-256 of its data, 64 lower-case hex digits.</param>
/// <param name="Reason">Why: what the centre or the site's own store said.</param>
/// <param name="QuarantinedMs">When, Unix milliseconds UTC, by the site's clock.</param>
public sealed record LinkTombstone(string Type, string Id, string DataSha256, string Reason, long QuarantinedMs)
{
    /// <summary>CloudEvents type of the entry whose data this is.</summary>
    public const string EventType = "yizhan.link.tombstone.v1";

    /// <summary>UTF-8 JSON.</summary>
    public byte[] ToJson() => JsonSerializer.SerializeToUtf8Bytes(this, TombstoneJson.Default.LinkTombstone);
}

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web)]
[JsonSerializable(typeof(LinkTombstone))]
internal sealed partial class TombstoneJson : JsonSerializerContext;
