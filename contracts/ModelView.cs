namespace Yizhan.Contracts;

/// <summary>One version of a model at a node; an element of <c>GET /ai-infer/models</c>.</summary>
/// <param name="Name">Model.</param>
/// <param name="Version">Version.</param>
/// <param name="State">READY (loaded), LOADING or UNAVAILABLE.</param>
/// <param name="Reason">Why it is not loaded or was refused; empty when there is nothing to say.</param>
/// <param name="Ships">It came with the product.</param>
/// <param name="Digest">SHA-256 of its manifest; null when it cannot be read.</param>
/// <param name="SignedBy">Whose signatures it has.</param>
/// <param name="Description">What its author says it is.</param>
/// <param name="ClinicalUse">False: not for clinical use, and every result says so.</param>
/// <param name="RunsOn">What runs it and why; null when it is not loaded.</param>
/// <param name="Answered">Requests answered since it was loaded.</param>
/// <param name="Figures">Figures that its author publishes, by name; null for none.</param>
public sealed record ModelView(
    string Name, string Version, string State, string Reason, bool Ships, string? Digest, IReadOnlyList<string> SignedBy, string? Description, bool ClinicalUse, string? RunsOn,
    long Answered, IReadOnlyDictionary<string, double>? Figures = null);
