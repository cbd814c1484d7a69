namespace Yizhan.Inventory.Collect;

/// <summary>A source of stock or equipment data. Section <c>inventory:sources:N</c>.</summary>
public sealed class SourceOptions
{
    /// <summary>Name of the source that every node has: the node itself.</summary>
    internal const string NodeName = "node";

    private static readonly string[] Kinds = ["csv", "agent", "fhir", "rest", "mqtt", "push", "snmp", "redfish", "dicom"];

    /// <summary>Name, unique at the site: 1 to 64 of a-z, 0-9 and '-'.</summary>
    public string Name { get; set; } = "";

    /// <summary>
    /// csv: a folder in which CSV and XLSX files are dropped; agent: a folder of inventories of GLPI and FusionInventory agents; fhir: an R4 or R5 server; rest: OpenMRS stock
    /// management; mqtt: events of the mqtt-bridge; push: batches and inventories that others post here under this name; snmp: a device with SNMPv3; redfish: a
    /// management controller; dicom: a modality that is asked by C-ECHO.
    /// </summary>
    public string Kind { get; set; } = "";

    /// <summary>How often it is collected, in minutes: 1 to 720. Default 60.</summary>
    public int EveryMinutes { get; set; } = 60;

    /// <summary>csv, agent: the folder.</summary>
    public string? Path { get; set; }

    /// <summary>csv, agent: a file counts when it has not changed for so many seconds. Default 5.</summary>
    public int SettleSeconds { get; set; } = 5;

    /// <summary>fhir, rest, redfish: the address.</summary>
    public Uri? Url { get; set; }

    /// <summary>mqtt: the event type that the bridge maps the topic to.</summary>
    public string? EventType { get; set; }

    /// <summary>snmp, dicom: name or address.</summary>
    public string? Host { get; set; }

    /// <summary>snmp, dicom: port. Default 161 and 104.</summary>
    public int? Port { get; set; }

    /// <summary>dicom: the modality's title.</summary>
    public string? AeTitle { get; set; }

    /// <summary>dicom: our title. Default YIZHAN.</summary>
    public string CallingAeTitle { get; set; } = "YIZHAN";

    /// <summary>fhir, rest, redfish, snmp: user; none when left out.</summary>
    public string? User { get; set; }

    /// <summary>File with the password (snmp: of authentication).</summary>
    public string? PasswordPath { get; set; }

    /// <summary>snmp: file with the password of encryption; the same as for authentication when left out.</summary>
    public string? PrivacyPasswordPath { get; set; }

    /// <summary>snmp: SHA-256 (RFC 7860) or SHA (RFC 3414). Default SHA-256. Encryption is AES-128.</summary>
    public string SnmpAuthentication { get; set; } = "SHA-256";

    /// <summary>csv, fhir, rest, mqtt: place of what has none of its own.</summary>
    public string Location { get; set; } = "";

    /// <summary>What is wrong, beginning with the member; null when nothing is.</summary>
    internal string? Problem() =>
        Name.Length is 0 or > 64 || !Name.All(c => c is (>= 'a' and <= 'z') or (>= '0' and <= '9') or '-') || Name == NodeName
            ? $":name is '{Name}'; accepted: 1 to 64 of a-z, 0-9 and '-', not {NodeName}."
        : !Kinds.Contains(Kind) ? $":kind is '{Kind}'; accepted: {string.Join(", ", Kinds)}."
        : EveryMinutes is < 1 or > 720 ? $":everyMinutes is {EveryMinutes}; accepted: 1 to 720."
        : SettleSeconds is < 0 or > 3600 ? $":settleSeconds is {SettleSeconds}; accepted: 0 to 3600."
        : Kind is "csv" or "agent" && Path is null ? $":path is missing; a source of kind {Kind} needs the folder."
        : Kind is "fhir" or "rest" or "redfish" && Url is not { IsAbsoluteUri: true, Scheme: "http" or "https" } ? $":url is '{Url}'; accepted: http:// or https:// and a host."
        : Kind is "mqtt" && string.IsNullOrEmpty(EventType) ? ":eventType is missing; accepted: the eventType of an entry of mqtt-bridge:topics."
        : Kind is "snmp" or "dicom" && string.IsNullOrEmpty(Host) ? $":host is missing; a source of kind {Kind} needs it."
        : Port is < 1 or > 65535 ? $":port is {Port}; accepted: 1 to 65535."
        : Kind is "dicom" && AeTitle is not { Length: >= 1 and <= 16 } ? $":aeTitle is '{AeTitle}'; accepted: 1 to 16 characters."
        : Kind is "snmp" && (User is null || PasswordPath is null) ? ":user and passwordPath are needed: SNMPv3 with authentication and encryption is asked, nothing less."
        : SnmpAuthentication is not ("SHA-256" or "SHA") ? $":snmpAuthentication is '{SnmpAuthentication}'; accepted: SHA-256, SHA."
        : User is not null && PasswordPath is null ? ":passwordPath is missing for the user."
        : new[] { PasswordPath, PrivacyPasswordPath }.FirstOrDefault(p => p is not null && !File.Exists(p)) is { } missing ? $":passwordPath: there is no file {missing}."
        : null;

    /// <summary>The password; empty when there is none.</summary>
    internal string Password() => PasswordPath is null ? "" : File.ReadAllText(PasswordPath).TrimEnd('\r', '\n');

    /// <summary>The password of encryption.</summary>
    internal string PrivacyPassword() => PrivacyPasswordPath is null ? Password() : File.ReadAllText(PrivacyPasswordPath).TrimEnd('\r', '\n');
}
