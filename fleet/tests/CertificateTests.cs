using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Platform.Certificates;

namespace Yizhan.Fleet.Tests;

/// <summary>The authority of an installation and what it accepts.</summary>
public sealed class CertificateTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-ca-").FullName;
    private readonly FakeTimeProvider _clock = new(new DateTimeOffset(2026, 3, 1, 0, 0, 0, TimeSpan.Zero));
    private readonly EmbeddedCa _ca;

    public CertificateTests() => _ca = EmbeddedCa.Open(_folder, _clock);

    [Fact]
    public void The_root_is_made_once_and_its_key_is_for_the_owner_only()
    {
        using var again = EmbeddedCa.Open(_folder, _clock);
        using var issued = _ca.IssueDevice("lakeside").ToCertificate();
        Assert.Equal(CertificateVerdict.Valid, again.Trust.Check(issued, CertificateTrust.ClientAuth));
        Assert.True(OperatingSystem.IsWindows()
            || File.GetUnixFileMode(Path.Combine(_folder, "root.pem")) == (UnixFileMode.UserRead | UnixFileMode.UserWrite));
        Assert.DoesNotContain("PRIVATE", File.ReadAllText(_ca.RootFile), StringComparison.Ordinal);
        Assert.Equal(["root.crt", "root.pem"], Directory.GetFiles(_folder).Select(Path.GetFileName).Order());
    }

    [Fact]
    public void Threads_that_race_for_a_new_folder_end_with_one_root()
    {
        for (var round = 0; round < 50; round++)
        {
            var folder = Path.Combine(_folder, $"race-{round}");
            var roots = new string[8];
            using var start = new Barrier(roots.Length);
            var threads = roots.Select((_, i) => new Thread(() =>
            {
                start.SignalAndWait();
                using var ca = EmbeddedCa.Open(folder, _clock);
                using var issued = ca.IssueServer("localhost").ToCertificate();
                roots[i] = issued.Extensions.OfType<X509AuthorityKeyIdentifierExtension>().Single().KeyIdentifier is { } id ? Convert.ToHexString(id.Span) : "";
            })).ToList();
            threads.ForEach(t => t.Start());
            threads.ForEach(t => t.Join());
            Assert.Single(roots.Distinct());
            Assert.Equal(["root.crt", "root.pem"], Directory.GetFiles(folder).Select(Path.GetFileName).Order());
        }
    }

    [Theory]
    [InlineData(-6, CertificateVerdict.NotYetValid)]
    [InlineData(-4, CertificateVerdict.Valid)]
    [InlineData((EmbeddedCa.LeafDays * 1440) + 4, CertificateVerdict.Valid)]
    [InlineData((EmbeddedCa.LeafDays * 1440) + 6, CertificateVerdict.Expired)]
    public void A_leaf_is_valid_for_its_life_give_or_take_five_minutes(int minutes, CertificateVerdict expected)
    {
        using var issued = _ca.IssueDevice("lakeside").ToCertificate();
        using var root = X509CertificateLoader.LoadCertificateFromFile(_ca.RootFile);
        var trust = new CertificateTrust(root, new FakeTimeProvider(_clock.GetUtcNow().AddMinutes(minutes)));
        Assert.Equal(expected, trust.Check(issued, CertificateTrust.ClientAuth));
    }

    [Fact]
    public void A_board_that_starts_in_1970_still_accepts_the_centre()
    {
        using var server = _ca.IssueServer("localhost").ToCertificate();
        var dead = new FakeTimeProvider(DateTimeOffset.UnixEpoch);
        Assert.Equal(CertificateVerdict.NotYetValid, CertificateTrust.FromFile(_ca.RootFile, dead).CheckServer(server, SslPolicyErrors.None));
        Assert.Equal(
            CertificateVerdict.Valid,
            CertificateTrust.FromFile(_ca.RootFile, dead, _clock.GetUtcNow()).CheckServer(server, SslPolicyErrors.RemoteCertificateChainErrors));
    }

    [Fact]
    public void Another_root_another_purpose_and_another_name_are_told_apart()
    {
        using var other = EmbeddedCa.Open(Path.Combine(_folder, "other"), _clock);
        using var foreign = other.IssueSite("lakeside").ToCertificate();
        using var server = _ca.IssueServer("localhost").ToCertificate();
        Assert.Equal(CertificateVerdict.UnknownIssuer, _ca.Trust.Check(foreign, CertificateTrust.ClientAuth));
        Assert.Equal(CertificateVerdict.WrongPurpose, _ca.Trust.Check(server, CertificateTrust.ClientAuth));
        Assert.Equal(CertificateVerdict.WrongName, _ca.Trust.CheckServer(server, SslPolicyErrors.RemoteCertificateNameMismatch));
        Assert.Equal(CertificateVerdict.WrongName, _ca.Trust.CheckServer(null, SslPolicyErrors.RemoteCertificateNotAvailable));
    }

    [Fact]
    public void A_certificate_that_says_nothing_about_its_purpose_is_good_for_none()
    {
        using var root = X509Certificate2.CreateFromPemFile(Path.Combine(_folder, "root.pem"));
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=any", key, HashAlgorithmName.SHA256);
        using var any = request.Create(root, _clock.GetUtcNow(), _clock.GetUtcNow().AddDays(1), [1]);
        Assert.Equal(CertificateVerdict.WrongPurpose, _ca.Trust.Check(any, CertificateTrust.ClientAuth));
    }

    [Fact]
    public void The_site_is_the_one_spiffe_id_and_nothing_else()
    {
        using var site = _ca.IssueSite("lakeside").ToCertificate();
        Assert.Equal("lakeside", SitePrincipal.From(site)!.SiteId);
        using var server = _ca.IssueServer("localhost", "10.0.0.1").ToCertificate();
        Assert.Null(SitePrincipal.From(server));
        Assert.Null(SitePrincipal.From(SelfSigned("spiffe://yizhan/site/a", "spiffe://yizhan/site/b")));
        Assert.Null(SitePrincipal.From(SelfSigned("spiffe://yizhan/site/a/b")));
        Assert.Null(SitePrincipal.From(SelfSigned("spiffe://other/site/a")));
        Assert.Equal("a", SitePrincipal.From(SelfSigned("spiffe://yizhan/site/a"))!.SiteId);
        Assert.Throws<ArgumentException>(() => _ca.IssueSite("Lake/side"));
    }

    public void Dispose()
    {
        _ca.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private X509Certificate2 SelfSigned(params string[] uris)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=x", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        foreach (var uri in uris)
        {
            names.AddUri(new Uri(uri));
        }

        request.CertificateExtensions.Add(names.Build());
        return request.CreateSelfSigned(_clock.GetUtcNow(), _clock.GetUtcNow().AddDays(1));
    }
}
