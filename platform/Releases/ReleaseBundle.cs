using System.Formats.Tar;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.RegularExpressions;
using Yizhan.Platform.SiteFiles;

namespace Yizhan.Platform.Releases;

/// <summary>
/// A release: a tar archive of <c>manifest.json</c>, <c>signatures/NAME.sig</c> and the manifest's files. Nothing is ever unpacked by its
/// name, and <c>tar</c>, <c>sha256sum</c> and <c>openssl dgst -verify</c> are enough to check one by hand.
/// </summary>
/// <remarks>A site gets a slice: manifest and signatures are whole, files of other sites are left out.</remarks>
public sealed partial class ReleaseBundle
{
    /// <summary>Largest release, in bytes.</summary>
    public const int MaxBytes = 16 * 1024 * 1024;

    private const int MaxSignatureBytes = 256;
    private const int MaxSignatures = 32;
    private const string ManifestPath = "manifest.json";
    private const string TrustPath = "trust.json";

    private readonly byte[] _manifestBytes;
    private readonly SortedDictionary<string, byte[]> _signatures;
    private readonly SortedDictionary<string, byte[]> _files;

    private ReleaseBundle(byte[] manifestBytes, ReleaseManifest manifest, SortedDictionary<string, byte[]> signatures, SortedDictionary<string, byte[]> files)
    {
        (_manifestBytes, Manifest, _signatures, _files) = (manifestBytes, manifest, signatures, files);
        Version = ReleaseVersion.TryParse(manifest.Version, out var version) ? version : throw new ArgumentException(manifest.Version, nameof(manifest));
        Digest = Convert.ToHexStringLower(SHA256.HashData(manifestBytes));
    }

    /// <summary>What was signed.</summary>
    public ReleaseManifest Manifest { get; }

    /// <summary>Its version.</summary>
    public ReleaseVersion Version { get; }

    /// <summary>SHA-256 of the manifest, 64 lower-case hex digits: what audit records name.</summary>
    public string Digest { get; }

    /// <summary>The bytes that are signed.</summary>
    public ReadOnlyMemory<byte> SignedBytes => _manifestBytes;

    /// <summary>Signatures by the name of their key: ECDSA P-256 with SHA-256 over the manifest, DER.</summary>
    public IReadOnlyDictionary<string, byte[]> Signatures => _signatures;

    /// <summary>Sites of the release.</summary>
    public IReadOnlyList<string> Sites => [.. Manifest.Files.Where(f => f.Path.StartsWith("sites/", StringComparison.Ordinal)).Select(f => Path.GetFileNameWithoutExtension(f.Path))];

    /// <summary>True when every file of the manifest is here; false in a slice.</summary>
    public bool IsWhole => _files.Count == Manifest.Files.Count;

    /// <summary>The keys that it brings; null when it changes none.</summary>
    /// <exception cref="ReleaseRefusedException">They cannot be read.</exception>
    public ReleaseTrust? NewTrust => _files.TryGetValue(TrustPath, out var bytes) ? ReleaseTrust.Parse(bytes) : null;

    /// <summary>Makes a release that nobody has signed yet.</summary>
    /// <param name="manifest">Without files.</param>
    /// <param name="files">Files by path.</param>
    public static ReleaseBundle Create(ReleaseManifest manifest, IReadOnlyDictionary<string, byte[]> files)
    {
        var sorted = new SortedDictionary<string, byte[]>(files.ToDictionary(), StringComparer.Ordinal);
        var whole = manifest with { Files = [.. sorted.Select(f => new ReleaseFile(f.Key, Hash(f.Value), f.Value.Length))] };
        Check(whole);
        return new(JsonSerializer.SerializeToUtf8Bytes(whole, ReleaseJson.Default.ReleaseManifest), whole, [], sorted);
    }

    /// <summary>The YAML of a site; null when it is not here.</summary>
    public byte[]? SiteYaml(string siteId) => _files.GetValueOrDefault($"sites/{siteId}.yaml");

    /// <summary>What the release changes at a site.</summary>
    public IReadOnlyList<SiteChange> Changes(string siteId)
    {
        try
        {
            return _files.TryGetValue($"diff/{siteId}.json", out var bytes)
                ? JsonSerializer.Deserialize(bytes, ReleaseJson.Default.IReadOnlyListSiteChange) ?? []
                : [];
        }
        catch (JsonException e)
        {
            throw Malformed($"diff/{siteId}.json: {e.Message}");
        }
    }

    /// <summary>The bytes of a diff, as they go into a release.</summary>
    public static byte[] DiffBytes(IReadOnlyList<SiteChange> changes) =>
        JsonSerializer.SerializeToUtf8Bytes(changes, ReleaseJson.Default.IReadOnlyListSiteChange);

    /// <summary>The same with a signature more, or with another one of the same key.</summary>
    public ReleaseBundle With(string keyName, byte[] signature) =>
        new(_manifestBytes, Manifest, new SortedDictionary<string, byte[]>(_signatures, StringComparer.Ordinal) { [keyName] = signature }, _files);

    /// <summary>What a site gets: nothing of other sites but the hashes of their files.</summary>
    public ReleaseBundle Slice(string siteId)
    {
        string[] mine = [$"sites/{siteId}.yaml", $"diff/{siteId}.json", $"secrets/{siteId}.sops.yaml", TrustPath];
        return new(_manifestBytes, Manifest, _signatures, new(_files.Where(f => mine.Contains(f.Key)).ToDictionary(), StringComparer.Ordinal));
    }

    /// <summary>The archive; the same release gives the same bytes.</summary>
    public byte[] ToBytes()
    {
        var stream = new MemoryStream();
        using (var tar = new TarWriter(stream, TarEntryFormat.Ustar, leaveOpen: true))
        {
            Write(tar, ManifestPath, _manifestBytes);
            foreach (var (name, signature) in _signatures)
            {
                Write(tar, $"signatures/{name}.sig", signature);
            }

            foreach (var (path, bytes) in _files)
            {
                Write(tar, path, bytes);
            }
        }

        return stream.ToArray();
    }

    /// <summary>Reads a release and compares every file with its hash. Whether anybody signed it is <see cref="ReleaseTrust"/>'s question.</summary>
    /// <exception cref="ReleaseRefusedException">It is not a release.</exception>
    public static ReleaseBundle Read(ReadOnlyMemory<byte> archive)
    {
        if (archive.Length > MaxBytes)
        {
            throw new ReleaseRefusedException(ReleaseRefusal.TooLarge, $"The release has {archive.Length} bytes; accepted: up to {MaxBytes}.");
        }

        try
        {
            return Parse(archive);
        }
        catch (Exception e) when (e is IOException or InvalidDataException or FormatException or ArgumentException or OverflowException or NotSupportedException or JsonException)
        {
            throw Malformed(e.Message);
        }
    }

    /// <summary>Reads a release from a stream, never more of it than a release may have.</summary>
    /// <exception cref="ReleaseRefusedException">It is not a release.</exception>
    /// <exception cref="IOException">The stream cannot be read.</exception>
    public static async Task<ReleaseBundle> ReadAsync(Stream stream, CancellationToken cancellationToken)
    {
        var buffer = new MemoryStream();
        var piece = new byte[64 * 1024];
        int read;
        while (buffer.Length <= MaxBytes && (read = await stream.ReadAsync(piece, cancellationToken)) > 0)
        {
            buffer.Write(piece, 0, read);
        }

        return Read(buffer.GetBuffer().AsMemory(0, (int)buffer.Length));
    }

    private static ReleaseBundle Parse(ReadOnlyMemory<byte> archive)
    {
        using var tar = new TarReader(new MemoryStream(archive.ToArray()));
        if (Next(tar) is not (ManifestPath, var manifestBytes))
        {
            throw Malformed($"Its first file is not {ManifestPath}.");
        }

        var manifest = JsonSerializer.Deserialize(manifestBytes, ReleaseJson.Default.ReleaseManifest) ?? throw new JsonException("The manifest is null.");
        Check(manifest);
        var expected = manifest.Files.ToDictionary(f => f.Path, StringComparer.Ordinal);
        var signatures = new SortedDictionary<string, byte[]>(StringComparer.Ordinal);
        var files = new SortedDictionary<string, byte[]>(StringComparer.Ordinal);
        while (Next(tar) is var (path, bytes))
        {
            if (SignaturePath().Match(path) is { Success: true } match)
            {
                if (bytes.Length > MaxSignatureBytes || signatures.Count >= MaxSignatures || !signatures.TryAdd(match.Groups[1].Value, bytes))
                {
                    throw Malformed($"'{path}' is too large, too many, or there twice.");
                }
            }
            else if (!expected.TryGetValue(path, out var file))
            {
                throw new ReleaseRefusedException(ReleaseRefusal.PathNotAllowed, $"'{Shown(path)}' is not in the manifest; accepted: its files and signatures/NAME.sig.");
            }
            else if (file.Length != bytes.Length || file.Sha256 != Hash(bytes))
            {
                throw new ReleaseRefusedException(ReleaseRefusal.HashMismatch, $"'{path}' is not what was signed: its SHA-256 is {Hash(bytes)}, not {Shown(file.Sha256)}.");
            }
            else if (!files.TryAdd(path, bytes))
            {
                throw Malformed($"'{path}' is there twice.");
            }
        }

        return new(manifestBytes, manifest, signatures, files);
    }

    private static (string Path, byte[] Bytes)? Next(TarReader tar)
    {
        if (tar.GetNextEntry() is not { } entry)
        {
            return null;
        }

        if (entry.EntryType is not (TarEntryType.RegularFile or TarEntryType.V7RegularFile))
        {
            throw new ReleaseRefusedException(ReleaseRefusal.PathNotAllowed, $"'{Shown(entry.Name)}' is a {entry.EntryType}; accepted: regular files.");
        }

        var bytes = new byte[entry.Length];
        entry.DataStream?.ReadExactly(bytes);
        return (entry.Name, bytes);
    }

    private static void Check(ReleaseManifest manifest)
    {
        if (!ReleaseVersion.TryParse(manifest.Version, out _))
        {
            throw Malformed($"version is '{Shown(manifest.Version)}'; accepted: {ReleaseVersion.Form}.");
        }

        if (!KeyName().IsMatch(manifest.ProposedBy) || manifest.Note.Length > 1000)
        {
            throw Malformed($"proposedBy is '{Shown(manifest.ProposedBy)}' and the note has {manifest.Note.Length} characters; accepted: a-z, 0-9 and '-'; up to 1000.");
        }

        if (manifest.Files.FirstOrDefault(f => !FilePath().IsMatch(f.Path)) is { } wrong)
        {
            throw new ReleaseRefusedException(
                ReleaseRefusal.PathNotAllowed, $"'{Shown(wrong.Path)}' is no path of a release; accepted: sites/ID.yaml, diff/ID.json, secrets/ID.sops.yaml, trust.json.");
        }
    }

    private void Write(TarWriter tar, string path, byte[] bytes) => tar.WriteEntry(new UstarTarEntry(TarEntryType.RegularFile, path)
    {
        DataStream = new MemoryStream(bytes),
        ModificationTime = DateTimeOffset.FromUnixTimeSeconds(Math.Max(0, Manifest.CreatedMs / 1000)),
        Mode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead,
    });

    private static string Hash(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));

    private static string Shown(string text) => text.Length > 60 ? text[..60] + "…" : text;

    private static ReleaseRefusedException Malformed(string message) => new(ReleaseRefusal.Malformed, $"This is not a release: {message}");

    [GeneratedRegex(@"\A(trust\.json|sites/" + NodeOptions.SiteIdPattern + @"\.yaml|diff/" + NodeOptions.SiteIdPattern
        + @"\.json|secrets/" + NodeOptions.SiteIdPattern + @"\.sops\.yaml)\z")]
    private static partial Regex FilePath();

    [GeneratedRegex(@"\Asignatures/([a-z0-9][a-z0-9-]{0,40})\.sig\z")]
    private static partial Regex SignaturePath();

    [GeneratedRegex(@"\A[a-z0-9][a-z0-9-]{0,40}\z")]
    internal static partial Regex KeyName();
}
