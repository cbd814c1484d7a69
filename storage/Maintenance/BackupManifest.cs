using System.Text.Json;
using System.Text.Json.Serialization;

namespace Yizhan.Storage;

/// <summary>What one backup consists of; the file <c>manifest.json</c>, written last: a folder without it is no backup.</summary>
/// <param name="Format">1.</param>
/// <param name="Site">Site of the log.</param>
/// <param name="Epoch">Epoch of the log when it was made; a restored node begins a new one.</param>
/// <param name="Store">sqlite or segments.</param>
/// <param name="TakenMs">When it was begun, Unix milliseconds UTC.</param>
/// <param name="Position">The log's newest position; everything up to it is in the backup.</param>
/// <param name="Files">All files below the folder.</param>
public sealed record BackupManifest(
    int Format, string Site, Guid Epoch, string Store, long TakenMs, long Position, IReadOnlyList<BackupFile> Files)
{
    /// <summary>Name of the file.</summary>
    public const string FileName = "manifest.json";

    /// <summary>Id of the site key without which the encrypted part cannot be read; null when nothing is encrypted.</summary>
    public string? SiteKey { get; init; }

    /// <summary>The site key's path in the backup; null when it is kept elsewhere (<c>storage:siteKeyFile</c>) and has to be put there before a restored node starts.</summary>
    public string? SiteKeyFile { get; init; }
}

/// <summary>A file of a backup.</summary>
/// <param name="Path">Below the node's data folder, with slashes.</param>
/// <param name="Length">Bytes.</param>
/// <param name="Sha256">Hash of all bytes.</param>
/// <param name="Version">What tells that the file is still the same: the epoch of a segment file, time and length of others; null: never.</param>
/// <param name="End">How far a segment file was written: a copy that reaches further serves as well. Null for others.</param>
public sealed record BackupFile(string Path, long Length, string Sha256, string? Version, long? End = null);

/// <summary>The newest complete backup of a node, as the node remembers it.</summary>
/// <param name="Folder">Where it is.</param>
/// <param name="TakenMs">When it was begun, Unix milliseconds UTC.</param>
/// <param name="Position">Everything up to this position of the log is in it.</param>
/// <param name="Marks">What it has of each site's lanes.</param>
public sealed record BackupPoint(string Folder, long TakenMs, long Position, IReadOnlyList<CoveredLane> Marks);

/// <summary>A site's lane in a backup.</summary>
/// <param name="Site">The site.</param>
/// <param name="Epoch">Epoch of the site's log.</param>
/// <param name="Lane">The lane.</param>
/// <param name="Sequence">Everything up to it is in the backup.</param>
public sealed record CoveredLane(string Site, Guid Epoch, Lane Lane, long Sequence);

/// <summary>What a backup did.</summary>
/// <param name="Folder">The new backup.</param>
/// <param name="Position">Everything up to this position of the log is in it.</param>
/// <param name="Files">Files in it.</param>
/// <param name="Bytes">Bytes in it.</param>
/// <param name="CopiedBytes">Bytes that had to be copied; the others are shared with the backup before.</param>
/// <param name="ManifestSha256">SHA-256 of <c>manifest.json</c>, which names every file with its hash: whoever keeps this elsewhere can tell any copy of the backup from another.</param>
public sealed record BackupReport(string Folder, long Position, int Files, long Bytes, long CopiedBytes, string ManifestSha256);

/// <summary>What is wrong with a backup, found without restoring it.</summary>
/// <param name="Folder">The backup.</param>
/// <param name="Manifest">What it should consist of; null when that cannot be read.</param>
/// <param name="ManifestSha256">SHA-256 of its <c>manifest.json</c>; null when that is not there.</param>
/// <param name="Bytes">Bytes read.</param>
/// <param name="Problems">What is missing, damaged, or not of this backup, at most 1000; empty when it is whole.</param>
public sealed record BackupCheck(string Folder, BackupManifest? Manifest, string? ManifestSha256, long Bytes, IReadOnlyList<string> Problems);

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, WriteIndented = true)]
[JsonSerializable(typeof(BackupManifest))]
[JsonSerializable(typeof(BackupPoint))]
[JsonSerializable(typeof(BaseBackup[]))]
internal sealed partial class BackupJson : JsonSerializerContext;
