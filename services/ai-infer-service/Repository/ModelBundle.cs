using System.IO.Compression;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using Yizhan.Platform.Releases;

namespace Yizhan.AiInfer.Repository;

/// <summary>
/// A MONAI bundle on disk whose every file was compared with its manifest: <c>configs/metadata.json</c>, <c>configs/inference.json</c>, <c>configs/yizhan.json</c>,
/// <c>models/model.onnx</c> (or <c>.rknn</c>), <c>docs/</c>; beside them <c>manifest.json</c> and <c>signatures/NAME.sig</c>.
/// </summary>
internal sealed class ModelBundle
{
    private const int MaxJsonBytes = 1024 * 1024;
    private const int MaxSignatureBytes = 256;

    private static readonly string[] RequiredMetadata = ["version", "task", "description", "authors", "copyright", "network_data_format"];

    private ModelBundle(string folder, BundleManifest manifest, IReadOnlyList<string> signedBy)
    {
        (Folder, Manifest, SignedBy) = (folder, manifest, signedBy);
        Digest = Convert.ToHexStringLower(SHA256.HashData(manifest.ToBytes()));
        Metadata = Json("configs/metadata.json");
        Inference = manifest.Files.Any(f => f.Path == "configs/inference.json") ? Json("configs/inference.json") : null;
        Settings = ReadSettings();
        CheckMetadata();
    }

    /// <summary>Where it is.</summary>
    public string Folder { get; }

    /// <summary>Name, version and files.</summary>
    public BundleManifest Manifest { get; }

    /// <summary>Whose signatures it has; empty for an unsigned one and for those of the product.</summary>
    public IReadOnlyList<string> SignedBy { get; }

    /// <summary>SHA-256 of the manifest: the identity of the bundle in results and audit records.</summary>
    public string Digest { get; }

    /// <summary>SHA-256 of the model.</summary>
    public string ModelDigest => Manifest.Files.First(f => f.Path == ModelPath).Sha256;

    /// <summary><c>configs/metadata.json</c>.</summary>
    public JsonObject Metadata { get; }

    /// <summary><c>configs/inference.json</c>; null when there is none.</summary>
    public JsonObject? Inference { get; }

    /// <summary><c>configs/yizhan.json</c>, or its defaults.</summary>
    public BundleSettings Settings { get; }

    /// <summary>The model: <c>models/model.rknn</c> where there is one and it can run, else <c>models/model.onnx</c>.</summary>
    public string ModelPath => Manifest.Files.Any(f => f.Path == "models/model.onnx") ? "models/model.onnx" : "models/model.rknn";

    /// <summary>The model's file.</summary>
    public string ModelFile => Path.Combine(Folder, ModelPath);

    /// <summary>The RKNN file; null when there is none.</summary>
    public string? RknnFile => Manifest.Files.Any(f => f.Path == "models/model.rknn") ? Path.Combine(Folder, "models/model.rknn") : null;

    /// <summary>Opens a folder and compares every file with the manifest.</summary>
    /// <param name="folder">The bundle.</param>
    /// <param name="trust">Whose signatures count.</param>
    /// <param name="needsSignature">False for bundles that are part of the program.</param>
    /// <exception cref="BundleRefusedException">A file is missing, altered or wrong, or nobody who counts has signed.</exception>
    public static ModelBundle Open(string folder, ReleaseTrust? trust, bool needsSignature)
    {
        var path = Path.Combine(folder, BundleManifest.Path);
        if (!File.Exists(path) || new FileInfo(path).Length > MaxJsonBytes)
        {
            throw new BundleRefusedException($"The bundle has no manifest.json of up to {MaxJsonBytes} bytes; 'yizhan model pack' makes one.");
        }

        var bytes = File.ReadAllBytes(path);
        var manifest = BundleManifest.Parse(bytes);
        var signedBy = Signers(folder, bytes, trust);
        if (needsSignature && signedBy.Count == 0)
        {
            throw new BundleRefusedException(trust is null
                ? $"{manifest.Name} {manifest.Version} is not signed by anybody trusted here: no ai-infer:trustPath is set."
                : $"{manifest.Name} {manifest.Version} is not signed; accepted: a signature of {string.Join(", ", trust.Keys.Where(k => !k.Revoked).Select(k => k.Name))}.");
        }

        foreach (var file in manifest.Files)
        {
            var full = Path.Combine(folder, file.Path);
            if (!File.Exists(full))
            {
                throw new BundleRefusedException($"'{file.Path}' of {manifest.Name} {manifest.Version} is missing.");
            }

            if (BundleManifest.HashOf(full) is var hash && hash != file.Sha256)
            {
                throw new BundleRefusedException($"'{file.Path}' of {manifest.Name} {manifest.Version} is not what was signed: its SHA-256 is {hash}, not {file.Sha256}.");
            }
        }

        return new ModelBundle(folder, manifest, signedBy);
    }

    /// <summary>Unpacks an archive into a new folder. Nothing is written by the archive's names but what a manifest may name.</summary>
    /// <exception cref="BundleRefusedException">It is no bundle, or too large.</exception>
    public static void Unpack(Stream archive, string folder, long maxBytes)
    {
        try
        {
            using var zip = new ZipArchive(archive, ZipArchiveMode.Read);
            var left = maxBytes;
            foreach (var entry in zip.Entries.Where(e => !e.FullName.EndsWith('/')))
            {
                var allowed = entry.FullName == BundleManifest.Path || BundleManifest.PathPattern().IsMatch(entry.FullName)
                    || entry.FullName.StartsWith("signatures/", StringComparison.Ordinal) && entry.FullName.EndsWith(".sig", StringComparison.Ordinal)
                        && BundleManifest.NamePattern().IsMatch(entry.FullName["signatures/".Length..^".sig".Length]);
                if (!allowed)
                {
                    throw new BundleRefusedException($"'{entry.FullName}' is no path of a bundle; accepted: manifest.json, signatures/NAME.sig, LICENSE and files in configs/, models/ and docs/.");
                }

                var path = Path.Combine(folder, entry.FullName);
                Directory.CreateDirectory(Path.GetDirectoryName(path)!);
                using var from = entry.Open();
                using var to = new FileStream(path, FileMode.CreateNew);
                var buffer = new byte[128 * 1024];
                while (from.Read(buffer) is > 0 and var read)
                {
                    // The lengths in the archive are its own claim: what comes out is counted.
                    if ((left -= read) < 0)
                    {
                        throw new BundleRefusedException($"The bundle unpacks to more than {maxBytes} bytes.");
                    }

                    to.Write(buffer, 0, read);
                }
            }
        }
        catch (Exception e) when (e is InvalidDataException or IOException { HResult: not 0 } and not DirectoryNotFoundException)
        {
            throw new BundleRefusedException($"This is no zip archive of a bundle: {e.Message}", e);
        }
    }

    /// <summary>Whether the network's inputs and outputs in the metadata are those of the model.</summary>
    /// <exception cref="BundleRefusedException">They are not.</exception>
    public void CheckAgainst(Engine.IModelEngine engine)
    {
        var format = Metadata["network_data_format"]!.AsObject();
        foreach (var (part, specs) in new[] { ("inputs", engine.Inputs), ("outputs", engine.Outputs) })
        {
            var described = format[part]!.AsObject();
            if (described.Count != specs.Count)
            {
                throw new BundleRefusedException($"metadata.json describes {described.Count} {part}; the model has {specs.Count}: {string.Join(", ", specs.Select(s => s.Name))}.");
            }

            foreach (var (described2, spec) in described.Zip(specs))
            {
                if (described2.Value?["num_channels"]?.GetValue<int>() is { } channels && spec.Shape.Count > 1 && spec.Shape[1] != -1 && spec.Shape[1] != channels)
                {
                    throw new BundleRefusedException($"metadata.json says that '{described2.Key}' has {channels} channels; '{spec.Name}' of the model has shape [{string.Join(",", spec.Shape)}].");
                }
            }
        }
    }

    private static List<string> Signers(string folder, byte[] manifest, ReleaseTrust? trust)
    {
        var signatures = Path.Combine(folder, "signatures");
        var names = new List<string>();
        foreach (var file in Directory.Exists(signatures) && trust is not null ? Directory.GetFiles(signatures, "*.sig").Order(StringComparer.Ordinal).ToArray() : [])
        {
            var name = Path.GetFileNameWithoutExtension(file);
            var key = trust!.Keys.FirstOrDefault(k => k.Name == name) ?? throw new BundleRefusedException(
                $"The bundle is signed by '{name}', whom nobody trusts here; accepted: {string.Join(", ", trust.Keys.Where(k => !k.Revoked).Select(k => k.Name))}.");
            if (key.Revoked)
            {
                throw new BundleRefusedException($"The bundle is signed by '{name}', whose key was revoked.");
            }

            if (new FileInfo(file).Length > MaxSignatureBytes || !key.Verifies(manifest, File.ReadAllBytes(file)))
            {
                throw new BundleRefusedException($"The signature of '{name}' is not of this manifest.");
            }

            names.Add(name);
        }

        return names;
    }

    private BundleSettings ReadSettings()
    {
        if (Manifest.Files.All(f => f.Path != "configs/yizhan.json"))
        {
            return new BundleSettings();
        }

        try
        {
            var settings = Json("configs/yizhan.json").Deserialize(BundleJson.Default.BundleSettings) ?? new BundleSettings();
            return settings.Isolation is not (null or "process") ? throw new JsonException($"isolation is '{settings.Isolation}'; accepted: process, or nothing.")
                : settings.Clinical is { Task: not ("segmentation" or "classification") } ? throw new JsonException($"clinical.task is '{settings.Clinical.Task}'; accepted: segmentation, classification.")
                : settings.Runner is { } r && (r.Instances is < 1 or > 64 || r.MaxBatch is < 1 or > 4096 || r.MaxQueue is < 1 or > 65_536 || r.MaxQueueDelayMs is < 0 or > 10_000)
                    ? throw new JsonException("runner: accepted are instances 1 to 64, maxBatch 1 to 4096, maxQueue 1 to 65536, maxQueueDelayMs 0 to 10000.")
                : settings;
        }
        catch (JsonException e)
        {
            throw new BundleRefusedException($"configs/yizhan.json of {Manifest.Name} {Manifest.Version}: {e.Message}", e);
        }
    }

    private void CheckMetadata()
    {
        var what = $"configs/metadata.json of {Manifest.Name} {Manifest.Version}";
        if (RequiredMetadata.FirstOrDefault(key => Metadata[key] is null) is { } missing)
        {
            throw new BundleRefusedException($"{what} lacks '{missing}'; a MONAI bundle has {string.Join(", ", RequiredMetadata)}.");
        }

        if (Metadata["version"]!.ToString() != Manifest.Version)
        {
            throw new BundleRefusedException($"{what} says version {Metadata["version"]}; the manifest says {Manifest.Version}.");
        }

        if (Metadata["network_data_format"] is not JsonObject format || format["inputs"] is not JsonObject || format["outputs"] is not JsonObject)
        {
            throw new BundleRefusedException($"{what}: network_data_format needs the objects inputs and outputs.");
        }

        if (Manifest.Files.All(f => f.Path is not ("models/model.onnx" or "models/model.rknn")))
        {
            throw new BundleRefusedException($"{Manifest.Name} {Manifest.Version} has neither models/model.onnx nor models/model.rknn.");
        }
    }

    private JsonObject Json(string path)
    {
        var full = Path.Combine(Folder, path);
        try
        {
            return Manifest.Files.All(f => f.Path != path) ? throw new BundleRefusedException($"{Manifest.Name} {Manifest.Version} has no {path}.")
                : new FileInfo(full).Length > MaxJsonBytes ? throw new BundleRefusedException($"{path} has more than {MaxJsonBytes} bytes.")
                : JsonNode.Parse(File.ReadAllBytes(full)) as JsonObject ?? throw new JsonException("It is no object.");
        }
        catch (JsonException e)
        {
            throw new BundleRefusedException($"{path} of {Manifest.Name} {Manifest.Version} is not JSON: {e.Message}", e);
        }
    }
}
