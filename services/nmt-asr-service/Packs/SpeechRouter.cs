using Microsoft.Extensions.Options;

namespace Yizhan.NmtAsr.Packs;

/// <summary>Which pack hears whom.</summary>
/// <param name="Dialect">The dialect that was asked for or declared.</param>
/// <param name="Pack">What hears it; null when nothing does.</param>
/// <param name="Problem">Why nothing does; null when something does.</param>
internal sealed record Route(string Dialect, SpeechPack? Pack, string? Problem);

/// <summary>
/// The way from a dialect to a pack. A site declares its dialects and may say which pack hears which; otherwise a pack hears the dialects that it names, and no other: an
/// unknown dialect is said, never guessed.
/// </summary>
internal sealed class SpeechRouter(PackStore packs, IOptions<NmtAsrOptions> options)
{
    private readonly NmtAsrOptions _options = options.Value;

    /// <summary>Finds the pack for a dialect; the site's first one when none is said.</summary>
    public Route Find(string? dialect)
    {
        if (string.IsNullOrEmpty(dialect))
        {
            dialect = _options.Dialects is [var first, ..] ? first : null;
            if (dialect is null)
            {
                return new Route("", null, $"No dialect was said, and the site declares none (nmt-asr:dialects). Heard here: {Known()}.");
            }
        }

        if (_options.Routes.FirstOrDefault(r => Same(r.Key, dialect)).Value is { } name)
        {
            return packs.Find(name) is { } routed
                ? new Route(dialect, routed, null)
                : new Route(dialect, null, $"nmt-asr:routes gives '{Short(dialect)}' to the pack '{name}', which is not installed.");
        }

        // What a site brought goes before what ships.
        return packs.All.OrderBy(p => p.Ships).FirstOrDefault(p => p.Settings.Task == "asr" && p.Settings.Dialects!.Any(d => Same(d, dialect))) is { } pack
            ? new Route(dialect, pack, null)
            : new Route(dialect, null, $"Nothing here hears '{Short(dialect)}'. Heard here: {Known()}. A pack for it is installed with POST /nmt-asr/packs, or nmt-asr:routes gives it to one of them.");
    }

    /// <summary>Takes one pack by its name, for comparing packs with each other; the dialect is the pack's first one when none is said.</summary>
    public Route Named(string name, string? dialect) => packs.Find(name) is not { Settings.Task: "asr" } pack
        ? new Route(dialect ?? "", null, $"There is no pack '{Short(name)}' that hears; accepted: {string.Join(", ", packs.All.Where(p => p.Settings.Task == "asr").Select(p => p.Name))}.")
        : new Route(dialect ?? pack.Settings.Dialects![0], pack, null);

    private string Known() => string.Join(", ", packs.All.Where(p => p.Settings.Task == "asr").SelectMany(p => p.Settings.Dialects!).Concat(_options.Routes.Keys).Distinct().Order(StringComparer.Ordinal));

    /// <summary>Script and region of a tag change what is written, not what is spoken: cmn-Hans-CN is cmn. A variety (cmn-sichuan) is another dialect.</summary>
    private static bool Same(string a, string b) => string.Equals(Spoken(a), Spoken(b), StringComparison.OrdinalIgnoreCase);

    private static string Spoken(string tag) => string.Join('-', tag.Split('-').Where((part, i) => i == 0 || part.Length is not (2 or 4) && !(part.Length == 3 && part.All(char.IsAsciiDigit))));

    private static string Short(string text) => string.Concat(text.Where(c => !char.IsControl(c)).Take(32));
}
