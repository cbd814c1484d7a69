using System.Net;
using System.Net.Sockets;

namespace Yizhan;

/// <summary>
/// Ports for servers that must be told which one to listen on. They lie below those that the kernel gives to whoever asks for any (from 32768 on), and none is
/// given twice by one process: a port that was free a moment ago cannot go to a client, to a node on port 0 or to the next test before its server has it.
/// </summary>
internal static class FreePorts
{
    private const int First = 20_000;
    private const int Count = 10_000;

    // A process of tests has this class twice, of its own and of the drills that it uses: these give even ports, and everybody else odd ones.
    private static readonly int Odd = typeof(FreePorts).Assembly.GetName().Name == "Yizhan.Drills" ? 0 : 1;

    // Processes that run beside each other begin at different places.
    private static int _given = Environment.ProcessId * 61 % (Count / 2);

    /// <summary>The next port that nobody listens on.</summary>
    /// <exception cref="IOException">All of them are taken.</exception>
    public static int Next(ProtocolType protocol = ProtocolType.Tcp)
    {
        for (var tries = 0; tries < Count / 2; tries++)
        {
            var port = First + Odd + (2 * (int)((uint)Interlocked.Increment(ref _given) % (Count / 2)));
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

        throw new IOException($"Ports {First} to {First + Count - 1} are all taken.");
    }
}
