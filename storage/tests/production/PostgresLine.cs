using System.Net;
using System.Net.Sockets;
using System.Text;
using Npgsql;

namespace Yizhan.Storage.ProductionTests;

/// <summary>A line to the server that can break exactly where a COMMIT is under way.</summary>
internal sealed class PostgresLine : IAsyncDisposable
{
    private static readonly byte[] Commit = Encoding.ASCII.GetBytes("COMMIT");

    private readonly NpgsqlConnectionStringBuilder _server;
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _end = new();
    private readonly Lock _gate = new();
    private readonly List<Task> _connections = [];
    private readonly Task _accepting;
    private int _armed;
    private bool _forwardIt;
    private int _broken;
    private int _swallow;
    private int _confirmed;

    public PostgresLine(string connectionString)
    {
        _server = new NpgsqlConnectionStringBuilder(connectionString);
        _listener.Start();
        ConnectionString = new NpgsqlConnectionStringBuilder(connectionString) { Port = ((IPEndPoint)_listener.LocalEndpoint).Port }.ToString();
        _accepting = AcceptAsync();
    }

    public string ConnectionString { get; }

    /// <summary>How many commits were broken.</summary>
    public int Broken => Volatile.Read(ref _broken);

    /// <summary>How many of them the server had confirmed.</summary>
    public int Confirmed => Volatile.Read(ref _confirmed);

    /// <summary>Breaks the connection of the next COMMIT: after the server has done it, or before it heard of it.</summary>
    public void BreakNextCommit(bool forwardIt)
    {
        _forwardIt = forwardIt;
        Volatile.Write(ref _armed, 1);
    }

    /// <summary>Nobody gets through any more.</summary>
    public void Close()
    {
        _listener.Stop();
        _end.Cancel();
    }

    public async ValueTask DisposeAsync()
    {
        Close();
        await _accepting;
        Task[] connections;
        lock (_gate)
        {
            connections = [.. _connections];
        }

        await Task.WhenAll(connections);
        _end.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var client = await _listener.AcceptTcpClientAsync(_end.Token);
                lock (_gate)
                {
                    _connections.Add(CarryAsync(client));
                }
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
        }
    }

    private async Task CarryAsync(TcpClient client)
    {
        using var broken = CancellationTokenSource.CreateLinkedTokenSource(_end.Token);
        using var server = new TcpClient();
        using (client)
        {
            try
            {
                await server.ConnectAsync(_server.Host!, _server.Port, broken.Token);
                var answers = CopyAsync(server, client, broken);
                await QuestionsAsync(client, server, broken);
                await answers;
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException or IOException)
            {
            }
        }
    }

    private async Task QuestionsAsync(TcpClient client, TcpClient server, CancellationTokenSource broken)
    {
        var buffer = new byte[64 * 1024];
        while (await client.GetStream().ReadAsync(buffer, broken.Token) is > 0 and var read)
        {
            if (buffer.AsSpan(0, read).IndexOf(Commit) >= 0 && Interlocked.Exchange(ref _armed, 0) == 1)
            {
                Interlocked.Increment(ref _broken);
                if (!_forwardIt)
                {
                    await broken.CancelAsync();
                    return;
                }

                // The answer is taken where it would be passed on.
                Volatile.Write(ref _swallow, 1);
                await server.GetStream().WriteAsync(buffer.AsMemory(0, read), broken.Token);
                continue;
            }

            await server.GetStream().WriteAsync(buffer.AsMemory(0, read), broken.Token);
        }

        await broken.CancelAsync();
    }

    private async Task CopyAsync(TcpClient from, TcpClient to, CancellationTokenSource broken)
    {
        var buffer = new byte[64 * 1024];
        try
        {
            while (await from.GetStream().ReadAsync(buffer, broken.Token) is > 0 and var read)
            {
                if (buffer.AsSpan(0, read).IndexOf(Commit) >= 0 && Interlocked.Exchange(ref _swallow, 0) == 1)
                {
                    Interlocked.Increment(ref _confirmed);
                    break;
                }

                await to.GetStream().WriteAsync(buffer.AsMemory(0, read), broken.Token);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or IOException)
        {
        }

        await broken.CancelAsync();
    }
}
