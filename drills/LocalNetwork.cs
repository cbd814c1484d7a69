using System.Globalization;
using Yizhan.Platform.Certificates;
using Yizhan.Platform.Identity;

namespace Yizhan.Drills;

/// <summary>A centre and any number of sites in a folder, each a process of its own, that take configuration releases.</summary>
internal sealed class LocalNetwork
{
    private readonly string _folder;
    private readonly Dictionary<string, LocalPorts> _sites = [];
    private readonly LocalPorts _centre = LocalPorts.Free();

    private LocalNetwork(string folder) => _folder = folder;

    /// <summary>Web address of the centre.</summary>
    public Uri Centre => _centre.CentreWeb;

    /// <summary>A client of the centre, with the token of its operator.</summary>
    public HttpClient CentreClient() => OperatorTokenHandler.Client(Centre, Path.Combine(_folder, "centre"));

    /// <summary>The keys that everybody trusts at the beginning.</summary>
    public string TrustPath => Path.Combine(_folder, "trust.json");

    /// <summary>Makes certificates and settings.</summary>
    public static LocalNetwork Prepare(string folder, IReadOnlyList<string> sites)
    {
        var network = new LocalNetwork(folder);
        Directory.CreateDirectory(folder);
        using var ca = EmbeddedCa.Open(Path.Combine(folder, "ca"), TimeProvider.System);
        foreach (var site in sites)
        {
            network._sites[site] = LocalPorts.Free();
            ca.IssueSite(site).WriteTo(Path.Combine(folder, site + "-tls", "certificate.pem"), Path.Combine(folder, site + "-tls", "key.pem"));
            File.WriteAllText(network.SettingsPath(site), network.SiteSettings(site));
        }

        File.WriteAllText(network.SettingsPath("centre"), network.CentreSettings());
        return network;
    }

    /// <summary>DICOM port of a site.</summary>
    public int DicomPort(string site) => _sites[site].Dicom;

    public Task<HostProcess> StartCentreAsync(CancellationToken cancellationToken) => HostProcess.StartAsync(
        ["centre", "--config", SettingsPath("centre")], Centre, Path.Combine(_folder, "centre.log"), cancellationToken);

    public Task<HostProcess> StartSiteAsync(string site, CancellationToken cancellationToken) => StartSiteAsync(site, [], cancellationToken);

    public Task<HostProcess> StartSiteAsync(string site, IReadOnlyList<string> settings, CancellationToken cancellationToken) => HostProcess.StartAsync(
        ["edge", "--config", SettingsPath(site), .. settings], _sites[site].EdgeWeb, Path.Combine(_folder, site + ".log"), cancellationToken);

    private string SettingsPath(string node) => Path.Combine(_folder, $"{node}.yaml");

    private string CentreSettings() => string.Create(CultureInfo.InvariantCulture, $"""
        node:
          siteId: centre
          dataFolder: {Path.Combine(_folder, "centre")}
        web:
          url: http://127.0.0.1:{_centre.Centre}
        fleet:
          linkPort: {_centre.CentreLink}
          enrolmentPort: 0
          caFolder: {Path.Combine(_folder, "ca")}
          releaseTrustPath: {TrustPath}
          ringSoakSeconds: 1
        pacs-gw:
          acceptAssociations: false

        """);

    private string SiteSettings(string site) => string.Create(CultureInfo.InvariantCulture, $"""
        node:
          siteId: {site}
          dataFolder: {Path.Combine(_folder, site)}
        web:
          url: http://127.0.0.1:{_sites[site].Edge}
        station:
          centreUrl: https://127.0.0.1:{_centre.CentreLink}
          certificatePath: {Path.Combine(_folder, site + "-tls", "certificate.pem")}
          keyPath: {Path.Combine(_folder, site + "-tls", "key.pem")}
          rootPath: {Path.Combine(_folder, "ca", "root.crt")}
          releaseTrustPath: {TrustPath}
          configurationPollSeconds: 1
          heartbeatSeconds: 1
        pacs-gw:
          dicomPort: {_sites[site].Dicom}

        """);
}
