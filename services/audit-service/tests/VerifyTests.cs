using Yizhan.Transparency;

namespace Yizhan.Audit.Tests;

/// <summary>The verifier on a whole log with its sealed records, as an outsider has it: files and a key.</summary>
public sealed class VerifyTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private NoteKey _key = null!;
    private (int Leaf, int Payload)[] _lengths = [];

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    [Fact]
    [Trait("Clause", "S7")]
    public async Task Any_flipped_byte_of_any_stored_file_of_a_small_log_is_found_and_the_entry_is_named()
    {
        // Each byte costs a verification of all of them: few entries are as good, and a quarter of the time.
        await MakeAsync(6);
        Flip(every: 1, atLeastFiles: 5);
    }

    [Fact]
    public async Task A_flipped_byte_of_a_log_of_several_tiles_and_a_tombstone_is_found()
    {
        await MakeAsync(700, log => log.Expire(256, 512, DateTimeOffset.UnixEpoch, "old"));
        Flip(every: 397, atLeastFiles: 9);
    }

    [Fact]
    public async Task A_removed_entry_of_a_source_is_found_even_when_the_log_was_signed_again_without_it()
    {
        await MakeAsync(10);
        using var signer = Notes.NoteSigner.Create("yizhan/audit/centre");
        using var forged = new TemporaryFolder();
        using (var log = AuditLog.Open(_folder["audit"], _folder["keys"], "centre"))
        using (var tree = Tree.TreeLog.Open(new Tree.DurableFolder(forged.Path), signer, 0))
        {
            var kept = log.Entries(0, 10).Where(e => e.Index != 4).ToArray();
            tree.Append([.. kept.Select(e => e.LeafBytes)], [.. kept.Select(e => e.Sealed)]);
        }

        var result = LogVerifier.Verify(new LogFolder(forged.Path), new LogTrust(signer.PublicKey), null, Cancel);
        Assert.Contains("entries between them are missing", result.Problem, StringComparison.Ordinal);
        Assert.Equal(4, result.BadEntry);
    }

    [Fact]
    public async Task What_a_source_did_not_deliver_is_an_entry_and_an_alarm()
    {
        await using var node = Node.EventsOnly(_folder["node"]);
        for (var i = 0; i < 6; i++)
        {
            await node.Events.AppendAsync([Node.EntryOf(Node.Record(i), $"r{i}")], Cancel);
        }

        using var log = AuditLog.Open(_folder["audit"], _folder["keys"], "centre");
        var entries = await node.Events.ReadAsync(0, 10, Cancel);
        Assert.Empty(log.Append([.. entries.Take(2)], node.Events.Epoch).Gaps);
        var appended = log.Append([entries[4], entries[5]], node.Events.Epoch);
        Assert.Contains("sequences 3 to 4", Assert.Single(appended.Gaps), StringComparison.Ordinal);
        Assert.Equal(["record", "record", "gap", "record", "record"], log.Entries(0, 5).Select(e => e.Leaf.Kind));
        var result = LogVerifier.Verify(log.Files, new LogTrust(log.Key), null, Cancel);
        Assert.Null(result.Problem);
        Assert.Contains(result.Remarks, r => r.StartsWith("Entry 2 records a gap", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_witness_whose_cosignature_is_asked_for_must_have_signed()
    {
        await MakeAsync(3);
        using var witness = Notes.NoteSigner.Create("witness");
        var files = new LogFolder(_folder["audit/tree"]);
        var note = File.ReadAllBytes(_folder["audit/tree/checkpoint"]);
        var trust = new LogTrust(_key) { Witnesses = [witness.CosignatureKey] };
        Assert.Contains("No checkpoint with the cosignature", LogVerifier.Verify(files, trust, null, Cancel).Problem, StringComparison.Ordinal);
        Assert.True(SignedNote.TryParse(note, out var parsed));
        var cosigned = parsed.With(witness.Cosign(parsed.Text, 1_700_000_000)).ToBytes();
        Assert.Null(LogVerifier.Verify(files, trust with { Older = [cosigned] }, null, Cancel).Problem);
        File.WriteAllBytes(_folder["audit/tree/witnessed"], cosigned);
        Assert.Null(LogVerifier.Verify(files, trust, null, Cancel).Problem);
    }

    private async Task MakeAsync(int records, Action<AuditLog>? then = null)
    {
        await using var node = Node.EventsOnly(_folder["node"]);
        await node.Events.AppendAsync([.. Enumerable.Range(0, records).Select(i => Node.EntryOf(Node.Record(i, $"patient/p{i % 7}"), $"r{i}"))], Cancel);
        using var log = AuditLog.Open(_folder["audit"], _folder["keys"], "centre");
        for (var position = 0L; await node.Events.ReadAsync(position, 300, Cancel) is { Count: > 0 } entries; position = entries[^1].Position)
        {
            log.Append(entries, node.Events.Epoch);
        }

        _lengths = [.. log.Entries(0, records).Select(e => (e.LeafBytes.Length, e.Sealed.Length))];
        then?.Invoke(log);
        _key = log.Key;
    }

    private void Flip(int every, int atLeastFiles)
    {
        var files = Directory.GetFiles(_folder["audit/tree"], "*", SearchOption.AllDirectories);
        Assert.True(files.Length >= atLeastFiles, $"{files.Length} files");
        Assert.Null(Verify().Problem);
        foreach (var file in files)
        {
            var path = Path.GetRelativePath(_folder["audit/tree"], file);
            var bytes = File.ReadAllBytes(file);
            for (var offset = 0; offset < bytes.Length; offset += every)
            {
                bytes[offset] ^= (byte)(1 << (offset % 8));
                File.WriteAllBytes(file, bytes);
                var result = Verify();
                Assert.False(result.Ok, $"{path}, byte {offset}");
                if (path is not ("checkpoint" or "log.vkey"))
                {
                    Assert.Equal(EntryAt(path, offset, result), result.BadEntry);
                }

                bytes[offset] ^= (byte)(1 << (offset % 8));
            }

            foreach (var cut in new[] { bytes.Length - 1, bytes.Length / 2, 0 })
            {
                File.WriteAllBytes(file, bytes[..cut]);
                Assert.False(Verify().Ok, $"{path} cut to {cut}");
            }

            File.Delete(file);
            Assert.True(path == "log.vkey" || !Verify().Ok, $"{path} deleted");
            File.WriteAllBytes(file, bytes);
        }

        Assert.Null(Verify().Problem);
    }

    private LogVerification Verify() => LogVerifier.Verify(new LogFolder(_folder["audit/tree"]), new LogTrust(_key), null, Cancel);

    /// <summary>The entry that a byte of a file belongs to, counted by hand.</summary>
    private long EntryAt(string path, int offset, LogVerification found)
    {
        if (path.StartsWith("tombstone/", StringComparison.Ordinal))
        {
            return 256;
        }

        var isPayload = path.StartsWith("payload/", StringComparison.Ordinal);
        Assert.True(TileAddress.TryParse(isPayload ? path.Replace("payload/", "tile/entries/", StringComparison.Ordinal) : path, out var tile));
        var first = tile.Number << (8 * (Math.Max(tile.Level, 0) + 1));
        if (tile is { Level: 0, Number: 1 } && found.Remarks.Any(r => r.Contains("have expired", StringComparison.Ordinal)))
        {
            // The entries are gone: the tombstone proves their hashes all together.
            return 256;
        }

        if (tile.Level >= 0)
        {
            return first + ((long)(offset / TreeHash.Size) << (8 * tile.Level));
        }

        // The lengths of what lies before, out of the untouched log of the keys' owner.
        var size = found.Checkpoint!.Size;
        var end = 0;
        for (var entry = first; entry < size; entry++)
        {
            end += isPayload ? _lengths[entry].Payload : _lengths[entry].Leaf + 2;
            if (offset < end)
            {
                return entry;
            }
        }

        return -1;
    }
}
