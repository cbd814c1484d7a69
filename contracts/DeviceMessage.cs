using System.Text.Json;

namespace Yizhan.Contracts;

/// <summary>
/// What a device said over MQTT. The event's type is the one that the site maps the topic to; whoever handles that type knows what the payload means.
/// </summary>
/// <param name="Topic">Topic that it was published under.</param>
/// <param name="ClientId">The device; with certificates, the name in its certificate.</param>
/// <param name="Json">The payload, when it is one JSON value; null otherwise.</param>
/// <param name="Bytes">The payload in base64, when it is not JSON; null otherwise.</param>
public sealed record DeviceMessage(string Topic, string ClientId, JsonElement? Json, byte[]? Bytes);
