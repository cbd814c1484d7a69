using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Yizhan.EmrAdapter.Outbox;

namespace Yizhan.EmrAdapter.Fhir;

/// <summary>JSON over HTTP to one system, with what each answer means for what was to be done.</summary>
internal sealed class FhirClient : IDisposable
{
    /// <summary>A longer answer is not read.</summary>
    private const int MaxAnswerBytes = 32 * 1024 * 1024;

    private const int MaxPages = 1000;

    private readonly HttpClient _http;
    private readonly Uri _base;
    private readonly string? _user;
    private readonly string? _passwordFile;

    /// <param name="system">Address, user and patience.</param>
    /// <param name="mediaType">What is asked for and sent.</param>
    public FhirClient(EmrSystemOptions system, string mediaType = "application/fhir+json")
    {
        // fhir2 lives at a fixed place below an OpenMRS.
        var url = system.Url!.TrimEnd('/');
        _base = new Uri(system.Driver == "openmrs" && !url.Contains("/ws/fhir2", StringComparison.Ordinal) ? $"{url}/ws/fhir2/R4/" : $"{url}/");
        MediaType = mediaType;
        _http = new HttpClient(new SocketsHttpHandler
        {
            UseProxy = false,
            AllowAutoRedirect = false,
            ConnectTimeout = TimeSpan.FromMilliseconds(system.TimeoutMs),
            PooledConnectionLifetime = TimeSpan.FromMinutes(5),
        })
        {
            Timeout = TimeSpan.FromMilliseconds(system.TimeoutMs),
            MaxResponseContentBufferSize = MaxAnswerBytes,
        };
        _http.DefaultRequestHeaders.Accept.ParseAdd(mediaType);
        _http.DefaultRequestHeaders.Accept.ParseAdd("application/json;q=0.9");
        (_user, _passwordFile) = (system.User, system.PasswordFile);
    }

    /// <summary>Media type of what is sent.</summary>
    public string MediaType { get; }

    /// <summary>GET; null for 404 and 410.</summary>
    /// <exception cref="FhirException">Anything but JSON came.</exception>
    public async Task<JsonObject?> GetAsync(string path, CancellationToken cancellationToken)
    {
        var (status, body, _) = await SendAsync(new HttpRequestMessage(HttpMethod.Get, Resolve(path)), cancellationToken, HttpStatusCode.NotFound, HttpStatusCode.Gone);
        return status is HttpStatusCode.NotFound or HttpStatusCode.Gone ? null : body ?? throw Wrong(status, "without a body");
    }

    /// <summary>GET of what is no JSON, such as an Atom feed; null for 404.</summary>
    public async Task<string?> GetTextAsync(string path, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, Resolve(path));
        request.Headers.Accept.Clear();
        request.Headers.Accept.ParseAdd("application/atom+xml");
        var (status, text, _) = await ExchangeAsync(request, cancellationToken);
        return status == HttpStatusCode.NotFound ? null
            : (int)status is >= 200 and < 300 ? text
            : throw new FhirException(Meaning(status, text, null), status);
    }

    /// <summary>
    /// The resources of a search, page by page. A link to the next page is followed on our own address only, whatever host it names; one that is gone (OpenMRS
    /// keeps a hundred searches) ends the pages, and <paramref name="gone"/> says so: ask again from what came last.
    /// </summary>
    public async Task<List<JsonObject>> SearchAsync(string query, int most, CancellationToken cancellationToken, Action? gone = null)
    {
        var found = new List<JsonObject>();
        var next = query;
        for (var page = 0; page < MaxPages && found.Count < most; page++)
        {
            var bundle = await GetAsync(next, cancellationToken);
            if (bundle is null)
            {
                if (page == 0)
                {
                    throw new FhirException(new SendOutcome.Refused($"The search {Path(query)} is not known here (404)."), HttpStatusCode.NotFound);
                }

                gone?.Invoke();
                break;
            }

            if (Text(bundle, "resourceType") is not ("Bundle" or null))
            {
                throw new FhirException(new SendOutcome.Failed($"A search was answered with a {Text(bundle, "resourceType")}, not a Bundle."), null);
            }

            foreach (var entry in bundle["entry"] as JsonArray ?? bundle["results"] as JsonArray ?? [])
            {
                if ((entry?["resource"] ?? entry) is JsonObject resource && Text(entry?["search"] as JsonObject, "mode") is null or "match")
                {
                    found.Add((JsonObject)(entry?["resource"] ?? entry)!);
                }
            }

            if ((bundle["link"] as JsonArray)?.FirstOrDefault(l => Text(l as JsonObject, "relation") == "next") is not JsonObject link || Text(link, "url") is not { } url)
            {
                break;
            }

            next = OnOurHost(url);
        }

        return found;
    }

    /// <summary>POST; the answer's resource, or null when it has none, and the id that Location names.</summary>
    public async Task<(JsonObject? Body, string? Id)> PostAsync(string path, JsonObject resource, string? ifNoneExist, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, Resolve(path)) { Content = Content(resource) };
        if (ifNoneExist is not null)
        {
            request.Headers.TryAddWithoutValidation("If-None-Exist", ifNoneExist);
        }

        var (_, body, location) = await SendAsync(request, cancellationToken);
        return (body, Text(body, "id") ?? Text(body, "uuid") ?? IdIn(location));
    }

    /// <summary>PUT; false when what was to be changed is gone. The id may be another one afterwards (OpenMRS).</summary>
    public async Task<(bool Found, string? Id)> PutAsync(string path, JsonObject resource, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Put, Resolve(path)) { Content = Content(resource) };
        var (status, body, location) = await SendAsync(request, cancellationToken, HttpStatusCode.NotFound, HttpStatusCode.Gone, HttpStatusCode.MethodNotAllowed);
        return ((int)status is >= 200 and < 300, Text(body, "id") ?? IdIn(location));
    }

    /// <summary>DELETE; what is not there is deleted.</summary>
    public async Task DeleteAsync(string path, CancellationToken cancellationToken) =>
        await SendAsync(new HttpRequestMessage(HttpMethod.Delete, Resolve(path)), cancellationToken, HttpStatusCode.NotFound, HttpStatusCode.Gone);

    public void Dispose() => _http.Dispose();

    /// <summary>A member that is a text; null when it is not there or something else.</summary>
    public static string? Text(JsonObject? resource, string member) =>
        resource?[member] is JsonValue value && value.GetValueKind() == JsonValueKind.String ? value.GetValue<string>() : null;

    private async Task<(HttpStatusCode Status, JsonObject? Body, Uri? Location)> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken, params HttpStatusCode[] alsoFine)
    {
        using (request)
        {
            var (status, text, location) = await ExchangeAsync(request, cancellationToken);
            JsonObject? body = null;
            if (text.Length > 0)
            {
                try
                {
                    body = JsonNode.Parse(text) as JsonObject;
                }
                catch (JsonException)
                {
                    // Below: HTML of a proxy or a login page says what it is by its status, or is no success.
                }
            }

            if (alsoFine.Contains(status))
            {
                return (status, body, location);
            }

            if ((int)status is < 200 or >= 300)
            {
                throw new FhirException(Meaning(status, text, body), status);
            }

            return text.Length > 0 && body is null ? throw Wrong(status, $"with something that is no JSON, beginning '{Short(text, 40)}'") : (status, body, location);
        }
    }

    private async Task<(HttpStatusCode Status, string Text, Uri? Location)> ExchangeAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        request.Headers.Authorization = Basic();
        try
        {
            using var answer = await _http.SendAsync(request, cancellationToken);
            return (answer.StatusCode, await answer.Content.ReadAsStringAsync(cancellationToken), answer.Headers.Location ?? answer.Content.Headers.ContentLocation);
        }
        catch (HttpRequestException e) when (e.HttpRequestError is HttpRequestError.ConnectionError or HttpRequestError.NameResolutionError or HttpRequestError.SecureConnectionError)
        {
            throw new FhirException(new SendOutcome.Unreachable($"{_base.Authority} is not reached: {e.Message}"), null, e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException || (e is TaskCanceledException && !cancellationToken.IsCancellationRequested))
        {
            throw new FhirException(new SendOutcome.Failed($"{_base.Authority} did not answer {request.Method} {Path(request.RequestUri!.AbsolutePath)}: {e.Message}"), null, e);
        }
    }

    /// <summary>Read each time: a password that is changed, or comes later than the settings, needs no restart.</summary>
    private AuthenticationHeaderValue? Basic()
    {
        if (_user is null)
        {
            return null;
        }

        try
        {
            // OpenMRS splits at ':' and takes the first two parts, so neither may have one.
            var password = _passwordFile is { } file ? File.ReadAllText(file).TrimEnd('\n', '\r') : "";
            return new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{_user}:{password}")));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FhirException(new SendOutcome.Unreachable($"The password of {_base.Authority} cannot be read: {e.Message}"), null, e);
        }
    }

    private static SendOutcome Meaning(HttpStatusCode status, string text, JsonObject? body)
    {
        var said = $"{(int)status} {Reason(text, body)}".TrimEnd();
        return (int)status switch
        {
            401 or 403 => new SendOutcome.Unreachable($"It does not let us in: {said}"),
            408 or 429 or 502 or 503 or 504 => new SendOutcome.Unreachable(said),
            >= 300 and < 400 => new SendOutcome.Unreachable($"It sends us elsewhere (a login page?): {said}"),
            409 or 412 or 423 or >= 500 => new SendOutcome.Failed(said),
            _ => new SendOutcome.Refused(said),
        };
    }

    /// <summary>What an OperationOutcome or an OpenMRS error says; of HTML only that it is.</summary>
    private static string Reason(string text, JsonObject? body) =>
        body?["issue"] is JsonArray { Count: > 0 } issues && issues[0] is JsonObject issue
            ? Short(Text(issue, "diagnostics") ?? Text(issue["details"] as JsonObject, "text") ?? Text(issue, "code") ?? "", 300)
        : body?["error"] is JsonObject error ? Short(Text(error, "message") ?? "", 300)
        : text.Length > 0 && body is null ? "with something that is no JSON" : "";

    private static FhirException Wrong(HttpStatusCode status, string what) => new(new SendOutcome.Unreachable($"It answered {(int)status} {what}; JSON was expected."), status);

    private static string Short(string text, int most)
    {
        var line = text.ReplaceLineEndings(" ").Trim();
        return line.Length <= most ? line : line[..most] + "…";
    }

    private static string Path(string query) => query.Split('?')[0];

    private static string? IdIn(Uri? location)
    {
        var parts = location?.OriginalString.Split('?')[0].TrimEnd('/').Split('/') ?? [];
        var history = Array.IndexOf(parts, "_history");
        return parts.Length == 0 ? null : history > 0 ? parts[history - 1] : parts[^1];
    }

    /// <summary>An address of this system. Links in its answers are resolved here too, and one such as <c>//elsewhere/x</c> would take the password there.</summary>
    private Uri Resolve(string path) =>
        Uri.TryCreate(_base, path, out var address) && address.GetLeftPart(UriPartial.Authority) == _base.GetLeftPart(UriPartial.Authority)
            ? address
            : throw new FhirException(new SendOutcome.Refused($"A link of {_base.Authority} leads to {address?.Authority ?? "no address"} and is not followed."), null);

    /// <summary>A link's path and query on the address that we know.</summary>
    private string OnOurHost(string url) =>
        Uri.TryCreate(url, UriKind.Absolute, out var absolute) && absolute.Scheme is "http" or "https"
            ? absolute.AbsolutePath.StartsWith(_base.AbsolutePath, StringComparison.Ordinal) || absolute.Query.Length == 0 ? absolute.PathAndQuery : _base.AbsolutePath + absolute.Query
            : url;

    private StringContent Content(JsonObject resource)
    {
        var content = new StringContent(resource.ToJsonString(), Encoding.UTF8);

        // Without a character set: OpenMRS compares some media types letter by letter, and JSON is UTF-8 anyway.
        content.Headers.ContentType = new MediaTypeHeaderValue(MediaType);
        return content;
    }
}

/// <summary>A system did not do what it was asked; says what that means for what was to be sent.</summary>
internal sealed class FhirException(SendOutcome meaning, HttpStatusCode? status, Exception? inner = null) : Exception(Words(meaning), inner)
{
    /// <summary>What it means.</summary>
    public SendOutcome Meaning { get; } = meaning;

    /// <summary>The status, when there was an answer.</summary>
    public HttpStatusCode? Status { get; } = status;

    private static string Words(SendOutcome meaning) => meaning switch
    {
        SendOutcome.Refused refused => refused.Reason,
        SendOutcome.Failed failed => failed.Reason,
        SendOutcome.Unreachable unreachable => unreachable.Reason,
        _ => "",
    };
}
