using System.Globalization;
using System.Net;
using System.Text.RegularExpressions;

namespace Yizhan.Platform.SiteFiles;

/// <summary>The forms that a text in a site file may have: a pattern that an editor can check too, and what only we can check.</summary>
internal sealed partial record SiteFormats(string Pattern, string Accepted, Func<string, bool>? Check = null)
{
    public const string SiteId = "siteId";
    public const string AeTitle = "aeTitle";
    public const string IpAddress = "ipAddress";
    public const string Cidr = "cidr";
    public const string HttpsUrl = "httpsUrl";
    public const string HttpUrl = "httpUrl";
    public const string Host = "host";
    public const string SystemName = "systemName";
    public const string Uuid = "uuid";
    public const string HostPort = "hostPort";
    public const string Phone = "phone";
    public const string Email = "email";
    public const string Date = "date";
    public const string TimeOfDay = "timeOfDay";
    public const string TimeZone = "timeZone";
    public const string AgeRecipient = "ageRecipient";
    public const string WireGuardKey = "wireGuardKey";
    public const string ZeroTierNetwork = "zeroTierNetwork";

    private static readonly Dictionary<string, SiteFormats> All = new()
    {
        [SiteId] = new($"^{NodeOptions.SiteIdPattern}$", "1 to 63 of a-z, 0-9 and '-', not starting or ending with '-'"),
        // PS3.5 §6.2, AE: leading and trailing spaces are padding, a backslash separates values.
        [AeTitle] = new(@"^(?! )[\x20-\x5B\x5D-\x7E]{1,16}(?<! )$", "1 to 16 printable ASCII characters without backslash or outer spaces"),
        [IpAddress] = new("^[0-9A-Fa-f:.]{2,39}$", "an IP address such as 192.0.2.10", IsIpAddress),
        [Cidr] = new("^[0-9A-Fa-f:.]{2,39}/[0-9]{1,3}$", "an address with its prefix length, such as 10.66.0.12/32", IsCidr),
        [HttpsUrl] = new("^https://[^ /?#@]+/?$", "an address such as https://centre.example:8443", text => IsUrl(text, "https")),
        [HttpUrl] = new("^https?://[^ @]+$", "an address such as https://stock.example/fhir", text => IsUrl(text, "http", "https")),
        [Host] = new(@"^[A-Za-z0-9.:-]{1,253}$", "an IP address or host name, such as 192.0.2.10 or ris.example", text => Uri.CheckHostName(text) != UriHostNameType.Unknown),
        [SystemName] = new("^[a-z0-9-]{1,32}$", "1 to 32 of a-z, 0-9 and '-'"),
        // Those of OpenMRS are not always of RFC 9562: 36 characters, concepts of CIEL end in a row of A.
        [Uuid] = new("^[0-9A-Za-z-]{36}$", "a UUID of that system: 36 characters"),
        [HostPort] = new(@"^[A-Za-z0-9.:\[\]-]+:[0-9]{1,5}$", "host:port, such as centre.example:51820", IsHostPort),
        [Phone] = new(@"^\+?[0-9][0-9 -]{4,22}$", "a telephone number in quotes, such as \"+86 28 5555 0100\""),
        [Email] = new(@"^[^@\s]{1,64}@[^@\s]+\.[^@\s.]+$", "a mail address such as pacs@hospital.example"),
        [Date] = new("^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "a day as YYYY-MM-DD",
            text => DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out _)),
        [TimeOfDay] = new("^([01][0-9]|2[0-3]):[0-5][0-9]$", "a time of day in quotes from \"00:00\" to \"23:59\""),
        [TimeZone] = new("^[A-Za-z_]+(/[A-Za-z_]+)*$", "an IANA time zone such as Asia/Shanghai", text => TimeZoneInfo.TryFindSystemTimeZoneById(text, out _)),
        [AgeRecipient] = new("^age1[02-9ac-hj-np-z]{58}$", "a public age key: age1 and 58 characters"),
        [WireGuardKey] = new("^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$", "a public WireGuard key: 44 characters of base64 (yizhan wireguard keys)"),
        [ZeroTierNetwork] = new("^[0-9a-f]{16}$", "16 hex digits in quotes"),
    };

    /// <summary>The form of that name.</summary>
    public static SiteFormats Of(string name) => All[name];

    public bool Matches(string text) =>
        Regex.IsMatch(text, Pattern, RegexOptions.CultureInvariant, TimeSpan.FromSeconds(1))
        && !text.EndsWith('\n') && Check?.Invoke(text) != false;

    private static bool IsIpAddress(string text) =>
        IPAddress.TryParse(text, out var address) && (text.Contains(':', StringComparison.Ordinal) || DottedQuad().IsMatch(text)) && address is not null;

    private static bool IsCidr(string text) => text.Split('/') is [var address, var bits] && IsIpAddress(address)
        && int.Parse(bits, CultureInfo.InvariantCulture) <= (address.Contains(':', StringComparison.Ordinal) ? 128 : 32);

    private static bool IsUrl(string text, params string[] schemes) =>
        Uri.TryCreate(text, UriKind.Absolute, out var url) && schemes.Contains(url.Scheme) && url.UserInfo.Length == 0;

    private static bool IsHostPort(string text)
    {
        var colon = text.LastIndexOf(':');
        return int.Parse(text.AsSpan(colon + 1), CultureInfo.InvariantCulture) is >= 1 and <= 65535
            && Uri.CheckHostName(text[..colon].Trim('[', ']')) != UriHostNameType.Unknown;
    }

    // IPAddress.Parse also takes "1" and "0x7f.1".
    [GeneratedRegex(@"^[0-9]{1,3}(\.[0-9]{1,3}){3}$")]
    private static partial Regex DottedQuad();
}
