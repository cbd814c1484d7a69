using Yizhan.Dicom;
using Yizhan.PacsGw.Deidentify;

namespace Yizhan.PacsGw.Rules;

/// <summary>How a destination takes copies.</summary>
internal enum DestinationKind
{
    /// <summary>C-STORE.</summary>
    Dicom,

    /// <summary>The REST API of an Orthanc.</summary>
    Orthanc,

    /// <summary>STOW-RS.</summary>
    DicomWeb,
}

/// <summary>Where copies go: a DICOM peer, an Orthanc over REST, or a DICOMweb server.</summary>
/// <param name="Name">Name in the rules.</param>
/// <param name="AeTitle">Its AE title; null for what is reached over HTTP.</param>
/// <param name="Host">Its address; null when it is a peer of the settings, which say address, port and TLS.</param>
/// <param name="Port">Its port.</param>
/// <param name="Kind">How it takes them.</param>
/// <param name="Url">Root of an Orthanc's REST API, or of a DICOMweb service; null for a DICOM peer.</param>
/// <param name="User">User there, or null.</param>
/// <param name="PasswordFile">File with that user's password, or null.</param>
/// <param name="TokenFile">File with a bearer token for a DICOMweb service, read for each request; or null.</param>
internal sealed record Destination(
    string Name, string? AeTitle, string? Host, int Port, DestinationKind Kind = DestinationKind.Dicom, string? Url = null, string? User = null,
    string? PasswordFile = null, string? TokenFile = null);

/// <summary>A condition: an attribute, or who sent it, has one of these values.</summary>
/// <param name="What">As written: <c>peer</c>, <c>called</c>, a keyword or a tag.</param>
/// <param name="Tag">The attribute; null for <c>peer</c> and <c>called</c>.</param>
/// <param name="Patterns">Values with <c>*</c> and <c>?</c>, without regard to case; <c>!</c> in front negates; empty: the attribute has no value.</param>
internal sealed record Condition(string What, DicomTag? Tag, IReadOnlyList<string> Patterns);

/// <summary>One attribute that a rule changes.</summary>
/// <param name="Tag">Which, at the top level.</param>
/// <param name="Value">Its new value, with <c>{Keyword}</c> for those of other attributes; null removes it.</param>
internal sealed record CoercedAttribute(DicomTag Tag, string? Value);

/// <summary>What is done with the instances that meet all conditions. Actions happen in the order of the members.</summary>
/// <param name="Name">For logs and explanations.</param>
/// <param name="Line">Where it is in the file.</param>
/// <param name="When">All must hold; none: always.</param>
/// <param name="Reject">Refuses the instance with this reason; null does not.</param>
/// <param name="Pin">True: retention never deletes it.</param>
/// <param name="Coerce">Changes what this and later rules send.</param>
/// <param name="Deidentify">Name of the profile for this rule's routes; null sends as it is.</param>
/// <param name="Routes">Destinations of copies.</param>
/// <param name="Stop">True: no later rule is looked at.</param>
internal sealed record Rule(
    string Name,
    int Line,
    IReadOnlyList<Condition> When,
    string? Reject,
    bool Pin,
    IReadOnlyList<CoercedAttribute> Coerce,
    string? Deidentify,
    IReadOnlyList<string> Routes,
    bool Stop);

/// <summary>A rules file.</summary>
/// <param name="Destinations">By name.</param>
/// <param name="Profiles">How copies are de-identified, by name.</param>
/// <param name="Rules">In order.</param>
internal sealed record RuleSet(
    IReadOnlyDictionary<string, Destination> Destinations, IReadOnlyDictionary<string, DeidentifyProfile> Profiles, IReadOnlyList<Rule> Rules)
{
    /// <summary>No rules.</summary>
    public static RuleSet Empty { get; } = new(new Dictionary<string, Destination>(), new Dictionary<string, DeidentifyProfile>(), []);
}
