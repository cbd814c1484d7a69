using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Yizhan.Audit.Notes;
using Yizhan.Audit.Tree;
using Yizhan.Transparency;

namespace Yizhan.Audit.Tests;

public sealed class WitnessTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly NoteSigner _signer = NoteSigner.Create("example.org/log");

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _signer.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public async Task A_log_that_only_grows_is_cosigned_and_everything_else_gets_the_status_of_the_protocol()
    {
        await using var node = await Node.StartAsync(_folder["node"], Cancel, $"--audit:witnessedLogs:0={_signer.PublicKey}");
        await Wait.UntilAsync(() => node.Consumer.Log is not null, Cancel);
        var witness = node.Consumer.Log!.Signer.CosignatureKey;
        using var log = TreeLog.Open(new DurableFolder(_folder["log"]), _signer, 0);
        log.Append(TreeLogTests.Entries(0, 10));
        var at10 = log.Current;
        Assert.Equal((200, true), await AddAsync(0, [], at10.Note));
        Assert.Equal((409, false), await AddAsync(0, [], at10.Note));
        Assert.Equal((200, true), await AddAsync(10, [], at10.Note));
        log.Append(TreeLogTests.Entries(10, 300));
        var proof = log.Reader.Proofs(310).Consistency(10, 310);
        Assert.Equal((422, false), await AddAsync(10, proof[1..], log.Current.Note));
        Assert.Equal((422, false), await AddAsync(10, [], log.Current.Note));
        Assert.Equal((400, false), await AddAsync(311, [], log.Current.Note));
        Assert.Equal((200, true), await AddAsync(10, proof, log.Current.Note));
        Assert.Equal((409, false), await AddAsync(10, proof, log.Current.Note));

        // A rollback, a fork of the same size and a fork that is longer.
        Assert.Equal((400, false), await AddAsync(310, [], at10.Note));
        using var fork = TreeLog.Open(new DurableFolder(_folder["fork"]), _signer, 0);
        fork.Append(TreeLogTests.Entries(0, 310, "other"));
        Assert.Equal((409, false), await AddAsync(310, [], fork.Current.Note));
        fork.Append(TreeLogTests.Entries(310, 5, "other"));
        Assert.Equal((422, false), await AddAsync(310, fork.Reader.Proofs(315).Consistency(310, 315), fork.Current.Note));

        using var stranger = NoteSigner.Create("example.org/log");
        Assert.Equal((403, false), await AddAsync(310, [], stranger.Sign(log.Current.Checkpoint.ToString()).ToBytes()));
        using var unknown = NoteSigner.Create("example.org/other");
        Assert.Equal((404, false), await AddAsync(0, [], unknown.Sign(new Checkpoint("example.org/other", 0, Merkle.EmptyRoot).ToString()).ToBytes()));
        foreach (var body in new[] { "", "old x\n\n", "old 1\nnot base64\n\n", "old 310\n\nno note" })
        {
            Assert.Equal(HttpStatusCode.BadRequest, (await node.Http.PostAsync("/audit/witness/add-checkpoint", new StringContent(body), Cancel)).StatusCode);
        }

        // What the witness remembers contradicts a log whose tail was cut.
        var remembered = await node.Http.GetByteArrayAsync("/audit/witness/checkpoint?origin=example.org/log", Cancel);
        Assert.True(SignedNote.TryParse(remembered, out var note));
        Assert.True(witness.Signs(note));
        Directory.Delete(_folder["fork"], recursive: true);
        using var cut = TreeLog.Open(new DurableFolder(_folder["fork"]), _signer, 0);
        cut.Append(TreeLogTests.Entries(0, 10));
        var verdict = LogVerifier.VerifyTiles(new LogFolder(_folder["fork"]), new LogTrust(_signer.PublicKey) { Older = [remembered], Witnesses = [witness] }, null, Cancel);
        Assert.Contains("was cut: it has 10 entries and signed 310", verdict.Problem, StringComparison.Ordinal);

        async Task<(int, bool)> AddAsync(long old, TreeHash[] hashes, byte[] checkpoint)
        {
            var body = $"old {old}\n{string.Concat(hashes.Select(h => h.ToBase64() + "\n"))}\n{Encoding.UTF8.GetString(checkpoint)}";
            var answer = await node.Http.PostAsync("/audit/witness/add-checkpoint", new StringContent(body), Cancel);
            var text = await answer.Content.ReadAsStringAsync(Cancel);
            Assert.Equal(answer.StatusCode == HttpStatusCode.Conflict ? "text/x.tlog.size" : "text/plain", answer.Content.Headers.ContentType!.MediaType);
            return ((int)answer.StatusCode, SignedNote.TryParse(checkpoint, out var parsed) && NoteSignature.TryParse(text.TrimEnd('\n'), out var signature) && witness.Signs(parsed.With(signature)));
        }
    }

    [Fact]
    [Trait("Clause", "S7")]
    public async Task Two_nodes_witness_each_other_and_a_node_whose_tail_was_cut_is_told_so()
    {
        string aKey, bKey;
        await using (var a = await Node.StartAsync(_folder["a"], Cancel))
        await using (var b = await Node.StartAsync(_folder["b"], Cancel))
        {
            await Wait.UntilAsync(() => a.Consumer.Log is not null && b.Consumer.Log is not null, Cancel);
            (aKey, bKey) = (a.Consumer.Log!.Key.ToString(), b.Consumer.Log!.Key.ToString());
        }

        await using var centre = await Node.StartAsync(_folder["a"], Cancel, $"--audit:witnessedLogs:0={bKey}");
        await Wait.UntilAsync(() => centre.Consumer.Log is not null, Cancel);
        string[] settings =
        [
            $"--audit:witnesses:0:url={centre.Http.BaseAddress}audit/witness/", $"--audit:witnesses:0:key={centre.Consumer.Log!.Signer.CosignatureKey}", "--audit:witnessIntervalMs=20", $"--audit:witnessedLogs:0={aKey}",
        ];
        var copy = _folder["copy"];
        for (var number = 1; number <= 2; number++)
        {
            await using (var edge = await Node.StartAsync(_folder["b"], Cancel, settings))
            {
                await PostAsync(edge, number);
                await Wait.UntilAsync(() => WitnessedSize(edge) == number, Cancel);
                var trust = new LogTrust(edge.Consumer.Log!.Key) { Witnesses = [centre.Consumer.Log.Signer.CosignatureKey] };
                Assert.Null(LogVerifier.Verify(edge.Consumer.Log.Files, trust, null, Cancel).Problem);
                Assert.Equal(HttpStatusCode.OK, (await edge.Http.GetAsync("/healthz", Cancel)).StatusCode);
            }

            if (number == 1)
            {
                CopyFolder(_folder["b"], copy);
            }
        }

        // Somebody puts an older copy of everything back and records something else.
        await using var cut = await Node.StartAsync(copy, Cancel, settings);
        await PostAsync(cut, 3);
        await Wait.UntilAsync(async () => (await cut.Http.GetAsync("/healthz", Cancel)).StatusCode == HttpStatusCode.ServiceUnavailable, Cancel);
    }

    private static long WitnessedSize(Node node) =>
        node.Consumer.Log is { } log && log.Reader.TryReadFile(LogVerifier.WitnessedFile, SignedNote.MaxBytes) is { } note && Checkpoint.TryOpen(note, log.Key, out var checkpoint) ? checkpoint.Size : 0;

    private static async Task PostAsync(Node node, int number) =>
        Assert.Equal(HttpStatusCode.Created, (await node.Http.PostAsJsonAsync("/audit/records", Node.Record(number), JsonSerializerOptions.Web, Cancel)).StatusCode);

    private static void CopyFolder(string from, string to)
    {
        foreach (var file in Directory.GetFiles(from, "*", SearchOption.AllDirectories))
        {
            var target = Path.Combine(to, Path.GetRelativePath(from, file));
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.Copy(file, target);
        }
    }
}
