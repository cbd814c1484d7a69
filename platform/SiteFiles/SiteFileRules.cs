using System.Globalization;

namespace Yizhan.Platform.SiteFiles;

/// <summary>What no single value shows: references, uniqueness, and values that exclude one another.</summary>
internal static class SiteFileRules
{
    private static readonly TimeSpan LongestWindow = TimeSpan.FromHours(12);

    /// <summary>Faults as the path of a value and the rest of a sentence that begins with it.</summary>
    public static IEnumerable<(string Path, string Message)> Check(SiteFile site) =>
        Unique("modalities", "name", site.Modalities.Select(m => m.Name))
            .Concat(Unique("modalities", "aeTitle", site.Modalities.Select(m => m.AeTitle)))
            .Concat(Unique("peers", "aeTitle", site.Peers.Select(p => p.AeTitle), site.Modalities.Select(m => m.AeTitle)))
            .Concat(Unique("rules", "name", site.Rules.Select(r => r.Name)))
            .Concat(Unique("licences", "feature", site.Licences.Select(l => l.Feature)))
            .Concat(Unique("inventory", "name", site.Inventory.Select(i => i.Name)))
            .Concat(Unique("emr", "name", site.Emr.Select(e => e.Name)))
            .Concat(Unique("dialects", null, site.Dialects))
            .Concat(Rules(site))
            .Concat(Hardware(site))
            .Concat(Tunnel(site.Network.Tunnel))
            .Concat(Windows(site.Windows))
            .Concat(site.Inventory.SelectMany(Source))
            .Concat(site.Emr.SelectMany(Emr));

    private static IEnumerable<(string, string)> Unique(string list, string? member, IEnumerable<string> values, IEnumerable<string>? taken = null)
    {
        var seen = new HashSet<string>(taken ?? [], StringComparer.Ordinal);
        var i = 0;
        foreach (var value in values)
        {
            var path = string.Create(CultureInfo.InvariantCulture, $"{list}[{i++}]") + (member is null ? "" : $".{member}");
            if (!seen.Add(value))
            {
                yield return (path, $"is '{value}' a second time; accepted: each once.");
            }
        }
    }

    private static IEnumerable<(string, string)> Rules(SiteFile site)
    {
        var senders = site.Modalities.Select(m => m.AeTitle).Concat(site.Peers.Select(p => p.AeTitle)).ToArray();
        var peers = site.Peers.Select(p => p.AeTitle).ToArray();
        var licensed = site.Licences.Select(l => l.Feature).ToArray();
        for (var i = 0; i < site.Rules.Count; i++)
        {
            var rule = site.Rules[i];
            foreach (var fault in Known($"rules[{i}].from", rule.From, senders, "a modality or peer of this file")
                .Concat(Known($"rules[{i}].forward", rule.Forward, peers, "a peer of this file"))
                .Concat(Known($"rules[{i}].infer", rule.Infer, licensed, "a feature under licences")))
            {
                yield return fault;
            }
        }
    }

    private static IEnumerable<(string, string)> Known(string path, IReadOnlyList<string> values, string[] known, string what)
    {
        for (var i = 0; i < values.Count; i++)
        {
            if (!known.Contains(values[i], StringComparer.Ordinal))
            {
                yield return ($"{path}[{i}]", $"is '{values[i]}', which is not {what}. {Spelling.Hint(values[i], known, "")}");
            }
        }
    }

    private static IEnumerable<(string, string)> Hardware(SiteFile site)
    {
        if (site.Hardware is { Npu: true, Profile: not "rk3588" and var profile })
        {
            yield return ("hardware.npu", $"is true and hardware.profile is {profile}; accepted: npu only with rk3588.");
        }

        if (site.Lanes is not { } lanes)
        {
            yield break;
        }

        if (lanes.QuotaGiB > site.Hardware.StorageGiB)
        {
            yield return ("lanes.quotaGiB", $"is {lanes.QuotaGiB} and hardware.storageGiB is {site.Hardware.StorageGiB}; accepted: at most that.");
        }

        if (lanes.TelemetryPercent >= lanes.BulkPercent || lanes.BulkPercent >= lanes.NormalPercent)
        {
            yield return ("lanes", $"has telemetryPercent {lanes.TelemetryPercent}, bulkPercent {lanes.BulkPercent}, normalPercent {lanes.NormalPercent}; "
                + "accepted: each less than the next, so that images stop before results do.");
        }
    }

    private static IEnumerable<(string, string)> Tunnel(SiteTunnel? tunnel)
    {
        var missing = tunnel switch
        {
            { Type: "wireguard", Address: null } => "address",
            { Type: "wireguard", Endpoint: null } => "endpoint",
            { Type: "zerotier", NetworkId: null } => "networkId",
            _ => null,
        };
        if (missing is not null)
        {
            yield return ("network.tunnel", $"is of type {tunnel!.Type} and has no {missing}; accepted: with {missing}.");
        }
    }

    private static IEnumerable<(string, string)> Windows(SiteWindows? windows)
    {
        for (var i = 0; i < (windows?.Maintenance.Count ?? 0); i++)
        {
            var window = windows!.Maintenance[i];
            var length = TimeOnly.ParseExact(window.To, "HH:mm", CultureInfo.InvariantCulture) - TimeOnly.ParseExact(window.From, "HH:mm", CultureInfo.InvariantCulture);
            if (length == TimeSpan.Zero || length > LongestWindow)
            {
                yield return ($"windows.maintenance[{i}]", $"is from {window.From} to {window.To}, {(length == TimeSpan.Zero ? "no time at all" : $"{length.TotalHours:0.#} h")}; "
                    + "accepted: up to 12 h.");
            }
        }
    }

    private static IEnumerable<(string, string)> Emr(SiteEmr system, int index)
    {
        var (missing, stray) = system switch
        {
            { Driver: "hl7", Address: null } => ("address", null),
            { Driver: not "hl7", Url: null } => ("url", null),
            { Driver: "openmrs" or "bahmni", Concepts: null } => ("concepts", null),
            { Driver: "hl7", Url: not null } => (null, "url"),
            { Driver: "hl7", User: not null } => (null, "user"),
            { Driver: "hl7" or "fhir", Concepts: not null } => (null, "concepts"),
            { Driver: not "hl7", Address: not null } => (null, "address"),
            _ => ((string?)null, (string?)null),
        };
        if (missing is not null)
        {
            yield return ($"emr[{index}]", $"has driver {system.Driver} and no {missing}; accepted: with {missing}.");
        }

        if (stray is not null)
        {
            yield return ($"emr[{index}].{stray}", $"is there and driver is {system.Driver}; accepted: without it, or another driver.");
        }

        if (system.Concepts is { Document: not null } concepts && new[] { concepts.VisitType, concepts.EncounterType, concepts.Provider, concepts.Location }.Contains(null))
        {
            yield return ($"emr[{index}].concepts", "has document and not each of visitType, encounterType, provider and location; accepted: all five, or none.");
        }
    }

    private static IEnumerable<(string, string)> Source(SiteInventorySource source, int index)
    {
        var missing = source switch
        {
            { Kind: "mqtt", Topic: null } => "topic",
            { Kind: "csv", Path: null } => "path",
            { Kind: "fhir" or "rest", Url: null } => "url",
            _ => null,
        };
        if (missing is not null)
        {
            yield return ($"inventory[{index}]", $"is of kind {source.Kind} and has no {missing}; accepted: with {missing}.");
        }
    }
}
