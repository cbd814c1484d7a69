using System.Buffers.Binary;
using System.Globalization;
using Microsoft.Data.Sqlite;
using Yizhan.Storage;

namespace Yizhan.MqttBridge;

/// <summary>What a retransmission shares with its original (MQTT 5.0 §4.4): the packet identifier, and the content.</summary>
internal readonly record struct SentMessage(ushort PacketId, ulong Digest);

/// <summary>
/// The last messages that were taken of each client, so that their retransmissions are known. The log is the truth: what was taken is in the ids of its
/// entries. The database is a short cut with a position of the log in it, and a start reads on from there.
/// </summary>
internal sealed class SeenMessages : IDisposable
{
    /// <summary>Messages that a client may have under way (Receive Maximum, MQTT 5.0 §3.2.2.3.3); twice as many are remembered.</summary>
    public const int ReceiveMaximum = 64;

    private const int Remembered = 2 * ReceiveMaximum;
    private const int MaxClients = 4096;
    private const int SaveAfter = 1024;
    private const string MessagePrefix = "mqtt/";
    private const string NamedPrefix = "mqtt-id/";

    private static readonly string[] Migrations =
    [
        """
        CREATE TABLE log (one INTEGER PRIMARY KEY CHECK (one = 1), epoch TEXT NOT NULL, position INTEGER NOT NULL) STRICT;
        CREATE TABLE client (id TEXT PRIMARY KEY, position INTEGER NOT NULL, messages BLOB NOT NULL) STRICT, WITHOUT ROWID;
        """,
    ];

    private readonly Lock _gate = new();
    private readonly IEventLog _log;
    private readonly SqliteConnection _database;
    private readonly Dictionary<string, Client> _clients = new(StringComparer.Ordinal);
    private readonly List<long> _underWay = [];
    private int _unsaved;

    public SeenMessages(IEventLog log, string path)
    {
        _log = log;
        _database = SqliteFile.OpenWriter(path, Migrations);
    }

    /// <summary>Id of the event of a message that is no retransmission: unique, and it tells the next start what the message was.</summary>
    public static string NewId(string clientId, SentMessage message, TimeProvider clock) => string.Create(
        CultureInfo.InvariantCulture, $"{MessagePrefix}{clientId}/{message.PacketId}/{message.Digest:x16}/{Guid.CreateVersion7(clock.GetUtcNow()):n}");

    /// <summary>Id of the event of a message that the device itself has named: the same whenever it comes.</summary>
    public static string NamedId(string clientId, string name) => $"{NamedPrefix}{clientId}/{name}";

    /// <summary>Loads what was saved and reads what the log has since.</summary>
    public async Task LoadAsync(CancellationToken cancellationToken)
    {
        var position = LoadSaved();
        IReadOnlyList<LoggedEntry> page;
        while ((page = await _log.ReadAsync(position, 1000, cancellationToken)).Count > 0)
        {
            foreach (var entry in page.Where(e => e.Identity.Site == _log.Site))
            {
                if (Parse(entry.Entry.Id) is var (clientId, message))
                {
                    Add(clientId, message, entry.Position);
                }
            }

            position = page[^1].Position;
        }
    }

    /// <summary>True when something of this client is remembered.</summary>
    public bool Knows(string clientId)
    {
        lock (_gate)
        {
            return _clients.ContainsKey(clientId);
        }
    }

    /// <summary>True when the client's message was taken.</summary>
    public bool Contains(string clientId, SentMessage message)
    {
        lock (_gate)
        {
            return _clients.TryGetValue(clientId, out var client) && client.Messages.Contains(message);
        }
    }

    /// <summary>
    /// An append begins, whose message <see cref="Add"/> notes once it is durable. Until the returned ticket is disposed, a save says that the next start
    /// reads the log from here.
    /// </summary>
    public IDisposable Begin()
    {
        lock (_gate)
        {
            var from = _log.LastPosition;
            _underWay.Add(from);
            return new Ticket(this, from);
        }
    }

    /// <summary>A client's message is durable in the log, at a position. Of one client they come in the log's order.</summary>
    public void Add(string clientId, SentMessage? message, long position)
    {
        lock (_gate)
        {
            if (!_clients.TryGetValue(clientId, out var client))
            {
                if (_clients.Count == MaxClients)
                {
                    // Its row stays until it is heard again; a start that loads too many forgets the oldest as well.
                    _clients.Remove(_clients.MinBy(c => c.Value.Position).Key);
                }

                _clients.Add(clientId, client = new Client());
            }

            if (position <= client.Position)
            {
                return;
            }

            client.Add(message, position);
            if (++_unsaved >= SaveAfter)
            {
                Save();
            }
        }
    }

    /// <summary>Writes down what is remembered.</summary>
    public void Save()
    {
        lock (_gate)
        {
            using var transaction = _database.BeginTransaction();
            foreach (var (id, client) in _clients.Where(c => c.Value.IsDirty))
            {
                Run(transaction, "INSERT INTO client (id, position, messages) VALUES ($1, $2, $3) ON CONFLICT DO UPDATE SET position = excluded.position, messages = excluded.messages",
                    id, client.Position, client.Pack());
            }

            Run(transaction, "DELETE FROM client WHERE id NOT IN (SELECT id FROM client ORDER BY position DESC LIMIT $1)", MaxClients);
            Run(transaction, "INSERT INTO log (one, epoch, position) VALUES (1, $1, $2) ON CONFLICT DO UPDATE SET epoch = excluded.epoch, position = excluded.position",
                _log.Epoch.ToString(), _underWay.Count > 0 ? _underWay.Min() : _log.LastPosition);
            transaction.Commit();
            _unsaved = 0;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _database.Dispose();

    /// <summary>Loads the clients; the position from which the log has to be read.</summary>
    private long LoadSaved()
    {
        using var log = new SqliteCommand("SELECT epoch, position FROM log", _database);
        using var saved = log.ExecuteReader();
        if (!saved.Read() || saved.GetString(0) != _log.Epoch.ToString() || saved.GetInt64(1) > _log.LastPosition)
        {
            // Nothing yet; or another log, or an older state of it, whose positions mean something else.
            using var transaction = _database.BeginTransaction();
            Run(transaction, "DELETE FROM client");
            transaction.Commit();
            return 0;
        }

        using var clients = new SqliteCommand("SELECT id, position, messages FROM client", _database);
        using var row = clients.ExecuteReader();
        while (row.Read())
        {
            _clients.Add(row.GetString(0), new Client(row.GetInt64(1), row.GetFieldValue<byte[]>(2)));
        }

        return saved.GetInt64(1);
    }

    private void Run(SqliteTransaction transaction, string sql, params ReadOnlySpan<object> values)
    {
#pragma warning disable CA2100 // All texts are literals in this class.
        using var command = new SqliteCommand(sql, _database, transaction);
#pragma warning restore CA2100
        for (var i = 0; i < values.Length; i++)
        {
            command.Parameters.AddWithValue(string.Create(CultureInfo.InvariantCulture, $"${i + 1}"), values[i]);
        }

        command.ExecuteNonQuery();
    }

    /// <summary>Client and message out of an event's id; null when the event is not of the bridge. A client id may have slashes itself.</summary>
    private static (string ClientId, SentMessage? Message)? Parse(string id)
    {
        if (id.StartsWith(NamedPrefix, StringComparison.Ordinal))
        {
            return (id[NamedPrefix.Length..id.LastIndexOf('/')], null);
        }

        var parts = id.Split('/');
        return id.StartsWith(MessagePrefix, StringComparison.Ordinal) && parts.Length >= 5
                && ushort.TryParse(parts[^3], NumberStyles.None, CultureInfo.InvariantCulture, out var packetId)
                && ulong.TryParse(parts[^2], NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var digest)
            ? (string.Join('/', parts[1..^3]), new SentMessage(packetId, digest))
            : null;
    }

    private sealed class Ticket(SeenMessages seen, long from) : IDisposable
    {
        public void Dispose()
        {
            lock (seen._gate)
            {
                seen._underWay.Remove(from);
            }
        }
    }

    /// <summary>The last messages of one client.</summary>
    private sealed class Client
    {
        private const int PackedBytes = sizeof(ushort) + sizeof(ulong);

        public Client()
        {
        }

        public Client(long position, byte[] packed)
        {
            Position = position;
            for (var at = 0; at < packed.Length; at += PackedBytes)
            {
                Messages.Enqueue(new SentMessage(
                    BinaryPrimitives.ReadUInt16LittleEndian(packed.AsSpan(at)), BinaryPrimitives.ReadUInt64LittleEndian(packed.AsSpan(at + sizeof(ushort)))));
            }
        }

        public Queue<SentMessage> Messages { get; } = [];

        public long Position { get; private set; }

        public bool IsDirty { get; private set; }

        public void Add(SentMessage? message, long position)
        {
            (Position, IsDirty) = (position, true);
            if (message is { } sent)
            {
                Messages.Enqueue(sent);
                if (Messages.Count > Remembered)
                {
                    Messages.Dequeue();
                }
            }
        }

        public byte[] Pack()
        {
            var packed = new byte[Messages.Count * PackedBytes];
            var at = 0;
            foreach (var (packetId, digest) in Messages)
            {
                BinaryPrimitives.WriteUInt16LittleEndian(packed.AsSpan(at), packetId);
                BinaryPrimitives.WriteUInt64LittleEndian(packed.AsSpan(at + sizeof(ushort)), digest);
                at += PackedBytes;
            }

            IsDirty = false;
            return packed;
        }
    }
}
