using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Data.Sqlite;
using Microsoft.Win32.SafeHandles;

namespace Yizhan.Bench;

/// <summary>What the disk itself can do: items that wait are appended with one write and one fdatasync, then all are acknowledged.</summary>
/// <param name="name">As in the table.</param>
/// <param name="written">True: the file was written once before, as a recycled one, so that a flush has no metadata to journal.</param>
internal sealed partial class DiskLimitSystem(string name, bool written) : SpoolSystem(name)
{
    private const int RingBytes = 256 * 1024 * 1024;
    private const int MaxGroupBytes = 4 * 1024 * 1024;

    private readonly Queue<(byte[] Item, TaskCompletionSource Done)> _queue = [];
    private readonly byte[] _group = new byte[MaxGroupBytes];
    private SafeFileHandle? _file;
    private Thread? _committer;
    private bool _stopping;

    public override Task StartAsync(string folder, int producers, int bytes, CancellationToken cancellationToken)
    {
        _file = File.OpenHandle(Path.Combine(folder, "limit.bin"), FileMode.OpenOrCreate, FileAccess.ReadWrite);
        if (written)
        {
            for (var at = 0; at < RingBytes; at += _group.Length)
            {
                RandomAccess.Write(_file, _group, at);
            }

            RandomAccess.FlushToDisk(_file);
        }

        _committer = new Thread(Run) { IsBackground = true };
        _committer.Start();
        return Task.CompletedTask;
    }

    public override Task PutAsync(int producer, byte[] item, CancellationToken cancellationToken)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_queue)
        {
            _queue.Enqueue((item, done));
            Monitor.Pulse(_queue);
        }

        return done.Task;
    }

    public override ValueTask DisposeAsync()
    {
        lock (_queue)
        {
            _stopping = true;
            Monitor.Pulse(_queue);
        }

        _committer?.Join();
        _file?.Dispose();
        return default;
    }

    private void Run()
    {
        var taken = new List<TaskCompletionSource>();
        var end = 0L;
        while (true)
        {
            var bytes = 0;
            lock (_queue)
            {
                while (_queue.Count == 0)
                {
                    if (_stopping)
                    {
                        return;
                    }

                    Monitor.Wait(_queue);
                }

                while (_queue.TryPeek(out var next) && bytes + next.Item.Length <= _group.Length)
                {
                    next.Item.CopyTo(_group, bytes);
                    bytes += next.Item.Length;
                    taken.Add(_queue.Dequeue().Done);
                }
            }

            end = written && end + bytes > RingBytes ? 0 : end;
            RandomAccess.Write(_file!, _group.AsSpan(0, bytes), end);
            end += bytes;
            if (Fdatasync(_file!) != 0)
            {
                throw new IOException($"fdatasync failed with errno {Marshal.GetLastPInvokeError()}.");
            }

            taken.ForEach(done => done.SetResult());
            taken.Clear();
        }
    }

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    private static partial int Fdatasync(SafeFileHandle file);
}

/// <summary>A table in SQLite (WAL, <c>synchronous=FULL</c>) and a commit for each item.</summary>
internal sealed class SqliteSystem() : SpoolSystem("sqlite, commit per item")
{
    private readonly Lock _gate = new();
    private SqliteConnection? _connection;
    private SqliteCommand? _insert;

    public override Task StartAsync(string folder, int producers, int bytes, CancellationToken cancellationToken)
    {
        _connection = new SqliteConnection($"Data Source={Path.Combine(folder, "items.db")};Pooling=False");
        _connection.Open();
        using (var create = _connection.CreateCommand())
        {
            create.CommandText = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE item (id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;";
            create.ExecuteNonQuery();
        }

        _insert = _connection.CreateCommand();
        _insert.CommandText = "INSERT INTO item (data) VALUES ($data)";
        _insert.Parameters.Add("$data", SqliteType.Blob);
        return Task.CompletedTask;
    }

    public override Task PutAsync(int producer, byte[] item, CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            _insert!.Parameters[0].Value = item;
            _insert.ExecuteNonQuery();
        }

        return Task.CompletedTask;
    }

    public override ValueTask DisposeAsync()
    {
        _insert?.Dispose();
        _connection?.Dispose();
        return default;
    }
}

/// <summary>A server of Debian's that is started for one measurement, and a plain connection to it for each producer.</summary>
internal abstract class ServerSystem(string name) : SpoolSystem(name)
{
    private readonly List<TcpClient> _clients = [];
    private Process? _server;

    protected async Task StartServerAsync(string program, string[] arguments, int port, CancellationToken cancellationToken)
    {
        _server = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true })
            ?? throw new InvalidOperationException($"{program} could not be started.");
        _server.OutputDataReceived += (_, _) => { };
        _server.ErrorDataReceived += (_, _) => { };
        _server.BeginOutputReadLine();
        _server.BeginErrorReadLine();
        for (var attempt = 0; ; attempt++)
        {
            try
            {
                using var probe = new TcpClient();
                await probe.ConnectAsync(IPAddress.Loopback, port, cancellationToken);
                return;
            }
            catch (SocketException) when (!_server.HasExited && attempt < 200)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(50), TimeProvider.System, cancellationToken);
            }
        }
    }

    protected BufferedStream Connect(int port)
    {
        var client = new TcpClient { NoDelay = true };
        _clients.Add(client);
        client.Connect(IPAddress.Loopback, port);
        return new BufferedStream(client.GetStream(), 64 * 1024);
    }

    protected static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    public override async ValueTask DisposeAsync()
    {
        _clients.ForEach(client => client.Dispose());
        if (_server is { HasExited: false })
        {
            _server.Kill();
            await _server.WaitForExitAsync();
        }

        _server?.Dispose();
    }
}

/// <summary>
/// NATS JetStream with a file stream. Debian's version has no <c>sync_interval: always</c>; what that does, every write synchronous, the file system does
/// instead by the attribute <c>S</c>.
/// </summary>
internal sealed class NatsSystem() : ServerSystem("nats jetstream")
{
    private BufferedStream[] _producers = [];

    public override async Task StartAsync(string folder, int producers, int bytes, CancellationToken cancellationToken)
    {
        using (var chattr = Process.Start("chattr", ["+S", folder]))
        {
            await chattr.WaitForExitAsync(cancellationToken);
            if (chattr.ExitCode != 0)
            {
                throw new InvalidOperationException($"chattr +S {folder} failed: the file system has no synchronous attribute, and nats would not be durable.");
            }
        }

        var port = FreePort();
        var settings = Path.Combine(folder, "nats.conf");
        await File.WriteAllTextAsync(
            settings, $"host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: \"{folder}\", max_file_store: 20GB }}\n", cancellationToken);
        await StartServerAsync("nats-server", ["-c", settings], port, cancellationToken);
        _producers = [.. Enumerable.Range(0, producers).Select(_ => Connect(port))];
        for (var i = 0; i < producers; i++)
        {
            // Each hears its own answers only.
            Line(_producers[i]);
            _producers[i].Write(Encoding.ASCII.GetBytes(
                $"CONNECT {{\"verbose\":false,\"pedantic\":false,\"lang\":\"bench\",\"version\":\"1\"}}\r\nSUB acks.{i} 1\r\n"));
        }

        var answer = Request(0, "$JS.API.STREAM.CREATE.SPOOL", Encoding.UTF8.GetBytes("""
            {"name":"SPOOL","subjects":["spool.*"],"retention":"limits","storage":"file","num_replicas":1,"max_consumers":-1,"max_msgs":-1,"max_bytes":-1,
             "max_age":0,"max_msg_size":-1,"discard":"new"}
            """));
        if (answer.Contains("\"error\"", StringComparison.Ordinal))
        {
            throw new InvalidOperationException($"JetStream: {answer}");
        }
    }

    public override Task PutAsync(int producer, byte[] item, CancellationToken cancellationToken)
    {
        var answer = Request(producer, $"spool.{producer}", item);
        return answer.Contains("\"seq\"", StringComparison.Ordinal) ? Task.CompletedTask : throw new InvalidOperationException($"JetStream: {answer}");
    }

    private string Request(int producer, string subject, byte[] body)
    {
        var connection = _producers[producer];
        connection.Write(Encoding.ASCII.GetBytes($"PUB {subject} acks.{producer} {body.Length}\r\n"));
        connection.Write(body);
        connection.Write("\r\n"u8);
        connection.Flush();
        while (true)
        {
            var line = Line(connection);
            if (line == "PING")
            {
                connection.Write("PONG\r\n"u8);
                connection.Flush();
            }
            else if (line.StartsWith("MSG ", StringComparison.Ordinal))
            {
                var answer = new byte[int.Parse(line[(line.LastIndexOf(' ') + 1)..], CultureInfo.InvariantCulture) + 2];
                connection.ReadExactly(answer);
                return Encoding.UTF8.GetString(answer);
            }
            else if (line.StartsWith("-ERR", StringComparison.Ordinal))
            {
                throw new InvalidOperationException($"NATS: {line}");
            }
        }
    }

    private static string Line(BufferedStream connection)
    {
        var line = new StringBuilder();
        while (true)
        {
            switch (connection.ReadByte())
            {
                case -1:
                    throw new EndOfStreamException("NATS closed the connection.");
                case '\n':
                    return line.ToString();
                case '\r':
                    break;
                case var c:
                    line.Append((char)c);
                    break;
            }
        }
    }
}

/// <summary>
/// mosquitto with QoS 1, persistence and a save after every change, for a subscriber who is away: the most that it offers. Its acknowledgement is sent
/// before the save all the same.
/// </summary>
internal sealed class MosquittoSystem() : ServerSystem("mosquitto")
{
    private BufferedStream[] _producers = [];

    public override async Task StartAsync(string folder, int producers, int bytes, CancellationToken cancellationToken)
    {
        var port = FreePort();
        var settings = Path.Combine(folder, "mosquitto.conf");
        await File.WriteAllTextAsync(settings, $"""
            listener {port} 127.0.0.1
            allow_anonymous true
            persistence true
            persistence_location {folder}/
            autosave_on_changes true
            autosave_interval 1
            max_queued_messages 0
            max_queued_bytes 0
            max_inflight_messages 0
            user root
            log_type error

            """, cancellationToken);
        await StartServerAsync("mosquitto", ["-c", settings], port, cancellationToken);

        // Subscribes, and goes: from now on the broker has to keep what is published.
        var away = Open(port, "away", cleanSession: false);
        away.Write([0x82, 8, 0, 1, 0, 3, (byte)'s', (byte)'/', (byte)'#', 1]);
        away.Flush();
        away.ReadExactly(new byte[5]);
        away.Write([0xE0, 0]);
        away.Flush();
        _producers = [.. Enumerable.Range(0, producers).Select(i => Open(port, $"p{i}", cleanSession: true))];
    }

    public override Task PutAsync(int producer, byte[] item, CancellationToken cancellationToken)
    {
        // PUBLISH, QoS 1, topic s/p, packet id 1: there is never more than one in flight (MQTT 3.1.1 §3.3).
        var connection = _producers[producer];
        connection.WriteByte(0x32);
        for (var rest = 7 + item.Length; ;)
        {
            connection.WriteByte((byte)(rest > 127 ? (rest & 127) | 128 : rest));
            if ((rest >>= 7) == 0)
            {
                break;
            }
        }

        connection.Write([0, 3, (byte)'s', (byte)'/', (byte)'p', 0, 1]);
        connection.Write(item);
        connection.Flush();
        var answer = new byte[4];
        connection.ReadExactly(answer);
        return answer[0] == 0x40 ? Task.CompletedTask : throw new InvalidOperationException($"mosquitto answered with packet type 0x{answer[0]:X2}.");
    }

    private BufferedStream Open(int port, string client, bool cleanSession)
    {
        var connection = Connect(port);
        var id = Encoding.ASCII.GetBytes(client);
        var header = new byte[14];
        (header[0], header[1], header[3]) = (0x10, (byte)(12 + id.Length), 4);
        "MQTT"u8.CopyTo(header.AsSpan(4));
        (header[8], header[9]) = (4, (byte)(cleanSession ? 2 : 0));
        BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(12), (ushort)id.Length);
        connection.Write(header);
        connection.Write(id);
        connection.Flush();
        var answer = new byte[4];
        connection.ReadExactly(answer);
        return answer[3] == 0 ? connection : throw new InvalidOperationException($"mosquitto refused {client} with code {answer[3]}.");
    }
}
