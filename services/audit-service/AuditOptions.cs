using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;
using Yizhan.Audit.Atna;
using Yizhan.Audit.Tree;
using Yizhan.Audit.Witness;

namespace Yizhan.Audit;

/// <summary>How the audit log is written. Section <c>audit</c>.</summary>
public sealed class AuditOptions
{
    /// <summary>Most entries of the event log that go into one commit, and so under one checkpoint. Default 4096.</summary>
    [Range(1, TreeLog.MaxEntriesPerAppend)]
    public int MaxBatch { get; set; } = 4096;

    /// <summary>
    /// Least time between two commits, in milliseconds: a commit costs about ten flushes, and a record is durable in the event log before. Default 250.
    /// </summary>
    [Range(0, 60_000)]
    public int CommitIntervalMs { get; set; } = 250;

    /// <summary>
    /// Folder for the keys of subjects; null for <c>audit-keys</c> in the data folder. Back it up apart from the log: who has both can read
    /// everything, and who loses it can read nothing. Default null.
    /// </summary>
    public string? KeysFolder { get; set; }

    /// <summary>
    /// Days that a record is kept at least; then whole tiles of 256 expire and leave a signed tombstone. 0 keeps all. Not less than
    /// six months (183). Default 0.
    /// </summary>
    [AllowedRetention]
    public int RetentionDays { get; set; }

    /// <summary>Keys of the logs that this node witnesses (name+id+base64): at the centre those of its sites, at a site that of the centre.</summary>
    public IReadOnlyList<string> WitnessedLogs { get; set; } = [];

    /// <summary>Who witnesses the log of this node.</summary>
    [ValidateEnumeratedItems]
    public IReadOnlyList<WitnessOptions> Witnesses { get; set; } = [];

    /// <summary>Time between two checkpoints that witnesses are asked to cosign, in milliseconds. Default 10000.</summary>
    [Range(10, 86_400_000)]
    public int WitnessIntervalMs { get; set; } = 10_000;

    /// <summary>ATNA in: syslog over TLS.</summary>
    [ValidateObjectMembers]
    public SyslogOptions Syslog { get; set; } = new();

    /// <summary>ATNA out: another audit repository.</summary>
    [ValidateObjectMembers]
    public ForwardOptions Forward { get; set; } = new();

    /// <summary>Time until the log is opened again after the disk failed, in milliseconds. Default 5000.</summary>
    [Range(1, 600_000)]
    public int ReopenAfterMs { get; set; } = 5000;
}

/// <summary>0, or at least six months (Cybersecurity Law of the PRC, article 21).</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class AllowedRetentionAttribute : ValidationAttribute
{
    private const int SixMonths = 183;

    public override bool IsValid(object? value) => value is 0 or >= SixMonths and <= 36_500;

    public override string FormatErrorMessage(string name) => $"audit:{char.ToLowerInvariant(name[0])}{name[1..]} must be 0 (keep all) or 183 to 36500 days.";
}

[OptionsValidator]
internal sealed partial class AuditOptionsValidator : IValidateOptions<AuditOptions>;
