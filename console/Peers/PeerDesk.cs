using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;
using Yizhan.Console.Live;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;

namespace Yizhan.Console.Peers;

/// <summary>What the gateway says of its peers at one moment.</summary>
/// <param name="Peers">The DICOM peers.</param>
/// <param name="Destinations">Destinations of its rules.</param>
/// <param name="Failed">Copies that wait for a person.</param>
/// <param name="Conflicts">Patients that a person has to decide about.</param>
internal sealed record PeerDeskView(
    IReadOnlyList<PeerView> Peers, IReadOnlyList<DestinationView> Destinations, IReadOnlyList<DeliveryView> Failed, IReadOnlyList<ConflictView> Conflicts);

/// <summary>
/// Asks the gateway about its peers and does what an operator decides. All open pages share one reading, at most as old as <see cref="Fresh"/>; nothing is asked
/// while no page is open.
/// </summary>
internal sealed class PeerDesk : IDisposable
{
    /// <summary>How long one reading serves.</summary>
    public static readonly TimeSpan Fresh = TimeSpan.FromSeconds(2);

    private readonly ServiceAddresses _addresses;
    private readonly TimeProvider _clock;
    private readonly ServiceClient _client;
    private readonly SemaphoreSlim _one = new(1);
    private FeedView<PeerDeskView> _view = new();
    private long _readAt;

    public PeerDesk(ServiceAddresses addresses, LocalOperator operators, TimeProvider clock) => (_addresses, _clock, _client) = (addresses, clock, new ServiceClient(operators, clock));

    /// <summary>The newest reading: one item, or none before the first answer.</summary>
    public async Task<FeedView<PeerDeskView>> ReadAsync(CancellationToken cancellationToken)
    {
        await _one.WaitAsync(cancellationToken);
        try
        {
            if (_view.State == FeedState.Connecting || _clock.GetElapsedTime(_readAt) >= Fresh)
            {
                _view = await AskAsync(cancellationToken);
                _readAt = _clock.GetTimestamp();
            }

            return _view;
        }
        finally
        {
            _one.Release();
        }
    }

    /// <summary>C-ECHO: milliseconds, or why there is no answer.</summary>
    public async Task<(double? Milliseconds, string? Problem)> EchoAsync(string aeTitle, CancellationToken cancellationToken)
    {
        var (answer, problem) = await DoAsync(HttpMethod.Post, $"peers/{Uri.EscapeDataString(aeTitle)}/echo", null, cancellationToken);
        return (answer?["milliseconds"]?.GetValue<double>(), problem);
    }

    /// <summary>Tries a failed copy again; null, or why not.</summary>
    public Task<string?> RetryAsync(long key, CancellationToken cancellationToken) => DecideAsync(HttpMethod.Post, $"routes/failed/{key}/retry", null, cancellationToken);

    /// <summary>Gives a failed copy up; null, or why not.</summary>
    public Task<string?> GiveUpAsync(long key, CancellationToken cancellationToken) => DecideAsync(HttpMethod.Delete, $"routes/failed/{key}", null, cancellationToken);

    /// <summary>Decides a conflict; null, or why not.</summary>
    public Task<string?> DecideAsync(long key, string decision, CancellationToken cancellationToken) =>
        DecideAsync(HttpMethod.Post, $"conflicts/{key}", JsonContent.Create(new ConflictDecision(decision), ContractsJson.Default.ConflictDecision), cancellationToken);

    public void Dispose()
    {
        _client.Dispose();
        _one.Dispose();
    }

    private Uri Gateway => new(_addresses.Pacs, "pacs-gw/");

    private Task<FeedView<PeerDeskView>> AskAsync(CancellationToken cancellationToken) => _client.ReadAsync(
        _view, _addresses.Pacs, Fresh,
        async deadline => new PeerDeskView(
            await ListAsync("peers", ContractsJson.Default.IReadOnlyListPeerView, deadline),
            await ListAsync("routes", ContractsJson.Default.IReadOnlyListDestinationView, deadline),
            await ListAsync("routes/failed", ContractsJson.Default.IReadOnlyListDeliveryView, deadline),
            await ListAsync("conflicts", ContractsJson.Default.IReadOnlyListConflictView, deadline)),
        cancellationToken);

    private Task<IReadOnlyList<T>> ListAsync<T>(string path, JsonTypeInfo<IReadOnlyList<T>> type, CancellationToken cancellationToken) => _client.ListAsync(new Uri(Gateway, path), type, cancellationToken);

    private async Task<string?> DecideAsync(HttpMethod method, string path, HttpContent? body, CancellationToken cancellationToken)
    {
        var (_, problem) = await DoAsync(method, path, body, cancellationToken);
        await _one.WaitAsync(cancellationToken);
        try
        {
            // What was decided is seen at once.
            _view = await AskAsync(cancellationToken);
            _readAt = _clock.GetTimestamp();
            return problem;
        }
        finally
        {
            _one.Release();
        }
    }

    private Task<(JsonNode? Answer, string? Problem)> DoAsync(HttpMethod method, string path, HttpContent? body, CancellationToken cancellationToken) =>
        _client.DoAsync(method, new Uri(Gateway, path), body, cancellationToken);
}
