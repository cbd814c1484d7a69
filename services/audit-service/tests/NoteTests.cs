using System.Security.Cryptography;
using System.Text;
using Yizhan.Audit.Notes;
using Yizhan.Audit.Tree;
using Yizhan.Transparency;

namespace Yizhan.Audit.Tests;

public sealed class NoteTests
{
    private const string TestdataKey = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx";

    [Fact]
    public void Every_checkpoint_of_the_given_logs_is_signed_and_says_its_size()
    {
        var opened = 0;
        foreach (var (folder, vkey) in new[] { ("tlog-tiles", TestdataKey), ("tlog-large", null) })
        {
            var path = Corpus.Folder(folder);
            var key = Key(vkey ?? File.ReadAllText(Path.Combine(path, "log.vkey")));
            foreach (var file in Directory.GetFiles(path).Where(f => Path.GetFileName(f).StartsWith("checkpoint.", StringComparison.Ordinal)))
            {
                Assert.True(Checkpoint.TryOpen(File.ReadAllBytes(file), key, out var checkpoint), file);
                Assert.Equal($"checkpoint.{checkpoint.Size}", Path.GetFileName(file));
                opened++;
            }
        }

        Assert.Equal(24, opened);
    }

    [Fact]
    public void The_given_witness_has_cosigned_the_given_log()
    {
        var folder = Corpus.Folder("tlog-large");
        Assert.True(SignedNote.TryParse(File.ReadAllBytes(Path.Combine(folder, "checkpoint")), out var note));
        Assert.True(Key(File.ReadAllText(Path.Combine(folder, "witness.vkey"))).Signs(note));
        var later = note with { Text = note.Text.Replace("600", "601", StringComparison.Ordinal) };
        Assert.False(Key(File.ReadAllText(Path.Combine(folder, "witness.vkey"))).Signs(later));
    }

    [Theory]
    [InlineData("leading-zero-size")]
    [InlineData("wrong-key")]
    [InlineData("wrong-origin")]
    public void A_bad_checkpoint_of_the_corpus_is_refused(string name)
    {
        var folder = Corpus.Folder("tlog-large");
        var key = Key(File.ReadAllText(Path.Combine(folder, "log.vkey")));
        Assert.False(Checkpoint.TryOpen(File.ReadAllBytes(Path.Combine(folder, "bad", name)), key, out _));
    }

    [Theory]
    [InlineData("fork-same-size", "forked")]
    [InlineData("rollback", null)]
    public void A_fork_of_the_corpus_contradicts_its_log_and_a_rollback_is_only_older(string name, string? problem)
    {
        var folder = Corpus.Folder("tlog-large");
        using var copy = new TemporaryFolder();
        CopyLog(folder, copy.Path);
        var key = Key(File.ReadAllText(copy["log.vkey"]));
        var other = File.ReadAllBytes(Path.Combine(folder, "bad", name));
        var result = LogVerifier.VerifyTiles(new LogFolder(copy.Path), new LogTrust(key) { Older = [other] }, null, TestContext.Current.CancellationToken);
        Assert.Equal(problem is null, result.Ok);
        Assert.Contains(problem ?? "", result.Problem ?? "", StringComparison.Ordinal);

        // The rolled-back state in the log's own place, compared with what the witness has seen.
        File.Copy(Path.Combine(folder, "checkpoint"), copy["seen"]);
        File.Copy(Path.Combine(folder, "bad", name), copy["checkpoint"], overwrite: true);
        var rolledBack = LogVerifier.VerifyTiles(new LogFolder(copy.Path), new LogTrust(key) { Older = [File.ReadAllBytes(copy["seen"])] }, null, TestContext.Current.CancellationToken);
        Assert.False(rolledBack.Ok);
        Assert.Contains(name == "rollback" ? "was cut: it has 511" : "not those that the checkpoint signs", rolledBack.Problem, StringComparison.Ordinal);
    }

    [Fact]
    public void The_given_logs_verify_whole()
    {
        foreach (var (name, vkey, size) in new[] { ("tlog-tiles", TestdataKey, 15), ("tlog-large", null, 600) })
        {
            using var copy = new TemporaryFolder();
            CopyLog(Corpus.Folder(name), copy.Path);
            var key = Key(vkey ?? File.ReadAllText(copy["log.vkey"]));
            if (vkey is null)
            {
                File.WriteAllText(copy["log.vkey"], $"{key}\n");
            }

            var result = LogVerifier.VerifyTiles(new LogFolder(copy.Path), new LogTrust(key) { Older = [] }, null, TestContext.Current.CancellationToken);
            Assert.Null(result.Problem);
            Assert.Equal(size, result.EntriesChecked);
        }
    }

    [Fact]
    public void A_signed_note_round_trips_and_any_changed_byte_is_refused()
    {
        using var signer = NoteSigner.Create("yizhan/audit/s1");
        var bytes = signer.Sign(new Checkpoint("yizhan/audit/s1", 7, Merkle.EmptyRoot).ToString()).ToBytes();
        Assert.True(Checkpoint.TryOpen(bytes, Key(signer.PublicKey.ToString()), out var read));
        Assert.Equal(7, read.Size);
        for (var i = 0; i < bytes.Length * 8; i++)
        {
            var changed = bytes.ToArray();
            changed[i / 8] ^= (byte)(1 << (i % 8));
            Assert.False(Checkpoint.TryOpen(changed, signer.PublicKey, out _), $"bit {i}");
        }
    }

    [Fact]
    public void A_cosignature_binds_its_time_and_an_unknown_signature_is_ignored()
    {
        using var log = NoteSigner.Create("log");
        using var witness = NoteSigner.Create("witness");
        var note = log.Sign(new Checkpoint("log", 0, Merkle.EmptyRoot).ToString());
        var cosigned = note.With(witness.Cosign(note.Text, 1_700_000_000));
        Assert.True(witness.CosignatureKey.Signs(cosigned));
        Assert.True(Checkpoint.TryOpen(cosigned.ToBytes(), log.PublicKey, out _));
        var bytes = cosigned.Signatures[1].Bytes.ToArray();
        bytes[7]++;
        Assert.False(witness.CosignatureKey.Signs(note.With(cosigned.Signatures[1] with { Bytes = bytes })));
    }

    [Fact]
    public void An_ecdsa_key_is_accepted_and_a_wrong_signature_beside_a_right_one_rejects_the_note()
    {
        using var ecdsa = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var spki = ecdsa.ExportSubjectPublicKeyInfo();
        var id = Convert.ToHexStringLower(SHA256.HashData(spki)[..4]);
        var key = Key($"centre+{id}+{Convert.ToBase64String([NoteKey.Ecdsa, .. spki])}");
        var text = new Checkpoint("centre", 0, Merkle.EmptyRoot).ToString();
        var right = new NoteSignature(key.Name, key.Id, ecdsa.SignData(Encoding.UTF8.GetBytes(text), HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence));
        var wrong = new NoteSignature(key.Name, key.Id, ecdsa.SignData([1], HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence));
        Assert.True(key.Signs(new SignedNote(text, [right])));
        Assert.False(key.Signs(new SignedNote(text, [right, wrong])));
        Assert.False(key.Signs(new SignedNote(text, [])));
    }

    [Theory]
    [InlineData("log+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx")]
    [InlineData("a b+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx")]
    [InlineData("example.com/log/testdata+33d7b496+AeHT")]
    [InlineData("example.com/log/testdata")]
    [InlineData("")]
    public void A_key_whose_id_or_form_is_wrong_is_refused(string vkey) => Assert.False(NoteKey.TryParse(vkey, out _));

    [Fact]
    public void A_private_key_is_for_its_owner_only()
    {
        using var folder = new TemporaryFolder();
        using (var made = NoteSigner.Create("log"))
        {
            made.Save(new DurableFolder(folder.Path), "signing.key");
            using var read = NoteSigner.Read("log", folder["signing.key"]);
            Assert.Equal(made.PublicKey.ToString(), read!.PublicKey.ToString());
        }

        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(folder["signing.key"]));
        File.SetUnixFileMode(folder["signing.key"], UnixFileMode.UserRead | UnixFileMode.OtherRead);
        Assert.Contains("chmod 600", Assert.Throws<InvalidDataException>(() => NoteSigner.Read("log", folder["signing.key"])).Message, StringComparison.Ordinal);
    }

    private static NoteKey Key(string vkey) => NoteKey.TryParse(vkey, out var key) ? key : throw new InvalidDataException(vkey);

    private static void CopyLog(string from, string to)
    {
        foreach (var file in Directory.GetFiles(from, "*", SearchOption.AllDirectories))
        {
            var path = Path.GetRelativePath(from, file);
            if (path is "checkpoint" or "log.vkey" || path.StartsWith("tile/", StringComparison.Ordinal))
            {
                var target = Path.Combine(to, path);
                Directory.CreateDirectory(Path.GetDirectoryName(target)!);
                File.WriteAllBytes(target, File.ReadAllBytes(file));
            }
        }
    }
}
