using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Yizhan.Platform.Licences;

/// <summary>A licence, as its payload says it (RFC 7519 names where there are any).</summary>
/// <param name="Id">Name of the licence, for people: <c>L-2026-0017</c>.</param>
/// <param name="Site">The site.</param>
/// <param name="Hardware">Fingerprint of the machine; null for any machine of the site.</param>
/// <param name="NotBefore">Begin, Unix seconds.</param>
/// <param name="Expires">End, Unix seconds.</param>
/// <param name="GraceDays">Days after the end on which it still counts.</param>
/// <param name="Features">What it allows, such as <c>ai.ct-ich</c>; <c>ai.*</c> is everything that begins so.</param>
/// <param name="Sequence">Grows with every licence of a site.</param>
public sealed record Licence(
    [property: JsonPropertyName("lic")] string Id,
    [property: JsonPropertyName("site")] string Site,
    [property: JsonPropertyName("node_fp")] string? Hardware,
    [property: JsonPropertyName("nbf")] long NotBefore,
    [property: JsonPropertyName("exp")] long Expires,
    [property: JsonPropertyName("grace_days")] int GraceDays,
    [property: JsonPropertyName("features")] IReadOnlyList<string> Features,
    [property: JsonPropertyName("seq")] long Sequence)
{
    /// <summary>Type in the header of the statement.</summary>
    public const string Type = "yizhan-licence+jws";

    /// <summary>Most features of one licence.</summary>
    public const int MaxFeatures = 256;

    /// <summary>Most days of grace.</summary>
    public const int MaxGraceDays = 90;

    /// <summary>Signs it.</summary>
    /// <exception cref="ArgumentException">A value is out of bounds; the message names it.</exception>
    public string Sign(ECDsa key)
    {
        var wrong = Wrong();
        return wrong is null
            ? CompactJws.Sign(key, Type, JsonSerializer.SerializeToUtf8Bytes(this, LicenceJson.Default.Licence))
            : throw new ArgumentException(wrong);
    }

    /// <summary>Reads a licence; null when the key did not sign one in these bounds.</summary>
    public static Licence? Read(string text, ECDsa key)
    {
        try
        {
            return CompactJws.Verify(key, Type, text.Trim()) is { } payload
                && JsonSerializer.Deserialize(payload, LicenceJson.Default.Licence) is { } licence && licence.Wrong() is null
                ? licence
                : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>Whether it names a feature.</summary>
    public bool Names(string feature) => Features.Any(f => Fits(f, feature));

    /// <summary>Whether a name such as <c>ai.ct-ich</c>, or a family such as <c>ai.*</c>, is or has a feature.</summary>
    internal static bool Fits(string named, string feature) =>
        named == feature || (named.EndsWith(".*", StringComparison.Ordinal) && feature.StartsWith(named[..^1], StringComparison.Ordinal));

    private string? Wrong() =>
        string.IsNullOrEmpty(Id) || Id.Length > 64 ? "lic must have 1 to 64 characters."
        : string.IsNullOrEmpty(Site) ? "site is missing."
        : Expires <= NotBefore ? $"exp ({Expires}) must be after nbf ({NotBefore})."
        : GraceDays is < 0 or > MaxGraceDays ? $"grace_days is {GraceDays}; accepted are 0 to {MaxGraceDays}."
        : Sequence < 1 ? $"seq is {Sequence}; accepted are 1 and more."
        : Features is null || Features.Count > MaxFeatures || Features.Any(string.IsNullOrEmpty) ? $"features must be 0 to {MaxFeatures} names."
        : null;
}

/// <summary>JSON of licences.</summary>
[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, UseStringEnumConverter = true)]
[JsonSerializable(typeof(Licence))]
[JsonSerializable(typeof(LicenceView))]
[JsonSerializable(typeof(LicenceMemory))]
public sealed partial class LicenceJson : JsonSerializerContext;
