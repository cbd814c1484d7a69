namespace Yizhan.Platform.Identity;

/// <summary>Adds the operator token of a node on this machine to requests that have none.</summary>
/// <param name="token">The token of this moment; null when there is none: the request goes out as it is and the node says what it misses.</param>
/// <param name="inner">What sends.</param>
public sealed class OperatorTokenHandler(Func<string?> token, HttpMessageHandler inner) : DelegatingHandler(inner)
{
    /// <summary>A client of a node on this machine; the token is read anew for each request, for it changes.</summary>
    /// <param name="web">Its address.</param>
    /// <param name="dataFolder">Its data folder.</param>
    public static HttpClient Client(Uri web, string dataFolder) => Client(web, dataFolder, new SocketsHttpHandler { UseProxy = false });

    /// <inheritdoc cref="Client(Uri, string)"/>
    public static HttpClient Client(Uri web, string dataFolder, HttpMessageHandler inner) =>
        new(new OperatorTokenHandler(() => Read(LocalOperator.PathIn(dataFolder)), inner)) { BaseAddress = web };

    /// <summary>The token in a file; null when there is no such file: a node that is stopped takes its token away.</summary>
    public static string? Read(string path)
    {
        try
        {
            return File.ReadAllText(path).Trim();
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
    }

    /// <inheritdoc/>
    protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        Add(request);
        return base.SendAsync(request, cancellationToken);
    }

    /// <inheritdoc/>
    protected override HttpResponseMessage Send(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        Add(request);
        return base.Send(request, cancellationToken);
    }

    private void Add(HttpRequestMessage request)
    {
        if (request.Headers.Authorization is null && token() is { } text)
        {
            request.Headers.Authorization = new("Bearer", text);
        }
    }
}
