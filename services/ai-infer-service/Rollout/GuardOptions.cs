using System.ComponentModel.DataAnnotations;

namespace Yizhan.AiInfer.Rollout;

/// <summary>When a version is held without anybody asking. Section <c>ai-infer:guard</c>.</summary>
public sealed class GuardOptions
{
    /// <summary>Newest series of a version that are looked at. Default 50.</summary>
    [Range(5, 1000)]
    public int Window { get; set; } = 50;

    /// <summary>Series until errors and times count. Default 5.</summary>
    [Range(2, 1000)]
    public int MinSeries { get; set; } = 5;

    /// <summary>Series on both sides until distributions and agreement count. Default 20.</summary>
    [Range(2, 1000)]
    public int MinForDrift { get; set; } = 20;

    /// <summary>Part of the series that may fail. Default 0.2.</summary>
    [Range(0.0, 1.0)]
    public double MaxErrorRatio { get; set; } = 0.2;

    /// <summary>How many times slower than the version for all, by the median, and by more than a second. Default 3.</summary>
    [Range(1.0, 1000.0)]
    public double MaxLatencyRatio { get; set; } = 3;

    /// <summary>Population stability index of inputs or outputs; above 0.25 is a shift by custom. Default 0.5.</summary>
    [Range(0.01, 100.0)]
    public double MaxDrift { get; set; } = 0.5;

    /// <summary>Part of the series on which a candidate may disagree with the version for all: volumes that differ by more than 30 % and 0.5 ml. Default 0.3.</summary>
    [Range(0.0, 1.0)]
    public double MaxDisagreement { get; set; } = 0.3;
}
