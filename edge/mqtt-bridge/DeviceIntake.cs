using System.Buffers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Options;
using MQTTnet;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.MqttBridge;

/// <summary>What became of a message. Only <see cref="Taken"/> may be acknowledged with success.</summary>
internal enum Intake
{
    /// <summary>It is durable, now or already.</summary>
    Taken,

    /// <summary>No mapping has its topic, or its topic makes a key that is too long.</summary>
    NotMapped,

    /// <summary>Its topic is mapped for other devices only.</summary>
    NotYours,

    /// <summary>It is larger than the site accepts.</summary>
    TooLarge,

    /// <summary>Its mapping wants an id, and the payload has none.</summary>
    NoId,

    /// <summary>The lane has no room. It must come again, so it is not acknowledged at all.</summary>
    Full,
}

/// <summary>
/// Turns messages into events: looks the topic up, recognises a retransmission, and answers when the event is durable. A client's messages are taken one
/// after the other, also when its new connection overtakes its old one.
/// </summary>
internal sealed class DeviceIntake : IDisposable
{
    /// <summary>Most characters of a client id: it is part of the id of each event.</summary>
    public const int MaxClientId = 64;

    private readonly IEventLog _log;
    private readonly MqttBridgeOptions _options;
    private readonly TimeProvider _clock;
    private readonly TopicMap _topics;
    private readonly SeenMessages _seen;

    // As many as may append at once; two clients that share one wait for each other now and then.
    private readonly SemaphoreSlim[] _turns = [.. Enumerable.Range(0, 64).Select(_ => new SemaphoreSlim(1))];

    public DeviceIntake(IEventLog log, IOptions<MqttBridgeOptions> options, IOptions<NodeOptions> node, TimeProvider clock)
    {
        (_log, _options, _clock) = (log, options.Value, clock);
        _topics = new TopicMap(_options.Topics);
        _seen = new SeenMessages(log, node.Value.PathOf("mqtt-bridge", "seen.db"));
    }

    /// <summary>Loads what is remembered of the last messages. Before the first <see cref="TakeAsync"/>.</summary>
    public Task StartAsync(CancellationToken cancellationToken) => _seen.LoadAsync(cancellationToken);

    /// <summary>True when this client's messages are remembered: it may keep its session over our restart (MQTT 5.0 §3.2.2.1.1).</summary>
    public bool Knows(string clientId) => _seen.Knows(clientId);

    /// <summary>Takes a message and returns when it is durable, or is refused.</summary>
    /// <param name="clientId">Who sent it.</param>
    /// <param name="packetId">Its packet identifier; 0 with QoS 0.</param>
    /// <param name="message">Topic, payload and the DUP flag.</param>
    /// <exception cref="IOException">The log has stopped. Nothing is promised; do not acknowledge.</exception>
    public async Task<Intake> TakeAsync(string clientId, ushort packetId, MqttApplicationMessage message)
    {
        if (_topics.Find(message.Topic, clientId, out var isOthers) is not var (topic, key) || key.Length > 200)
        {
            return isOthers ? Intake.NotYours : Intake.NotMapped;
        }

        if (message.Payload.Length > _options.MaxPayloadBytes)
        {
            return Intake.TooLarge;
        }

        var payload = message.Payload.ToArray();
        var json = TryParse(payload);
        var name = topic.Id is null ? null : NameOf(json, topic.Id);
        if (topic.Id is not null && name is null)
        {
            return Intake.NoId;
        }

        var turn = _turns[(uint)clientId.GetHashCode(StringComparison.Ordinal) % _turns.Length];
        await turn.WaitAsync();
        try
        {
            var sent = new SentMessage(packetId, Digest(message.Topic, payload));
            if (message.Dup && _seen.Contains(clientId, sent))
            {
                return Intake.Taken;
            }

            var id = name is null ? SeenMessages.NewId(clientId, sent, _clock) : SeenMessages.NamedId(clientId, Hash(topic.EventType, name));
            var data = JsonSerializer.SerializeToUtf8Bytes(
                new DeviceMessage(message.Topic, clientId, json, json is null ? payload : null), ContractsJson.Default.DeviceMessage);

            using var underWay = _seen.Begin();

            // Not cancelled with the connection: whether it is durable must be known before the client's next attempt is looked at.
            var receipts = await _log.AppendAsync(
                [new Entry(Enum.Parse<Lane>(topic.Lane, ignoreCase: true), topic.EventType, id, key, _clock.GetUtcNow().ToUnixTimeMilliseconds(), data)], CancellationToken.None);
            _seen.Add(clientId, sent, receipts[0].Position);
            return Intake.Taken;
        }
        catch (SpoolFullException)
        {
            return Intake.Full;
        }
        finally
        {
            turn.Release();
        }
    }

    /// <summary>Writes down what is remembered, so that the next start has little to read.</summary>
    public void Save() => _seen.Save();

    /// <inheritdoc/>
    public void Dispose()
    {
        _seen.Dispose();
        foreach (var turn in _turns)
        {
            turn.Dispose();
        }
    }

    private static JsonElement? TryParse(byte[] payload)
    {
        try
        {
            var reader = new Utf8JsonReader(payload, new JsonReaderOptions { MaxDepth = 32 });
            var element = JsonElement.ParseValue(ref reader);
            if (reader.Read())
            {
                return null;
            }

            // An escape can be half of a surrogate pair: it parses, and can be written by nobody. Then it is kept as the bytes that came.
            if (payload.AsSpan().Contains((byte)'\\'))
            {
                using var nowhere = new Utf8JsonWriter(Stream.Null);
                element.WriteTo(nowhere);
            }

            return element;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or ArgumentException)
        {
            return null;
        }
    }

    /// <summary>What a device calls a message: the text of a member of its payload; null when there is none.</summary>
    private static string? NameOf(JsonElement? json, string member) =>
        json is { ValueKind: JsonValueKind.Object } value && value.TryGetProperty(member, out var name)
            && name.ValueKind is JsonValueKind.String or JsonValueKind.Number
            ? name.GetRawText()
            : null;

    private static string Hash(string eventType, string name) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{eventType}\n{name}")).AsSpan(0, 16));

    private static ulong Digest(string topic, byte[] payload)
    {
        using var sha = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        sha.AppendData(Encoding.UTF8.GetBytes(topic));

        // A topic has no zero character (MQTT 5.0 §1.5.4), so "a"+"bc" and "ab"+"c" differ.
        sha.AppendData([0]);
        sha.AppendData(payload);
        return BitConverter.ToUInt64(sha.GetHashAndReset());
    }
}
