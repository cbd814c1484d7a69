using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Yizhan.Contracts;
using Yizhan.Storage;

namespace Yizhan.MqttBridge.Tests;

public sealed class BrokerTests
{
    private static readonly byte[] Rate = Encoding.UTF8.GetBytes("""{"rate":5}""");

    [Fact]
    [Trait("Clause", "D3.6")]
    public async Task A_published_message_is_an_event_when_mosquitto_pub_hears_that_it_was_taken()
    {
        Tool.Need("mosquitto_pub");
        await using var bridge = await Bridge.StartAsync(Bridge.Pumps);
        var (exitCode, output) = await Tool.RunAsync(
            "mosquitto_pub", ["-h", "127.0.0.1", "-p", $"{bridge.Port}", "-q", "1", "-i", "pump-3", "-t", "ward/7/pump/3", "-m", """{"rate":5}"""]);

        Assert.Equal((0, ""), (exitCode, output));
        var entry = Assert.Single(await bridge.EntriesAsync()).Entry;
        Assert.Equal(("yizhan.device.pump.v1", "7", Lane.Normal), (entry.Type, entry.Key, entry.Lane));
        var message = JsonSerializer.Deserialize(entry.Data.Span, ContractsJson.Default.DeviceMessage)!;
        Assert.Equal(("ward/7/pump/3", "pump-3", 5), (message.Topic, message.ClientId, message.Json!.Value.GetProperty("rate").GetInt32()));
    }

    [Theory]
    [InlineData("1")]
    [InlineData("2")]
    public async Task A_payload_that_is_not_json_travels_as_bytes_with_either_quality_of_service(string qos)
    {
        Tool.Need("mosquitto_pub");
        await using var bridge = await Bridge.StartAsync(Bridge.Pumps);
        var (exitCode, _) = await Tool.RunAsync(
            "mosquitto_pub", ["-h", "127.0.0.1", "-p", $"{bridge.Port}", "-V", "5", "-q", qos, "-i", "pump-3", "-t", "ward/7/pump/3", "-m", "36.5 C"]);

        Assert.Equal(0, exitCode);
        var message = JsonSerializer.Deserialize(Assert.Single(await bridge.EntriesAsync()).Entry.Data.Span, ContractsJson.Default.DeviceMessage)!;
        Assert.Equal("36.5 C", Encoding.UTF8.GetString(message.Bytes!));
        Assert.Null(message.Json);
    }

    [Fact]
    public async Task A_topic_without_mapping_is_refused_with_its_reason_code()
    {
        Tool.Need("mosquitto_pub");
        await using var bridge = await Bridge.StartAsync(Bridge.Pumps);
        var (_, output) = await Tool.RunAsync(
            "mosquitto_pub", ["-h", "127.0.0.1", "-p", $"{bridge.Port}", "-V", "5", "-q", "1", "-i", "fridge", "-t", "kitchen/fridge", "-m", "4"]);

        Assert.Contains("Topic Name invalid", output, StringComparison.OrdinalIgnoreCase);
        Assert.Empty(await bridge.EntriesAsync());
    }

    [Fact]
    public async Task A_topic_without_mapping_ends_the_connection_of_a_device_that_knows_no_reason_codes()
    {
        await using var bridge = await Bridge.StartAsync(Bridge.Pumps);
        using var device = await Device.ConnectAsync(bridge.Port, "fridge");

        Assert.False(await device.PublishAsync(1, "kitchen/fridge", Rate));
        Assert.Empty(await bridge.EntriesAsync());
    }

    [Fact]
    public async Task Nobody_subscribes()
    {
        Tool.Need("mosquitto_sub");
        await using var bridge = await Bridge.StartAsync(Bridge.Pumps);
        var (_, output) = await Tool.RunAsync("mosquitto_sub", ["-h", "127.0.0.1", "-p", $"{bridge.Port}", "-i", "nosy", "-t", "#"]);

        Assert.Contains("denied", output, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task A_packet_that_announces_more_than_is_accepted_ends_the_connection()
    {
        await using var bridge = await Bridge.StartAsync([.. Bridge.Pumps, "--mqtt-bridge:maxPayloadBytes=1000"]);
        using var device = await Device.ConnectAsync(bridge.Port, "pump-3");
        await device.WriteAsync([0x32, 0xFF, 0xFF, 0xFF, 0x7F]);

        Assert.True(await device.IsClosedAsync());
    }

    [Fact]
    public async Task A_payload_that_is_too_large_is_refused()
    {
        await using var bridge = await Bridge.StartAsync([.. Bridge.Pumps, "--mqtt-bridge:maxPayloadBytes=1000"]);
        using var device = await Device.ConnectAsync(bridge.Port, "pump-3");

        Assert.True(await device.PublishAsync(1, "ward/7/pump/3", new byte[1000]));
        Assert.False(await device.PublishAsync(2, "ward/7/pump/3", new byte[1001]));
        Assert.Single(await bridge.EntriesAsync());
    }

    [Fact]
    public async Task One_device_more_than_allowed_is_turned_away_and_may_come_when_another_has_gone()
    {
        await using var bridge = await Bridge.StartAsync([.. Bridge.Pumps, "--mqtt-bridge:maxClients=1"]);
        using (var first = await Device.ConnectAsync(bridge.Port, "pump-3"))
        {
            await Assert.ThrowsAnyAsync<IOException>(() => Device.ConnectAsync(bridge.Port, "pump-4"));
            Assert.True(await first.PublishAsync(1, "ward/7/pump/3", Rate));
        }

        while (true)
        {
            try
            {
                using var second = await Device.ConnectAsync(bridge.Port, "pump-4");
                Assert.True(await second.PublishAsync(1, "ward/7/pump/4", Rate));
                break;
            }
            catch (IOException)
            {
                TestContext.Current.CancellationToken.ThrowIfCancellationRequested();
            }
        }
    }

    [Fact]
    public async Task Connections_that_say_nothing_keep_no_device_out()
    {
        await using var bridge = await Bridge.StartAsync([.. Bridge.Pumps, "--mqtt-bridge:maxClients=4"]);
        using var before = await Device.ConnectAsync(bridge.Port, "pump-3");
        var silent = new List<TcpClient>();
        try
        {
            for (var i = 0; i < 40; i++)
            {
                silent.Add(new TcpClient(new IPEndPoint(IPAddress.Parse("127.0.0.9"), 0)));
                await silent[^1].ConnectAsync(IPAddress.Loopback, bridge.Port, TestContext.Current.CancellationToken);
            }

            using var device = await Device.ConnectAsync(bridge.Port, "pump-4").WaitAsync(TimeSpan.FromMinutes(2), TestContext.Current.CancellationToken);
            Assert.True(await device.PublishAsync(1, "ward/7/pump/4", Rate));
            Assert.True(await before.PublishAsync(1, "ward/7/pump/3", Rate));
        }
        finally
        {
            silent.ForEach(client => client.Dispose());
        }
    }

    [Theory]
    [InlineData("--mqtt-bridge:topics:0:filter=ward/#/pump", "filter is 'ward/#/pump'")]
    [InlineData("--mqtt-bridge:address=0.0.0.0", "only loopback is accepted")]
    [InlineData("--mqtt-bridge:brokerUrl=mqtt://broker.example:1883", "mqtts:// only")]
    [InlineData("--mqtt-bridge:certificatePath=/nowhere", "keyPath is missing")]
    [InlineData("--mqtt-bridge:topics:0:lane=fast", "fast")]
    public async Task A_wrong_setting_stops_the_start_and_is_named(string setting, string message)
    {
        var e = await Assert.ThrowsAsync<Yizhan.Platform.SettingException>(() => Bridge.StartAsync([.. Bridge.Pumps, setting]));
        Assert.Contains(message, e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("a/+/c", "a/b/c", "b")]
    [InlineData("a/#", "a/b/c", "b/c")]
    [InlineData("a/#", "a", "")]
    [InlineData("+/+", "/x", "")]
    [InlineData("a/+", "a/b/c", null)]
    [InlineData("a/+/c", "a/b", null)]
    [InlineData("#", "$SYS/uptime", null)]
    public void A_filter_matches_as_the_standard_says(string filter, string topic, string? first) =>
        Assert.Equal(first, new TopicMap([new TopicOptions { Filter = filter, EventType = "t", Key = "{1}" }]).Find(topic, "pump-3", out _)?.Key);
}
