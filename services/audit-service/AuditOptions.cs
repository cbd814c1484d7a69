using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;
using Yizhan.Audit.Tree;

namespace Yizhan.Audit;

/// <summary>How the audit log is written. Section <c>audit</c>.</summary>
public sealed class AuditOptions
{
    /// <summary>Most entries of the event log that go into one commit, and so under one checkpoint. Default 2048.</summary>
    [Range(1, TreeLog.MaxEntriesPerAppend)]
    public int MaxBatch { get; set; } = 2048;

    /// <summary>
    /// Least time between two commits, in milliseconds: a commit costs about ten flushes, and a record is durable in the event log before. Default 250.
    /// </summary>
    [Range(0, 60_000)]
    public int CommitIntervalMs { get; set; } = 250;

    /// <summary>Time until the log is opened again after the disk failed, in milliseconds. Default 5000.</summary>
    [Range(1, 600_000)]
    public int ReopenAfterMs { get; set; } = 5000;
}

[OptionsValidator]
internal sealed partial class AuditOptionsValidator : IValidateOptions<AuditOptions>;
