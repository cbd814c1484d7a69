using Yizhan.Contracts;
using Yizhan.Inventory.Equipment;

namespace Yizhan.Inventory.Collect;

/// <summary>Asks a management controller (DMTF DSP0266) for its systems and for the versions of their firmware.</summary>
internal sealed class RedfishPoll(RestClient rest)
{
    private const int MaxMembers = 64;

    /// <summary>Reads all systems.</summary>
    public async Task<bool> ReadAsync(SourceOptions source, Sink sink, CancellationToken cancellationToken)
    {
        using var root = await GetAsync("/redfish/v1/");
        var managers = new List<AssetSoftware>();
        foreach (var member in await MembersAsync(root.RootElement.Text("Managers", "@odata.id")))
        {
            using var manager = await GetAsync(member);
            managers.Add(new AssetSoftware($"manager {manager.RootElement.Text("Id")}", manager.RootElement.Text("FirmwareVersion")));
        }

        var systems = await MembersAsync(root.RootElement.Text("Systems", "@odata.id"));
        foreach (var member in systems)
        {
            using var document = await GetAsync(member);
            var system = document.RootElement;
            var now = sink.NowMs;
            await sink.ReportAsync(
                new AssetReported(
                    source.Name, $"{system.Text("Id")}/{now}", now, "server", system.Text("HostName") is { Length: > 0 } host ? host : system.Text("Name"), system.Text("Manufacturer"),
                    system.Text("Model"),
                    AssetKeys.All(("uuid", system.Text("UUID")), ("serial", system.Text("SerialNumber")), ("host", system.Text("HostName"))),
                    [source.Url!.Host], [new AssetSoftware("BIOS", system.Text("BiosVersion")), .. managers]),
                cancellationToken);
        }

        return systems.Count > 0;

        async Task<System.Text.Json.JsonDocument> GetAsync(string path) => await rest.GetAsync(source, path, "application/json", cancellationToken);

        async Task<List<string>> MembersAsync(string path)
        {
            if (path.Length == 0)
            {
                return [];
            }

            using var collection = await GetAsync(path);
            return [.. collection.RootElement.List("Members").Select(m => m.Text("@odata.id")).Where(p => p.Length > 0).Take(MaxMembers)];
        }
    }
}
