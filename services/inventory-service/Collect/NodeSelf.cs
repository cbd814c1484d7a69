using System.Net.NetworkInformation;
using System.Reflection;
using System.Runtime.InteropServices;
using Yizhan.Contracts;
using Yizhan.Inventory.Equipment;
using Yizhan.Platform;

namespace Yizhan.Inventory.Collect;

/// <summary>The node reports itself: hardware, operating system, and what of ours it runs.</summary>
internal sealed class NodeSelf(Microsoft.Extensions.Options.IOptions<NodeOptions> node)
{
    /// <summary>Reads the machine.</summary>
    public async Task<bool> ReadAsync(Sink sink, CancellationToken cancellationToken)
    {
        var interfaces = NetworkInterface.GetAllNetworkInterfaces().Where(n => n.NetworkInterfaceType is NetworkInterfaceType.Ethernet or NetworkInterfaceType.Wireless80211).ToList();
        var product = Assembly.GetExecutingAssembly().GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "";
        var now = sink.NowMs;
        await sink.ReportAsync(
            new AssetReported(
                SourceOptions.NodeName, $"{now}", now, "node", Environment.MachineName, First("/sys/class/dmi/id/sys_vendor"),
                First("/sys/class/dmi/id/product_name", "/proc/device-tree/model"),
                AssetKeys.All([
                    ("uuid", First("/sys/class/dmi/id/product_uuid")), ("serial", First("/sys/class/dmi/id/product_serial", "/proc/device-tree/serial-number")),
                    ("board", First("/sys/class/dmi/id/board_serial")), ("agent", $"node/{node.Value.SiteId}/{First("/etc/machine-id")}"),
                    .. interfaces.Select(n => ("mac", (string?)n.GetPhysicalAddress().ToString()))]),
                [], [
                    new AssetSoftware("yizhan", product), new AssetSoftware(RuntimeInformation.OSDescription, Environment.OSVersion.Version.ToString()),
                    new AssetSoftware(".NET", Environment.Version.ToString()), new AssetSoftware("firmware", First("/sys/class/dmi/id/bios_version"))]),
            cancellationToken);
        return true;
    }

    /// <summary>The first of some files that can be read; boards without DMI have a device tree.</summary>
    private static string First(params ReadOnlySpan<string> paths)
    {
        foreach (var path in paths)
        {
            try
            {
                return File.ReadAllText(path).Trim('\0', '\n', ' ');
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // Not on this board, or not for this user.
            }
        }

        return "";
    }
}
