using System.IO.Compression;
using Yizhan.Platform.Releases;

namespace Yizhan.Platform.Bundles;

/// <summary>
/// A folder or archive of models that somebody signed: <c>manifest.json</c>, <c>signatures/NAME.sig</c>, and the files that the manifest names. Services say what
/// the files mean; who may bring them is the same for all.
/// </summary>
public static class SignedBundle
{
    private const int MaxManifestBytes = 1024 * 1024;
    private const int MaxSignatureBytes = 256;

    /// <summary>Compares every file of a folder with its manifest, and the manifest with whose signatures count.</summary>
    /// <param name="folder">The bundle.</param>
    /// <param name="trust">Whose signatures count.</param>
    /// <param name="needsSignature">False for bundles that are part of the program.</param>
    /// <param name="trustSetting">The setting that names the trust file, for the message.</param>
    /// <returns>The manifest and the names of those who signed it.</returns>
    /// <exception cref="BundleRefusedException">A file is missing, altered or wrong, or nobody who counts has signed.</exception>
    public static (BundleManifest Manifest, IReadOnlyList<string> SignedBy) Open(string folder, ReleaseTrust? trust, bool needsSignature, string trustSetting)
    {
        var path = Path.Combine(folder, BundleManifest.Path);
        if (!File.Exists(path) || new FileInfo(path).Length > MaxManifestBytes)
        {
            throw new BundleRefusedException($"The bundle has no manifest.json of up to {MaxManifestBytes} bytes; 'yizhan model pack' makes one.");
        }

        var bytes = File.ReadAllBytes(path);
        var manifest = BundleManifest.Parse(bytes);
        var signedBy = Signers(folder, bytes, trust);
        if (needsSignature && signedBy.Count == 0)
        {
            throw new BundleRefusedException(trust is null
                ? $"{manifest.Name} {manifest.Version} is not signed by anybody trusted here: no {trustSetting} is set."
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

        return (manifest, signedBy);
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
}
