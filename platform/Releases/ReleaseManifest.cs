using System.Text.Json;
using System.Text.Json.Serialization;
using Yizhan.Platform.SiteFiles;

namespace Yizhan.Platform.Releases;

/// <summary>What a release consists of. Its bytes are what people sign, and their SHA-256 is the release's digest.</summary>
/// <param name="Version"><c>config-YY.MM.patch</c>.</param>
/// <param name="CreatedMs">When it was proposed, Unix milliseconds UTC.</param>
/// <param name="ExpiresMs">A site installs it until then, Unix milliseconds UTC; what is installed goes on running.</param>
/// <param name="ProposedBy">Name of the key of who proposed it.</param>
/// <param name="Note">Why, for people.</param>
/// <param name="Canaries">Sites of the first ring by name; when empty, a tenth of all by hash.</param>
/// <param name="Files">Every file of the release.</param>
public sealed record ReleaseManifest(
    string Version, long CreatedMs, long ExpiresMs, string ProposedBy, string Note, IReadOnlyList<string> Canaries, IReadOnlyList<ReleaseFile> Files);

/// <summary>A file of a release.</summary>
/// <param name="Path"><c>sites/ID.yaml</c>, <c>diff/ID.json</c>, <c>secrets/ID.sops.yaml</c> or <c>trust.json</c>.</param>
/// <param name="Sha256">64 lower-case hex digits.</param>
/// <param name="Length">Bytes.</param>
public sealed record ReleaseFile(string Path, string Sha256, long Length);

[JsonSourceGenerationOptions(
    JsonSerializerDefaults.Web, WriteIndented = true, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(ReleaseManifest))]
[JsonSerializable(typeof(ReleaseTrust))]
[JsonSerializable(typeof(SlotsState))]
[JsonSerializable(typeof(IReadOnlyList<SiteChange>))]
internal sealed partial class ReleaseJson : JsonSerializerContext;
