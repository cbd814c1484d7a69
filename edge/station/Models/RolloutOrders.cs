using System.Text.Json;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Link;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Station.Models;

/// <summary>
/// Fetches what the centre orders about the models here and puts it into the event log, from which ai-infer takes it. An order has one identity, so that one which comes twice
/// is one entry.
/// </summary>
internal sealed partial class RolloutOrders(
    LinkService link, IEventLog log, IOptions<StationOptions> options, IOptions<NodeOptions> node, TimeProvider clock, ILogger<RolloutOrders> logger) : BackgroundService
{
    private readonly ILogger _logger = logger;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (link.Centre is not { } centre)
        {
            return;
        }

        long after = 0;
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                foreach (var order in await centre.RolloutsAsync(after, stoppingToken))
                {
                    if (order.Site == node.Value.SiteId)
                    {
                        await log.AppendAsync(
                            [new Entry(Lane.Urgent, RolloutOrder.EventType, $"rollout-order:{order.Number}", $"model/{order.Model}", order.AtMs, JsonSerializer.SerializeToUtf8Bytes(order, ContractsJson.Default.RolloutOrder))],
                            stoppingToken);
                        Came(order.Number, order.Action, order.Model, order.Who);
                    }

                    after = Math.Max(after, order.Number);
                }
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (e is LinkDownException or LinkRefusedException or OperationCanceledException)
            {
                // The centre is not there: models can be held and rolled back at the site itself.
            }
            catch (Exception e) when (e is IOException or SpoolFullException)
            {
                NotKept(e.Message);
            }

            await Task.Delay(TimeSpan.FromSeconds(options.Value.OrdersPollSeconds), clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    [LoggerMessage(8070, LogLevel.Information, "Order {Number} of the centre is here: {Action} {Model}, by {Who}.")]
    private partial void Came(long number, string action, string model, string who);

    [LoggerMessage(8071, LogLevel.Error, "An order of the centre about a model was not kept; trying again: {Reason}")]
    private partial void NotKept(string reason);
}
