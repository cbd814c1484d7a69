using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Yizhan.Contracts;
using Yizhan.Platform.Releases;

namespace Yizhan.Cli;

/// <summary>The centre's releases over HTTP.</summary>
internal sealed class CentreClient(Uri centre) : IDisposable
{
    private readonly HttpClient _http = Client(centre);

    public void Dispose() => _http.Dispose();

    public Task<IReadOnlyList<ReleaseView>> ListAsync(CancellationToken cancellationToken) => AskAsync(
        () => _http.GetAsync("releases", cancellationToken),
        async answer => await answer.Content.ReadFromJsonAsync(ContractsJson.Default.IReadOnlyListReleaseView, cancellationToken) ?? []);

    /// <summary>The newest release that is signed; null when there is none.</summary>
    public async Task<ReleaseBundle?> NewestAsync(CancellationToken cancellationToken) =>
        (await ListAsync(cancellationToken)).FirstOrDefault(r => r.RingPercent > 0) is { } newest ? await BundleAsync(newest.Version, cancellationToken) : null;

    public Task<ReleaseBundle> BundleAsync(string version, CancellationToken cancellationToken) => AskAsync(
        () => _http.GetAsync($"releases/{Uri.EscapeDataString(version)}/bundle", cancellationToken),
        async answer => ReleaseBundle.Read(await answer.Content.ReadAsByteArrayAsync(cancellationToken)));

    public Task<ReleaseView> ProposeAsync(ReleaseBundle release, CancellationToken cancellationToken) => AskAsync(
        () => _http.PostAsync("releases", new ByteArrayContent(release.ToBytes()), cancellationToken), answer => ViewAsync(answer, cancellationToken));

    public Task<ReleaseView> ApproveAsync(string version, ReleaseApproval approval, CancellationToken cancellationToken) => AskAsync(
        () => _http.PostAsJsonAsync($"releases/{Uri.EscapeDataString(version)}/approvals", approval, ContractsJson.Default.ReleaseApproval, cancellationToken),
        answer => ViewAsync(answer, cancellationToken));

    /// <summary>Posts JSON, or nothing, below <c>/fleet/</c>.</summary>
    public Task<T> PostAsync<T>(string route, byte[]? json, JsonTypeInfo<T> type, CancellationToken cancellationToken) => AskAsync(
        () =>
        {
            var body = new ByteArrayContent(json ?? []);
            body.Headers.ContentType = json is null ? null : new MediaTypeHeaderValue("application/json");
            return _http.PostAsync(route, body, cancellationToken);
        },
        async answer => await answer.Content.ReadFromJsonAsync(type, cancellationToken) ?? throw new CentreException("The centre answered null."));

    private static HttpClient Client(Uri centre)
    {
        var http = Tokens.Client(new Uri(centre, "/fleet/"));
        http.MaxResponseContentBufferSize = ReleaseBundle.MaxBytes + 1024;
        return http;
    }

    private static async Task<ReleaseView> ViewAsync(HttpResponseMessage answer, CancellationToken cancellationToken) =>
        (await answer.Content.ReadFromJsonAsync(ContractsJson.Default.ReleaseView, cancellationToken))!;

    private async Task<T> AskAsync<T>(Func<Task<HttpResponseMessage>> ask, Func<HttpResponseMessage, Task<T>> read)
    {
        try
        {
            using var answer = await ask();
            return answer.IsSuccessStatusCode ? await read(answer) : throw new CentreException(await ReasonAsync(answer));
        }
        catch (HttpRequestException e)
        {
            throw new CentreException($"The centre at {_http.BaseAddress} does not answer: {e.Message} (--centre URL)", e);
        }
    }

    private static async Task<string> ReasonAsync(HttpResponseMessage answer)
    {
        try
        {
            using var problem = JsonDocument.Parse(await answer.Content.ReadAsStringAsync());
            return problem.RootElement.TryGetProperty("detail", out var detail) ? detail.GetString()! : $"The centre answered {(int)answer.StatusCode}.";
        }
        catch (JsonException)
        {
            return $"The centre answered {(int)answer.StatusCode}.";
        }
    }
}

/// <summary>The centre refused, or is not there; the message says which.</summary>
internal sealed class CentreException(string message, Exception? inner = null) : Exception(message, inner);
