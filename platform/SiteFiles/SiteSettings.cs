using System.Globalization;

namespace Yizhan.Platform.SiteFiles;

/// <summary>What a site file means for the settings of the node's services.</summary>
internal static class SiteSettings
{
    // The binder takes any number as the index of a list, so these never replace an element of the node's own file.
    private const int FirstIndex = 10_000;

    private const long GiB = 1024L * 1024 * 1024;

    /// <summary>Settings by key, as <c>section:key</c>. Sections of services that a node does not run are left out by the caller.</summary>
    public static Dictionary<string, string?> Of(SiteFile site)
    {
        var settings = new Dictionary<string, string?>();
        var index = FirstIndex;
        foreach (var (aeTitle, address) in site.Modalities.Select(m => (m.AeTitle, m.Address)).Concat(site.Peers.Select(p => (p.AeTitle, (string?)p.Address))))
        {
            var key = string.Create(CultureInfo.InvariantCulture, $"pacs-gw:peers:{index++}");
            settings[$"{key}:aeTitle"] = aeTitle;
            if (address is not null)
            {
                settings[$"{key}:address"] = address;
            }
        }

        if (site.Lanes is { } lanes)
        {
            settings["storage:quotaBytes"] = (lanes.QuotaGiB * GiB).ToString(CultureInfo.InvariantCulture);
            settings["storage:telemetryPercent"] = lanes.TelemetryPercent.ToString(CultureInfo.InvariantCulture);
            settings["storage:bulkPercent"] = lanes.BulkPercent.ToString(CultureInfo.InvariantCulture);
            settings["storage:normalPercent"] = lanes.NormalPercent.ToString(CultureInfo.InvariantCulture);
        }

        return settings;
    }
}
