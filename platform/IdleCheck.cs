using System.Net;

namespace Yizhan.Platform;

/// <summary>
/// <c>--idle</c>: asks the node of this container or box whether it may be restarted now. Update scripts call it; they have neither a token nor curl.
/// </summary>
public static class IdleCheck
{
    /// <summary>The argument.</summary>
    public const string Verb = "--idle";

    /// <summary>Exit code for "not now": Mender's state scripts and our own read it as "ask again later".</summary>
    public const int Later = 21;

    private const string Path = "/station/updates/gate";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    /// <summary>
    /// Asks <c>/station/updates/gate</c> at the address given as <c>--idle URL</c>, else at <c>YIZHAN_web__url</c>, else at the default of
    /// <see cref="WebOptions"/>.
    /// </summary>
    /// <returns>0 go; 21 not now, with the reasons on <paramref name="output"/>; 1 no answer, which is no leave to go.</returns>
    public static async Task<int> RunAsync(IReadOnlyList<string> args, TextWriter output, TextWriter errors)
    {
        var at = args.Count > 0 ? args[0] : Environment.GetEnvironmentVariable("YIZHAN_web__url") ?? new WebOptions().Url;
        if (!Uri.TryCreate(at, UriKind.Absolute, out var url) || url.Scheme is not ("http" or "https"))
        {
            await errors.WriteLineAsync($"yizhan: '{at}' is not an address; accepted is one such as {new WebOptions().Url}.");
            return 1;
        }

        using var http = new HttpClient { Timeout = Patience };
        try
        {
            using var answer = await http.GetAsync(new Uri(url, Path));
            var text = (await answer.Content.ReadAsStringAsync()).Trim();
            if (answer.StatusCode is HttpStatusCode.OK or HttpStatusCode.Conflict)
            {
                await output.WriteLineAsync(text);
                return answer.StatusCode == HttpStatusCode.OK ? 0 : Later;
            }

            await errors.WriteLineAsync($"yizhan: {url} answers {(int)answer.StatusCode} to {Path}; a site's node answers 200 or 409.");
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException)
        {
            await errors.WriteLineAsync($"yizhan: {url} does not answer: {e.Message}");
        }

        return 1;
    }
}
