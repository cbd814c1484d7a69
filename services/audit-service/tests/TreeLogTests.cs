using System.Text;
using Yizhan.Audit.Notes;
using Yizhan.Audit.Tree;
using Yizhan.Transparency;

namespace Yizhan.Audit.Tests;

public sealed class TreeLogTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly NoteSigner _signer = NoteSigner.Create("yizhan/audit/s1");

    public void Dispose()
    {
        _signer.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [InlineData(1, 600)]
    [InlineData(7, 1030)]
    [InlineData(256, 2048)]
    [InlineData(4096, 70_000)]
    public void Every_commit_has_the_root_of_the_definition_and_the_folder_verifies(int batch, int total)
    {
        var data = Enumerable.Range(0, total).Select(i => Encoding.UTF8.GetBytes($"entry {i}")).ToArray();
        using (var log = Open())
        {
            for (var done = 0; done < total; done += batch)
            {
                var checkpoint = log.Append([.. data[done..Math.Min(done + batch, total)].Select(d => (ReadOnlyMemory<byte>)d)]);
                if (total < 3000 || checkpoint.Size == total)
                {
                    Assert.Equal(MerkleTests.Naive(data.AsSpan(0, (int)checkpoint.Size)), checkpoint.Root);
                }
            }
        }

        using var again = Open();
        Assert.Equal(total, again.Current.Checkpoint.Size);
        Assert.Equal(data, again.Reader.Entries(0, total).Select(e => e.Entry.ToArray()));
        Assert.Equal(data[total - 1], again.Reader.Entry(total - 1, total).ToArray());
        var proofs = again.Reader.Proofs(total);
        foreach (var index in new[] { 0, 1, 255, 256, total / 2, total - 1 })
        {
            Assert.True(Merkle.IsIncluded(Merkle.LeafHash(data[index]), index, total, proofs.Inclusion(index, total), again.Current.Checkpoint.Root));
        }

        var result = Verify(_folder.Path);
        Assert.Null(result.Problem);
        Assert.Empty(result.Remarks);
        Assert.Equal(total, result.EntriesChecked);
    }

    [Fact]
    public void A_tile_of_an_earlier_size_is_cut_from_the_wider_one()
    {
        using var log = Open();
        log.Append(Entries(0, 100));
        var narrow = log.Reader.Read(new TileAddress(0, 0, 100)).ToArray();
        var bundle = log.Reader.Read(new TileAddress(TileAddress.Entries, 0, 100)).ToArray();
        log.Append(Entries(100, 20));
        Assert.Equal(narrow, log.Reader.Read(new TileAddress(0, 0, 100)).ToArray());
        log.Append(Entries(120, 300));
        Assert.Equal(narrow, log.Reader.Read(new TileAddress(0, 0, 100)).ToArray());
        Assert.Equal(bundle, log.Reader.Read(new TileAddress(TileAddress.Entries, 0, 100)).ToArray());
        Assert.Null(log.Reader.TryRead(new TileAddress(0, 1, 200)));
        Assert.False(Directory.Exists(_folder["tile/0/000.p"]));
    }

    [Fact]
    public void Any_changed_byte_of_any_file_is_found_and_a_changed_entry_is_named()
    {
        using (var log = Open())
        {
            for (var i = 0; i < 600; i += 60)
            {
                log.Append(Entries(i, 60));
            }
        }

        Assert.True(Verify(_folder.Path).Ok);
        var files = Directory.GetFiles(_folder.Path, "*", SearchOption.AllDirectories);
        Assert.Equal(9, files.Length);
        foreach (var file in files)
        {
            var bytes = File.ReadAllBytes(file);
            for (var offset = 0; offset < bytes.Length; offset += bytes.Length < 400 ? 1 : 97)
            {
                var original = bytes[offset];
                bytes[offset] ^= (byte)(1 << (offset % 8));
                File.WriteAllBytes(file, bytes);
                var result = Verify(_folder.Path);
                Assert.False(result.Ok, $"{file}, byte {offset}");
                if (file.Contains("/tile/", StringComparison.Ordinal))
                {
                    Assert.Equal(EntryAt(Path.GetRelativePath(_folder.Path, file), bytes.Length, offset), result.BadEntry);
                }

                bytes[offset] = original;
            }

            File.WriteAllBytes(file, bytes);
            foreach (var cut in new[] { bytes.Length - 1, bytes.Length / 2, 0 })
            {
                File.WriteAllBytes(file, bytes[..cut]);
                Assert.False(Verify(_folder.Path).Ok, $"{file} cut to {cut}");
            }

            File.WriteAllBytes(file, [.. bytes, 0]);
            Assert.False(Verify(_folder.Path).Ok, $"{file} with a byte more");
            File.WriteAllBytes(file, bytes);
        }

        Assert.True(Verify(_folder.Path).Ok);
    }

    [Fact]
    public void A_rewritten_entry_is_found_by_the_root_even_when_every_hash_was_made_again()
    {
        using (var log = Open())
        {
            log.Append(Entries(0, 10));
        }

        // Who can write the folder, but not sign, builds the tree again with one entry changed and keeps the signed checkpoint.
        var signed = File.ReadAllBytes(_folder["checkpoint"]);
        using var other = new TemporaryFolder();
        using (var forged = TreeLog.Open(new DurableFolder(other.Path), _signer, 0))
        {
            forged.Append([.. Entries(0, 9), Encoding.UTF8.GetBytes("nobody looked at this")]);
        }

        File.WriteAllBytes(other["checkpoint"], signed);
        Assert.Contains("not those that the checkpoint signs", Verify(other.Path).Problem, StringComparison.Ordinal);
        Assert.Throws<InvalidDataException>(() => TreeLog.Open(new DurableFolder(other.Path), _signer, 0));
    }

    [Fact]
    public void Who_has_the_key_too_is_found_by_a_checkpoint_that_was_kept_elsewhere()
    {
        byte[] kept;
        using (var log = Open())
        {
            log.Append(Entries(0, 300));
            kept = log.Current.Note;
            log.Append(Entries(300, 300));
        }

        Assert.True(Verify(_folder.Path, kept).Ok);
        foreach (var (count, word) in new[] { (200, "was cut"), (300, "forked"), (700, "forked") })
        {
            using var other = new TemporaryFolder();
            using (var forged = TreeLog.Open(new DurableFolder(other.Path), _signer, 0))
            {
                forged.Append([Encoding.UTF8.GetBytes("another past"), .. Entries(1, count - 1)]);
            }

            Assert.True(Verify(other.Path).Ok);
            Assert.Contains(word, Verify(other.Path, kept).Problem, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_log_whose_past_is_gone_does_not_open_and_signs_nothing()
    {
        byte[] first;
        using (var log = Open())
        {
            log.Append(Entries(0, 10));
            first = log.Current.Note;
            log.Append(Entries(10, 10));
        }

        Assert.Contains("was cut from 21 to 20", Assert.Throws<InvalidDataException>(() => Open(knownSize: 21)).Message, StringComparison.Ordinal);
        var last = File.ReadAllBytes(_folder["checkpoint"]);

        // An older checkpoint in place of the last: its tiles were widened since, so it cannot be where a kill left us.
        File.WriteAllBytes(_folder["checkpoint"], first);
        Assert.Throws<InvalidDataException>(() => Open());
        File.Delete(_folder["checkpoint"]);
        Assert.Contains("has no checkpoint", Assert.Throws<InvalidDataException>(() => Open()).Message, StringComparison.Ordinal);
        File.WriteAllBytes(_folder["checkpoint"], last);
        using var stranger = NoteSigner.Create("yizhan/audit/s1");
        Assert.Contains("not signed by this node's key", Assert.Throws<InvalidDataException>(() => TreeLog.Open(new DurableFolder(_folder.Path), stranger, 0)).Message, StringComparison.Ordinal);
        Assert.True(Verify(_folder.Path, first).Ok);
    }

    [Theory]
    [InlineData("tile/0/000")]
    [InlineData("tile/entries/000")]
    public void A_tile_that_is_cut_off_is_not_read_as_a_shorter_one(string path)
    {
        using var log = Open();
        log.Append(Entries(0, 300));
        Assert.True(TileAddress.TryParse(path, out var tile));
        File.WriteAllBytes(_folder[path], File.ReadAllBytes(_folder[path])[..^1]);
        Assert.Null(log.Reader.TryRead(tile));
        Assert.Contains(path, Assert.Throws<InvalidDataException>(() => log.Reader.Read(tile)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_entry_that_is_too_long_is_refused_before_anything_is_written()
    {
        using var log = Open();
        Assert.Throws<ArgumentException>(() => log.Append([new byte[1], new byte[65536]]));
        log.Append([new byte[65535], Array.Empty<byte>()]);
        Assert.Equal(2, log.Current.Checkpoint.Size);
        Assert.True(Verify(_folder.Path).Ok);
    }

    private TreeLog Open(long knownSize = 0) => TreeLog.Open(new DurableFolder(_folder.Path), _signer, knownSize);

    private LogVerification Verify(string folder, params ReadOnlyMemory<byte>[] older) =>
        LogVerifier.VerifyTiles(new LogFolder(folder), new LogTrust(_signer.PublicKey) { Older = older }, null, TestContext.Current.CancellationToken);

    internal static ReadOnlyMemory<byte>[] Entries(int first, int count, string text = "entry") =>
        [.. Enumerable.Range(first, count).Select(i => (ReadOnlyMemory<byte>)Encoding.UTF8.GetBytes($"{text} {i:D5}"))];

    /// <summary>The entry that a byte of a file is about: entries here have 11 bytes and two of length.</summary>
    private static long EntryAt(string path, int length, int offset)
    {
        Assert.True(TileAddress.TryParse(path, out var tile));
        Assert.Equal(tile.Level == TileAddress.Entries ? tile.Width * 13 : tile.Width * TreeHash.Size, length);
        var inTile = offset / (tile.Level == TileAddress.Entries ? 13 : TreeHash.Size);
        return ((tile.Number * TileAddress.FullWidth) + inTile) << (8 * Math.Max(tile.Level, 0));
    }
}
