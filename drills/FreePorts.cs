using System.Net;
using System.Net.Sockets;

namespace Yizhan;

/// <summary>
/// Ports for servers that must be told which one to listen on. They lie below those that the kernel gives to whoever asks for any (from 32768 on), and none is
/// given twice: a port that was free a moment ago cannot go to a client, to a node on port 0, to the next test or to another process before its server has it.
/// </summary>
internal static class FreePorts
{
    private const int First = 20_000;
    private const int Block = 50;
    private const int Blocks = 200;

    private static readonly Lock Gate = new();

    // A process has a block for as long as it runs. What says so is a name of the network that the ports are of, and the kernel takes it back with the process.
    private static readonly List<Socket> Held = [];
    private static int _next;
    private static int _end;

    /// <summary>The next port that nobody listens on.</summary>
    /// <exception cref="IOException">All of them are taken.</exception>
    public static int Next(ProtocolType protocol = ProtocolType.Tcp)
    {
        lock (Gate)
        {
            while (true)
            {
                if (_next == _end)
                {
                    TakeBlock();
                }

                var port = _next++;
                using var socket = new Socket(AddressFamily.InterNetwork, protocol == ProtocolType.Tcp ? SocketType.Stream : SocketType.Dgram, protocol);
                try
                {
                    socket.Bind(new IPEndPoint(IPAddress.Any, port));
                    return port;
                }
                catch (SocketException)
                {
                    // Somebody else has it.
                }
            }
        }
    }

    private static void TakeBlock()
    {
        // Processes that run beside each other begin at different places, so that a server that outlives its process is seldom asked for its port.
        for (var tries = 0; tries < Blocks; tries++)
        {
            var block = (Environment.ProcessId + tries) % Blocks;
            var name = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
            try
            {
                name.Bind(new UnixDomainSocketEndPoint($"\0yizhan-ports-{block}"));
            }
            catch (SocketException)
            {
                name.Dispose();
                continue;
            }

            Held.Add(name);
            (_next, _end) = (First + (block * Block), First + ((block + 1) * Block));
            return;
        }

        throw new IOException($"Ports {First} to {First + (Blocks * Block) - 1} are all taken.");
    }
}
