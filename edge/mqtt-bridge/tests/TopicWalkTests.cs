using System.Text;
using Yizhan.Platform;

namespace Yizhan.MqttBridge.Tests;

/// <summary>Walks over every topic for every device: each publishes where the settings say and nowhere else, and nobody subscribes to anything.</summary>
[Trait("Clause", "S1")]
public sealed class TopicWalkTests
{
    private static readonly string[] Mapped =
    [
        "--mqtt-bridge:topics:0:filter=ward/+/{client}/#", "--mqtt-bridge:topics:0:eventType=yizhan.device.pump.v1",
        "--mqtt-bridge:topics:1:filter=alarm/+", "--mqtt-bridge:topics:1:eventType=yizhan.device.alarm.v1", "--mqtt-bridge:topics:1:clients:0=gateway-1",
        "--mqtt-bridge:topics:2:filter=room/#", "--mqtt-bridge:topics:2:eventType=yizhan.device.room.v1",
    ];

    private static readonly string[] Devices = ["pump-3", "pump-4", "gateway-1"];

    /// <summary>Each topic, and who may publish there.</summary>
    private static readonly (string Topic, string[] May)[] Topics =
    [
        ("ward/7/pump-3/rate", ["pump-3"]), ("ward/7/pump-3", ["pump-3"]), ("ward/7/pump-4/rate", ["pump-4"]), ("ward/7/gateway-1/a/b", ["gateway-1"]),
        ("ward/7/{client}/rate", []), ("ward/7/+/rate", []), ("ward/7", []), ("ward/7/pump-30/rate", []), ("WARD/7/pump-3/rate", []), ("alarm/7", ["gateway-1"]),
        ("alarm/7/8", []), ("room/7", Devices), ("kitchen/fridge", []), ("$SYS/broker/uptime", []),
    ];

    private static readonly byte[] Payload = Encoding.UTF8.GetBytes("""{"rate":5}""");

    [Fact]
    public async Task A_device_publishes_to_its_own_topics_and_to_no_others()
    {
        await using var bridge = await Bridge.StartAsync(Mapped);
        var (wrong, taken, packet) = (new List<string>(), 0, (ushort)0);
        foreach (var device in Devices)
        {
            foreach (var (topic, may) in Topics)
            {
                using var connection = await Device.ConnectAsync(bridge.Port, device, cleanSession: true);
                var acknowledged = await connection.PublishAsync(++packet, topic, Payload);
                taken += acknowledged ? 1 : 0;
                if (acknowledged != may.Contains(device))
                {
                    wrong.Add($"{device} {(acknowledged ? "publishes" : "does not publish")} to {topic}");
                }

                await connection.LeaveAsync();
            }
        }

        Assert.Empty(wrong);
        Assert.Equal(Topics.Sum(t => t.May.Length), taken);
        Assert.Equal(taken, (await bridge.EntriesAsync()).Count);
    }

    [Fact]
    public async Task Nobody_subscribes_to_any_topic_not_even_to_its_own()
    {
        await using var bridge = await Bridge.StartAsync(Mapped);
        foreach (var device in Devices)
        {
            using var connection = await Device.ConnectAsync(bridge.Port, device, cleanSession: true);
            var packet = (ushort)1;
            foreach (var filter in Topics.Select(t => t.Topic).Where(t => t[0] != '{').Concat(["#", "+/#", "ward/#", "$SYS/#", $"ward/7/{device}/#", "$share/g/ward/#"]))
            {
                Assert.True(await connection.IsSubscriptionRefusedAsync(packet++, filter), $"{device} subscribes to {filter}");
            }
        }
    }

    [Fact]
    public async Task The_reason_code_tells_a_topic_of_others_from_one_that_nobody_has()
    {
        Tool.Need("mosquitto_pub");
        await using var bridge = await Bridge.StartAsync(Mapped);
        async Task<string> SayAsync(string topic) => (await Tool.RunAsync(
            "mosquitto_pub", ["-h", "127.0.0.1", "-p", $"{bridge.Port}", "-V", "5", "-q", "1", "-i", "pump-4", "-t", topic, "-m", "4"])).Output;
        Assert.Contains("Not authorized", await SayAsync("ward/7/pump-3/rate"), StringComparison.OrdinalIgnoreCase);
        Assert.Contains("Not authorized", await SayAsync("alarm/7"), StringComparison.OrdinalIgnoreCase);
        Assert.Contains("Topic Name invalid", await SayAsync("kitchen/fridge"), StringComparison.OrdinalIgnoreCase);
    }

    [Theory]
    [InlineData("--mqtt-bridge:topics:0:filter=ward/x{client}/a", "'{client}' for the device's own id")]
    [InlineData("--mqtt-bridge:brokerUrl=mqtt://127.0.0.1:1", "that broker says who may publish where")]
    public async Task A_mapping_that_cannot_be_kept_stops_the_start(string setting, string message)
    {
        var e = await Assert.ThrowsAsync<SettingException>(() => Bridge.StartAsync([.. Mapped, setting]));
        Assert.Contains(message, e.Message, StringComparison.Ordinal);
    }
}
