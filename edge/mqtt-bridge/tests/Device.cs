using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Yizhan.MqttBridge.Tests;

/// <summary>A device that speaks MQTT 3.1.1 byte by byte, so that a test says itself what is sent again, and when.</summary>
internal sealed class Device : IDisposable
{
    private readonly TcpClient _client = new() { NoDelay = true };
    private NetworkStream _stream = null!;

    /// <summary>True when the broker said that it knows this client's session.</summary>
    public bool SessionPresent { get; private set; }

    public static async Task<Device> ConnectAsync(int port, string clientId, bool cleanSession = false)
    {
        var device = new Device();
        await device._client.ConnectAsync(IPAddress.Loopback, port, TestContext.Current.CancellationToken);
        device._stream = device._client.GetStream();
        var id = Encoding.UTF8.GetBytes(clientId);
        await device.WriteAsync([0x10, (byte)(12 + id.Length), 0, 4, .. "MQTT"u8, 4, (byte)(cleanSession ? 2 : 0), 0, 60, 0, (byte)id.Length, .. id]);
        var answer = new byte[4];
        await device._stream.ReadExactlyAsync(answer, TestContext.Current.CancellationToken);
        device.SessionPresent = answer[2] == 1;
        return answer[3] == 0 ? device : throw new IOException($"Refused with code {answer[3]}.");
    }

    /// <summary>Publishes with QoS 1 and waits: true when it was acknowledged, false when the broker hung up.</summary>
    public async Task<bool> PublishAsync(ushort packetId, string topic, byte[] payload, bool dup = false)
    {
        try
        {
            var name = Encoding.UTF8.GetBytes(topic);
            var header = new byte[4 + name.Length];
            BinaryPrimitives.WriteUInt16BigEndian(header, (ushort)name.Length);
            name.CopyTo(header, 2);
            BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(2 + name.Length), packetId);
            await WriteAsync([(byte)(dup ? 0x3A : 0x32), .. Length(header.Length + payload.Length), .. header, .. payload]);
            var answer = new byte[4];
            await _stream.ReadExactlyAsync(answer, TestContext.Current.CancellationToken);
            Assert.Equal(0x40, answer[0]);
            Assert.Equal(packetId, BinaryPrimitives.ReadUInt16BigEndian(answer.AsSpan(2)));
            return true;
        }
        catch (IOException)
        {
            return false;
        }
    }

    /// <summary>Asks for a subscription with QoS 1: true when the answer is a failure (MQTT 3.1.1 §3.9.3).</summary>
    public async Task<bool> IsSubscriptionRefusedAsync(ushort packetId, string filter)
    {
        var name = Encoding.UTF8.GetBytes(filter);
        await WriteAsync([0x82, (byte)(5 + name.Length), (byte)(packetId >> 8), (byte)packetId, 0, (byte)name.Length, .. name, 1]);
        var answer = new byte[5];
        await _stream.ReadExactlyAsync(answer, TestContext.Current.CancellationToken);
        return answer[0] == 0x90 && answer[4] >= 0x80;
    }

    public async Task WriteAsync(byte[] bytes) => await _stream.WriteAsync(bytes, TestContext.Current.CancellationToken);

    /// <summary>True when the broker has hung up.</summary>
    public async Task<bool> IsClosedAsync()
    {
        try
        {
            return await _stream.ReadAsync(new byte[1], TestContext.Current.CancellationToken) == 0;
        }
        catch (IOException)
        {
            return true;
        }
    }

    /// <summary>
    /// Says goodbye and waits until the broker has hung up, which is after it has forgotten a session that was clean: MQTTnet forgets it by the client's id, and with it a
    /// connection of that id which came in between.
    /// </summary>
    public async Task LeaveAsync()
    {
        try
        {
            await WriteAsync([0xE0, 0]);
            await IsClosedAsync();
        }
        catch (IOException)
        {
            // The broker was first.
        }
    }

    public void Dispose() => _client.Dispose();

    private static IEnumerable<byte> Length(int length)
    {
        do
        {
            yield return (byte)(length > 127 ? (length & 127) | 128 : length);
        }
        while ((length >>= 7) > 0);
    }
}
