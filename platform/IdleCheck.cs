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

    /// <summary>Asks at the address that <see cref="HealthCheck"/> would ask at.</summary>
    /// <returns>0 go; 21 not now, with the reasons on <paramref name="output"/>; 1 no answer, which is no leave to go.</returns>
    public static Task<int> RunAsync(IReadOnlyList<string> args, TextWriter output, TextWriter errors) => HealthCheck.AskAsync(args, Path, Patience, errors, async (url, answer) =>
    {
        if (answer.StatusCode is HttpStatusCode.OK or HttpStatusCode.Conflict)
        {
            await output.WriteLineAsync((await answer.Content.ReadAsStringAsync()).Trim());
            return answer.StatusCode == HttpStatusCode.OK ? 0 : Later;
        }

        await errors.WriteLineAsync($"yizhan: {url} answers {(int)answer.StatusCode} to {Path}; a site's node answers 200 or 409.");
        return 1;
    });
}
