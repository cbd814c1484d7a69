using System.Collections.Concurrent;
using Yizhan.Platform.Flows;

namespace Yizhan.Platform.Identity;

/// <summary>See <see cref="LocalOperator.Neighbours"/>.</summary>
/// <param name="tls">Calls services that run apart; null: there are none.</param>
/// <param name="token">A token of this node, for its own services.</param>
/// <param name="person">For whom it calls, as <see cref="PersonHeader"/> says it to a service that runs apart; null: for itself.</param>
internal sealed class NeighbourHandler(ServiceTls? tls, Func<string> token, Func<string>? person) : HttpMessageHandler
{
    private readonly HttpMessageInvoker _here = new(new SocketsHttpHandler
    {
        // Services are neighbours; a proxy of the environment leads elsewhere.
        UseProxy = false,
        UseCookies = false,
        AllowAutoRedirect = false,
        ConnectTimeout = TimeSpan.FromSeconds(5),
    });

    // One for each service that is asked, of which there are a handful: the addresses are settings.
    private readonly ConcurrentDictionary<string, Lazy<HttpMessageInvoker>> _apart = new(StringComparer.Ordinal);

    protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        if (tls is null || request.RequestUri!.Scheme != Uri.UriSchemeHttps)
        {
            request.Headers.Authorization ??= new("Bearer", token());
            return _here.SendAsync(request, cancellationToken);
        }

        if (person is not null)
        {
            request.Headers.TryAddWithoutValidation("Authorization", person());
        }

        var service = request.RequestUri.Segments is [_, var first, ..] ? first.TrimEnd('/') : "";
        return _apart.GetOrAdd(service, name => new(() =>
        {
            var handler = tls.Client(name);
            handler.ConnectTimeout = TimeSpan.FromSeconds(5);
            return new HttpMessageInvoker(handler);
        })).Value.SendAsync(request, cancellationToken);
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _here.Dispose();
            foreach (var invoker in _apart.Values.Where(invoker => invoker.IsValueCreated))
            {
                invoker.Value.Dispose();
            }
        }

        base.Dispose(disposing);
    }
}
