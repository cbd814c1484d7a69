using System.Net;

namespace Yizhan.Platform;

/// <summary>
/// <c>--healthcheck</c>: asks the node of this container how it is. The images have no shell and no curl, and the web listener is on the
/// loopback, so the binary that serves is the one that asks.
/// </summary>
public static class HealthCheck
{
    /// <summary>The argument.</summary>
    public const string Verb = "--healthcheck";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(4);

    /// <summary>
    /// Asks <c>/healthz</c> at the address given as <c>--healthcheck URL</c>, else at <c>YIZHAN_web__url</c>, else at the default of
    /// <see cref="WebOptions"/>.
    /// </summary>
    /// <returns>0 healthy; 1 not, or no answer within four seconds, with the reason on <paramref name="errors"/>.</returns>
    public static Task<int> RunAsync(IReadOnlyList<string> args, TextWriter errors) => AskAsync(args, "/healthz", Patience, errors, async (url, answer) =>
    {
        if (answer.StatusCode == HttpStatusCode.OK)
        {
            return 0;
        }

        await errors.WriteLineAsync($"yizhan: {url} answers {(int)answer.StatusCode}.");
        return 1;
    });

    /// <summary>Asks the node one question; 1 and the reason on <paramref name="errors"/> when it has no address or does not answer.</summary>
    internal static async Task<int> AskAsync(
        IReadOnlyList<string> args, string path, TimeSpan patience, TextWriter errors, Func<Uri, HttpResponseMessage, Task<int>> read)
    {
        var at = args.Count > 0 ? args[0] : Environment.GetEnvironmentVariable("YIZHAN_web__url") ?? new WebOptions().Url;

        // Own address first, that for services apart after it.
        if (!Uri.TryCreate(at.Split(';')[0], UriKind.Absolute, out var url) || url.Scheme is not ("http" or "https"))
        {
            await errors.WriteLineAsync($"yizhan: '{at}' is not an address; accepted is one such as {new WebOptions().Url}.");
            return 1;
        }

        using var http = new HttpClient { Timeout = patience };
        try
        {
            using var answer = await http.GetAsync(new Uri(url, path));
            return await read(url, answer);
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException)
        {
            await errors.WriteLineAsync($"yizhan: {url} does not answer: {e.Message}");
            return 1;
        }
    }
}
