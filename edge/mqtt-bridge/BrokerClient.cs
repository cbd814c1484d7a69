using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using MQTTnet;
using MQTTnet.Exceptions;
using MQTTnet.Formatter;
using MQTTnet.Protocol;
using Yizhan.Platform.Certificates;

namespace Yizhan.MqttBridge;

/// <summary>
/// A subscriber of somebody's broker with a session that lasts: the broker keeps what is published while we are away, and each message is acknowledged
/// once it is durable here. How durable it is before is the broker's affair.
/// </summary>
internal sealed partial class BrokerClient : IAsyncDisposable
{
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);

    private readonly DeviceIntake _intake;
    private readonly MqttBridgeOptions _options;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _stopping = new();
    private readonly IMqttClient _client = new MqttClientFactory().CreateMqttClient();
    private Task _running = Task.CompletedTask;
    private volatile bool _hangUp;
    private volatile TaskCompletionSource _connected = new();

    private BrokerClient(DeviceIntake intake, MqttBridgeOptions options, TimeProvider clock, ILogger logger)
    {
        (_intake, _options, _clock, _logger) = (intake, options, clock, logger);
        _client.ApplicationMessageReceivedAsync += TakeAsync;
    }

    /// <summary>Starts; the broker may be away for now.</summary>
    public static BrokerClient Start(DeviceIntake intake, MqttBridgeOptions options, TimeProvider clock, ILogger logger)
    {
        var client = new BrokerClient(intake, options, clock, logger);
        client._running = client.RunAsync();
        return client;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        await _running;
        _client.Dispose();
        _stopping.Dispose();
    }

    private async Task RunAsync()
    {
        var wasConnected = true;
        while (!_stopping.IsCancellationRequested)
        {
            try
            {
                if (_hangUp)
                {
                    // What was not acknowledged comes again in a new connection only (MQTT 5.0 §4.4).
                    _hangUp = false;
                    await _client.DisconnectAsync(new MqttClientDisconnectOptions(), _stopping.Token);
                    await Task.Delay(Pause, _clock, _stopping.Token);
                }

                if (!_client.IsConnected)
                {
                    await ConnectAsync();
                    Connected(_options.BrokerUrl!);
                    wasConnected = true;
                }
            }
            catch (Exception e) when (e is not OperationCanceledException || !_stopping.IsCancellationRequested)
            {
                if (wasConnected)
                {
                    Away(_options.BrokerUrl!, e.Message);
                }

                wasConnected = false;
            }

            await Task.Delay(Pause, _clock, _stopping.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task ConnectAsync()
    {
        var broker = _options.BrokerUrl!;
        var connect = new MqttClientOptionsBuilder()
            .WithTcpServer(broker.Host, broker.IsDefaultPort || broker.Port < 0 ? (_options.IsSecure ? 8883 : 1883) : broker.Port)
            .WithClientId(_options.ClientId)
            .WithProtocolVersion(MqttProtocolVersion.V311)
            .WithCleanSession(false);
        if (broker.Scheme == "mqtts")
        {
            var own = X509Certificate2.CreateFromPemFile(_options.CertificatePath!, _options.KeyPath);
            connect.WithTlsOptions(tls => tls
                .UseTls()
                .WithSslProtocols(SslProtocols.Tls12 | SslProtocols.Tls13)
                .WithClientCertificates([own])
                .WithRevocationMode(X509RevocationMode.NoCheck)
                .WithCertificateValidationHandler(check => IsBroker(check.Certificate, check.SslPolicyErrors, own.NotBefore)));
        }

        var connected = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _connected = connected;
        try
        {
            await _client.ConnectAsync(connect.Build(), _stopping.Token);
        }
        catch
        {
            connected.SetCanceled();
            throw;
        }

        connected.SetResult();
        var subscribe = new MqttClientSubscribeOptionsBuilder();
        foreach (var topic in _options.Topics)
        {
            subscribe.WithTopicFilter(topic.Filter, MqttQualityOfServiceLevel.AtLeastOnce);
        }

        await _client.SubscribeAsync(subscribe.Build(), _stopping.Token);
    }

    private bool IsBroker(X509Certificate certificate, SslPolicyErrors errors, DateTime notEarlierThan) =>
        CertificateTrust.FromFile(_options.RootPath!, _clock, notEarlierThan).CheckServer(certificate, errors) == CertificateVerdict.Valid;

    private async Task TakeAsync(MqttApplicationMessageReceivedEventArgs received)
    {
        received.AutoAcknowledge = false;
        Intake outcome;
        try
        {
            // A session that is resumed delivers before the client has heard that it is connected, and could not acknowledge yet.
            await _connected.Task.WaitAsync(_stopping.Token);
            outcome = await _intake.TakeAsync(_options.ClientId, received.PacketIdentifier, received.ApplicationMessage);
        }
        catch (OperationCanceledException)
        {
            return;
        }
        catch (IOException e)
        {
            NotTaken(e);
            outcome = Intake.Full;
        }

        if (outcome == Intake.Full)
        {
            _hangUp = true;
            return;
        }

        if (outcome != Intake.Taken)
        {
            // A broker has nobody to tell; left unacknowledged it would come for ever.
            Dropped(outcome);
        }

        try
        {
            if (!_hangUp)
            {
                await received.AcknowledgeAsync(_stopping.Token);
            }
        }
        catch (Exception e) when (e is MqttCommunicationException or OperationCanceledException)
        {
            // The connection has gone: the message comes again, and is known.
        }
    }

    [LoggerMessage(8120, LogLevel.Information, "Subscribed at the broker {Broker}.")]
    private partial void Connected(Uri broker);

    [LoggerMessage(8121, LogLevel.Warning, "The broker {Broker} is away: {Reason}")]
    private partial void Away(Uri broker, string reason);

    [LoggerMessage(8122, LogLevel.Warning, "A message of the broker was not taken: {Outcome}.")]
    private partial void Dropped(Intake outcome);

    [LoggerMessage(8123, LogLevel.Error, "A message of the broker could not be made durable and was not acknowledged.")]
    private partial void NotTaken(Exception exception);
}
