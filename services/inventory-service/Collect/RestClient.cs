using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;

namespace Yizhan.Inventory.Collect;

/// <summary>Asks servers for JSON. Answers are bounded; another server's address in an answer is not followed.</summary>
internal sealed class RestClient : IDisposable
{
    private const int MaxBytes = 32 * 1024 * 1024;

    // No redirects: the password is for the server that is configured.
    private readonly HttpClient _http = new(new SocketsHttpHandler { UseProxy = false, AllowAutoRedirect = false, ConnectTimeout = TimeSpan.FromSeconds(10), PooledConnectionLifetime = TimeSpan.FromMinutes(5) })
    {
        MaxResponseContentBufferSize = MaxBytes,
        Timeout = TimeSpan.FromSeconds(60),
    };

    /// <summary>GET of one document below the source's address.</summary>
    /// <exception cref="HttpRequestException">The server cannot be reached or refuses.</exception>
    /// <exception cref="FormatException">The answer is no JSON, or the address is another server's.</exception>
    public async Task<JsonDocument> GetAsync(SourceOptions source, string path, string accept, CancellationToken cancellationToken)
    {
        var root = source.Url!.AbsoluteUri.EndsWith('/') ? source.Url : new Uri(source.Url.AbsoluteUri + "/");
        var address = new Uri(root, path);
        if (address.GetLeftPart(UriPartial.Authority) != root.GetLeftPart(UriPartial.Authority))
        {
            throw new FormatException($"The answer points to {address.GetLeftPart(UriPartial.Authority)}, which is not the server of source '{source.Name}'.");
        }

        using var request = new HttpRequestMessage(HttpMethod.Get, address);
        request.Headers.Accept.ParseAdd(accept);
        if (source.User is { } user)
        {
            request.Headers.Authorization = new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{user}:{source.Password()}")));
        }

        using var answer = await SendAsync(request, cancellationToken);
        if (!answer.IsSuccessStatusCode)
        {
            throw new HttpRequestException($"{address.GetLeftPart(UriPartial.Path)} answered {(int)answer.StatusCode} {answer.ReasonPhrase}.");
        }

        try
        {
            return JsonDocument.Parse(await answer.Content.ReadAsByteArrayAsync(cancellationToken), new JsonDocumentOptions { MaxDepth = 64 });
        }
        catch (JsonException e)
        {
            throw new FormatException($"{address.GetLeftPart(UriPartial.Path)} did not answer JSON: {e.Message}", e);
        }
    }

    public void Dispose() => _http.Dispose();

    private async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        try
        {
            return await _http.SendAsync(request, cancellationToken);
        }
        catch (TaskCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new HttpRequestException($"{request.RequestUri!.GetLeftPart(UriPartial.Path)} did not answer within {_http.Timeout.TotalSeconds:0} s.", e);
        }
    }
}

/// <summary>Reading of JSON that another program wrote.</summary>
internal static class Lenient
{
    /// <summary>A member's text; empty when it is not there or no value.</summary>
    public static string Text(this JsonElement element, params ReadOnlySpan<string> path)
    {
        foreach (var name in path)
        {
            if (element.ValueKind == JsonValueKind.Array && element.GetArrayLength() > 0)
            {
                element = element[0];
            }

            if (element.ValueKind != JsonValueKind.Object || !element.TryGetProperty(name, out element))
            {
                return "";
            }
        }

        return element.ValueKind is JsonValueKind.String or JsonValueKind.Number ? element.ToString() : "";
    }

    /// <summary>A member's elements; none when it is no array.</summary>
    public static IEnumerable<JsonElement> List(this JsonElement element, string name) =>
        element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out var list) && list.ValueKind == JsonValueKind.Array ? list.EnumerateArray() : [];

    /// <summary>The first day of a FHIR or ISO date: its first ten characters; empty when there are fewer.</summary>
    public static string Day(string date) => date.Length >= 10 ? date[..10] : "";

    /// <summary>A time with zone as Unix milliseconds; null when it is none.</summary>
    public static long? Ms(string time) => DateTimeOffset.TryParse(
        time, System.Globalization.CultureInfo.InvariantCulture, System.Globalization.DateTimeStyles.AssumeUniversal, out var value) ? value.ToUnixTimeMilliseconds() : null;
}
