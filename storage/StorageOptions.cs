using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;

namespace Yizhan.Storage;

/// <summary>Where and how a node keeps its event log and blobs. Section <c>storage</c>.</summary>
public sealed class StorageOptions
{
    /// <summary>
    /// <c>segments</c>: entries in the segment files of the blobs. <c>sqlite</c>: entries in one SQLite database. <c>postgres</c>: entries in PostgreSQL, for a
    /// centre. <c>remote</c>: none here, the log of another process (<see cref="RemoteUrl"/>). Default: what the folder holds; a new folder gets <c>segments</c> at a site and <c>sqlite</c> at a centre. A log is not moved from one to another.
    /// </summary>
    [RegularExpression("sqlite|segments|postgres|remote", ErrorMessage = "storage:store must be sqlite, segments, postgres or remote.")]
    public string? Store { get; set; }

    /// <summary>The store of a new folder when <see cref="Store"/> does not say: the node's modules know what they are, it is no setting.</summary>
    public string NewStore { get; internal set; } = "sqlite";

    /// <summary>Most bytes that entries and blobs may take. Default 500 GiB; the real free space of the disk counts as well.</summary>
    [Range(16L * 1024 * 1024, long.MaxValue)]
    public long QuotaBytes { get; set; } = 500L * 1024 * 1024 * 1024;

    /// <summary>Share of the quota, in percent, at which telemetry is refused. Default 80.</summary>
    [Range(1, 100)]
    public int TelemetryPercent { get; set; } = 80;

    /// <summary>Share of the quota, in percent, at which images and other bulk are refused. Default 92.</summary>
    [Range(1, 100)]
    public int BulkPercent { get; set; } = 92;

    /// <summary>Share of the quota, in percent, at which normal entries are refused. Default 97; the rest is for urgent ones.</summary>
    [Range(1, 100)]
    public int NormalPercent { get; set; } = 97;

    /// <summary>
    /// Bytes of the file system that stay free whatever the quota is. Default 1 GiB. Bulk and telemetry stop there, normal entries at half
    /// of it, urgent ones at a quarter: deletions and checkpoints need room too.
    /// </summary>
    [Range(0, long.MaxValue)]
    public long FreeFloorBytes { get; set; } = 1024L * 1024 * 1024;

    /// <summary>
    /// How long entries that the centre has confirmed are kept, in hours during which the node ran: a centre that is restored from a backup gets
    /// them again. Default 168; 0 gives them up as soon as they are proven.
    /// </summary>
    [Range(0, 24 * 365 * 10)]
    public int KeepDeliveredHours { get; set; } = 168;

    /// <summary>
    /// Share of the room, in percent, above which confirmed entries are given up before their time, the oldest first. Default 70. What the centre has
    /// not confirmed is never given up.
    /// </summary>
    [Range(1, 100)]
    public int KeepDeliveredPercent { get; set; } = 70;

    /// <summary>
    /// Whether blobs, and id, key and data of entries, are encrypted on the disk (AES-256-GCM, a key for each day). Default true. What was written before
    /// it was changed stays as it is, and readable.
    /// </summary>
    public bool Encrypt { get; set; } = true;

    /// <summary>
    /// File with the key that the keys of days are wrapped with, of mode 0600; made when there is none and nothing is encrypted yet. Default:
    /// <c>storage/site.key</c> in the node's folder, where it protects a disk that is thrown away piece by piece, not one that is carried off. Put it on another
    /// device, and a copy into the safe: without it nothing that is encrypted can be read.
    /// </summary>
    public string? SiteKeyFile { get; set; }

    /// <summary>Folder that backups of this node may be written to: a second disk, a network drive. Without one a running node makes none.</summary>
    public string? BackupFolder { get; set; }

    /// <summary>How many backups are kept in a folder; older ones are deleted after a new one is complete. Default 7.</summary>
    [Range(1, 1000)]
    public int BackupsKept { get; set; } = 7;

    /// <summary>How fast everything that is kept is read through for damage, in MiB per second; 0 does not. Default 4: a quarter of a terabyte in a day.</summary>
    [Range(0, 1000)]
    public int ScrubMiBPerSecond { get; set; } = 4;

    /// <summary>How much of the newest entries stays in memory for the services that follow the log, in MiB. Default 8; 0: each of them reads the disk.</summary>
    [Range(0, 1024)]
    public int TailMiB { get; set; } = 8;

    /// <summary>How often the canary files are looked at, in seconds: whoever encrypts the node touches them too. Default 10; 0: there are none.</summary>
    [Range(0, 3600)]
    public int CanarySeconds { get; set; } = 10;

    /// <summary>
    /// Who moves the write-ahead log of <c>log.db</c> into the database: <c>node</c> (default), or <c>litestream</c>, which has to see every page before
    /// and needs the store <c>sqlite</c>.
    /// </summary>
    [RegularExpression("node|litestream", ErrorMessage = "storage:checkpointedBy must be node or litestream.")]
    public string CheckpointedBy { get; set; } = "node";

    /// <summary>Size of a file that only takes up space and is let go when the disk is so full that nothing can be deleted, in bytes. Default 16 MiB; 0: none.</summary>
    [Range(0, 1024L * 1024 * 1024)]
    public long BalloonBytes { get; set; } = 16 * 1024 * 1024;

    /// <summary>
    /// Store <c>postgres</c>: a file, such as a mounted secret, with one line that says where the database is and who signs in:
    /// <c>Host=db;Database=yizhan;Username=yizhan_event_log;Password=...;SSL Mode=VerifyFull</c>.
    /// </summary>
    public string? PostgresConnectionFile { get; set; }

    /// <summary>Store <c>postgres</c>: the schema of the log's tables. Default <c>event_log</c>.</summary>
    [RegularExpression("[a-z][a-z0-9_]{0,40}", ErrorMessage = "storage:postgresSchema must be 1 to 41 characters of a-z, 0-9 and '_', a letter first.")]
    public string PostgresSchema { get; set; } = "event_log";

    /// <summary>Store <c>postgres</c>: how long a database that is away is waited for before the log stops, in seconds. Callers wait as long. Default 60.</summary>
    [Range(1, 3600)]
    public int PostgresPatienceSeconds { get; set; } = 60;

    /// <summary>Store <c>postgres</c>: most connections that read at once, besides the one that writes. Default 16.</summary>
    [Range(1, 500)]
    public int PostgresReaders { get; set; } = 16;

    /// <summary>
    /// Store <c>postgres</c>: address of an S3 server, such as <c>https://minio:9000</c>. Full segment files of blobs go there in the background, and what is
    /// wanted again is read from there. Without it blobs stay here.
    /// </summary>
    public string? S3Url { get; set; }

    /// <summary>The bucket. It has to be there; it is never listed.</summary>
    public string? S3Bucket { get; set; }

    /// <summary>What the names of objects begin with, such as <c>centre-1/</c>. Default: nothing.</summary>
    [RegularExpression("([a-zA-Z0-9._-]{1,60}/)*", ErrorMessage = "storage:s3Prefix must be empty or end with '/', of a-z, A-Z, 0-9, '.', '_', '-' and '/'.")]
    public string S3Prefix { get; set; } = "";

    /// <summary>Region that requests are signed for. Default <c>us-east-1</c>, which MinIO expects.</summary>
    [Required]
    public string S3Region { get; set; } = "us-east-1";

    /// <summary>A file, such as a mounted secret, with one line: <c>ACCESSKEY:SECRETKEY</c>.</summary>
    public string? S3CredentialsFile { get; set; }

    /// <summary>How long nobody may delete an object, in days (object lock, compliance mode); the bucket has to be made with it. Default 0: not locked.</summary>
    [Range(0, 36500)]
    public int S3LockDays { get; set; }

    /// <summary>Share of the room, in percent, above which local copies of what the object store has are given up, the oldest first. Default 50.</summary>
    [Range(0, 100)]
    public int S3KeepLocalPercent { get; set; } = 50;

    /// <summary>Store <c>remote</c>: where the process is that owns the log, such as <c>https://fleet.platform.svc:8081</c>. Needs section <c>service-tls</c>.</summary>
    public string? RemoteUrl { get; set; }

    /// <summary>Store <c>remote</c>: the service that it shows the certificate of. Default <c>fleet</c>.</summary>
    [RegularExpression("[a-z][a-z0-9-]{0,62}", ErrorMessage = "storage:remoteService must be the name of a service, such as fleet.")]
    public string RemoteService { get; set; } = "fleet";

    /// <summary>Store <c>remote</c>: how long a call waits for an owner that is away before it fails, in seconds. Default 60.</summary>
    [Range(1, 3600)]
    public int RemotePatienceSeconds { get; set; } = 60;

    /// <summary>Store <c>remote</c>: most connections to the owner. Default 64.</summary>
    [Range(2, 1024)]
    public int RemoteConnections { get; set; } = 64;

    /// <summary>At the owner: most blobs that other processes write at once; each takes a MiB of memory. Default 256.</summary>
    [Range(1, 65536)]
    public int SharedWriters { get; set; } = 256;

    /// <summary>At the owner: most blobs that are held open for other processes. Default 4096; above it the longest idle one is closed and opened again when it is read on.</summary>
    [Range(1, 1_000_000)]
    public int SharedReaders { get; set; } = 4096;

    /// <summary>At the owner: how long a blob that another process writes or reads is held for it while it says nothing, in seconds. Default 300.</summary>
    [Range(1, 86400)]
    public int SharedIdleSeconds { get; set; } = 300;

    /// <summary>Size of a segment file, in bytes: 4 MiB to 1 GiB. Default 64 MiB.</summary>
    [Range(4 * 1024 * 1024, 1024 * 1024 * 1024)]
    public int SegmentBytes { get; set; } = 64 * 1024 * 1024;
}

[OptionsValidator]
internal sealed partial class StorageOptionsValidator : IValidateOptions<StorageOptions>;
