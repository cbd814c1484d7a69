using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using Yizhan.Platform.Bundles;
using Yizhan.Platform.Releases;

namespace Yizhan.AiInfer.Repository;

/// <summary>
/// A MONAI bundle on disk whose every file was compared with its manifest: <c>configs/metadata.json</c>, <c>configs/inference.json</c>, <c>configs/yizhan.json</c>,
/// <c>models/model.onnx</c> (or <c>.rknn</c>), <c>docs/</c>; beside them <c>manifest.json</c> and <c>signatures/NAME.sig</c>.
/// </summary>
internal sealed class ModelBundle
{
    private const int MaxJsonBytes = 1024 * 1024;

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
        var (manifest, signedBy) = SignedBundle.Open(folder, trust, needsSignature, "ai-infer:trustPath");
        return new ModelBundle(folder, manifest, signedBy);
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
                : settings.Clinical is { Task: not "segmentation" } ? throw new JsonException($"clinical.task is '{settings.Clinical.Task}'; accepted: segmentation. A model that classifies has no 'clinical': clients ask it by the Open Inference Protocol.")
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

[System.Text.Json.Serialization.JsonSourceGenerationOptions(JsonSerializerDefaults.Web, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[System.Text.Json.Serialization.JsonSerializable(typeof(BundleSettings))]
internal sealed partial class BundleJson : System.Text.Json.Serialization.JsonSerializerContext;
