using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;
using Yizhan.Platform.Identity;

namespace Yizhan.Console.Live;

/// <summary>Asks services as this node does, or as a person. Who lets a person decide something in the node's name has to ask first whether the person may.</summary>
internal sealed class ServiceClient : IDisposable
{
    /// <summary>For a reading, which is from the service's own tables.</summary>
    private static readonly TimeSpan AnswerTimeout = TimeSpan.FromSeconds(10);

    private readonly TimeProvider _clock;
    private readonly HttpClient _http;

    /// <param name="operators">Asks as the node does.</param>
    /// <param name="clock">The clock.</param>
    public ServiceClient(LocalOperator operators, TimeProvider clock) : this(operators.Neighbours(), clock)
    {
    }

    /// <param name="handler">Knows in whose name it asks; disposed with this.</param>
    /// <param name="clock">The clock.</param>
    public ServiceClient(HttpMessageHandler handler, TimeProvider clock)
    {
        _clock = clock;
        _http = new HttpClient(handler)
        {
            // What is done may wait for a peer, which has the service's own time to answer.
            Timeout = TimeSpan.FromMinutes(2),
            MaxResponseContentBufferSize = 8 * 1024 * 1024,
        };
    }

    /// <summary>Reads a view of a service; when that fails, the one before with what is wrong.</summary>
    public async Task<FeedView<T>> ReadAsync<T>(FeedView<T> before, Uri service, TimeSpan fresh, Func<CancellationToken, Task<T>> read, CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(AnswerTimeout);
        try
        {
            return new(FeedState.Live, [new FeedItem<T>(await read(deadline.Token), null)], _clock.GetUtcNow(), null, null);
        }
        catch (Exception e) when (IsAway(e, cancellationToken))
        {
            return before with
            {
                State = FeedState.Interrupted,
                Problem = new FeedProblem(service, (int?)(e as HttpRequestException)?.StatusCode, e is JsonException),
                RetryAt = _clock.GetUtcNow() + fresh,
            };
        }
    }

    /// <summary>A list.</summary>
    public async Task<IReadOnlyList<T>> ListAsync<T>(Uri address, JsonTypeInfo<IReadOnlyList<T>> type, CancellationToken cancellationToken) =>
        await _http.GetFromJsonAsync(address, type, cancellationToken) ?? throw new JsonException("The list is null.");

    /// <summary>One record.</summary>
    public async Task<T> OneAsync<T>(Uri address, JsonTypeInfo<T> type, CancellationToken cancellationToken) =>
        await _http.GetFromJsonAsync(address, type, cancellationToken) ?? throw new JsonException("The answer is null.");

    /// <summary>What is no JSON. Whoever reads it bounds it.</summary>
    public Task<Stream> StreamAsync(Uri address, CancellationToken cancellationToken) => _http.GetStreamAsync(address, cancellationToken);

    /// <summary>Does something: the answer, or why it was not done.</summary>
    public async Task<(JsonNode? Answer, string? Problem)> DoAsync(HttpMethod method, Uri address, HttpContent? body, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(method, address) { Content = body };
        try
        {
            using var response = await _http.SendAsync(request, cancellationToken);
            var text = await response.Content.ReadAsStringAsync(cancellationToken);
            var json = text.Length == 0 || response.StatusCode == HttpStatusCode.NoContent ? null : JsonNode.Parse(text);
            return response.IsSuccessStatusCode ? (json, null) : (null, json?["detail"]?.ToString() ?? $"HTTP {(int)response.StatusCode}");
        }
        catch (Exception e) when (IsAway(e, cancellationToken))
        {
            return (null, e.Message);
        }
    }

    public void Dispose() => _http.Dispose();

    private static bool IsAway(Exception e, CancellationToken cancellationToken) =>
        e is HttpRequestException or JsonException or IOException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested);
}
