using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.MqttBridge;

/// <summary>Messages of devices become events in the spool (deployment <c>mqtt-bridge</c>). Without a mapped topic it does nothing.</summary>
public sealed class MqttBridgeModule : IServiceModule
{
    /// <inheritdoc/>
    public static string Name => "mqtt-bridge";

    /// <inheritdoc/>
    public static void Register(IHostApplicationBuilder builder)
    {
        builder.AddSettings<MqttBridgeOptions, MqttBridgeOptionsValidator>(Name);
        builder.AddEventLog(ofSite: true);
        builder.Services.TryAddSingleton<DeviceIntake>();
        builder.Services.AddHostedService<BridgeService>();
    }

    /// <inheritdoc/>
    public static void Map(IEndpointRouteBuilder routes)
    {
    }

    /// <summary>Runs one of the two: the broker of our own, or a client of somebody's.</summary>
    private sealed class BridgeService(
        DeviceIntake intake, IOptions<MqttBridgeOptions> options, TimeProvider clock, ILoggerFactory loggers) : IHostedService, IAsyncDisposable
    {
        private IAsyncDisposable? _running;

        public async Task StartAsync(CancellationToken cancellationToken)
        {
            if (options.Value.Topics.Length == 0)
            {
                return;
            }

            await intake.StartAsync(cancellationToken);
            _running = options.Value.BrokerUrl is null
                ? await EmbeddedBroker.StartAsync(intake, options.Value, clock, loggers)
                : BrokerClient.Start(intake, options.Value, clock, loggers.CreateLogger<BrokerClient>());
        }

        public async Task StopAsync(CancellationToken cancellationToken) => await DisposeAsync();

        public async ValueTask DisposeAsync()
        {
            if (_running is { } running)
            {
                _running = null;
                await running.DisposeAsync();
                intake.Save();
            }
        }
    }
}
