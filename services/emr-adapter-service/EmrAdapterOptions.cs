using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;
using Yizhan.Platform.Flows;

namespace Yizhan.EmrAdapter;

/// <summary>Which systems there are and how they are talked to. Section <c>emr-adapter</c>. Without a port and systems nothing happens.</summary>
public sealed class EmrAdapterOptions : IValidatableObject
{
    /// <summary>HL7 v2 over MLLP in.</summary>
    [ValidateObjectMembers]
    public MllpListenerOptions Hl7 { get; set; } = new();

    /// <summary>Systems: where results go, and where orders are fetched.</summary>
    [ValidateEnumeratedItems]
    public IReadOnlyList<EmrSystemOptions> Systems { get; set; } = [];

    /// <summary>Folder with terminology maps (<c>*.tsv</c>) that come before those we ship. Default null.</summary>
    public string? TermsFolder { get; set; }

    /// <summary>Offset of times that name none, in minutes. Default 480 (China).</summary>
    [Range(-720, 840)]
    public int UtcOffsetMinutes { get; set; } = 480;

    /// <summary>What may wait for one system, in bytes; then nothing more is read from the log, which fills up in turn. Default 1 GiB.</summary>
    [Range(4096, 1L << 40)]
    public long MaxWaitingBytes { get; set; } = 1L << 30;

    /// <summary>Tries of one message that a system refuses while it takes others; then it is a dead letter. Default 5.</summary>
    [Range(1, 100)]
    public int MaxAttempts { get; set; } = 5;

    /// <summary>First pause after a failure, in milliseconds; doubled each time. Default 1000.</summary>
    [Range(1, 600_000)]
    public int FirstPauseMs { get; set; } = 1000;

    /// <summary>Longest pause, in milliseconds. Default 300000.</summary>
    [Range(1, 3_600_000)]
    public int MaxPauseMs { get; set; } = 300_000;

    /// <summary>A study is told to the EMR when nothing of it came for so long, in milliseconds. Default 60000.</summary>
    [Range(1, 86_400_000)]
    public int StudyQuietMs { get; set; } = 60_000;

    /// <summary>Days that delivered messages and ended orders are remembered. Default 400.</summary>
    [Range(1, 3650)]
    public int RememberDays { get; set; } = 400;

    /// <inheritdoc/>
    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext) => Systems.GroupBy(s => s.Name).Where(g => g.Count() > 1).Select(g => new ValidationResult(
        $"emr-adapter:systems has '{g.Key}' {g.Count()} times; accepted: each name once, in the node's settings and the site file together."));
}

/// <summary>HL7 v2 in; 2575 is registered for it. Part of section <c>emr-adapter</c>.</summary>
public sealed class MllpListenerOptions : TlsListenerOptions
{
    /// <summary>Largest message, in bytes. Default 4194304.</summary>
    [Range(1024, 64 * 1024 * 1024)]
    public int MaxMessageBytes { get; set; } = 4 * 1024 * 1024;

    /// <summary>Longest time from the first byte of a message to its end block, in milliseconds. Default 30000.</summary>
    [Range(1, 3_600_000)]
    public int MessageTimeoutMs { get; set; } = 30_000;

    /// <summary>A connection without a message for so long is closed, in milliseconds. Default 86400000.</summary>
    [Range(1, int.MaxValue)]
    public int IdleTimeoutMs { get; set; } = 86_400_000;

    /// <summary>Processing ids (MSH-11) that are taken. Default P.</summary>
    [Required]
    public string ProcessingIds { get; set; } = "P";
}

/// <summary>One system. Part of section <c>emr-adapter</c>.</summary>
public sealed class EmrSystemOptions : IValidatableObject
{
    private static readonly string[] Drivers = ["hl7", "fhir", "openmrs", "bahmni"];

    /// <summary>Its name here: 1 to 32 of a-z, 0-9 and '-'. What is owed to it is kept under this name.</summary>
    [Required]
    [RegularExpression("[a-z0-9-]{1,32}", ErrorMessage = "A system's name must be 1 to 32 characters of a-z, 0-9 and '-'.")]
    public string Name { get; set; } = "";

    /// <summary>hl7 (MLLP), fhir (any R4 server), openmrs (fhir2 with its quirks) or bahmni (atomfeed and REST of Bahmni 0.93).</summary>
    [Required]
    public string Driver { get; set; } = "";

    /// <summary>Host of an hl7 system.</summary>
    public string? Host { get; set; }

    /// <summary>Port of an hl7 system. Default 2575.</summary>
    [Range(1, 65535)]
    public int Port { get; set; } = 2575;

    /// <summary>Base of a fhir system (<c>https://emr.example/fhir</c>), or of an OpenMRS (<c>https://emr.example/openmrs</c>).</summary>
    public string? Url { get; set; }

    /// <summary>User of Basic authentication.</summary>
    public string? User { get; set; }

    /// <summary>File with the password, read for each request; a relative one is below <c>emr-adapter</c> in the data folder.</summary>
    public string? PasswordFile { get; set; }

    /// <summary>PEM file with the root of the system's certificate; with it an hl7 system is called over TLS.</summary>
    public string? RootFile { get; set; }

    /// <summary>Character set of what we send (MSH-18). Default UNICODE UTF-8.</summary>
    [Required]
    public string CharacterSet { get; set; } = "UNICODE UTF-8";

    /// <summary>MSH-12 of what we send. Default 2.5.1.</summary>
    [Required]
    public string Version { get; set; } = "2.5.1";

    /// <summary>What is sent, of study, report, finding, note and order (scheduled orders, for a modality's broker), apart by spaces. Default all but order.</summary>
    public string Sends { get; set; } = "study report finding note";

    /// <summary>Orders and patients are fetched from it (not hl7: that one sends them). Default true.</summary>
    public bool Orders { get; set; } = true;

    /// <summary>Orders from this time on, when the system is first in the settings; null for from then on. Default null.</summary>
    public DateTimeOffset? Since { get; set; }

    /// <summary>
    /// Base of this node as a fhir system reaches it, such as <c>https://yizhan.example</c>: it is asked to knock there when something changes (Subscription, rest-hook). Null for
    /// none. Default null. Looks every <see cref="PollMs"/> go on all the same, so these may be rarer.
    /// </summary>
    public string? NotifyUrl { get; set; }

    /// <summary>Time between two looks for orders, in milliseconds. Default 15000.</summary>
    [Range(10, 86_400_000)]
    public int PollMs { get; set; } = 15_000;

    /// <summary>Time for one answer, in milliseconds. Default 20000.</summary>
    [Range(10, 600_000)]
    public int TimeoutMs { get; set; } = 20_000;

    /// <summary>Messages on their way at a time, those of one patient one after another. Default 1.</summary>
    [Range(1, 16)]
    public int Connections { get; set; } = 1;

    /// <summary>UUIDs of concepts and types that a bahmni system needs for results, by name. See the README.</summary>
    public IReadOnlyDictionary<string, string> Concepts { get; set; } = new Dictionary<string, string>();

    /// <inheritdoc/>
    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (!Drivers.Contains(Driver))
        {
            yield return new ValidationResult($"driver must be one of {string.Join(", ", Drivers)}, not '{Driver}'.");
        }
        else if (Driver == "hl7" && string.IsNullOrEmpty(Host))
        {
            yield return new ValidationResult("A system with driver hl7 needs a host.");
        }
        else if (Driver != "hl7" && (!Uri.TryCreate(Url, UriKind.Absolute, out var url) || url.Scheme is not ("http" or "https")))
        {
            yield return new ValidationResult($"A system with driver {Driver} needs a url of http or https.");
        }

        if (NotifyUrl is not null && (Driver != "fhir" || !Uri.TryCreate(NotifyUrl, UriKind.Absolute, out var ours) || ours.Scheme is not ("http" or "https")))
        {
            yield return new ValidationResult($"notifyUrl is '{NotifyUrl}'; accepted is an address of http or https, for a system with driver fhir.");
        }
    }
}

[OptionsValidator]
internal sealed partial class EmrAdapterOptionsValidator : IValidateOptions<EmrAdapterOptions>;
