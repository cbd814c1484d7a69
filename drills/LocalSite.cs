using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Yizhan.Platform.Certificates;
using Yizhan.Platform.Identity;

namespace Yizhan.Drills;

/// <summary>Ports of a centre and one site on the loopback.</summary>
public sealed record LocalPorts(int Centre, int Edge, int CentreLink, int SiteLink, int Dicom)
{
    /// <summary>The ports of <c>yizhan up</c>: the same every time, so that a modality can be configured once.</summary>
    public static LocalPorts Default { get; } = new(8080, 8081, 8443, 8443, 11112);

    /// <summary>Ports that nobody listens on; the site reaches the centre over a port of its own, where a line can be cut.</summary>
    public static LocalPorts Free() => new(FreePorts.Next(), FreePorts.Next(), FreePorts.Next(), FreePorts.Next(), FreePorts.Next());

    /// <summary>The same, with the site calling the centre directly.</summary>
    public LocalPorts WithoutRelay() => this with { SiteLink = CentreLink };

    /// <summary>The first of them that somebody listens on; null when all can be had. The enrolment port of <c>yizhan up</c> is the one after the link's.</summary>
    public int? Taken()
    {
        int[] ports = [Centre, Edge, CentreLink, .. this == Default ? [CentreLink + 1] : Array.Empty<int>(), Dicom];
        foreach (var port in ports)
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                // As a server binds: what a closed connection left behind does not count.
                socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
                socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
                socket.Listen();
            }
            catch (SocketException)
            {
                return port;
            }
        }

        return null;
    }

    /// <summary>The centre's web address.</summary>
    public Uri CentreWeb => new($"http://127.0.0.1:{Centre}/");

    /// <summary>The site's web address.</summary>
    public Uri EdgeWeb => new($"http://127.0.0.1:{Edge}/");
}

/// <summary>A centre and one site in a folder: certificates of the embedded CA and a settings file for each.</summary>
public sealed class LocalSite
{
    /// <summary>AE title under which the site receives.</summary>
    public const string AeTitle = "YIZHAN";

    /// <summary>Name of the one site.</summary>
    public const string SiteId = "site-1";

    /// <summary>Calling AE titles of dcmtk's tools and of our own sender.</summary>
    public static readonly string[] DcmtkPeers = ["STORESCU", "ECHOSCU", "DCMSEND", "YIZHAN-SCU"];

    private readonly string _folder;

    private readonly string _centreSettings;

    private readonly string _drillCommand;

    private LocalSite(string folder, string[] peers, LocalPorts ports, string centreSettings, string drillCommand)
    {
        _drillCommand = drillCommand;
        _centreSettings = centreSettings;
        _folder = folder;
        Peers = peers;
        Ports = ports;
    }

    /// <summary>AE titles that may send; one that can be called too is <c>AETITLE@HOST:PORT</c>.</summary>
    public string[] Peers { get; }

    /// <summary>Where the nodes listen.</summary>
    public LocalPorts Ports { get; }

    /// <summary>Makes what is missing in the folder; what is there already (keys, data) is kept.</summary>
    public static LocalSite Prepare(string folder, string[] peers, LocalPorts ports) => Prepare(folder, peers, ports, "");

    /// <summary>The same with sections more in the settings of the centre.</summary>
    public static LocalSite Prepare(string folder, string[] peers, LocalPorts ports, string centreSettings) => Prepare(folder, peers, ports, centreSettings, drillCommand: "");

    /// <summary>The same with the command by which people start drills at the centre's console.</summary>
    public static LocalSite Prepare(string folder, string[] peers, LocalPorts ports, string centreSettings, string drillCommand)
    {
        Directory.CreateDirectory(folder);
        var site = new LocalSite(folder, peers, ports, centreSettings, drillCommand);
        using var ca = EmbeddedCa.Open(Path.Combine(folder, "ca"), TimeProvider.System);
        ca.IssueSite(SiteId).WriteTo(Path.Combine(folder, "site-tls", "certificate.pem"), Path.Combine(folder, "site-tls", "key.pem"));
        File.WriteAllText(site.SettingsPath("centre"), site.CentreSettings());
        File.WriteAllText(site.SettingsPath("edge"), site.EdgeSettings());
        return site;
    }

    /// <summary>Where the output of a node goes: centre, edge or all.</summary>
    public string LogPath(string node) => Path.Combine(_folder, $"{node}.log");

    /// <summary>Data folder of the centre.</summary>
    public string CentreFolder => Path.Combine(_folder, "centre");

    /// <summary>Data folder of the site.</summary>
    public string EdgeFolder => Path.Combine(_folder, SiteId);

    /// <summary>A client of the centre, with the token of its operator.</summary>
    public HttpClient CentreClient() => OperatorTokenHandler.Client(Ports.CentreWeb, CentreFolder);

    /// <summary>A client of the site, with the token of its operator.</summary>
    public HttpClient EdgeClient() => OperatorTokenHandler.Client(Ports.EdgeWeb, EdgeFolder);

    /// <summary>Starts both nodes in one process.</summary>
    public Task<HostProcess> StartAllAsync(CancellationToken cancellationToken) => HostProcess.StartAsync(
        ["all", "--centre", SettingsPath("centre"), "--edge", SettingsPath("edge")], Ports.EdgeWeb, LogPath("all"), cancellationToken);

    /// <summary>Starts the centre as a process of its own.</summary>
    public Task<HostProcess> StartCentreAsync(CancellationToken cancellationToken) => HostProcess.StartAsync(
        ["centre", "--config", SettingsPath("centre")], Ports.CentreWeb, LogPath("centre"), cancellationToken);

    /// <summary>The same with settings more.</summary>
    public Task<HostProcess> StartCentreAsync(IReadOnlyList<string> settings, CancellationToken cancellationToken) => HostProcess.StartAsync(
        ["centre", "--config", SettingsPath("centre"), .. settings], Ports.CentreWeb, LogPath("centre"), cancellationToken);

    /// <summary>Starts the centre at another place: another folder, other ports, the same authority.</summary>
    public Task<HostProcess> StartCentreElsewhereAsync(string dataFolder, LocalPorts ports, IReadOnlyList<string> settings, CancellationToken cancellationToken) => HostProcess.StartAsync(
        [
            "centre", "--config", SettingsPath("centre"), $"--node:dataFolder={dataFolder}", $"--web:url=http://127.0.0.1:{ports.Centre}", $"--fleet:linkPort={ports.CentreLink}",
            .. settings,
        ], ports.CentreWeb, LogPath("centre-elsewhere"), cancellationToken);

    /// <summary>Starts the site as a process of its own.</summary>
    public Task<HostProcess> StartEdgeAsync(CancellationToken cancellationToken) => StartEdgeAsync([], cancellationToken);

    /// <summary>The same with settings more, such as <c>--ai-infer:rules:0:model=nodule</c>.</summary>
    public Task<HostProcess> StartEdgeAsync(IReadOnlyList<string> settings, CancellationToken cancellationToken) => HostProcess.StartAsync(
        ["edge", "--config", SettingsPath("edge"), .. settings], Ports.EdgeWeb, LogPath("edge"), cancellationToken);

    private static string PeerSettings(string peer)
    {
        var at = peer.IndexOf('@', StringComparison.Ordinal);
        var colon = peer.LastIndexOf(':');
        var title = at < 0 ? peer : peer[..at];
        var known = title.Trim().Length is >= 1 and <= 16 && title.All(c => c is >= ' ' and <= '~' and not '\\');
        var port = 0;
        if (!known || (at >= 0 && (colon <= at + 1 || !int.TryParse(peer[(colon + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out port) || port is < 1 or > 65535)))
        {
            throw new ArgumentException($"The peer '{peer}' is neither an AE title (1 to 16 characters of ASCII without backslash, PS3.5 §6.2) nor AETITLE@HOST:PORT.");
        }

        return at < 0 ? $"    - aeTitle: {Yaml(title)}" : string.Create(CultureInfo.InvariantCulture, $"    - {{ aeTitle: {Yaml(title)}, host: {Yaml(peer[(at + 1)..colon])}, port: {port} }}");
    }

    /// <summary>A text as one scalar, whatever is in it: a folder may be called <c>a: b # c</c>.</summary>
    private static string Yaml(string text) => $"'{text.Replace("'", "''", StringComparison.Ordinal)}'";

    private string SettingsPath(string node) => Path.Combine(_folder, $"{node}.yaml");

    private string CentreSettings() => string.Create(CultureInfo.InvariantCulture, $"""
        # Settings of the centre, made by the yizhan command.
        node:
          siteId: centre
          dataFolder: {Yaml(CentreFolder)}
        web:
          url: http://127.0.0.1:{Ports.Centre}
        fleet:
          linkPort: {Ports.CentreLink}
          enrolmentPort: {(Ports == LocalPorts.Default ? Ports.CentreLink + 1 : 0)}
          caFolder: {Yaml(Path.Combine(_folder, "ca"))}
          drillCommand: {Yaml(_drillCommand)}
        pacs-gw:
          acceptAssociations: false
        console:
          dicomAddress: 127.0.0.1:{Ports.Dicom}
          dicomAeTitle: {AeTitle}
        {_centreSettings}
        """);

    private string EdgeSettings() => string.Create(CultureInfo.InvariantCulture, $"""
        # Settings of the site, made by the yizhan command.
        node:
          siteId: {SiteId}
          dataFolder: {Yaml(EdgeFolder)}
        web:
          url: http://127.0.0.1:{Ports.Edge}
        station:
          centreUrl: https://127.0.0.1:{Ports.SiteLink}
          certificatePath: {Yaml(Path.Combine(_folder, "site-tls", "certificate.pem"))}
          keyPath: {Yaml(Path.Combine(_folder, "site-tls", "key.pem"))}
          rootPath: {Yaml(Path.Combine(_folder, "ca", "root.crt"))}
        pacs-gw:
          aeTitle: {AeTitle}
          dicomPort: {Ports.Dicom}
          evictAbovePercent: 80
          peers:
        {string.Join('\n', Peers.Select(PeerSettings))}
        console:
          centreUrl: {Ports.CentreWeb}
          dicomAddress: 127.0.0.1:{Ports.Dicom}
          dicomAeTitle: {AeTitle}

        """);
}
