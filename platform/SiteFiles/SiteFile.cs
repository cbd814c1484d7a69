using System.ComponentModel.DataAnnotations;

namespace Yizhan.Platform.SiteFiles;

// The descriptions and bounds below are also what sites/site.schema.json says: the schema is generated from these records.

/// <summary>One site: who is there, what stands there, what it may run. Its YAML file is <c>sites/SITEID.yaml</c>.</summary>
public sealed record SiteFile
{
    /// <summary>Name of the site everywhere: 1 to 63 of a-z, 0-9 and '-', as a DNS label. It never changes.</summary>
    [Required, Format(SiteFormats.SiteId)]
    public string SiteId { get; init; } = "";

    /// <summary>Name for people, such as 湖畔县人民医院.</summary>
    [Required, Length(1, 64)]
    public string Name { get; init; } = "";

    /// <summary>Whom the regional centre calls.</summary>
    [Required]
    public SiteContact Contact { get; init; } = new();

    /// <summary>The machine at the site.</summary>
    [Required]
    public SiteHardware Hardware { get; init; } = new();

    /// <summary>How the site reaches the centre.</summary>
    [Required]
    public SiteNetwork Network { get; init; } = new();

    /// <summary>Devices that send images. Whoever is not listed here or under peers may not open an association.</summary>
    [Length(0, 200)]
    public IReadOnlyList<SiteModality> Modalities { get; init; } = [];

    /// <summary>Other DICOM nodes: PACS, workstations, printers.</summary>
    [Length(0, 200)]
    public IReadOnlyList<SitePeer> Peers { get; init; } = [];

    /// <summary>What is spoken at the site, most spoken first: selects the speech models.</summary>
    [Length(0, 16), AllowedValues(
        "cmn-Hans-CN", "cmn-sichuan", "cmn-dongbei", "cmn-zhongyuan", "yue", "wuu", "nan", "hak", "hsn", "gan", "cjy", "cdo", "bo", "ug", "mn", "za", "ii", "en")]
    public IReadOnlyList<string> Dialects { get; init; } = [];

    /// <summary>What happens with a study, the first match first.</summary>
    [Length(0, 200)]
    public IReadOnlyList<SiteRule> Rules { get; init; } = [];

    /// <summary>What the site may run, and until when.</summary>
    [Length(0, 200)]
    public IReadOnlyList<SiteLicence> Licences { get; init; } = [];

    /// <summary>When the site works and when it may be changed.</summary>
    public SiteWindows? Windows { get; init; }

    /// <summary>Room of the spool for what waits.</summary>
    public SiteLanes? Lanes { get; init; }

    /// <summary>Where stock and equipment are collected.</summary>
    [Length(0, 100)]
    public IReadOnlyList<SiteInventorySource> Inventory { get; init; } = [];

    /// <summary>Systems that order, and that results go to: the site's own medical record system, a broker, the region's.</summary>
    [Length(0, 16)]
    public IReadOnlyList<SiteEmr> Emr { get; init; } = [];

    /// <summary>Public age key of the site: its secrets are encrypted for it (yizhan secrets keygen).</summary>
    [Format(SiteFormats.AgeRecipient)]
    public string? SecretsRecipient { get; init; }
}

/// <summary>A person.</summary>
public sealed record SiteContact
{
    /// <summary>Name.</summary>
    [Required, Length(1, 64)]
    public string Name { get; init; } = "";

    /// <summary>Telephone number, in quotes, such as "+86 28 5555 0100".</summary>
    [Required, Format(SiteFormats.Phone)]
    public string Phone { get; init; } = "";

    /// <summary>Mail address.</summary>
    [Format(SiteFormats.Email)]
    public string? Email { get; init; }
}

/// <summary>Hardware profile.</summary>
public sealed record SiteHardware
{
    /// <summary>rk3588 (arm64 with NPU) or x64.</summary>
    [Required, AllowedValues("rk3588", "x64")]
    public string Profile { get; init; } = "";

    /// <summary>Whether models run on the NPU; only an rk3588 has one.</summary>
    public bool Npu { get; init; }

    /// <summary>Memory in GiB.</summary>
    [Required, Range(4, 1024)]
    public int MemoryGiB { get; init; }

    /// <summary>Disk for data in GiB.</summary>
    [Required, Range(32, 1_000_000)]
    public int StorageGiB { get; init; }
}

/// <summary>Line to the centre.</summary>
public sealed record SiteNetwork
{
    /// <summary>Address of the centre's listener, such as https://centre.example:8443.</summary>
    [Required, Format(SiteFormats.HttpsUrl)]
    public string CentreUrl { get; init; } = "";

    /// <summary>What the line carries towards the centre, in kbit/s.</summary>
    [Required, Range(16, 10_000_000)]
    public int UplinkKbps { get; init; }

    /// <summary>Hours without a line for which the spool must have room.</summary>
    [Range(24, 720)]
    public int OfflineHours { get; init; } = 24;

    /// <summary>Tunnel to the centre; without one the line is direct.</summary>
    public SiteTunnel? Tunnel { get; init; }
}

/// <summary>Tunnel to the centre.</summary>
public sealed record SiteTunnel
{
    /// <summary>wireguard or zerotier.</summary>
    [Required, AllowedValues("wireguard", "zerotier")]
    public string Type { get; init; } = "";

    /// <summary>Address of the site inside the tunnel, such as 10.66.0.12/32. WireGuard needs it.</summary>
    [Format(SiteFormats.Cidr)]
    public string? Address { get; init; }

    /// <summary>Where the centre's end listens, host:port. WireGuard needs it.</summary>
    [Format(SiteFormats.HostPort)]
    public string? Endpoint { get; init; }

    /// <summary>Public key of the site's end, printed by yizhan wireguard keys. The centre's end of WireGuard needs it.</summary>
    [Format(SiteFormats.WireGuardKey)]
    public string? PublicKey { get; init; }

    /// <summary>Id of the network: 16 hex digits. ZeroTier needs it.</summary>
    [Format(SiteFormats.ZeroTierNetwork)]
    public string? NetworkId { get; init; }
}

/// <summary>A device that sends images.</summary>
public sealed record SiteModality
{
    /// <summary>Name for people, unique at the site.</summary>
    [Required, Identity, Length(1, 64)]
    public string Name { get; init; } = "";

    /// <summary>Modality, (0008,0060).</summary>
    [Required, AllowedValues("CR", "CT", "DX", "ECG", "ES", "IO", "MG", "MR", "NM", "OT", "PT", "PX", "RF", "RTIMAGE", "US", "XA")]
    public string Modality { get; init; } = "";

    /// <summary>AE title with which it calls: 1 to 16 printable ASCII characters.</summary>
    [Required, Format(SiteFormats.AeTitle)]
    public string AeTitle { get; init; } = "";

    /// <summary>IP address from which it must come; any when left out.</summary>
    [Format(SiteFormats.IpAddress)]
    public string? Address { get; init; }

    /// <summary>Whether it asks for a worklist.</summary>
    public bool Worklist { get; init; }
}

/// <summary>Another DICOM node.</summary>
public sealed record SitePeer
{
    /// <summary>Its AE title.</summary>
    [Required, Identity, Format(SiteFormats.AeTitle)]
    public string AeTitle { get; init; } = "";

    /// <summary>Its IP address.</summary>
    [Required, Format(SiteFormats.IpAddress)]
    public string Address { get; init; } = "";

    /// <summary>TCP port on which it listens.</summary>
    [Range(1, 65535)]
    public int Port { get; init; } = 104;
}

/// <summary>What happens with a study.</summary>
public sealed record SiteRule
{
    /// <summary>Name, unique at the site.</summary>
    [Required, Identity, Length(1, 64)]
    public string Name { get; init; } = "";

    /// <summary>AE titles of modalities or peers whose studies are meant; all when empty.</summary>
    [Length(0, 200)]
    public IReadOnlyList<string> From { get; init; } = [];

    /// <summary>Lane in which the study goes to the centre.</summary>
    [AllowedValues("urgent", "normal", "bulk")]
    public string Lane { get; init; } = "bulk";

    /// <summary>Models that analyse it; each needs a licence.</summary>
    [Length(0, 16)]
    public IReadOnlyList<string> Infer { get; init; } = [];

    /// <summary>AE titles of peers to which it is forwarded.</summary>
    [Length(0, 16)]
    public IReadOnlyList<string> Forward { get; init; } = [];
}

/// <summary>Permission to run something.</summary>
public sealed record SiteLicence
{
    /// <summary>Model bundle or service.</summary>
    [Required, Identity, Length(1, 64)]
    public string Feature { get; init; } = "";

    /// <summary>Last day, YYYY-MM-DD.</summary>
    [Required, Format(SiteFormats.Date)]
    public string Until { get; init; } = "";
}

/// <summary>Times of the site.</summary>
public sealed record SiteWindows
{
    /// <summary>IANA time zone.</summary>
    [Format(SiteFormats.TimeZone)]
    public string TimeZone { get; init; } = "Asia/Shanghai";

    /// <summary>When updates may begin.</summary>
    [Length(0, 14)]
    public IReadOnlyList<SiteWindow> Maintenance { get; init; } = [];
}

/// <summary>A time of day on some days.</summary>
public sealed record SiteWindow
{
    /// <summary>Days of the week.</summary>
    [Required, Length(1, 7), AllowedValues("mon", "tue", "wed", "thu", "fri", "sat", "sun")]
    public IReadOnlyList<string> Days { get; init; } = [];

    /// <summary>Start, "HH:MM" in quotes.</summary>
    [Required, Format(SiteFormats.TimeOfDay)]
    public string From { get; init; } = "";

    /// <summary>End, "HH:MM" in quotes; earlier than the start: on the next day.</summary>
    [Required, Format(SiteFormats.TimeOfDay)]
    public string To { get; init; } = "";
}

/// <summary>Room of the spool. A lane is refused when the spool holds this share of its quota.</summary>
public sealed record SiteLanes
{
    /// <summary>Most that entries and blobs may take, in GiB.</summary>
    [Required, Range(1, 1_000_000)]
    public int QuotaGiB { get; init; }

    /// <summary>Telemetry is refused from here on, in percent.</summary>
    [Range(1, 100)]
    public int TelemetryPercent { get; init; } = 80;

    /// <summary>Images are refused from here on, in percent.</summary>
    [Range(1, 100)]
    public int BulkPercent { get; init; } = 92;

    /// <summary>Everything but urgent results is refused from here on, in percent.</summary>
    [Range(1, 100)]
    public int NormalPercent { get; init; } = 97;
}

/// <summary>A source of stock or equipment data.</summary>
public sealed record SiteInventorySource
{
    /// <summary>Name, unique at the site.</summary>
    [Required, Identity, Length(1, 64)]
    public string Name { get; init; } = "";

    /// <summary>agent, mqtt (needs topic), csv (needs path), fhir or rest (need url).</summary>
    [Required, AllowedValues("agent", "mqtt", "csv", "fhir", "rest")]
    public string Kind { get; init; } = "";

    /// <summary>Topic filter of an mqtt source.</summary>
    [Length(1, 256)]
    public string? Topic { get; init; }

    /// <summary>Folder of a csv source.</summary>
    [Length(1, 256)]
    public string? Path { get; init; }

    /// <summary>Address of a fhir or rest source.</summary>
    [Format(SiteFormats.HttpUrl)]
    public string? Url { get; init; }

    /// <summary>How often it is collected, in minutes.</summary>
    [Range(1, 720)]
    public int EveryMinutes { get; init; } = 60;
}

/// <summary>A system that orders, or that results go to.</summary>
public sealed record SiteEmr
{
    /// <summary>Its name, unique at the site: 1 to 32 of a-z, 0-9 and '-'. What is owed to it is kept under this name.</summary>
    [Required, Identity, Format(SiteFormats.SystemName)]
    public string Name { get; init; } = "";

    /// <summary>hl7 (HL7 v2 over MLLP; needs address), fhir (any FHIR R4 server), openmrs (with its module fhir2) or bahmni (0.93, which has no FHIR); those need url.</summary>
    [Required, AllowedValues("hl7", "fhir", "openmrs", "bahmni")]
    public string Driver { get; init; } = "";

    /// <summary>IP address or host name of an hl7 system.</summary>
    [Format(SiteFormats.Host)]
    public string? Address { get; init; }

    /// <summary>TCP port of an hl7 system.</summary>
    [Range(1, 65535)]
    public int Port { get; init; } = 2575;

    /// <summary>Base of a fhir system, such as https://emr.example/fhir, or of an OpenMRS, such as https://emr.example/openmrs.</summary>
    [Format(SiteFormats.HttpUrl)]
    public string? Url { get; init; }

    /// <summary>User of a system that is asked over HTTP. The password is a file of the node: emr-adapter/NAME.password in its data folder.</summary>
    [Length(1, 64)]
    public string? User { get; init; }

    /// <summary>Character set of what an hl7 system is sent (MSH-18).</summary>
    [AllowedValues("UNICODE UTF-8", "GB 18030-2000", "ASCII", "8859/1")]
    public string CharacterSet { get; init; } = "UNICODE UTF-8";

    /// <summary>MSH-12 of what an hl7 system is sent.</summary>
    [AllowedValues("2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8")]
    public string Version { get; init; } = "2.5.1";

    /// <summary>What it is sent; order is for a modality's broker.</summary>
    [Length(0, 5), AllowedValues("study", "report", "finding", "note", "order")]
    public IReadOnlyList<string> Sends { get; init; } = ["study", "report", "finding", "note"];

    /// <summary>Whether it is asked for orders and patients; an hl7 system sends them itself.</summary>
    public bool Orders { get; init; } = true;

    /// <summary>UUIDs in an OpenMRS that results need; openmrs and bahmni need report and reportText.</summary>
    public SiteEmrConcepts? Concepts { get; init; }
}

/// <summary>UUIDs of an OpenMRS.</summary>
public sealed record SiteEmrConcepts
{
    /// <summary>Concept of a report: a set.</summary>
    [Required, Format(SiteFormats.Uuid)]
    public string Report { get; init; } = "";

    /// <summary>Concept of its text.</summary>
    [Required, Format(SiteFormats.Uuid)]
    public string ReportText { get; init; } = "";

    /// <summary>Concept of the Study Instance UID.</summary>
    [Format(SiteFormats.Uuid)]
    public string? StudyUid { get; init; }

    /// <summary>Concept of a document; with it visitType, encounterType, provider and location, which the visit of a document has.</summary>
    [Format(SiteFormats.Uuid)]
    public string? Document { get; init; }

    /// <summary>Type of the visit.</summary>
    [Format(SiteFormats.Uuid)]
    public string? VisitType { get; init; }

    /// <summary>Type of the encounter.</summary>
    [Format(SiteFormats.Uuid)]
    public string? EncounterType { get; init; }

    /// <summary>Who is the document's author.</summary>
    [Format(SiteFormats.Uuid)]
    public string? Provider { get; init; }

    /// <summary>Where it was written.</summary>
    [Format(SiteFormats.Uuid)]
    public string? Location { get; init; }
}

/// <summary>The member by which an element of a list is known: a diff compares elements of the same name, wherever they stand.</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class IdentityAttribute : Attribute;

/// <summary>The text must have one of the forms of <see cref="SiteFormats"/>.</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class FormatAttribute(string name) : Attribute
{
    /// <summary>Which form.</summary>
    public string Name { get; } = name;
}
