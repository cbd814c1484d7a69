using System.Diagnostics.Metrics;
using System.Security.Cryptography;
using System.Text.Json;

namespace Yizhan.Platform.Licences;

/// <summary>What a licence is worth now.</summary>
public enum LicenceState
{
    /// <summary>There is none.</summary>
    None,

    /// <summary>It counts.</summary>
    Active,

    /// <summary>Its end is over, its days of grace are not.</summary>
    Grace,

    /// <summary>Both are over.</summary>
    Lapsed,

    /// <summary>Its begin is to come.</summary>
    NotYet,

    /// <summary>The key that we trust did not sign it.</summary>
    Forged,

    /// <summary>It is of another site.</summary>
    OtherSite,

    /// <summary>It is of another machine.</summary>
    OtherHardware,

    /// <summary>A licence with a higher sequence was here before.</summary>
    Superseded,
}

/// <summary>A licence and what it is worth, for people and programs.</summary>
/// <param name="State">Worth now.</param>
/// <param name="Licence">The licence; null when there is none that can be read.</param>
/// <param name="RemainingSeconds">Until its end; negative afterwards; null without one.</param>
public sealed record LicenceView(LicenceState State, Licence? Licence, double? RemainingSeconds);

/// <summary>What must not go back: kept beside the licence.</summary>
/// <param name="Sequence">The highest that was seen.</param>
/// <param name="LatestMs">The newest time that was seen, Unix milliseconds.</param>
public sealed record LicenceMemory(long Sequence, long LatestMs);

/// <summary>
/// Answers whether something may run. Care is never asked: storing, finding and giving out what a site has goes on without any
/// licence.
/// </summary>
public sealed class LicenceGate : IDisposable
{
    /// <summary>What no licence is needed for, whatever happens to it.</summary>
    public static readonly IReadOnlySet<string> Care = new HashSet<string>(StringComparer.Ordinal) { "storage", "query", "export" };

    private static readonly TimeSpan BetweenLooks = TimeSpan.FromMinutes(1);

    private readonly string _site;
    private readonly string _licencePath;
    private readonly string _keyPath;
    private readonly string _memoryPath;
    private readonly Func<string> _hardware;
    private readonly IReadOnlyCollection<string>? _extras;
    private readonly TimeProvider _clock;
    private readonly Meter? _meter;
    private readonly Lock _gate = new();
    private (LicenceView View, DateTimeOffset At)? _seen;
    private LicenceMemory? _memory;

    /// <summary>Looks at a licence file and the key beside it; both may be absent.</summary>
    /// <param name="site">The site of this node.</param>
    /// <param name="folder">Folder with <c>licence.jws</c> and <c>licence-key.pem</c> (the public key); what must not go back is written there.</param>
    /// <param name="hardware">Fingerprint of this machine.</param>
    /// <param name="clock">The clock.</param>
    /// <param name="meters">Publishes how long the licence lasts; null: nothing.</param>
    /// <param name="extras">Features that need one, such as <c>ai.*</c>; null: all but care.</param>
    public LicenceGate(
        string site, string folder, Func<string> hardware, TimeProvider clock, IMeterFactory? meters = null, IReadOnlyCollection<string>? extras = null)
    {
        (_site, _hardware, _clock, _extras) = (site, hardware, clock, extras);
        (_licencePath, _keyPath, _memoryPath) =
            (Path.Combine(folder, "licence.jws"), Path.Combine(folder, "licence-key.pem"), Path.Combine(folder, "memory.json"));
        _meter = meters?.Create("Yizhan.Licence");
        _meter?.CreateObservableGauge<double>(
            "yizhan.licence.remaining",
            () => View() is { RemainingSeconds: { } seconds } view ? [new(seconds, [new("site", site), new("state", view.State.ToString().ToLowerInvariant())])] : [],
            "s", "Until the end of the site's licence; negative afterwards.");
    }

    /// <summary>Whether a feature may run now. Care always may.</summary>
    public bool Allows(string feature) =>
        Care.Contains(feature) || _extras?.Any(extra => Licence.Fits(extra, feature)) == false
        || (View() is { State: LicenceState.Active or LicenceState.Grace, Licence: { } licence } && licence.Names(feature));

    /// <summary>Why a feature does not run; null when it does.</summary>
    public string? WhyNot(string feature) => Allows(feature) ? null : View() switch
    {
        { State: LicenceState.None } => $"'{feature}' needs a licence, and this site has none (yizhan licence issue).",
        { State: LicenceState.Active or LicenceState.Grace, Licence: { } licence } => $"The licence {licence.Id} does not name '{feature}'; it has: {string.Join(", ", licence.Features)}.",
        { State: var state } => $"'{feature}' needs a licence, and the one that is here is {state.ToString().ToLowerInvariant()}.",
    };

    /// <summary>What the licence is worth now; a file that was replaced counts within a minute.</summary>
    public LicenceView View()
    {
        lock (_gate)
        {
            var now = _clock.GetUtcNow();
            if (_seen is not { } seen || now - seen.At >= BetweenLooks || now < seen.At)
            {
                _seen = seen = (Look_NeedsLock(now), now);
            }

            return seen.View;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _meter?.Dispose();

    private LicenceView Look_NeedsLock(DateTimeOffset now)
    {
        _memory ??= Remembered();

        // A clock that was set back does not bring time back: what was seen has passed.
        var nowMs = Math.Max(now.ToUnixTimeMilliseconds(), _memory.LatestMs);
        var (state, licence) = Judge(nowMs);
        var sequence = state is LicenceState.Active or LicenceState.Grace or LicenceState.Lapsed ? licence!.Sequence : 0;
        Remember(new LicenceMemory(Math.Max(_memory.Sequence, sequence), nowMs));
        return new LicenceView(state, licence, licence is null ? null : licence.Expires - (nowMs / 1000.0));
    }

    private (LicenceState, Licence?) Judge(long nowMs)
    {
        if (!File.Exists(_licencePath) || !File.Exists(_keyPath))
        {
            return (LicenceState.None, null);
        }

        if (Read() is not { } licence)
        {
            return (LicenceState.Forged, null);
        }

        var ended = (nowMs / 1000.0) - licence.Expires;
        return (
            licence.Site != _site ? LicenceState.OtherSite
            : licence.Hardware is { } hardware && hardware != _hardware() ? LicenceState.OtherHardware
            : licence.Sequence < _memory!.Sequence ? LicenceState.Superseded
            : nowMs < licence.NotBefore * 1000 ? LicenceState.NotYet
            : ended < 0 ? LicenceState.Active
            : ended < licence.GraceDays * 86_400L ? LicenceState.Grace
            : LicenceState.Lapsed, licence);
    }

    private Licence? Read()
    {
        try
        {
            using var key = ECDsa.Create();
            key.ImportFromPem(File.ReadAllText(_keyPath));
            return Licence.Read(File.ReadAllText(_licencePath), key);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException or IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private LicenceMemory Remembered()
    {
        try
        {
            return File.Exists(_memoryPath) ? JsonSerializer.Deserialize(File.ReadAllBytes(_memoryPath), LicenceJson.Default.LicenceMemory)! : new(0, 0);
        }
        catch (Exception e) when (e is JsonException or IOException)
        {
            // It is a hint against a clock that goes back, not what care depends on.
            return new(0, 0);
        }
    }

    private void Remember(LicenceMemory memory)
    {
        // Once an hour is enough for the time, and spares the flash of a small box.
        var worth = memory.Sequence != _memory!.Sequence || memory.LatestMs - Written >= 3_600_000;
        _memory = memory;
        if (!worth)
        {
            return;
        }

        Written = memory.LatestMs;
        try
        {
            AtomicFile.Write(_memoryPath, JsonSerializer.SerializeToUtf8Bytes(memory, LicenceJson.Default.LicenceMemory), secret: false, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A full disk stops no licence.
        }
    }

    private long Written { get; set; }
}
