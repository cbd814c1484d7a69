namespace Yizhan.Platform.SiteFiles;

/// <summary>The site files of a network: a folder with one <c>SITEID.yaml</c> for each site.</summary>
public static class SiteFolder
{
    /// <summary>Reads all site files of a folder, or the given ones; checks what only shows between them.</summary>
    /// <param name="paths">Files.</param>
    /// <returns>Sites by path, those without a fault, and all faults.</returns>
    /// <exception cref="IOException">A file cannot be read.</exception>
    public static (IReadOnlyList<(string Path, SiteFile Site)> Sites, IReadOnlyList<SiteFileProblem> Problems) Read(IEnumerable<string> paths)
    {
        var sites = new List<(string Path, SiteFile Site)>();
        var problems = new List<SiteFileProblem>();
        var tunnels = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var path in paths)
        {
            var (site, faults) = SiteFileReader.ReadFile(path);
            problems.AddRange(faults);
            if (site is null)
            {
                continue;
            }

            if (Path.GetFileNameWithoutExtension(path) != site.SiteId)
            {
                problems.Add(new(path, 1, 1, $"siteId is '{site.SiteId}' and the file is '{Path.GetFileName(path)}'; accepted: '{site.SiteId}.yaml'."));
            }
            else if (site.Network.Tunnel?.Address is { } address && !tunnels.TryAdd(address, site.SiteId))
            {
                problems.Add(new(path, 1, 1, $"network.tunnel.address is '{address}', which is that of {tunnels[address]}; accepted: each once."));
            }
            else
            {
                sites.Add((path, site));
            }
        }

        return (sites, problems);
    }

    /// <summary>Site files of a folder, by name.</summary>
    public static IEnumerable<string> Files(string folder) =>
        Directory.EnumerateFiles(folder, "*.yaml").Order(StringComparer.Ordinal);
}
