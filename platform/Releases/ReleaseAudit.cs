using Yizhan.Contracts;

namespace Yizhan.Platform.Releases;

/// <summary>The audit records of a release: one for each step, with an id that makes a repeated one the same.</summary>
public static class ReleaseAudit
{
    // DICOM PS3.16 CID 403: Software Configuration.
    private const string SoftwareConfiguration = "110131";

    /// <summary>What the audit is asked for to find every step of a release.</summary>
    public static string EntityOf(string version) => $"config/{version}";

    /// <summary>Id of a step in the event log.</summary>
    /// <param name="step">The step.</param>
    /// <param name="agent">Who did it.</param>
    /// <param name="site">Site that it concerns; empty for the whole network.</param>
    public static string IdOf(ConfigurationStep step, string agent, string site) =>
        $"config/{step.Version}/{step.Step.Replace(' ', '-')}/{agent}/{site}/{step.Digest[..Math.Min(12, step.Digest.Length)]}/{step.AtMs}";

    /// <summary>The record of a step.</summary>
    /// <param name="step">The step; its detail comes after a colon.</param>
    /// <param name="agent">Who did it: the name of a key, or a service.</param>
    /// <param name="source">Service and site that recorded it.</param>
    public static AuditRecord Record(ConfigurationStep step, string agent, string source) => new(
        SoftwareConfiguration, step.Step == "proposed" ? "C" : step.Step is "offered" or "refused" ? "E" : "U", step.Step is "refused" or "rolled back" ? 4 : 0,
        agent, null, source, EntityOf(step.Version.Length > 0 ? step.Version : "unknown"), $"{step.Step}: sha256 {step.Digest}: {Short(step.Detail)}", step.AtMs);

    private static string Short(string detail) => detail.Length > 1000 ? detail[..1000] : detail;
}
