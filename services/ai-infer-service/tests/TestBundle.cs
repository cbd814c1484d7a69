using System.IO.Compression;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Yizhan.Platform.Bundles;
using Yizhan.Platform.Releases;

namespace Yizhan.AiInfer.Tests;

/// <summary>Makes bundles around models, right ones and wrong ones.</summary>
internal static class TestBundle
{
    /// <summary>Writes a whole bundle below a models folder.</summary>
    /// <param name="models">The repository's folder; or any folder, to pack it later.</param>
    /// <param name="name">Model.</param>
    /// <param name="version">Version.</param>
    /// <param name="onnx">The model.</param>
    /// <param name="settings"><c>yizhan.json</c>; null for none.</param>
    /// <param name="inputs">How many inputs and outputs the metadata describes.</param>
    /// <param name="outputs">How many outputs.</param>
    /// <param name="inference"><c>inference.json</c>; null for none.</param>
    public static string Write(string models, string name, string version, byte[] onnx, string? settings = null, int inputs = 1, int outputs = 1, string? inference = null)
    {
        var folder = Path.Combine(models, name, version);
        Directory.CreateDirectory(Path.Combine(folder, "configs"));
        Directory.CreateDirectory(Path.Combine(folder, "models"));
        File.WriteAllBytes(Path.Combine(folder, "models", "model.onnx"), onnx);
        File.WriteAllText(Path.Combine(folder, "configs", "metadata.json"), Metadata(version, inputs, outputs).ToJsonString());
        if (settings is not null)
        {
            File.WriteAllText(Path.Combine(folder, "configs", "yizhan.json"), settings);
        }

        if (inference is not null)
        {
            File.WriteAllText(Path.Combine(folder, "configs", "inference.json"), inference);
        }

        Seal(folder, name, version);
        return folder;
    }

    /// <summary>Writes the manifest of what is in the folder now.</summary>
    public static void Seal(string folder, string name, string version) =>
        File.WriteAllBytes(Path.Combine(folder, "manifest.json"), BundleManifest.Of(name, version, folder).ToBytes());

    /// <summary>Signs the manifest.</summary>
    public static void Sign(string folder, string signer, ECDsa key)
    {
        Directory.CreateDirectory(Path.Combine(folder, "signatures"));
        File.WriteAllBytes(
            Path.Combine(folder, "signatures", signer + ".sig"),
            key.SignData(File.ReadAllBytes(Path.Combine(folder, "manifest.json")), HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence));
    }

    /// <summary>A trust file of one key.</summary>
    public static string Trust(string path, string signer, ECDsa key, bool revoked = false)
    {
        File.WriteAllBytes(path, new ReleaseTrust(1, 0, [new TrustedKey(signer, Convert.ToBase64String(key.ExportSubjectPublicKeyInfo()), revoked)]).ToBytes());
        return path;
    }

    /// <summary>The folder as an archive.</summary>
    public static byte[] Zip(string folder, params (string Name, byte[] Bytes)[] more)
    {
        var stream = new MemoryStream();
        using (var zip = new ZipArchive(stream, ZipArchiveMode.Create, leaveOpen: true))
        {
            foreach (var file in Directory.GetFiles(folder, "*", SearchOption.AllDirectories))
            {
                zip.CreateEntryFromFile(file, Path.GetRelativePath(folder, file));
            }

            foreach (var (name, bytes) in more)
            {
                using var entry = zip.CreateEntry(name).Open();
                entry.Write(bytes);
            }
        }

        return stream.ToArray();
    }

    private static JsonObject Metadata(string version, int inputs, int outputs) => new()
    {
        ["version"] = version,
        ["monai_version"] = "1.3.0",
        ["task"] = "test",
        ["description"] = "A model of a test.",
        ["authors"] = "Yizhan",
        ["copyright"] = "Yizhan",
        ["network_data_format"] = new JsonObject { ["inputs"] = Tensors(inputs), ["outputs"] = Tensors(outputs) },
    };

    private static JsonObject Tensors(int count) => new(Enumerable.Range(0, count).Select(i => KeyValuePair.Create<string, JsonNode?>($"t{i}", new JsonObject { ["type"] = "image" })));
}
