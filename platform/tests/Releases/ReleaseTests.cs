using System.Diagnostics;
using System.Formats.Tar;
using System.Text;
using Yizhan.Platform.Releases;
using Yizhan.Platform.SiteFiles;

namespace Yizhan.Platform.Tests.Releases;

public sealed class ReleaseTests : IDisposable
{
    private const long CreatedMs = 1_795_000_000_000;
    private static readonly DateTimeOffset Now = DateTimeOffset.FromUnixTimeMilliseconds(CreatedMs + 1000);

    private readonly ReleaseKey _wang = ReleaseKey.Create("wang");
    private readonly ReleaseKey _li = ReleaseKey.Create("li");
    private readonly ReleaseKey _zhao = ReleaseKey.Create("zhao");

    private ReleaseTrust Trust => new(1, 2, [_wang.Public, _li.Public, _zhao.Public]);

    public void Dispose()
    {
        _wang.Dispose();
        _li.Dispose();
        _zhao.Dispose();
    }

    [Fact]
    [Trait("Clause", "D7.3")]
    public void A_release_that_two_others_approved_is_accepted_whole_and_as_a_slice()
    {
        var read = ReleaseBundle.Read(Signed("config-26.11.1").ToBytes());
        Trust.Accept(read, Now, null);
        Assert.True(read.IsWhole);
        Assert.Equal(["east", "west"], read.Sites);

        var slice = ReleaseBundle.Read(read.Slice("east").ToBytes());
        Trust.Accept(slice, Now, (new ReleaseVersion(26, 10, 7), "0"));
        Trust.Accept(slice, Now, (slice.Version, slice.Digest));
        Assert.Equal(read.Digest, slice.Digest);
        Assert.NotNull(slice.SiteYaml("east"));
        Assert.Null(slice.SiteYaml("west"));
        Assert.DoesNotContain("west clinic", Encoding.UTF8.GetString(read.Slice("east").ToBytes()), StringComparison.Ordinal);
        Assert.Equal("+ name: east clinic", Assert.Single(slice.Changes("east")).ToString());
    }

    [Fact]
    public void The_same_release_gives_the_same_bytes() => Assert.Equal(Release("config-26.11.1").ToBytes(), Release("config-26.11.1").ToBytes());

    [Fact]
    [Trait("Clause", "D7.3")]
    public void What_is_not_signed_as_it_must_be_is_refused_with_its_reason()
    {
        var release = Release("config-26.11.1");
        var one = release.With("wang", _wang.Sign(release));
        var all = one.With("li", _li.Sign(release)).With("zhao", _zhao.Sign(release));
        using var stranger = ReleaseKey.Create("stranger");
        var other = Release("config-26.11.2");

        Refused(ReleaseRefusal.NoSignature, "config-26.11.1 is not signed by 'wang', who proposed it.", Trust, release);
        Refused(ReleaseRefusal.NotEnoughApprovals, "config-26.11.1 is approved by 1 (li); accepted: 2 others than wang.", Trust, one.With("li", _li.Sign(release)));
        Refused(ReleaseRefusal.UnknownKey, "'stranger'", Trust, all.With("stranger", stranger.Sign(release)));
        Refused(ReleaseRefusal.RevokedKey, "'zhao', whose key was revoked", Trust with { Keys = [_wang.Public, _li.Public, _zhao.Public with { Revoked = true }] }, all);
        Refused(ReleaseRefusal.WrongSignature, "The signature of 'zhao'", Trust, all.With("zhao", _zhao.Sign(other)));
        Refused(ReleaseRefusal.WrongSignature, "The signature of 'zhao'", Trust, all.With("zhao", _li.Sign(release)));
        Refused(ReleaseRefusal.WrongSignature, "The signature of 'zhao'", Trust, all.With("zhao", []));
        Trust.Accept(all, Now, null);
        (Trust with { Approvals = 0 }).Accept(one, Now, null);
    }

    [Fact]
    [Trait("Clause", "D7.3")]
    public void What_is_older_of_another_content_or_expired_is_refused()
    {
        var release = Signed("config-26.11.1");
        Refused(ReleaseRefusal.Older, "config-26.11.1 is not newer than config-26.11.2", Trust, release, (new(26, 11, 2), "x"));
        Refused(ReleaseRefusal.Older, "config-26.11.1 is not newer than config-27.01.0", Trust, release, (new(27, 1, 0), "x"));
        Refused(ReleaseRefusal.Older, "not newer than config-26.11.1", Trust, release, (release.Version, "another content"));
        Refused(ReleaseRefusal.Expired, "could be installed until", Trust, release, null, Now.AddDays(91));
    }

    [Fact]
    [Trait("Clause", "D7.3")]
    public void Keys_change_only_with_a_release_that_counts_before_and_after_and_never_back()
    {
        using var chen = ReleaseKey.Create("chen");
        var zhaoIsOut = new ReleaseTrust(2, 1, [_wang.Public, _li.Public, _zhao.Public with { Revoked = true }, chen.Public]);
        var withZhao = Signed("config-26.11.1", ("trust.json", zhaoIsOut.ToBytes()));
        Refused(ReleaseRefusal.RevokedKey, "'zhao'", Trust, withZhao);

        var release = Release("config-26.11.1", ("trust.json", zhaoIsOut.ToBytes()));
        var withoutZhao = release.With("wang", _wang.Sign(release)).With("li", _li.Sign(release));
        Refused(ReleaseRefusal.NotEnoughApprovals, "approved by 1 (li); accepted: 2", Trust, withoutZhao);
        (Trust with { Approvals = 1 }).Accept(withoutZhao, Now, null);
        Refused(ReleaseRefusal.OlderTrust, "serial 2; accepted: 3 or more", Trust with { Approvals = 1, Serial = 3 }, withoutZhao);
    }

    [Fact]
    [Trait("Clause", "D7.3")]
    public void Two_keys_of_one_person_count_once_and_never_for_what_that_person_proposed()
    {
        using var further = ReleaseKey.Create("further");
        var release = Release("config-26.11.1");
        var two = release.With("wang", _wang.Sign(release)).With("li", _li.Sign(release)).With("further", further.Sign(release));
        Refused(ReleaseRefusal.NotEnoughApprovals, "approved by 1 (li); accepted: 2", With("li"), two);
        Refused(ReleaseRefusal.NotEnoughApprovals, "approved by 1 (li); accepted: 2", With("wang"), two);
        With(null).Accept(two, Now, null);
        With("li").Accept(two.With("zhao", _zhao.Sign(release)), Now, null);

        // Without further keys the file is the one of before, which nodes of before can read.
        Assert.DoesNotContain("\"of\"", Encoding.UTF8.GetString(With(null).ToBytes()), StringComparison.Ordinal);
        Assert.Equal("li", ReleaseTrust.Parse(With("li").ToBytes()).PersonOf("further"));
        Assert.Contains("is not of a-z", Assert.Throws<ReleaseRefusedException>(() => ReleaseTrust.Parse(With("Li").ToBytes())).Message, StringComparison.Ordinal);

        ReleaseTrust With(string? person) => new(1, 2, [_wang.Public, _li.Public, _zhao.Public, further.Public with { Of = person }]);
    }

    [Fact]
    public void A_flipped_bit_anywhere_is_refused()
    {
        var bytes = Signed("config-26.11.1").ToBytes();
        var taken = new List<int>();
        for (var at = 0; at < bytes.Length; at += 7)
        {
            var flipped = bytes.ToArray();
            flipped[at] ^= 1;
            try
            {
                Trust.Accept(ReleaseBundle.Read(flipped), Now, null);
                taken.Add(at);
            }
            catch (ReleaseRefusedException)
            {
                // As it must be.
            }
        }

        // Padding and unread fields of tar headers carry nothing; what is read is the same as before then.
        Assert.All(taken, at =>
        {
            var flipped = bytes.ToArray();
            flipped[at] ^= 1;
            Assert.Equal(bytes, ReleaseBundle.Read(flipped).ToBytes());
        });
    }

    [Fact]
    public void A_truncated_release_is_refused_or_lacks_files()
    {
        var bytes = Signed("config-26.11.1").ToBytes();
        for (var length = 0; length < bytes.Length; length += 64)
        {
            try
            {
                var read = ReleaseBundle.Read(bytes.AsMemory(0, length));
                Assert.True(!read.IsWhole || read.ToBytes().AsSpan().SequenceEqual(bytes));
            }
            catch (ReleaseRefusedException e)
            {
                Assert.Contains(e.Reason, new[] { ReleaseRefusal.Malformed, ReleaseRefusal.HashMismatch, ReleaseRefusal.PathNotAllowed });
            }
        }
    }

    [Theory]
    [InlineData("../../etc/cron.d/x", TarEntryType.RegularFile)]
    [InlineData("/etc/passwd", TarEntryType.RegularFile)]
    [InlineData("sites/../../x.yaml", TarEntryType.RegularFile)]
    [InlineData("signatures/../x.sig", TarEntryType.RegularFile)]
    [InlineData("sites/north.yaml", TarEntryType.RegularFile)]
    [InlineData("sites/east.yaml", TarEntryType.SymbolicLink)]
    [InlineData("sites/east.yaml", TarEntryType.HardLink)]
    [InlineData("sites", TarEntryType.Directory)]
    public void A_path_that_no_release_has_is_refused(string path, TarEntryType type)
    {
        var stream = new MemoryStream();
        using (var tar = new TarWriter(stream, TarEntryFormat.Ustar, leaveOpen: true))
        {
            using var good = new TarReader(new MemoryStream(Signed("config-26.11.1").ToBytes()));
            tar.WriteEntry(good.GetNextEntry(copyData: true)!);
            tar.WriteEntry(type is TarEntryType.SymbolicLink or TarEntryType.HardLink
                ? new UstarTarEntry(type, path) { LinkName = "/etc/passwd" }
                : type == TarEntryType.Directory ? new UstarTarEntry(type, path) : new UstarTarEntry(type, path) { DataStream = new MemoryStream([1]) });
        }

        Assert.Equal(ReleaseRefusal.PathNotAllowed, Assert.Throws<ReleaseRefusedException>(() => ReleaseBundle.Read(stream.ToArray())).Reason);
    }

    [Theory]
    [InlineData("sites/../x.yaml")]
    [InlineData("sites/UPPER.yaml")]
    [InlineData("bin/sh")]
    [InlineData("sites/east.yaml\n")]
    public void A_manifest_that_names_such_a_path_is_refused(string path) =>
        Assert.Equal(ReleaseRefusal.PathNotAllowed, Assert.Throws<ReleaseRefusedException>(() => Release("config-26.11.1", (path, [1]))).Reason);

    [Theory]
    [InlineData("config-26.13.1")]
    [InlineData("config-26.11")]
    [InlineData("config-26.11.01")]
    [InlineData("26.11.1")]
    public void A_version_of_another_form_is_refused(string version) =>
        Assert.Contains("accepted: config-YY.MM.patch", Assert.Throws<ReleaseRefusedException>(() => Release(version)).Message, StringComparison.Ordinal);

    [Fact]
    public async Task A_release_of_100_MB_is_refused_after_16()
    {
        await using var endless = new Endless();
        var refused = await Assert.ThrowsAsync<ReleaseRefusedException>(() => ReleaseBundle.ReadAsync(endless, TestContext.Current.CancellationToken));
        Assert.Equal(ReleaseRefusal.TooLarge, refused.Reason);
        Assert.InRange(endless.Position, ReleaseBundle.MaxBytes, ReleaseBundle.MaxBytes + (128 * 1024));
    }

    [Fact]
    public async Task Openssl_and_tar_check_a_release_without_us()
    {
        var folder = Directory.CreateTempSubdirectory("yizhan-release-");
        try
        {
            await File.WriteAllBytesAsync(Path.Combine(folder.FullName, "release.tar"), Signed("config-26.11.1").ToBytes(), TestContext.Current.CancellationToken);
            await File.WriteAllBytesAsync(Path.Combine(folder.FullName, "li.der"), Convert.FromBase64String(_li.Public.PublicKey), TestContext.Current.CancellationToken);
            using var process = Process.Start(new ProcessStartInfo("sh", ["-c", """
                tar xf release.tar && openssl pkey -pubin -inform DER -in li.der -out li.pub &&
                openssl dgst -sha256 -verify li.pub -signature signatures/li.sig manifest.json && sha256sum sites/east.yaml
                """]) { WorkingDirectory = folder.FullName, RedirectStandardOutput = true, RedirectStandardError = true })!;
            var output = await process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
            await process.WaitForExitAsync(TestContext.Current.CancellationToken);
            Assert.Contains("Verified OK", output, StringComparison.Ordinal);
            Assert.Contains(Signed("config-26.11.1").Manifest.Files.Single(f => f.Path == "sites/east.yaml").Sha256, output, StringComparison.Ordinal);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static void Refused(
        ReleaseRefusal reason, string message, ReleaseTrust trust, ReleaseBundle release, (ReleaseVersion, string)? newest = null, DateTimeOffset? now = null)
    {
        var refused = Assert.Throws<ReleaseRefusedException>(() => trust.Accept(release, now ?? Now, newest));
        Assert.Equal(reason, refused.Reason);
        Assert.Contains(message, refused.Message, StringComparison.Ordinal);
    }

    private ReleaseBundle Signed(string version, params (string Path, byte[] Bytes)[] more)
    {
        var release = Release(version, more);
        return release.With("wang", _wang.Sign(release)).With("li", _li.Sign(release)).With("zhao", _zhao.Sign(release));
    }

    private static ReleaseBundle Release(string version, params (string Path, byte[] Bytes)[] more)
    {
        var files = new Dictionary<string, byte[]>
        {
            ["sites/east.yaml"] = SlotsTests.Yaml("east"),
            ["sites/west.yaml"] = SlotsTests.Yaml("west"),
            ["diff/east.json"] = ReleaseBundle.DiffBytes([new SiteChange("name", null, "east clinic")]),
        };
        foreach (var (path, bytes) in more)
        {
            files[path] = bytes;
        }

        return ReleaseBundle.Create(new(version, CreatedMs, CreatedMs + (90L * 24 * 3600 * 1000), "wang", "why", [], []), files);
    }

    private sealed class Endless : Stream
    {
        public override bool CanRead => true;
        public override bool CanSeek => false;
        public override bool CanWrite => false;
        public override long Length => 100_000_000;
        public override long Position { get; set; }
        public override int Read(byte[] buffer, int offset, int count)
        {
            var read = (int)Math.Min(count, Length - Position);
            Position += read;
            return read;
        }

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
        public override void SetLength(long value) => throw new NotSupportedException();
        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
