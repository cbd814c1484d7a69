using System.ComponentModel.DataAnnotations;
using System.Net;
using Microsoft.Extensions.Options;

namespace Yizhan.MqttBridge;

/// <summary>Settings of the bridge. Section <c>mqtt-bridge</c>.</summary>
public sealed class MqttBridgeOptions
{
    /// <summary>Which topics become which events. The first filter that matches counts; what none matches is refused. Empty: the bridge does nothing.</summary>
    public TopicOptions[] Topics { get; set; } = [];

    /// <summary>IP address on which devices are awaited. Default 127.0.0.1; any other needs certificates.</summary>
    [Required]
    public string Address { get; set; } = "127.0.0.1";

    /// <summary>TCP port on which devices are awaited. Default 1883; 8883 is usual with TLS.</summary>
    [Range(1, 65535)]
    public int Port { get; set; } = 1883;

    /// <summary>
    /// A broker that the devices use already, such as <c>mqtt://127.0.0.1:1883</c> or <c>mqtts://broker.example:8883</c>. With it there is no broker of our
    /// own: the bridge subscribes to the mapped filters.
    /// </summary>
    public Uri? BrokerUrl { get; set; }

    /// <summary>Client id towards that broker; its session is kept under this name. Default <c>yizhan-bridge</c>.</summary>
    [Required]
    [StringLength(DeviceIntake.MaxClientId, MinimumLength = 1)]
    public string ClientId { get; set; } = "yizhan-bridge";

    /// <summary>PEM file with the broker's certificate, or with ours towards <see cref="BrokerUrl"/>. Together with the next two it turns TLS on.</summary>
    public string? CertificatePath { get; set; }

    /// <summary>PEM file with its private key.</summary>
    public string? KeyPath { get; set; }

    /// <summary>PEM file with the root certificate that the other side's certificate must come from.</summary>
    public string? RootPath { get; set; }

    /// <summary>Largest payload, in bytes: 1 to 524288. Default 262144. Images and waveforms belong into DICOM.</summary>
    [Range(1, 512 * 1024)]
    public int MaxPayloadBytes { get; set; } = 256 * 1024;

    /// <summary>Most devices at a time. Default 256.</summary>
    [Range(1, 10_000)]
    public int MaxClients { get; set; } = 256;

    /// <summary>Whether both ends of a connection show certificates.</summary>
    internal bool IsSecure => CertificatePath is not null;
}

/// <summary>What becomes of the messages of some topics.</summary>
public sealed class TopicOptions
{
    /// <summary>
    /// Topic filter (MQTT 5.0 §4.7), such as <c>ward/+/pump/#</c>. A level <c>{client}</c> is the client id of who publishes, which is the name in its
    /// certificate: <c>ward/+/{client}/#</c> lets each device write below its own name alone.
    /// </summary>
    public string Filter { get; set; } = "";

    /// <summary>Client ids that may publish there. Empty (default): every device that may connect.</summary>
    public List<string> Clients { get; set; } = [];

    /// <summary>CloudEvents type of the events, such as <c>yizhan.device.pump.v1</c>.</summary>
    public string EventType { get; set; } = "";

    /// <summary>Lane: urgent, normal, bulk or telemetry. Default telemetry.</summary>
    public string Lane { get; set; } = "telemetry";

    /// <summary>
    /// Key of the events, at most 200 characters: events with one key keep their order. <c>{1}</c>, <c>{2}</c> … are the levels that the filter's wildcards
    /// stand for, <c>{topic}</c> is all of it. Default <c>{topic}</c>.
    /// </summary>
    public string Key { get; set; } = "{topic}";

    /// <summary>
    /// Member of a JSON payload that names the message: a counter or a time. With it a message that a device repeats, however late and under whatever packet,
    /// is one event. Without it only retransmissions of the protocol are known.
    /// </summary>
    public string? Id { get; set; }
}

[OptionsValidator]
internal sealed partial class MqttBridgeOptionsRanges : IValidateOptions<MqttBridgeOptions>;

internal sealed class MqttBridgeOptionsValidator : IValidateOptions<MqttBridgeOptions>
{
    private const int MaxTopics = 1000;
    private static readonly string[] Lanes = ["urgent", "normal", "bulk", "telemetry"];

    public ValidateOptionsResult Validate(string? name, MqttBridgeOptions options) =>
        (Topics(options) ?? Place(options) ?? Files(options)) is { } wrong
            ? ValidateOptionsResult.Fail(wrong)
            : new MqttBridgeOptionsRanges().Validate(name, options);

    private static string? Topics(MqttBridgeOptions options)
    {
        var topics = options.Topics;
        if (topics.Length > MaxTopics)
        {
            return $"mqtt-bridge:topics has {topics.Length} entries; at most {MaxTopics} are accepted.";
        }

        for (var i = 0; i < topics.Length; i++)
        {
            var topic = topics[i];
            var place = $"mqtt-bridge:topics:{i}";
            if (!TopicMap.IsFilter(topic.Filter))
            {
                return $"{place}:filter is '{topic.Filter}'; accepted are topic levels with '+' for one, '{TopicMap.Client}' for the device's own id and '#' at the end for all that follow, such as ward/+/pump/#.";
            }

            if (options.BrokerUrl is not null && (topic.Clients.Count > 0 || topic.Filter.Split('/').Contains(TopicMap.Client)))
            {
                return $"{place}: with mqtt-bridge:brokerUrl that broker says who may publish where; accepted are filters without {TopicMap.Client} and no clients.";
            }

            if (topic.EventType.Length is 0 or > 200)
            {
                return $"{place}:eventType is '{topic.EventType}'; accepted is a name of 1 to 200 characters, such as yizhan.device.pump.v1.";
            }

            if (!Lanes.Contains(topic.Lane))
            {
                return $"{place}:lane is '{topic.Lane}'; accepted are urgent, normal, bulk and telemetry.";
            }
        }

        return null;
    }

    private static string? Place(MqttBridgeOptions options) =>
        options.BrokerUrl is { } broker && (!broker.IsAbsoluteUri || broker.Scheme is not ("mqtt" or "mqtts") || broker.PathAndQuery is not ("/" or ""))
            ? $"mqtt-bridge:brokerUrl is '{broker}'; accepted is mqtt:// or mqtts:// with host and port, such as mqtt://127.0.0.1:1883."
        : options.BrokerUrl is { Scheme: "mqtt", IsLoopback: false }
            ? $"mqtt-bridge:brokerUrl is '{options.BrokerUrl}'; a broker on another machine is accepted with mqtts:// only."
        : options.BrokerUrl is { Scheme: "mqtts" } && !options.IsSecure
            ? "mqtt-bridge:brokerUrl is mqtts://, which needs mqtt-bridge:certificatePath, keyPath and rootPath."
        : !IPAddress.TryParse(options.Address, out var address)
            ? $"mqtt-bridge:address is '{options.Address}'; accepted is an IP address such as 127.0.0.1 or 0.0.0.0."
        : options.BrokerUrl is null && !IPAddress.IsLoopback(address) && !options.IsSecure
            ? $"mqtt-bridge:address is '{options.Address}'; without mqtt-bridge:certificatePath, keyPath and rootPath only loopback is accepted."
        : null;

    private static string? Files(MqttBridgeOptions options)
    {
        (string Setting, string? Path)[] files = [("certificatePath", options.CertificatePath), ("keyPath", options.KeyPath), ("rootPath", options.RootPath)];
        return Array.TrueForAll(files, file => file.Path is null) ? null
            : Array.Find(files, file => string.IsNullOrEmpty(file.Path)) is { Setting: { } missing }
                ? $"mqtt-bridge:{missing} is missing: TLS needs certificatePath, keyPath and rootPath."
            : Array.Find(files, file => !File.Exists(file.Path)) is { Setting: { } absent, Path: var path }
                ? $"mqtt-bridge:{absent} is '{path}', and there is no such file."
            : null;
    }
}
