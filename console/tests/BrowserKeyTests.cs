using System.Text;
using Yizhan.Console.Configuration;
using Yizhan.Contracts;
using Yizhan.Platform.Releases;

namespace Yizhan.Console.Tests;

/// <summary>Keys of browsers beside the trust list, and what a release changes as its files say it.</summary>
public sealed class BrowserKeyTests
{
    [Theory]
    [InlineData("li", "li-browser")]
    [InlineData("local:Root", "root-browser")]
    [InlineData("Dr. Wang@Lakeside", "dr-wang-lakeside-browser")]
    [InlineData("王医生", "browser")]
    [InlineData("a-name-of-forty-characters-and-more-of-them", "a-name-of-forty-characters-and-browser")]
    public void A_key_is_called_as_its_person_in_the_letters_that_names_of_keys_have(string subject, string name)
    {
        Assert.Equal(name, BrowserKeys.NameFor(subject));
        Assert.True(BrowserKeys.IsName(name));
    }

    [Fact]
    public void A_key_counts_when_the_trust_list_has_it_under_its_own_name_and_has_not_revoked_it()
    {
        var key = new BrowserKey("li-browser", "AAAA");
        Assert.Equal(KeyStanding.Unknown, key.Standing(Trust(("li", "BBBB", false))));
        Assert.Equal(KeyStanding.Counts, key.Standing(Trust(("li-browser", "AAAA", false))));
        Assert.Equal(KeyStanding.Revoked, key.Standing(Trust(("li-browser", "AAAA", true))));
        Assert.Equal(KeyStanding.OtherKey, key.Standing(Trust(("li-browser", "BBBB", false))));
        Assert.Equal(KeyStanding.OtherName, key.Standing(Trust(("li", "AAAA", false))));
        Assert.Equal("709e 80c8 8487 a241 1e1e e4df b9f2 2a86 1492 d20c 4765 150c 0c79 4abd 70f8 147c", key.Fingerprint);
    }

    [Fact]
    public void What_a_release_changes_is_what_its_files_say_and_not_what_its_proposer_says()
    {
        using var li = ReleaseKey.Create("li");
        var (before, now) = (Release("config-26.11.1", "by the lake", null, "west"), Release("config-26.11.2", "on the hill", new ReleaseTrust(2, 1, [li.Public, li.Public with { Name = "chen", Revoked = true }]), null));
        var changes = ReleaseChanges.Of(before, now, new ReleaseTrustView(1, 2, [new("li", "li", li.Public.PublicKey, "", false), new("zhao", "zhao", "AAAA", "0000", false)]));
        Assert.Equal("config-26.11.1", changes.Against);
        var (site, lines) = Assert.Single(changes.Sites);
        Assert.Equal("east", site);
        Assert.Equal(["~ name: by the lake → on the hill", "+ secrets/east.sops.yaml"], lines);
        Assert.Equal((0, "west"), (changes.Unchanged, Assert.Single(changes.Gone)));
        Assert.Equal(["~ approvals: 2 → 1", $"+ chen REVOKED: {li.Public.Fingerprint}", "- zhao: 0000"], changes.Trust);
        Assert.Equal((1, 0), (ReleaseChanges.Of(now, now, new(2, 1, [])).Unchanged, ReleaseChanges.Of(now, now, new(2, 1, [])).Sites.Count));
        Assert.Null(ReleaseChanges.Of(null, before, new(0, 0, [])).Against);
    }

    private static ReleaseTrustView Trust(params (string Name, string Key, bool Revoked)[] keys) => new(1, 1, [.. keys.Select(k => new ReleaseKeyView(k.Name, k.Name, k.Key, "", k.Revoked))]);

    private static ReleaseBundle Release(string version, string name, ReleaseTrust? trust, string? other)
    {
        var files = new Dictionary<string, byte[]>
        {
            ["sites/east.yaml"] = Yaml("east", name),

            // What the proposer says: nothing.
            ["diff/east.json"] = ReleaseBundle.DiffBytes([]),
        };
        if (other is not null)
        {
            files[$"sites/{other}.yaml"] = Yaml(other, name);
        }

        if (trust is not null)
        {
            files["trust.json"] = trust.ToBytes();
            files["secrets/east.sops.yaml"] = [1];
        }

        return ReleaseBundle.Create(new(version, 0, 1, "wang", "why", [], []), files);
    }

    private static byte[] Yaml(string site, string name) => Encoding.UTF8.GetBytes($"""
        siteId: {site}
        name: {name}
        contact:
          name: Wang
          phone: "13800000000"
        hardware:
          profile: x64
          memoryGiB: 8
          storageGiB: 64
        network:
          centreUrl: https://centre.example:8443
          uplinkKbps: 1000
        """);
}
