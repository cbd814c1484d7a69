using Yizhan.Contracts;
using Yizhan.Platform.Releases;
using Yizhan.Platform.SiteFiles;

namespace Yizhan.Console.Configuration;

/// <summary>What a release changes, computed from the files of both releases: what its proposer says of it is not asked.</summary>
/// <param name="Release">The release.</param>
/// <param name="Against">The version that it is compared with; null when it is the first.</param>
/// <param name="Sites">Sites that change, each with its lines.</param>
/// <param name="Unchanged">How many sites do not.</param>
/// <param name="Gone">Sites of the other one that it has no more.</param>
/// <param name="Trust">What it changes of whose signatures count.</param>
public sealed record ReleaseChanges(
    ReleaseBundle Release, string? Against, IReadOnlyList<(string Site, IReadOnlyList<string> Lines)> Sites, int Unchanged, IReadOnlyList<string> Gone, IReadOnlyList<string> Trust)
{
    /// <summary>Compares a release with the one before, and the keys that it brings with those that count now.</summary>
    public static ReleaseChanges Of(ReleaseBundle? before, ReleaseBundle release, ReleaseTrustView trust)
    {
        var sites = release.Sites.Select(site => (Site: site, Lines: LinesOf(before, release, site))).ToArray();
        return new(
            release, before?.Version.ToString(), [.. sites.Where(s => s.Lines.Count > 0)], sites.Count(s => s.Lines.Count == 0),
            [.. (before?.Sites ?? []).Except(release.Sites)], release.NewTrust is { } brought ? KeysOf(trust, brought) : []);
    }

    private static IReadOnlyList<string> LinesOf(ReleaseBundle? before, ReleaseBundle release, string site)
    {
        var secrets = $"secrets/{site}.sops.yaml";
        var (old, now) = (HashOf(before, secrets), HashOf(release, secrets));
        return
        [
            .. SiteDiff.Between(SiteOf(before, site), SiteOf(release, site)).Select(change => change.ToString()),
            .. old == now ? Array.Empty<string>() : [$"{(old is null ? "+" : now is null ? "-" : "~")} {secrets}"],
        ];
    }

    private static IReadOnlyList<string> KeysOf(ReleaseTrustView now, ReleaseTrust brought)
    {
        var lines = new List<string>();
        if (now.Approvals != brought.Approvals)
        {
            lines.Add($"~ approvals: {now.Approvals} → {brought.Approvals}");
        }

        foreach (var key in brought.Keys)
        {
            var old = now.Keys.FirstOrDefault(k => k.Name == key.Name);
            if (old is null || old.PublicKey != key.PublicKey || old.Person != key.Person || old.Revoked != key.Revoked)
            {
                lines.Add($"{(old is null ? "+" : "~")} {key.Name}{(key.Person == key.Name ? "" : $" ({key.Person})")}{(key.Revoked ? " REVOKED" : "")}: {key.Fingerprint}");
            }
        }

        return [.. lines, .. now.Keys.Where(k => brought.Keys.All(b => b.Name != k.Name)).Select(k => $"- {k.Name}: {k.Fingerprint}")];
    }

    private static SiteFile? SiteOf(ReleaseBundle? release, string site) => release?.SiteYaml(site) is { } yaml ? SiteFileReader.Read(yaml, site).Site : null;

    private static string? HashOf(ReleaseBundle? release, string path) => release?.Manifest.Files.FirstOrDefault(f => f.Path == path)?.Sha256;
}
