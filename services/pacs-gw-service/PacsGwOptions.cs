using System.ComponentModel.DataAnnotations;
using System.Net;
using Microsoft.Extensions.Options;
using Yizhan.Dicom;
using Yizhan.PacsGw.Orthanc;

namespace Yizhan.PacsGw;

/// <summary>Settings of the DICOM gateway. Section <c>pacs-gw</c>.</summary>
public sealed class PacsGwOptions
{
    /// <summary>Whether this node listens for DICOM associations. Default true; a centre that only takes from its sites says false.</summary>
    public bool AcceptAssociations { get; set; } = true;

    /// <summary>Our AE title; an association that calls another one is rejected. Default <c>YIZHAN</c>.</summary>
    [Required]
    public string AeTitle { get; set; } = "YIZHAN";

    /// <summary>IP address to listen on for DICOM. Default 127.0.0.1.</summary>
    [Required]
    public string DicomAddress { get; set; } = "127.0.0.1";

    /// <summary>TCP port for DICOM; 0 takes a free one. Default 11112.</summary>
    [Range(0, 65535)]
    public int DicomPort { get; set; } = 11112;

    /// <summary>TCP port for DICOM over TLS (PS3.15 §B.12: TLS 1.2 or 1.3, both sides show a certificate); 0 takes a free one, null is off. Default null.</summary>
    [Range(0, 65535)]
    public int? DicomTlsPort { get; set; }

    /// <summary>Our certificate for DICOM over TLS, PEM.</summary>
    public string? TlsCertificatePath { get; set; }

    /// <summary>Its key, PEM.</summary>
    public string? TlsKeyPath { get; set; }

    /// <summary>The root under which the certificates of peers are, PEM. No other root counts.</summary>
    public string? TlsRootPath { get; set; }

    /// <summary>Who may open an association. Empty by default: nobody may.</summary>
    public IList<PeerOptions> Peers { get; set; } = [];

    /// <summary>Associations at a time; a further one is rejected as transient (local limit exceeded). Default 32.</summary>
    [Range(1, 1000)]
    public int MaxAssociations { get; set; } = 32;

    /// <summary>Largest P-DATA-TF PDU that we accept, in bytes. Default 128 KiB.</summary>
    [Range(4096, 16 * 1024 * 1024)]
    public int MaxPduBytes { get; set; } = 128 * 1024;

    /// <summary>Stores that one association may have under way if its peer negotiates an asynchronous window. Default 16.</summary>
    [Range(1, 256)]
    public int MaxOperationsPerformed { get; set; } = 16;

    /// <summary>ARTIM timer of PS3.8 §9.1.5: how long a peer may take to ask for an association or to close after one. Default 30 s.</summary>
    [Range(1, 600)]
    public int ArtimSeconds { get; set; } = 30;

    /// <summary>Silence of the peer, in the middle of a message or between two, after which the association is aborted. Default 60 s.</summary>
    [Range(1, 3600)]
    public int IdleSeconds { get; set; } = 60;

    /// <summary>
    /// Share of the room, in percent, above which the archive gives up its oldest studies, if the centre has them. 0 (default) never does; a site says 80.
    /// </summary>
    [Range(0, 100)]
    public int EvictAbovePercent { get; set; }

    /// <summary>SOP classes that are accepted besides the standard's storage classes: private ones, by UID.</summary>
    public IList<string> PrivateSopClasses { get; set; } = [];

    /// <summary>Results that one QIDO-RS request may get, and gets when it asks for no limit. Default 1000.</summary>
    [Range(1, 100_000)]
    public int MaxResults { get; set; } = 1000;

    /// <summary>Time that one search of the archive may take, answers included. Default 30 s.</summary>
    [Range(1, 3600)]
    public int MaxSearchSeconds { get; set; } = 30;

    /// <summary>Results that one C-FIND may get; then it ends with 0xA700. Default 10 000.</summary>
    [Range(1, 1_000_000)]
    public int MaxFindResults { get; set; } = 10_000;

    /// <summary>Instances that one C-MOVE or C-GET may ask for; beyond it is refused with 0xA701. Default 100 000.</summary>
    [Range(1, 1_000_000)]
    public int MaxRetrievedInstances { get; set; } = 100_000;

    /// <summary>Times that a report of storage commitment is tried, up to five minutes apart. Default 1000: three days.</summary>
    [Range(1, 1_000_000)]
    public int MaxCommitmentAttempts { get; set; } = 1000;

    /// <summary>Parts that one STOW-RS request may have. Default 20 000.</summary>
    [Range(1, 1_000_000)]
    public int MaxStowParts { get; set; } = 20_000;

    /// <summary>Reads of one study by one agent within this time make one audit entry. Default 60 s.</summary>
    [Range(1, 3600)]
    public int AuditWindowSeconds { get; set; } = 60;

    /// <summary>Largest part of a data set before its pixel data that is decoded for the index, in bytes. Default 64 MiB.</summary>
    [Range(64 * 1024, 1024 * 1024 * 1024)]
    public int MaxHeaderBytes { get; set; } = 64 * 1024 * 1024;

    /// <summary>Frames that are decoded or encoded at a time; a further one waits. Default: one for each processor.</summary>
    [Range(1, 1000)]
    public int MaxCodecs { get; set; } = Environment.ProcessorCount;

    /// <summary>File with the rules: what is rejected, coerced, de-identified and sent where. None by default.</summary>
    public string? RulesFile { get; set; }

    /// <summary>Largest data set of which a changed copy is made, in bytes; it is in memory then. Default 512 MiB.</summary>
    [Range(1024 * 1024, 2_000_000_000)]
    public long MaxChangedBytes { get; set; } = 512 * 1024 * 1024;

    /// <summary>Days that the archive keeps a study after its last instance came, once the centre has it. Null (default): for ever.</summary>
    [Range(1, 36_500)]
    public int? RetentionDays { get; set; }

    /// <summary>Gigabytes (10^9 bytes) of data sets beyond which the archive gives up its oldest studies that the centre has. Null (default): none.</summary>
    [Range(1, 10_000_000)]
    public long? RetentionGigabytes { get; set; }

    /// <summary>Root of the UIDs that we create. Null: the environment's <c>DICOM_UID_ROOT</c>, and without that <c>2.25</c>.</summary>
    public string? UidRoot { get; set; }

    /// <summary>An Orthanc whose new instances are taken in; none by default.</summary>
    public OrthancOptions? Orthanc { get; set; }
}

/// <summary>A service that a peer may ask us for. Every peer may ask for C-ECHO.</summary>
public enum PeerService
{
    /// <summary>C-STORE.</summary>
    Store,

    /// <summary>C-FIND of patients, studies, series and instances.</summary>
    Query,

    /// <summary>C-MOVE and C-GET.</summary>
    Retrieve,

    /// <summary>Storage commitment.</summary>
    Commitment,

    /// <summary>Modality worklist.</summary>
    Worklist,

    /// <summary>Modality performed procedure steps.</summary>
    ProcedureStep,
}

/// <summary>An application entity that may open associations with us, and that we may open associations with.</summary>
public sealed class PeerOptions
{
    /// <summary>Its AE title: 1 to 16 printable ASCII characters, no backslash (PS3.5 §6.2).</summary>
    [Required]
    public string AeTitle { get; set; } = "";

    /// <summary>IP address that it must come from; any when null.</summary>
    public string? Address { get; set; }

    /// <summary>Name or address to call it at; null when it is never called. It is a destination of C-MOVE when it has one.</summary>
    public string? Host { get; set; }

    /// <summary>TCP port to call it at. Default 104.</summary>
    [Range(1, 65535)]
    public int Port { get; set; } = 104;

    /// <summary>Whether it must come over TLS, and is called over TLS. Default false.</summary>
    public bool Tls { get; set; }

    /// <summary>SHA-256 of its certificate, 64 hex digits; any certificate under our root when null.</summary>
    public string? CertificateSha256 { get; set; }

    /// <summary>What it may ask for. Everything when empty.</summary>
    public IList<PeerService> Services { get; set; } = [];

    /// <summary>Associations that it may have at a time; a further one is rejected as transient (local limit exceeded). Default 16.</summary>
    [Range(1, 1000)]
    public int MaxAssociations { get; set; } = 16;

    /// <summary>Associations that it may open in a minute; a further one is rejected as transient (temporary congestion). Default 1200.</summary>
    [Range(1, 100_000)]
    public int MaxAssociationsPerMinute { get; set; } = 1200;

    /// <summary>
    /// Specific Character Set (PS3.3 §C.12.1.1.2) that it understands in answers, such as <c>GB18030</c>; when null that of its request. Text that it cannot
    /// hold goes out as UTF-8.
    /// </summary>
    public string? CharacterSet { get; set; }
}

internal sealed class PacsGwOptionsValidator : IValidateOptions<PacsGwOptions>
{
    public ValidateOptionsResult Validate(string? name, PacsGwOptions options)
    {
        var failures = new List<ValidationResult>();
        Validator.TryValidateObject(options, new ValidationContext(options), failures, validateAllProperties: true);
        var messages = failures.Select(f => $"pacs-gw: {f.ErrorMessage}").ToList();
        CheckAeTitle("aeTitle", options.AeTitle, messages);
        if (!IPAddress.TryParse(options.DicomAddress, out _))
        {
            messages.Add($"pacs-gw:dicomAddress is '{options.DicomAddress}'; accepted is an IP address such as 127.0.0.1 or 0.0.0.0.");
        }

        for (var i = 0; i < options.Peers.Count; i++)
        {
            CheckAeTitle($"peers:{i}:aeTitle", options.Peers[i].AeTitle, messages);
            if (options.Peers[i].Address is { } address && !IPAddress.TryParse(address, out _))
            {
                messages.Add($"pacs-gw:peers:{i}:address is '{address}'; accepted is an IP address, or none.");
            }

            var peerFailures = new List<ValidationResult>();
            Validator.TryValidateObject(options.Peers[i], new ValidationContext(options.Peers[i]), peerFailures, validateAllProperties: true);
            messages.AddRange(peerFailures.Select(f => $"pacs-gw:peers:{i}: {f.ErrorMessage}"));
            if (options.Peers[i].CertificateSha256 is { } hash && (hash.Length != 64 || !hash.All(char.IsAsciiHexDigit)))
            {
                messages.Add($"pacs-gw:peers:{i}:certificateSha256 is '{hash}'; accepted are 64 hex digits, or none.");
            }

            if (options.Peers[i].CharacterSet is { } set && !DicomCharacterSet.Parse(set.Split('\\')).IsKnown)
            {
                messages.Add($"pacs-gw:peers:{i}:characterSet is '{set}'; accepted is a defined term such as ISO_IR 192, GB18030 or ISO_IR 100.");
            }

            if (options.Peers.Take(i).Any(p => p.AeTitle == options.Peers[i].AeTitle))
            {
                messages.Add($"pacs-gw:peers:{i}:aeTitle is '{options.Peers[i].AeTitle}', which another peer has already.");
            }
        }

        if ((options.DicomTlsPort is not null || options.Peers.Any(p => p.Tls))
            && (options.TlsCertificatePath is null || options.TlsKeyPath is null || options.TlsRootPath is null))
        {
            messages.Add("pacs-gw: DICOM over TLS needs tlsCertificatePath, tlsKeyPath and tlsRootPath.");
        }

        if (options.Orthanc is { } orthanc)
        {
            CheckAeTitle("orthanc:aeTitle", orthanc.AeTitle, messages);
            if (!Uri.TryCreate(orthanc.Url, UriKind.Absolute, out var url) || url.Scheme is not ("http" or "https"))
            {
                messages.Add($"pacs-gw:orthanc:url is '{orthanc.Url}'; accepted is an address such as http://127.0.0.1:8042/.");
            }

            if (orthanc.PollSeconds is < 1 or > 3600)
            {
                messages.Add($"pacs-gw:orthanc:pollSeconds is {orthanc.PollSeconds}; accepted is 1 to 3600.");
            }
        }

        if ((options.UidRoot ?? UidFactory.FromEnvironment) is { } root && UidFactory.Problem(root) is { } problem)
        {
            messages.Add($"pacs-gw:uidRoot (or DICOM_UID_ROOT) is '{root}': {problem}.");
        }

        foreach (var uid in options.PrivateSopClasses.Where(uid => !Uid.IsValid(uid)))
        {
            messages.Add($"pacs-gw:privateSopClasses has '{uid}'; accepted is a UID: digits and dots, at most 64 characters.");
        }

        return messages.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(messages);
    }

    private static void CheckAeTitle(string key, string value, List<string> messages)
    {
        if (value.Length is 0 or > 16 || value.Trim() != value || value.Any(c => c is < ' ' or > '~' or '\\'))
        {
            messages.Add(
                $"pacs-gw:{key} is '{value}'; accepted are 1 to 16 printable ASCII characters without backslash or outer spaces.");
        }
    }
}
