using System.Globalization;
using MQTTnet.Packets;
using MQTTnet.Protocol;
using MQTTnet.Server;

namespace Yizhan.MqttBridge;

/// <summary>
/// A broker that only takes: what a device publishes goes to the intake, and is acknowledged (PUBACK, PUBREC) once it is durable. Nobody subscribes, and
/// nothing is kept beside the log.
/// </summary>
internal sealed partial class EmbeddedBroker : IAsyncDisposable
{
    private const string PacketIdKey = "packet";
    private const string CleanKey = "clean";

    private readonly DeviceIntake _intake;
    private readonly MqttServer _server;
    private readonly BrokerListener _listener;
    private readonly ILogger _logger;

    private EmbeddedBroker(DeviceIntake intake, MqttServer server, BrokerListener listener, ILogger logger)
    {
        (_intake, _server, _listener, _logger) = (intake, server, listener, logger);
        server.ValidatingConnectionAsync += ValidateAsync;
        server.InterceptingInboundPacketAsync += NoteAsync;
        server.InterceptingOutboundPacketAsync += AnswerConnectAsync;
        server.InterceptingPublishAsync += PublishAsync;
        server.InterceptingSubscriptionAsync += RefuseAsync;
    }

    /// <summary>Opens the port.</summary>
    /// <exception cref="IOException">The port is taken.</exception>
    public static async Task<EmbeddedBroker> StartAsync(DeviceIntake intake, MqttBridgeOptions options, TimeProvider clock, ILoggerFactory loggers)
    {
        var logger = loggers.CreateLogger<EmbeddedBroker>();
        var listener = new BrokerListener(options, clock, loggers.CreateLogger<BrokerListener>());

        // A session lasts as long as its connection; what has to last longer is in the intake.
        var server = new MqttServerFactory().CreateMqttServer(
            new MqttServerOptionsBuilder().WithoutDefaultEndpoint().WithPersistentSessions(false).Build(), [listener]);
        var broker = new EmbeddedBroker(intake, server, listener, logger);
        try
        {
            await server.StartAsync();
        }
        catch
        {
            await broker.DisposeAsync();
            throw;
        }

        broker.Opened(listener.EndPoint!, options.IsSecure ? "with" : "without", options.Topics.Length);
        return broker;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_server.IsStarted)
        {
            await _server.StopAsync(new MqttServerStopOptions());
        }

        await _listener.StopAsync();
        _server.Dispose();
    }

    private Task ValidateAsync(ValidatingConnectionEventArgs connection)
    {
        var name = BrokerListener.NameOf(connection.ClientCertificate);
        connection.ReasonCode =
            connection.ClientId.Length is 0 or > DeviceIntake.MaxClientId ? MqttConnectReasonCode.ClientIdentifierNotValid
            : connection.ClientCertificate is not null && connection.ClientId != name ? MqttConnectReasonCode.ClientIdentifierNotValid
            : MqttConnectReasonCode.Success;
        if (connection.ReasonCode != MqttConnectReasonCode.Success)
        {
            connection.ReasonString = string.Create(
                CultureInfo.InvariantCulture,
                $"The client id must have 1 to {DeviceIntake.MaxClientId} characters and be the common name of the certificate.");
            RefusedClient(connection.RemoteEndPoint?.ToString() ?? "unknown");
        }

        connection.SessionItems[CleanKey] = connection.CleanSession ?? true;
        return Task.CompletedTask;
    }

    /// <summary>The publish event does not have the packet; the connection's packets come one after the other.</summary>
    private static Task NoteAsync(InterceptingPacketEventArgs inbound)
    {
        if (inbound.Packet is MqttPublishPacket publish)
        {
            inbound.SessionItems[PacketIdKey] = publish.PacketIdentifier;
        }

        return Task.CompletedTask;
    }

    /// <summary>
    /// A client that resumes a session hears that it is present when its messages are remembered, also by another process than this: told otherwise it must
    /// throw away what it has under way (MQTT 5.0 §3.2.2.1.1).
    /// </summary>
    private Task AnswerConnectAsync(InterceptingPacketEventArgs outbound)
    {
        if (outbound.Packet is MqttConnAckPacket { ReasonCode: MqttConnectReasonCode.Success } answer)
        {
            answer.IsSessionPresent = outbound.SessionItems[CleanKey] is false && _intake.Knows(outbound.ClientId);
            answer.ReceiveMaximum = SeenMessages.ReceiveMaximum;
            answer.RetainAvailable = false;
        }

        return Task.CompletedTask;
    }

    private async Task PublishAsync(InterceptingPublishEventArgs publish)
    {
        publish.ProcessPublish = false;
        Intake outcome;
        try
        {
            outcome = await _intake.TakeAsync(publish.ClientId, (ushort)(publish.SessionItems[PacketIdKey] ?? (ushort)0), publish.ApplicationMessage);
        }
        catch (IOException e)
        {
            NotTaken(e, publish.ClientId);
            outcome = Intake.Full;
        }

        switch (outcome)
        {
            case Intake.Taken:
                return;
            case Intake.Full:
                // Not acknowledged, so the client sends it again when it is back.
                await CloseAsync(publish, MqttDisconnectReasonCode.QuotaExceeded, "The site has no room for it now.");
                return;
            default:
                Refused(publish.ClientId, outcome);
                (publish.Response.ReasonCode, publish.Response.ReasonString) = outcome switch
                {
                    Intake.NotMapped => (MqttPubAckReasonCode.TopicNameInvalid, "This site has no mapping for the topic."),
                    Intake.NotYours => (MqttPubAckReasonCode.NotAuthorized, "The topic is another device's."),
                    Intake.TooLarge => (MqttPubAckReasonCode.QuotaExceeded, "The payload is larger than this site accepts."),
                    _ => (MqttPubAckReasonCode.PayloadFormatInvalid, "The payload has no member that names it, which the topic's mapping asks for."),
                };
                if (!await KnowsReasonCodesAsync(publish.ClientId))
                {
                    // To MQTT 3.1.1 an acknowledgement is a yes; the only no is to hang up (§3.3.5).
                    await CloseAsync(publish, MqttDisconnectReasonCode.TopicNameInvalid, publish.Response.ReasonString);
                }

                return;
        }
    }

    private async Task CloseAsync(InterceptingPublishEventArgs publish, MqttDisconnectReasonCode reason, string text)
    {
        publish.CloseConnection = true;
        if (await KnowsReasonCodesAsync(publish.ClientId))
        {
            await _server.DisconnectClientAsync(publish.ClientId, new MqttServerClientDisconnectOptions { ReasonCode = reason, ReasonString = text });
        }
    }

    private async Task<bool> KnowsReasonCodesAsync(string clientId) =>
        (await _server.GetClientsAsync()).FirstOrDefault(client => client.Id == clientId)?.ProtocolVersion == MQTTnet.Formatter.MqttProtocolVersion.V500;

    private static Task RefuseAsync(InterceptingSubscriptionEventArgs subscription)
    {
        subscription.ProcessSubscription = false;
        subscription.Response.ReasonCode = MqttSubscribeReasonCode.NotAuthorized;
        return Task.CompletedTask;
    }

    [LoggerMessage(8101, LogLevel.Information, "Devices are awaited on {EndPoint} {Certificates} certificates; {Topics} topic filters are mapped.")]
    private partial void Opened(System.Net.IPEndPoint endPoint, string certificates, int topics);

    [LoggerMessage(8102, LogLevel.Warning, "A device at {Address} was refused: its client id is too long, missing, or not the name in its certificate.")]
    private partial void RefusedClient(string address);

    [LoggerMessage(8103, LogLevel.Debug, "A message of {ClientId} was refused: {Outcome}.")]
    private partial void Refused(string clientId, Intake outcome);

    [LoggerMessage(8104, LogLevel.Error, "A message of {ClientId} could not be made durable and was not acknowledged.")]
    private partial void NotTaken(Exception exception, string clientId);
}
