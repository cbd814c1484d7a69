using System.Buffers;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Yizhan.Hl7v2;

namespace Yizhan.EmrAdapter.Tests;

/// <summary>The sender's end of MLLP, byte by byte as the test wants it.</summary>
internal sealed class MllpSender(TcpClient client) : IDisposable
{
    private readonly List<byte> _received = [];

    public static async Task<MllpSender> ConnectAsync(int port)
    {
        var client = new TcpClient { NoDelay = true };
        await client.ConnectAsync(IPAddress.Loopback, port, Node.Cancel);
        return new MllpSender(client);
    }

    // Taken once: a client whose sending half is closed gives out no stream any more.
    public NetworkStream Stream { get; } = client.GetStream();

    public Task WriteAsync(byte[] bytes) => Stream.WriteAsync(bytes, Node.Cancel).AsTask();

    /// <summary>Sends a message and returns its answer.</summary>
    public Task<Hl7Message> SendAsync(string message) => SendAsync(Hl7Message.Parse(message).ToBytes());

    public async Task<Hl7Message> SendAsync(byte[] message)
    {
        await WriteAsync(MllpFraming.Frame(message));
        return await ReadAsync() ?? throw new InvalidOperationException("The listener closed the connection.");
    }

    /// <summary>The next message; null when the other side closes.</summary>
    public async Task<Hl7Message?> ReadAsync()
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(Node.Cancel);
        limit.CancelAfter(TimeSpan.FromMinutes(3));
        var buffer = new byte[64 * 1024];
        while (true)
        {
            var sequence = new ReadOnlySequence<byte>(_received.ToArray());
            if (MllpFraming.TryRead(ref sequence, 16 << 20, out var message))
            {
                var found = Hl7Message.Parse(message.ToArray());
                _received.RemoveRange(0, _received.Count - (int)sequence.Length);
                return found;
            }

            int read;
            try
            {
                read = await Stream.ReadAsync(buffer, limit.Token);
            }
            catch (IOException)
            {
                return null;
            }

            if (read == 0)
            {
                return null;
            }

            _received.AddRange(buffer.AsSpan(0, read));
        }
    }

    public void Dispose() => client.Dispose();
}

/// <summary>An engine that keeps what it is told; answers as the test wants. Can be killed and started again on its port.</summary>
internal sealed class MllpEngine : IAsyncDisposable
{
    private readonly ConcurrentQueue<Hl7Message> _received = new();
    private readonly List<TcpClient> _clients = [];
    private TcpListener? _listener;
    private CancellationTokenSource _stop = new();
    private Task _running = Task.CompletedTask;

    public MllpEngine()
    {
        // It may be restarted, and nobody has taken its port meanwhile.
        Port = FreePorts.Next();
        Start(Port);
    }

    public int Port { get; }

    public int Connections { get; private set; }

    public IReadOnlyList<Hl7Message> Received => [.. _received];

    /// <summary>What is answered; null closes the connection without one. AA when not set.</summary>
    public Func<Hl7Message, AcknowledgmentCode?> Answer { get; set; } = _ => AcknowledgmentCode.AA;

    /// <summary>Bytes that are answered instead.</summary>
    public byte[]? Raw { get; set; }

    public void Restart() => Start(Port);

    public async Task KillAsync()
    {
        await _stop.CancelAsync();
        _listener!.Dispose();
        lock (_clients)
        {
            _clients.ForEach(c => c.Dispose());
            _clients.Clear();
        }

        await _running;
    }

    public async ValueTask DisposeAsync()
    {
        await KillAsync();
        _stop.Dispose();
    }

    private void Start(int port)
    {
        _stop = new CancellationTokenSource();
        _listener = new TcpListener(IPAddress.Loopback, port);
        _listener.Server.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
        _listener.Start();
        _running = RunAsync(_listener, _stop.Token);
    }

    private async Task RunAsync(TcpListener listener, CancellationToken stop)
    {
        var serving = new List<Task>();
        try
        {
            while (true)
            {
                var client = await listener.AcceptTcpClientAsync(stop);
                lock (_clients)
                {
                    _clients.Add(client);
                    Connections++;
                }

                serving.Add(ServeAsync(client, stop));
            }
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException or SocketException)
        {
            await Task.WhenAll(serving);
        }
    }

    private async Task ServeAsync(TcpClient client, CancellationToken stop)
    {
        var received = new List<byte>();
        var buffer = new byte[64 * 1024];
        try
        {
            using (client)
            {
                while (await client.GetStream().ReadAsync(buffer, stop) is > 0 and var read)
                {
                    received.AddRange(buffer.AsSpan(0, read));
                    var sequence = new ReadOnlySequence<byte>(received.ToArray());
                    while (MllpFraming.TryRead(ref sequence, 16 << 20, out var bytes))
                    {
                        var message = Hl7Message.Parse(bytes.ToArray());
                        _received.Enqueue(message);
                        if (Raw is { } raw)
                        {
                            await client.GetStream().WriteAsync(raw, stop);
                            continue;
                        }

                        if (Answer(message) is not { } code)
                        {
                            return;
                        }

                        var error = code is AcknowledgmentCode.AA ? null : new Hl7Exception(Hl7Error.DataType, "The engine says no.");
                        await client.GetStream().WriteAsync(MllpFraming.Frame(Hl7Acknowledgment.To(message, code, "E1", TimeProvider.System.GetUtcNow(), error).ToBytes()), stop);
                    }

                    received = [.. sequence.ToArray()];
                }
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException or SocketException)
        {
            // Killed, or the sender has gone.
        }
    }
}

/// <summary>Messages whose values matter to the tests.</summary>
internal static class Messages
{
    public static string Order(string number, string control = "NW", string id = "M1", string time = "20261101080000", string patient = "P1", string name = "Zhang^Wei", string set = "UNICODE UTF-8", string text = "CT Chest", string more = "", string msh15 = "", string msh16 = "") =>
        $"MSH|^~\\&|HIS|H|YIZHAN|A|{time}||ORM^O01^ORM_O01|{id}|P|2.5|||{msh15}|{msh16}||{set}\rPID|1||{patient}^^^HOSP^MR||{name}||19800201|M\r" +
        $"ORC|{control}|{number}||||||{more}|{time}\rOBR|1|{number}||24627-2^{text}^LN|||{time}||||||||||||||||||||R\r";

    public static string Adt(string trigger, string patient, string name = "Zhang^Wei", string id = "A1", string time = "20261101080000", string? retired = null, string more = "") =>
        $"MSH|^~\\&|HIS|H|YIZHAN|A|{time}||ADT^{trigger}|{id}|P|2.5||||||UNICODE UTF-8\rEVN|{trigger}|{time}\rPID|1||{patient}^^^HOSP^MR{more}||{name}||19800201|M\r" +
        (retired is null ? "" : $"MRG|{retired}^^^HOSP^MR\r");
}
