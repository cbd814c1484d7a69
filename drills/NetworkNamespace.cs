using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Yizhan.Platform.Identity;

namespace Yizhan.Drills;

/// <summary>
/// A network of its own for a node, joined to this process's network by one cable (a veth pair). The cable can be pulled, shaped (<c>tc</c>) and made to
/// lose packets (<c>nft</c>) as a real one.
/// </summary>
public sealed class NetworkNamespace : IAsyncDisposable
{
    private static int _made;

    private NetworkNamespace(int number)
    {
        // Each cable has addresses of its own: two with the same would answer for each other.
        var network = $"10.{70 + (Environment.ProcessId % 100)}.{number % 250}.";
        Name = $"yz{Environment.ProcessId % 1_000_000}n{number}";
        (Address, FarAddress, OtherAddress) = (IPAddress.Parse(network + "1"), IPAddress.Parse(network + "2"), IPAddress.Parse(network + "9"));
    }

    /// <summary>Name, as in <c>ip netns</c>.</summary>
    public string Name { get; }

    /// <summary>Our end of the cable.</summary>
    public string Device => Name + "a";

    /// <summary>The other end.</summary>
    public string FarDevice => Name + "b";

    /// <summary>Our address on the cable.</summary>
    public IPAddress Address { get; }

    /// <summary>The address at the other end.</summary>
    public IPAddress FarAddress { get; }

    /// <summary>Another address that our end may have.</summary>
    public IPAddress OtherAddress { get; }

    /// <summary>Makes one.</summary>
    /// <returns>It, or why this machine cannot: no root, or no <c>ip netns</c>.</returns>
    public static async Task<(NetworkNamespace? Made, string Reason)> TryCreateAsync(CancellationToken cancellationToken)
    {
        var network = new NetworkNamespace(Interlocked.Increment(ref _made));
        try
        {
            await RunAsync(["ip", "netns", "add", network.Name], cancellationToken);
        }
        catch (Exception e) when (e is InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            return (null, e.Message);
        }

        await RunAsync(["ip", "link", "add", network.Device, "type", "veth", "peer", "name", network.FarDevice, "netns", network.Name], cancellationToken);
        await RunAsync(["ip", "addr", "add", $"{network.Address}/24", "dev", network.Device], cancellationToken);
        await RunAsync(["ip", "link", "set", network.Device, "up"], cancellationToken);
        await network.RunThereAsync(["ip", "link", "set", "lo", "up"], cancellationToken);
        await network.RunThereAsync(["ip", "addr", "add", $"{network.FarAddress}/24", "dev", network.FarDevice], cancellationToken);
        await network.RunThereAsync(["ip", "link", "set", network.FarDevice, "up"], cancellationToken);
        return (network, "");
    }

    /// <summary>Bytes that our end has sent, headers included.</summary>
    public long BytesSent => long.Parse(
        File.ReadLines("/proc/self/net/dev").Select(line => line.Split([' ', ':'], StringSplitOptions.RemoveEmptyEntries)).Single(fields => fields[0] == Device)[9],
        CultureInfo.InvariantCulture);

    /// <summary>The other end drops each packet of a percentage that comes in over the cable. 100 is a line that is silent: nobody is told anything.</summary>
    public async Task LoseAsync(int percent, CancellationToken cancellationToken)
    {
        var which = percent < 100 ? $"numgen random mod 100 < {percent} " : "";
        await RunThereAsync(["nft", "add table inet line"], cancellationToken);
        await RunThereAsync(["nft", "add chain inet line in { type filter hook input priority 0 ; }"], cancellationToken);
        await RunThereAsync(["nft", $"add rule inet line in iifname {FarDevice} {which}drop"], cancellationToken);
    }

    /// <summary>Ends <see cref="LoseAsync"/>.</summary>
    public Task LoseNoMoreAsync(CancellationToken cancellationToken) => RunThereAsync(["nft", "delete table inet line"], cancellationToken);

    /// <summary>Lets our end send no faster than a rate, such as <c>64kbit</c>.</summary>
    public Task ShapeAsync(string rate, CancellationToken cancellationToken) => RunAsync(
        ["tc", "qdisc", "replace", "dev", Device, "root", "tbf", "rate", rate, "burst", "16kb", "latency", "400ms"], cancellationToken);

    /// <summary>Runs a command in this process's network.</summary>
    /// <exception cref="InvalidOperationException">It failed; the message has its output.</exception>
    public static async Task RunAsync(string[] command, CancellationToken cancellationToken)
    {
        using var process = Process.Start(new ProcessStartInfo(command[0], command[1..]) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        var output = process.StandardOutput.ReadToEndAsync(cancellationToken);
        var errors = await process.StandardError.ReadToEndAsync(cancellationToken);
        await process.WaitForExitAsync(cancellationToken);
        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException($"'{string.Join(' ', command)}' failed: {await output}{errors}");
        }
    }

    /// <summary>Runs a command in the other network.</summary>
    public Task RunThereAsync(string[] command, CancellationToken cancellationToken) => RunAsync(["ip", "netns", "exec", Name, .. command], cancellationToken);

    /// <summary>A client of what listens on the other network's loopback.</summary>
    public HttpClient HttpClient(Uri address) => new(Handler()) { BaseAddress = address };

    /// <summary>The same, with the token of a node's operator.</summary>
    public HttpClient HttpClient(Uri address, string dataFolder) => OperatorTokenHandler.Client(address, dataFolder, Handler());

    /// <inheritdoc/>
    public async ValueTask DisposeAsync() => await RunAsync(["ip", "netns", "delete", Name], CancellationToken.None);

    private SocketsHttpHandler Handler() => new()
    {
        ConnectCallback = async (context, cancellationToken) =>
        {
            var socket = await SocketThereAsync();
            await socket.ConnectAsync(context.DnsEndPoint, cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        },
    };

    /// <summary>A socket belongs to the network that its thread was in when it was made.</summary>
    private Task<Socket> SocketThereAsync()
    {
        var made = new TaskCompletionSource<Socket>(TaskCreationOptions.RunContinuationsAsynchronously);
        new Thread(() =>
        {
            try
            {
                using var file = File.OpenHandle($"/run/netns/{Name}");
                made.SetResult(SetNamespace(file.DangerousGetHandle().ToInt32(), 0) == 0
                    ? new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)
                    : throw new IOException($"setns failed with errno {Marshal.GetLastPInvokeError()}."));
            }
            catch (Exception e)
            {
                made.SetException(e);
            }
        }).Start();
        return made.Task;
    }

    [DllImport("libc", EntryPoint = "setns", SetLastError = true)]
    private static extern int SetNamespace(int descriptor, int type);
}
