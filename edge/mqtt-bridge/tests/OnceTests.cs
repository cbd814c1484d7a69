using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Yizhan.Contracts;
using Yizhan.Storage;

namespace Yizhan.MqttBridge.Tests;

/// <summary>What is acknowledged is there once.</summary>
public sealed class OnceTests
{
    private static readonly byte[] Rate = Encoding.UTF8.GetBytes("""{"rate":5,"seq":7}""");

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_retransmission_is_one_event_also_after_a_restart(bool memoryIsLost)
    {
        await using var bridge = await Bridge.StartAsync(Bridge.Pumps);
        using (var device = await Device.ConnectAsync(bridge.Port, "pump/3"))
        {
            Assert.False(device.SessionPresent);
            Assert.True(await device.PublishAsync(5, "ward/7/pump/3", Rate));
        }

        await RetransmitAsync(bridge);
        await bridge.StopAsync();
        if (memoryIsLost)
        {
            // As after a kill before it was saved: the log has it all.
            File.Delete(Path.Combine(bridge.Folder, "mqtt-bridge", "seen.db"));
        }

        await bridge.StartAsync();
        await RetransmitAsync(bridge);
        Assert.Single(await bridge.EntriesAsync());
    }

    [Fact]
    public async Task A_payload_with_half_of_a_surrogate_pair_is_taken_as_bytes_and_does_not_come_again_for_ever()
    {
        await using var bridge = await Bridge.StartAsync(Bridge.Pumps);
        var payload = Encoding.UTF8.GetBytes("""{"alarm":"\ud800"}""");
        using (var device = await Device.ConnectAsync(bridge.Port, "pump/3"))
        {
            Assert.True(await device.PublishAsync(5, "ward/7/pump/3", payload));
        }

        var message = JsonSerializer.Deserialize(Assert.Single(await bridge.EntriesAsync()).Entry.Data.Span, ContractsJson.Default.DeviceMessage)!;
        Assert.Null(message.Json);
        Assert.Equal(payload, message.Bytes);
    }

    /// <summary>
    /// As a device does it, which connects again when it is cut off: a broker that is just tidying up after its connection before may end the new one with it (MQTTnet removes sessions by
    /// client id), and then the message was not acknowledged.
    /// </summary>
    private static async Task RetransmitAsync(Bridge bridge)
    {
        for (var attempt = 0; attempt < 50; attempt++)
        {
            using var device = await Device.ConnectAsync(bridge.Port, "pump/3");
            Assert.True(device.SessionPresent);
            if (await device.PublishAsync(5, "ward/7/pump/3", Rate, dup: true))
            {
                return;
            }
        }

        Assert.Fail("The device was cut off fifty times.");
    }

    [Fact]
    public async Task What_is_not_a_retransmission_is_an_event_of_its_own()
    {
        await using var bridge = await Bridge.StartAsync(Bridge.Pumps);
        using var device = await Device.ConnectAsync(bridge.Port, "pump-3");
        using var other = await Device.ConnectAsync(bridge.Port, "pump-4");

        // The same reading, the same number: no DUP flag, so it was read again.
        Assert.True(await device.PublishAsync(5, "ward/7/pump/3", Rate));
        Assert.True(await device.PublishAsync(5, "ward/7/pump/3", Rate));

        // A retransmission whose original never arrived, by number, by topic, by device.
        Assert.True(await device.PublishAsync(6, "ward/7/pump/3", Rate, dup: true));
        Assert.True(await device.PublishAsync(5, "ward/7/pump/4", Rate, dup: true));
        Assert.True(await other.PublishAsync(5, "ward/7/pump/3", Rate, dup: true));
        Assert.Equal(5, (await bridge.EntriesAsync()).Count);
    }

    [Fact]
    public async Task A_message_that_the_device_names_is_one_event_however_it_is_repeated()
    {
        Tool.Need("mosquitto_pub");
        await using var bridge = await Bridge.StartAsync([.. Bridge.Pumps, "--mqtt-bridge:topics:0:id=seq"]);
        for (var i = 0; i < 2; i++)
        {
            await Tool.RunAsync("mosquitto_pub", ["-h", "127.0.0.1", "-p", $"{bridge.Port}", "-q", "1", "-i", "pump-3", "-t", "ward/7/pump/3", "-l"],
                ["""{"seq":1}""", """{"seq":2}"""]);
        }

        using var device = await Device.ConnectAsync(bridge.Port, "pump-3");
        Assert.True(device.SessionPresent);
        Assert.False(await device.PublishAsync(1, "ward/7/pump/3", Encoding.UTF8.GetBytes("""{"rate":5}""")));
        Assert.Equal(2, (await bridge.EntriesAsync()).Count);
    }

    [Fact]
    public async Task A_full_spool_acknowledges_nothing_and_takes_it_when_there_is_room()
    {
        await using var bridge = await Bridge.StartAsync([.. Bridge.Pumps, "--storage:quotaBytes=16777216"]);
        var payload = new byte[250_000];
        var acknowledged = 0;
        using (var device = await Device.ConnectAsync(bridge.Port, "pump-3"))
        {
            while (await device.PublishAsync((ushort)(acknowledged + 1), "ward/7/pump/3", payload))
            {
                Assert.InRange(++acknowledged, 1, 100);
            }
        }

        Assert.Equal(acknowledged, (await bridge.EntriesAsync()).Count);
        await bridge.Log.MarkDeliveredAsync(Lane.Normal, acknowledged, TestContext.Current.CancellationToken);
        await bridge.Log.ReleaseAsync(Lane.Normal, acknowledged, TestContext.Current.CancellationToken);
        using var again = await Device.ConnectAsync(bridge.Port, "pump-3");
        Assert.True(await again.PublishAsync((ushort)(acknowledged + 1), "ward/7/pump/3", payload, dup: true));
    }

    [Fact]
    public async Task Messages_of_a_broker_that_is_there_already_arrive_once_each_while_bridge_and_broker_restart()
    {
        Tool.Need("mosquitto", "mosquitto_pub");
        var brokerPort = FreePorts.Next();
        await using var bridge = await Bridge.StartAsync([.. Bridge.Pumps, $"--mqtt-bridge:brokerUrl=mqtt://127.0.0.1:{brokerPort}"]);
        var settings = Path.Combine(bridge.Folder, "mosquitto.conf");
        await File.WriteAllTextAsync(settings,
            $"listener {brokerPort} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {bridge.Folder}/\nuser root\nlog_type error\n",
            TestContext.Current.CancellationToken);
        var expected = new HashSet<string>();
        async Task PublishAsync(string batch)
        {
            var lines = Enumerable.Range(0, 50).Select(i => $$"""{"batch":"{{batch}}","n":{{i}}}""").ToArray();
            expected.UnionWith(lines);
            var (exitCode, output) = await Tool.RunAsync(
                "mosquitto_pub", ["-h", "127.0.0.1", "-p", $"{brokerPort}", "-q", "1", "-t", "ward/7/pump/3", "-l"], lines);
            Assert.Equal((0, ""), (exitCode, output));
        }

        using (var broker = await StartBrokerAsync(settings, brokerPort))
        {
            // Published until the bridge has subscribed: what a broker has no subscriber for is gone.
            while ((await bridge.EntriesAsync()).Count == 0)
            {
                await Tool.RunAsync("mosquitto_pub", ["-h", "127.0.0.1", "-p", $"{brokerPort}", "-q", "1", "-t", "ward/7/pump/3", "-m", "\"probe\""]);
            }

            await PublishAsync("while connected");
            await bridge.StopAsync();
            await PublishAsync("while away");
            await bridge.StartAsync();
            await WaitUntilAsync(bridge, expected);
            await StopAsync(broker);
        }

        using (var broker = await StartBrokerAsync(settings, brokerPort))
        {
            await PublishAsync("after a restart of the broker");
            await WaitUntilAsync(bridge, expected);
            await StopAsync(broker);
        }

        var arrived = Payloads(await bridge.EntriesAsync());
        Assert.Equal(expected.Order(StringComparer.Ordinal), arrived.Where(p => p != "\"probe\"").Order(StringComparer.Ordinal));
    }

    private static IEnumerable<string> Payloads(IEnumerable<LoggedEntry> entries) => entries.Select(entry => JsonSerializer
        .Deserialize(entry.Entry.Data.Span, ContractsJson.Default.DeviceMessage)!.Json!.Value.GetRawText());

    private static async Task WaitUntilAsync(Bridge bridge, HashSet<string> expected)
    {
        while (true)
        {
            var found = await bridge.EntriesAsync();
            if (expected.IsSubsetOf(Payloads(found)))
            {
                return;
            }

            await bridge.Log.WaitForMoreAsync(found[^1].Position, TestContext.Current.CancellationToken);
        }
    }

    private static async Task<Process> StartBrokerAsync(string settings, int port)
    {
        var broker = Tool.Start("mosquitto", ["-c", settings]);
        while (true)
        {
            try
            {
                using var probe = new TcpClient();
                await probe.ConnectAsync(IPAddress.Loopback, port, TestContext.Current.CancellationToken);
                return broker;
            }
            catch (SocketException) when (!broker.HasExited)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(20), TestContext.Current.CancellationToken);
            }
        }
    }

    private static async Task StopAsync(Process broker)
    {
        // It saves its queue when it is asked to end.
        using var terminate = Process.Start("kill", ["-TERM", $"{broker.Id}"]);
        await terminate.WaitForExitAsync(TestContext.Current.CancellationToken);
        await broker.WaitForExitAsync(TestContext.Current.CancellationToken);
    }
}
