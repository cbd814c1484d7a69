using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Platform.Licences;

namespace Yizhan.Platform.Tests.Licences;

/// <summary>What a licence allows, and what it never takes away.</summary>
public sealed class LicenceTests : IDisposable
{
    private static readonly string[] s_features = ["ai.ct-ich", "ai.x.y", "ai", "aix", "asr"];

    private static readonly DateTimeOffset Start = new(2026, 3, 1, 0, 0, 0, TimeSpan.Zero);

    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-licence-").FullName;
    private readonly FakeTimeProvider _clock = new(Start);
    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);

    public LicenceTests() => File.WriteAllText(Path.Combine(_folder, "licence-key.pem"), _key.ExportSubjectPublicKeyInfoPem());

    [Fact]
    public void It_counts_until_its_end_and_its_grace_and_care_never_stops()
    {
        Put(Make());
        using var gate = Gate();
        Assert.Equal((LicenceState.Active, true, false), (gate.View().State, gate.Allows("ai.ct-ich"), gate.Allows("asr.yue")));
        _clock.Advance(TimeSpan.FromDays(30));
        Assert.Equal((LicenceState.Grace, true), (gate.View().State, gate.Allows("ai.ct-ich")));
        _clock.Advance(TimeSpan.FromDays(14));
        Assert.Equal((LicenceState.Lapsed, false), (gate.View().State, gate.Allows("ai.ct-ich")));
        Assert.Equal(-14 * 86_400, gate.View().RemainingSeconds);
        Assert.All(["storage", "query", "export"], care => Assert.True(gate.Allows(care)));
    }

    [Theory]
    [InlineData("none", LicenceState.None)]
    [InlineData("site", LicenceState.OtherSite)]
    [InlineData("hardware", LicenceState.OtherHardware)]
    [InlineData("key", LicenceState.Forged)]
    [InlineData("altered", LicenceState.Forged)]
    [InlineData("purpose", LicenceState.Forged)]
    [InlineData("alg none", LicenceState.Forged)]
    [InlineData("html", LicenceState.Forged)]
    [InlineData("later", LicenceState.NotYet)]
    public void Whatever_is_wrong_with_it_allows_nothing_and_care_goes_on(string wrong, LicenceState expected)
    {
        using var stranger = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var good = Make().Sign(_key).Split('.');
        var text = wrong switch
        {
            "none" => null,
            "site" => (Make() with { Site = "hillside" }).Sign(_key),
            "hardware" => (Make() with { Hardware = new string('b', 64) }).Sign(_key),
            "key" => Make().Sign(stranger),
            "altered" => $"{good[0]}.{Encode(Decode(good[1]).Replace("ai.ct-ich", "ai.*", StringComparison.Ordinal))}.{good[2]}",
            "purpose" => CompactJws.Sign(_key, "yizhan-revocation+jws", Encoding.UTF8.GetBytes(Decode(good[1]))),
            "alg none" => $"{Encode("{\"alg\":\"none\",\"typ\":\"yizhan-licence+jws\"}")}.{good[1]}.",
            "html" => "<html>",
            _ => (Make() with { NotBefore = Start.AddDays(1).ToUnixTimeSeconds() }).Sign(_key),
        };
        if (text is not null)
        {
            File.WriteAllText(Path.Combine(_folder, "licence.jws"), text);
        }

        using var gate = Gate();
        Assert.Equal((expected, false), (gate.View().State, gate.Allows("ai.ct-ich")));
        Assert.All(["storage", "query", "export"], care => Assert.True(gate.Allows(care)));
    }

    [Fact]
    public void A_clock_that_is_set_back_and_a_licence_that_comes_back_win_nothing()
    {
        Put(Make() with { Sequence = 2 });
        using (var gate = Gate())
        {
            Assert.True(gate.Allows("ai.ct-ich"));
            _clock.Advance(TimeSpan.FromDays(45));
            Assert.Equal(LicenceState.Lapsed, gate.View().State);
        }

        var back = new FakeTimeProvider(DateTimeOffset.UnixEpoch);
        using (var gate = new LicenceGate("lakeside", _folder, () => Fingerprint, back))
        {
            Assert.Equal(LicenceState.Lapsed, gate.View().State);
        }

        Put(Make() with { Sequence = 1, Expires = Start.AddYears(5).ToUnixTimeSeconds() });
        using (var gate = Gate())
        {
            Assert.Equal(LicenceState.Superseded, gate.View().State);
        }

        // The next one counts, and needs no restart.
        using var open = Gate();
        Put(Make() with { Sequence = 3, Expires = Start.AddYears(5).ToUnixTimeSeconds() });
        Assert.False(new[] { open.View().State }.Contains(LicenceState.Superseded));
        Assert.True(open.Allows("ai.ct-ich"));
    }

    [Fact]
    public void A_name_with_a_star_is_everything_below_it()
    {
        var licence = Make() with { Features = ["ai.*", "asr"] };
        Assert.Equal([true, true, false, false, true], s_features.Select(licence.Names));
    }

    [Fact]
    public void What_nobody_should_issue_is_not_signed()
    {
        Assert.Throws<ArgumentException>(() => (Make() with { GraceDays = 91 }).Sign(_key));
        Assert.Throws<ArgumentException>(() => (Make() with { Sequence = 0 }).Sign(_key));
        Assert.Throws<ArgumentException>(() => (Make() with { Expires = 0 }).Sign(_key));
    }

    [Fact]
    public void A_machine_is_known_by_what_its_firmware_says_and_placeholders_say_nothing()
    {
        void Say(string path, string text)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.Combine(_folder, path))!);
            File.WriteAllText(Path.Combine(_folder, path), text);
        }

        Assert.Throws<IOException>(() => HardwareFingerprint.Of(_folder));
        Say("etc/machine-id", "5f1c\n");
        var installation = HardwareFingerprint.Of(_folder);
        Say("sys/class/dmi/id/board_serial", "To be filled by O.E.M.\n");
        Say("sys/class/dmi/id/product_uuid", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF\n");
        Assert.Equal(installation, HardwareFingerprint.Of(_folder));
        Say("proc/device-tree/serial-number", "a1b2c3\0");
        var board = HardwareFingerprint.Of(_folder);
        Assert.NotEqual(installation, board);
        Say("etc/machine-id", "installed again\n");
        Assert.Equal(board, HardwareFingerprint.Of(_folder));
    }

    public void Dispose()
    {
        _key.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private static readonly string Fingerprint = new('a', 64);

    private static Licence Make() => new(
        "L-1", "lakeside", Fingerprint, Start.ToUnixTimeSeconds(), Start.AddDays(30).ToUnixTimeSeconds(), 14, ["ai.ct-ich"], 1);

    private void Put(Licence licence) => File.WriteAllText(Path.Combine(_folder, "licence.jws"), licence.Sign(_key));

    private LicenceGate Gate() => new("lakeside", _folder, () => Fingerprint, _clock);

    private static string Encode(string text) => System.Buffers.Text.Base64Url.EncodeToString(Encoding.UTF8.GetBytes(text));

    private static string Decode(string text) => Encoding.UTF8.GetString(System.Buffers.Text.Base64Url.DecodeFromChars(text));
}
