using System.Text.Json;
using Yizhan.Platform.SiteFiles;

namespace Yizhan.Platform.Releases;

/// <summary>
/// The configuration of a site as a pair: the one that runs and the last that is known to be good. A new one is written beside the good
/// one, tried, and confirmed once the node is up; when it does not come up in three starts, the good one runs again.
/// </summary>
/// <remarks>Folder <c>configuration/</c> of the node: <c>a.tar</c>, <c>b.tar</c> (slices of releases), <c>state.json</c>, <c>trust.json</c>.</remarks>
public sealed class ConfigurationSlots
{
    /// <summary>Starts that a new configuration gets.</summary>
    public const int MaxStarts = 3;

    private const int MaxSteps = 200;

    private readonly string _folder;
    private readonly Lock _lock = new();
    private SlotsState _state;

    private ConfigurationSlots(string folder, SlotsState state) => (_folder, _state) = (folder, state);

    /// <summary>What is kept now.</summary>
    public SlotsState State
    {
        get
        {
            lock (_lock)
            {
                return _state;
            }
        }
    }

    /// <summary>Opens the pair of a node. A state that cannot be read counts as none: the site runs on its own settings.</summary>
    public static ConfigurationSlots Open(NodeOptions node)
    {
        var folder = Path.GetDirectoryName(node.PathOf("configuration", "state.json"))!;
        var path = Path.Combine(folder, "state.json");
        var state = new SlotsState(null, null, null, 0, null, []);
        try
        {
            if (File.Exists(path))
            {
                state = JsonSerializer.Deserialize(File.ReadAllBytes(path), ReleaseJson.Default.SlotsState) ?? state;
            }
        }
        catch (JsonException e)
        {
            state = state with { Steps = [new("unreadable", "", "", $"{path}: {e.Message}", 0)] };
        }

        return new(folder, state);
    }

    /// <summary>The keys that this site trusts; null when it was given none.</summary>
    /// <exception cref="ReleaseRefusedException">The file is not a trust file.</exception>
    public ReleaseTrust? Trust => ReleaseTrust.Load(TrustPath);

    private string TrustPath => Path.Combine(_folder, "trust.json");

    /// <summary>Puts the first keys of a site in place; keys that are there already stay.</summary>
    public void Seed(ReleaseTrust trust) => AtomicFile.Write(TrustPath, trust.ToBytes(), secret: false, overwrite: false);

    /// <summary>
    /// Called once by each start of the node. Counts the starts of a configuration that is not confirmed yet and goes back to the last
    /// good one after <see cref="MaxStarts"/>, or at once when its file is damaged.
    /// </summary>
    /// <returns>The site file to run with; null when there is none, and the node runs on its own settings.</returns>
    public SiteFile? Start(DateTimeOffset now)
    {
        lock (_lock)
        {
            while (_state.Active is { } active)
            {
                var trying = active != _state.Good;
                if (trying && _state.Starts >= MaxStarts)
                {
                    GoBack_NeedsLock($"the node did not come up in {MaxStarts} starts", now);
                    continue;
                }

                if (ReadSite(active) is { } site)
                {
                    if (trying)
                    {
                        Save_NeedsLock(_state with { Starts = _state.Starts + 1 });
                    }

                    return site;
                }

                if (!trying)
                {
                    // The good one itself is damaged: the node's own settings are left, and the centre sends it again.
                    Save_NeedsLock(WithStep(_state with { Active = null, Good = null }, "rolled back", active, "its file is damaged; the node runs on its own settings", now));
                    return null;
                }

                GoBack_NeedsLock("its file is damaged", now);
            }

            return null;
        }
    }

    /// <summary>True while the configuration that runs is on trial.</summary>
    public bool IsOnTrial => State is { Active: { } active } state && active != state.Good;

    /// <summary>Puts an accepted release beside the good one; it runs from the next start on.</summary>
    public void Install(ReleaseBundle slice, DateTimeOffset now)
    {
        lock (_lock)
        {
            var file = _state.Good?.File == "a" ? "b" : "a";
            AtomicFile.Write(Path.Combine(_folder, file + ".tar"), slice.ToBytes(), secret: false, overwrite: true);
            var slot = new Slot(slice.Version.ToString(), slice.Digest, file);
            Save_NeedsLock(_state with { Active = slot, Starts = 0, Newest = slot, Refused = null });
            if (slice.NewTrust is { } trust)
            {
                AtomicFile.Write(TrustPath, trust.ToBytes(), secret: false, overwrite: true);
            }
        }
    }

    /// <summary>The node is up and healthy: what runs becomes the last known good one.</summary>
    public void Confirm(DateTimeOffset now)
    {
        lock (_lock)
        {
            if (_state.Active is { } active && active != _state.Good)
            {
                Save_NeedsLock(WithStep(_state with { Good = active, Starts = 0 }, "applied", active, $"after {Math.Max(1, _state.Starts)} start(s)", now));
            }
        }
    }

    /// <summary>Remembers why a release was not taken. The same one refused for the same reason is one step.</summary>
    public void Refuse(string version, string digest, string reason, DateTimeOffset now)
    {
        lock (_lock)
        {
            var refused = new RefusedRelease(version, digest, reason);
            if (_state.Refused != refused)
            {
                Save_NeedsLock(WithStep(_state with { Refused = refused }, "refused", new Slot(version, digest, ""), reason, now));
            }
        }
    }

    /// <summary>Forgets steps that are in the event log now.</summary>
    public void Drop(IReadOnlyList<ConfigurationStep> steps)
    {
        lock (_lock)
        {
            Save_NeedsLock(_state with { Steps = [.. _state.Steps.Except(steps)] });
        }
    }

    private void GoBack_NeedsLock(string reason, DateTimeOffset now)
    {
        var failed = _state.Active!;
        var good = _state.Good is { } slot ? slot.Version : "the node's own settings";
        Save_NeedsLock(WithStep(
            _state with { Active = _state.Good, Starts = 0, Refused = new(failed.Version, failed.Digest, reason) }, "rolled back", failed, $"{reason}; {good} runs again", now));
    }

    private SiteFile? ReadSite(Slot slot)
    {
        try
        {
            var bundle = ReleaseBundle.Read(File.ReadAllBytes(Path.Combine(_folder, slot.File + ".tar")));
            return bundle.Digest != slot.Digest ? null
                : bundle.Sites.Select(bundle.SiteYaml).FirstOrDefault(yaml => yaml is not null) is { } yaml ? SiteFileReader.Read(yaml, slot.Version).Site
                : null;
        }
        catch (Exception e) when (e is IOException or ReleaseRefusedException)
        {
            return null;
        }
    }

    private static SlotsState WithStep(SlotsState state, string step, Slot slot, string detail, DateTimeOffset now) =>
        state with { Steps = [.. state.Steps.TakeLast(MaxSteps - 1), new(step, slot.Version, slot.Digest, detail, now.ToUnixTimeMilliseconds())] };

    private void Save_NeedsLock(SlotsState state)
    {
        AtomicFile.Write(Path.Combine(_folder, "state.json"), JsonSerializer.SerializeToUtf8Bytes(state, ReleaseJson.Default.SlotsState), secret: false, overwrite: true);
        _state = state;
    }
}

/// <summary>What a site keeps about its configuration.</summary>
/// <param name="Newest">The newest that was ever taken: nothing older is.</param>
/// <param name="Active">What runs; null: the node's own settings.</param>
/// <param name="Good">The last that came up.</param>
/// <param name="Starts">Starts of the active one while it is on trial.</param>
/// <param name="Refused">The last that was not taken, or did not come up.</param>
/// <param name="Steps">What is not in the event log yet.</param>
public sealed record SlotsState(Slot? Newest, Slot? Active, Slot? Good, int Starts, RefusedRelease? Refused, IReadOnlyList<ConfigurationStep> Steps);

/// <summary>A release in a slot.</summary>
/// <param name="Version">Its version.</param>
/// <param name="Digest">Its digest.</param>
/// <param name="File">a or b.</param>
public sealed record Slot(string Version, string Digest, string File);

/// <summary>A release that was not taken.</summary>
/// <param name="Version">Its version.</param>
/// <param name="Digest">Its digest.</param>
/// <param name="Reason">Why, for people.</param>
public sealed record RefusedRelease(string Version, string Digest, string Reason);

/// <summary>Something that happened to a release here.</summary>
/// <param name="Step">applied, refused or rolled back.</param>
/// <param name="Version">Its version.</param>
/// <param name="Digest">Its digest.</param>
/// <param name="Detail">For people.</param>
/// <param name="AtMs">When, Unix milliseconds UTC.</param>
public sealed record ConfigurationStep(string Step, string Version, string Digest, string Detail, long AtMs);
