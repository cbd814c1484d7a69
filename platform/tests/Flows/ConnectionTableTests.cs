using System.Net;
using System.Net.Sockets;
using Yizhan.Platform.Flows;

namespace Yizhan.Platform.Tests.Flows;

/// <summary>A flood of connections, against the places of one port and against a listener with real sockets.</summary>
[Trait("Clause", "S1")]
public sealed class ConnectionTableTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public void A_flood_pushes_out_itself_and_who_is_known_stays()
    {
        var ended = new List<string>();
        var table = new ConnectionTable(4);
        ConnectionTable.Place Enter(string address, string name) => table.Enter(IPAddress.Parse(address), () => ended.Add(name)) ?? throw new InvalidOperationException($"{name} found no place.");

        Enter("10.0.0.1", "known").Prove();
        var quiet = Enter("10.0.0.2", "quiet");
        for (var i = 0; i < 10; i++)
        {
            Enter(i % 2 == 0 ? "10.0.0.3" : "::ffff:10.0.0.3", $"flood {i}");
        }

        // The oldest of the flood each time, whichever way its address is written.
        Assert.Equal(Enumerable.Range(0, 8).Select(i => $"flood {i}"), ended);
        quiet.Prove();
        Enter("10.0.0.4", "other").Prove();
        Enter("10.0.0.5", "another").Prove();
        Assert.Equal(["flood 8", "flood 9"], ended[8..]);
        Assert.Null(table.Enter(IPAddress.Parse("10.0.0.6"), () => { }));
        quiet.Dispose();
        quiet.Dispose();
        Assert.NotNull(table.Enter(IPAddress.Parse("10.0.0.6"), () => { }));
    }

    [Fact]
    public void All_addresses_of_a_network_of_64_bits_are_one_peer()
    {
        var ended = new List<string>();
        var table = new ConnectionTable(3);
        table.Enter(IPAddress.Parse("2001:db8::1"), () => ended.Add("alone"));
        table.Enter(IPAddress.Parse("2001:db8:0:1::1"), () => ended.Add("first of two"));
        table.Enter(IPAddress.Parse("2001:db8:0:1:ffff::2"), () => ended.Add("second of two"));
        table.Enter(IPAddress.Parse("2001:db8:0:2::1"), () => { });
        Assert.Equal(["first of two"], ended);
    }

    [Fact]
    public async Task Five_thousand_silent_connections_keep_nobody_else_out()
    {
        using var listener = new TlsListener("test", new TlsListenerOptions { Port = 0, MaxConnections = 4 }, TimeProvider.System);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        var running = listener.RunAsync(
            async (stream, _, known, stopping) =>
            {
                var buffer = new byte[1];
                while (await stream.ReadAsync(buffer, stopping) > 0)
                {
                    known();
                    await stream.WriteAsync(buffer, stopping);
                }
            },
            (_, _) => { },
            stop.Token);
        using var before = await ConnectAsync("127.0.0.2", listener.EndPoint);
        await EchoAsync(before);
        var flood = new List<Socket>();
        try
        {
            for (var i = 0; i < 5000; i++)
            {
                flood.Add(await ConnectAsync("127.0.0.1", listener.EndPoint));
                if (flood.Count == 50)
                {
                    // So many at a time are enough, and the descriptors of this process are not many more.
                    flood[0].Dispose();
                    flood.RemoveAt(0);
                }
            }

            using var after = await ConnectAsync("127.0.0.3", listener.EndPoint);
            await EchoAsync(after);
            await EchoAsync(before);
        }
        finally
        {
            flood.ForEach(socket => socket.Dispose());
            await stop.CancelAsync();
            await running;
        }

        static async Task EchoAsync(Socket socket)
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
            limit.CancelAfter(TimeSpan.FromMinutes(2));
            await socket.SendAsync("x"u8.ToArray(), limit.Token);
            Assert.Equal(1, await socket.ReceiveAsync(new byte[1], limit.Token));
        }
    }

    private static async Task<Socket> ConnectAsync(string from, IPEndPoint to)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Parse(from), 0));
        await socket.ConnectAsync(to, Cancel);
        return socket;
    }
}
