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

        foreach (var source in site.Inventory)
        {
            var key = string.Create(CultureInfo.InvariantCulture, $"inventory:sources:{index++}");
            settings[$"{key}:name"] = source.Name;
            settings[$"{key}:kind"] = source.Kind == "agent" && source.Path is null ? "push" : source.Kind;
            settings[$"{key}:everyMinutes"] = source.EveryMinutes.ToString(CultureInfo.InvariantCulture);
            foreach (var (name, value) in new[] { ("path", source.Path), ("url", source.Url) })
            {
                if (value is not null)
                {
                    settings[$"{key}:{name}"] = value;
                }
            }

            // The bridge's own settings say which topic becomes which event; the source is named after its event.
            if (source.Kind == "mqtt")
            {
                settings[$"{key}:eventType"] = $"yizhan.inventory.mqtt.{source.Name}.v1";
                settings[$"mqtt-bridge:topics:{key.Split(':')[2]}:filter"] = source.Topic;
                settings[$"mqtt-bridge:topics:{key.Split(':')[2]}:eventType"] = $"yizhan.inventory.mqtt.{source.Name}.v1";
                settings[$"mqtt-bridge:topics:{key.Split(':')[2]}:lane"] = "normal";
            }
        }

        foreach (var system in site.Emr)
        {
            var key = string.Create(CultureInfo.InvariantCulture, $"emr-adapter:systems:{index++}");
            (string, string?)[] values =
            [
                ("name", system.Name), ("driver", system.Driver), ("host", system.Address), ("url", system.Url), ("user", system.User),
                ("passwordFile", system.User is null ? null : $"{system.Name}.password"), ("characterSet", system.CharacterSet), ("version", system.Version),
                ("port", system.Port.ToString(CultureInfo.InvariantCulture)), ("sends", string.Join(' ', system.Sends)), ("orders", system.Orders ? "true" : "false"),
                ("concepts:report", system.Concepts?.Report), ("concepts:reportText", system.Concepts?.ReportText), ("concepts:studyUid", system.Concepts?.StudyUid),
                ("concepts:document", system.Concepts?.Document), ("concepts:visitType", system.Concepts?.VisitType), ("concepts:encounterType", system.Concepts?.EncounterType),
                ("concepts:provider", system.Concepts?.Provider), ("concepts:location", system.Concepts?.Location),
            ];
            foreach (var (name, value) in values.Where(v => v.Item2 is not null))
            {
                settings[$"{key}:{name}"] = value;
            }
        }

        for (var i = 0; i < site.Dialects.Count; i++)
        {
            settings[string.Create(CultureInfo.InvariantCulture, $"nmt-asr:dialects:{i}")] = site.Dialects[i];
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
