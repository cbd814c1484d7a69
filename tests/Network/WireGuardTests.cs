using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Yizhan.Drills;
using Yizhan.Platform.SiteFiles;
using Yizhan.Platform.Tunnels;

namespace Yizhan.Network.Tests;

/// <summary>The rendered settings of both ends, given to real WireGuard in two networks.</summary>
public sealed class WireGuardTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Clause", "D5.2")]
    public async Task A_site_reaches_the_centre_through_its_tunnel_and_a_stranger_does_not()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/wireguard-go") && File.Exists("/usr/bin/wg"), "wireguard-go and wireguard-tools are not installed.");
        var (line, reason) = await NetworkNamespace.TryCreateAsync(Cancel);
        Assert.SkipWhen(line is null, reason);
        var folder = Directory.CreateTempSubdirectory("yizhan-wg-").FullName;
        var programs = new List<Process>();

        // Their sockets lie in one folder of the machine, whatever the network.
        var (here, there) = ($"wgc{Environment.ProcessId}", $"wgs{Environment.ProcessId}");
        try
        {
            var (centreKey, centrePublic) = await KeysAsync(folder, "centre");
            var (siteKey, sitePublic) = await KeysAsync(folder, "site");
            var site = Site(sitePublic, $"{line!.Address}:51820");
            await UpAsync(here, WireGuard.OfCentre([site], "10.66.0.1/32", 51820, centreKey), "10.66.0.12/32", []);
            await UpAsync(there, WireGuard.OfSite(site, centrePublic, "10.66.0.1/32", siteKey), "10.66.0.1/32", ["ip", "netns", "exec", line.Name]);

            using var centre = new TcpListener(IPAddress.Parse("10.66.0.1"), 0);
            centre.Start();
            var port = ((IPEndPoint)centre.LocalEndpoint).Port;
            var said = centre.AcceptTcpClientAsync(Cancel);
            // The first handshake may be lost, and the next one begins 5 seconds later (Rekey-Timeout).
            await SendAsync(seconds: 180);
            using var accepted = await said;
            Assert.Equal(IPAddress.Parse("10.66.0.12"), ((IPEndPoint)accepted.Client.RemoteEndPoint!).Address);
            using var reader = new StreamReader(accepted.GetStream());
            Assert.Equal("from the site", await reader.ReadLineAsync(Cancel));

            // With another key behind the same address nothing comes through.
            var (strangerKey, _) = await KeysAsync(folder, "stranger");
            await line.RunThereAsync(["wg", "set", there, "private-key", strangerKey], Cancel);
            await Assert.ThrowsAsync<InvalidOperationException>(() => SendAsync(seconds: 5));

            Task SendAsync(int seconds) => line.RunThereAsync(["timeout", $"{seconds}", "bash", "-c", $"echo 'from the site' >/dev/tcp/10.66.0.1/{port}"], Cancel);
        }
        finally
        {
            foreach (var program in programs)
            {
                program.Kill();
                await program.WaitForExitAsync(CancellationToken.None);
                program.Dispose();
            }

            await line!.DisposeAsync();
            Directory.Delete(folder, recursive: true);
        }

        // What wg-quick does with such a file, step by step: the kernel here has no WireGuard, so the device is that of wireguard-go.
        async Task UpAsync(string device, string settings, string far, string[] where)
        {
            var path = Path.Combine(folder, device + ".conf");
            await File.WriteAllTextAsync(path, settings, Cancel);
            string[] run = [.. where, "/usr/bin/wireguard-go", "-f", device];

            // One that was killed leaves its socket behind.
            var socket = $"/var/run/wireguard/{device}.sock";
            if (File.Exists(socket))
            {
                File.Delete(socket);
            }

            programs.Add(Process.Start(new ProcessStartInfo(run[0], run[1..]) { RedirectStandardError = true, RedirectStandardOutput = true })!);

            // The socket is there a moment before somebody listens on it.
            await Wait.UntilAsync(async () =>
            {
                try
                {
                    await RunAsync(["wg", "show", device]);
                    return true;
                }
                catch (InvalidOperationException)
                {
                    return false;
                }
            }, $"{device} answers");
            var stripped = await OutputAsync(["wg-quick", "strip", path]);
            await File.WriteAllTextAsync(path + ".stripped", stripped, Cancel);
            var lines = settings.Split('\n');
            await RunAsync(["wg", "setconf", device, path + ".stripped"]);
            await RunAsync(["sh", "-c", Value("PostUp").Replace("%i", device, StringComparison.Ordinal)]);
            await RunAsync(["ip", "addr", "add", Value("Address"), "dev", device]);
            await RunAsync(["ip", "link", "set", device, "mtu", Value("MTU"), "up"]);
            await RunAsync(["ip", "route", "add", far, "dev", device]);

            string Value(string name) => lines.Single(l => l.StartsWith(name + " = ", StringComparison.Ordinal))[(name.Length + 3)..];

            Task RunAsync(string[] command) => NetworkNamespace.RunAsync([.. where, .. command], Cancel);
        }
    }

    [Fact]
    public void Two_sites_with_one_address_and_a_site_without_key_are_named()
    {
        var a = Site("a".PadRight(43, 'A') + "=", "centre.example:51820");
        Assert.Contains("hillside", Assert.Throws<ArgumentException>(() => WireGuard.OfCentre([a, a with { SiteId = "hillside" }], "10.66.0.1/32", 51820)).Message, StringComparison.Ordinal);
        var keyless = a with { Network = a.Network with { Tunnel = a.Network.Tunnel! with { PublicKey = null } } };
        Assert.Contains("publicKey", Assert.Throws<ArgumentException>(() => WireGuard.OfCentre([keyless], "10.66.0.1/32", 51820)).Message, StringComparison.Ordinal);
        var direct = a with { Network = a.Network with { Tunnel = null } };
        Assert.Throws<ArgumentException>(() => WireGuard.OfSite(direct, "x", "10.66.0.1/32"));
        Assert.DoesNotContain("[Peer]", WireGuard.OfCentre([direct], "10.66.0.1/32", 51820), StringComparison.Ordinal);
    }

    private static SiteFile Site(string publicKey, string endpoint) => new()
    {
        SiteId = "lakeside",
        Network = new SiteNetwork
        {
            Tunnel = new SiteTunnel { Type = "wireguard", Address = "10.66.0.12/32", Endpoint = endpoint, PublicKey = publicKey },
        },
    };

    private static async Task<(string Path, string Public)> KeysAsync(string folder, string name)
    {
        var path = Path.Combine(folder, name + ".key");
        await File.WriteAllTextAsync(path, await OutputAsync(["wg", "genkey"]), Cancel);
        return (path, (await OutputAsync(["sh", "-c", $"wg pubkey <{path}"])).Trim());
    }

    private static async Task<string> OutputAsync(string[] command)
    {
        using var process = Process.Start(new ProcessStartInfo(command[0], command[1..]) { RedirectStandardOutput = true, StandardOutputEncoding = Encoding.UTF8 })!;
        var output = await process.StandardOutput.ReadToEndAsync(Cancel);
        await process.WaitForExitAsync(Cancel);
        return process.ExitCode == 0 ? output : throw new InvalidOperationException($"'{string.Join(' ', command)}' failed.");
    }
}
