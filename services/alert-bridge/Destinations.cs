using Microsoft.Extensions.Options;

namespace Yizhan.AlertBridge;

/// <summary>The destinations that are configured.</summary>
internal sealed class Destinations : IDisposable
{
    public Destinations(IOptions<AlertBridgeOptions> options, IHttpClientFactory http, TimeProvider clock)
    {
        var all = new List<IDestination>();
        if (options.Value.Feishu is { } feishu)
        {
            all.Add(new Feishu(feishu, http.CreateClient(AlertBridgeModule.Name), clock));
        }

        if (options.Value.Jira is { } jira)
        {
            all.Add(new Jira(jira, http.CreateClient(AlertBridgeModule.Name)));
        }

        All = all;
    }

    /// <summary>Each has a route of its name.</summary>
    public IReadOnlyList<IDestination> All { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var destination in All.OfType<IDisposable>())
        {
            destination.Dispose();
        }
    }
}

/// <summary>Somewhere that alerts are brought to.</summary>
internal interface IDestination
{
    /// <summary>Its name in the route: feishu or jira.</summary>
    string Name { get; }

    /// <summary>Brings a state of a group there. May be called again with the same state: the effect is the same.</summary>
    /// <param name="message">The state.</param>
    /// <param name="cancellationToken">Stops the wait.</param>
    Task<Delivery> DeliverAsync(AlertmanagerMessage message, CancellationToken cancellationToken);
}

/// <summary>How a delivery ended.</summary>
/// <param name="Outcome">What to do now.</param>
/// <param name="Detail">What was made, or why it was not: without secrets.</param>
internal readonly record struct Delivery(DeliveryOutcome Outcome, string Detail);

/// <summary>What to do after a delivery.</summary>
internal enum DeliveryOutcome
{
    /// <summary>It is there.</summary>
    Delivered,

    /// <summary>It may be taken later.</summary>
    TryAgain,

    /// <summary>It will never be taken; a person has to look.</summary>
    Refused,
}
