using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.RegularExpressions;
using Yizhan.Platform.Releases;

namespace Yizhan.Platform.Bundles;

/// <summary>What is signed of a bundle of models: its name, its version and the hash of each file.</summary>
/// <param name="Name">Name of the model: a-z, 0-9, '-' and '_'.</param>
/// <param name="Version">Its version, as in <c>metadata.json</c>.</param>
/// <param name="Files">All files but the signatures, by path.</param>
public sealed partial record BundleManifest(string Name, string Version, IReadOnlyList<ReleaseFile> Files)
{
    /// <summary>Its place in a bundle.</summary>
    public const string Path = "manifest.json";

    private const int MaxFiles = 64;

    /// <summary>Reads a manifest.</summary>
    /// <exception cref="BundleRefusedException">It is not one.</exception>
    public static BundleManifest Parse(ReadOnlySpan<byte> json)
    {
        try
        {
            var manifest = JsonSerializer.Deserialize(json, BundleManifestJson.Default.BundleManifest) ?? throw new JsonException("It is null.");
            return !NamePattern().IsMatch(manifest.Name) ? throw new JsonException($"The name is '{manifest.Name}'; accepted: 1 to 64 of a-z, 0-9, '-' and '_'.")
                : !VersionPattern().IsMatch(manifest.Version) ? throw new JsonException($"The version is '{manifest.Version}'; accepted: one to three numbers, such as 1.0.2.")
                : manifest.Files.Count is 0 or > MaxFiles ? throw new JsonException($"It names {manifest.Files.Count} files; accepted: 1 to {MaxFiles}.")
                : manifest.Files.FirstOrDefault(f => !PathPattern().IsMatch(f.Path)) is { } wrong ? throw new JsonException($"'{wrong.Path}' is no path of a bundle; accepted: LICENSE and files in configs/, models/ and docs/.")
                : manifest.Files.Select(f => f.Path).Distinct(StringComparer.Ordinal).Count() != manifest.Files.Count ? throw new JsonException("It names a file twice.")
                : manifest;
        }
        catch (JsonException e)
        {
            throw new BundleRefusedException($"manifest.json is not one of a bundle: {e.Message}", e);
        }
    }

    /// <summary>Makes the manifest of a folder.</summary>
    public static BundleManifest Of(string name, string version, string folder) => new(
        name,
        version,
        [.. Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories)
            .Select(f => (Full: f, Path: System.IO.Path.GetRelativePath(folder, f).Replace('\\', '/')))
            .Where(f => PathPattern().IsMatch(f.Path))
            .OrderBy(f => f.Path, StringComparer.Ordinal)
            .Select(f => new ReleaseFile(f.Path, HashOf(f.Full), (int)new FileInfo(f.Full).Length))]);

    /// <summary>The bytes that are signed.</summary>
    public byte[] ToBytes() => JsonSerializer.SerializeToUtf8Bytes(this, BundleManifestJson.Default.BundleManifest);

    /// <summary>SHA-256 of a file, 64 lower-case hex digits.</summary>
    public static string HashOf(string path)
    {
        using var file = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(file));
    }

    /// <summary>What a name may be; signatures are named alike.</summary>
    [GeneratedRegex(@"\A[a-z0-9][a-z0-9_-]{0,63}\z")]
    public static partial Regex NamePattern();

    /// <summary>What a version may be.</summary>
    [GeneratedRegex(@"\A[0-9]{1,6}(\.[0-9]{1,6}){0,2}\z")]
    public static partial Regex VersionPattern();

    /// <summary>Where a file of a bundle may be.</summary>
    [GeneratedRegex(@"\A(LICENSE|(configs|models|docs)/[A-Za-z0-9_][A-Za-z0-9._-]{0,80})\z")]
    public static partial Regex PathPattern();
}

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(BundleManifest))]
internal sealed partial class BundleManifestJson : JsonSerializerContext;
