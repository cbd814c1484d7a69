using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using Yizhan.Transparency;

namespace Yizhan.Audit.Tests;

/// <summary>The page of an evidence file, followed by somebody who has a shell, openssl and sha256sum, and nothing else.</summary>
public sealed class EvidenceTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    [Fact]
    [Trait("Clause", "S7")]
    public async Task The_commands_of_the_page_alone_verify_the_evidence_and_refuse_every_tampered_file()
    {
        await WriteEvidenceAsync(20, 0, 7, 19);
        var (code, output) = await FollowPageAsync();
        Assert.True(code == 0, output);
        Assert.Contains("entry-0 is in the log, with this record", output, StringComparison.Ordinal);
        Assert.Contains("entry-7 is in the log; its record was erased", output, StringComparison.Ordinal);
        Assert.Contains("entry-19 is in the log, with this record", output, StringComparison.Ordinal);

        var page = File.ReadAllText(_folder["evidence/README.txt"]);
        foreach (var file in Directory.GetFiles(_folder["evidence"], "*", SearchOption.AllDirectories))
        {
            var path = Path.GetRelativePath(_folder["evidence"], file);
            var bytes = File.ReadAllBytes(file);
            var changed = bytes.ToArray();
            changed[bytes.Length / 3] ^= 1;
            File.WriteAllBytes(file, changed);
            Assert.True((await FollowPageAsync(page)).Code != 0, path);

            // Who tampers with a file puts its new sum into the list, too: then the tree or the signature contradicts.
            if (path is not ("SHA256SUMS" or "README.txt"))
            {
                var sums = File.ReadAllText(_folder["evidence/SHA256SUMS"]);
                var line = $"{Convert.ToHexStringLower(SHA256.HashData(bytes))}  {path}";
                Assert.Contains(line, sums, StringComparison.Ordinal);
                File.WriteAllText(_folder["evidence/SHA256SUMS"], sums.Replace(line, $"{Convert.ToHexStringLower(SHA256.HashData(changed))}  {path}", StringComparison.Ordinal));
                Assert.True((await FollowPageAsync(page)).Code != 0, $"{path} with its sum");
                File.WriteAllText(_folder["evidence/SHA256SUMS"], sums);
            }

            File.WriteAllBytes(file, bytes);
        }

        // A line that is no line of a list of sums must not be passed over.
        var list = File.ReadAllText(_folder["evidence/SHA256SUMS"]);
        File.WriteAllText(_folder["evidence/SHA256SUMS"], $"g{list[1..]}");
        Assert.NotEqual(0, (await FollowPageAsync(page)).Code);
        File.WriteAllText(_folder["evidence/SHA256SUMS"], list);
        Assert.Equal(0, (await FollowPageAsync()).Code);
    }

    [Fact]
    public async Task No_evidence_is_made_of_an_entry_that_is_not_in_the_tree_or_of_another_key()
    {
        await WriteEvidenceAsync(3, 0);
        using var log = AuditLog.Open(_folder["audit"], _folder["keys"], "centre");
        var size = log.Current.Checkpoint.Size;
        var entry = log.Read(1, size);
        var wrong = new EvidenceEntry(0, entry.LeafBytes, log.Reader.Proofs(size).Inclusion(1, size), null, null);
        Assert.Throws<InvalidDataException>(() => EvidenceFile.Make(log.Current.Note, log.Key, [wrong]));
        using var stranger = Notes.NoteSigner.Create(log.Key.Name);
        Assert.Throws<InvalidDataException>(() => EvidenceFile.Make(log.Current.Note, stranger.PublicKey, [wrong with { Index = 1 }]));
    }

    private async Task WriteEvidenceAsync(int records, params long[] entries)
    {
        await using var node = Node.EventsOnly(_folder["node"]);
        await node.Events.AppendAsync(
            [.. Enumerable.Range(0, records).Select(i => Node.EntryOf(Node.Record(i, $"patient/p{i}") with { Detail = i == 19 ? new string('影', 4000) : "a 'quoted' \\ $(text)" }, $"r{i}"))], Cancel);
        using var log = AuditLog.Open(_folder["audit"], _folder["keys"], "centre");
        log.Append(await node.Events.ReadAsync(0, 100, Cancel), node.Events.Epoch);
        if (log.KeyOf("patient/p7") is { } erased)
        {
            log.Keys.Destroy(erased, 1);
        }

        var size = log.Current.Checkpoint.Size;
        var files = EvidenceFile.Make(log.Current.Note, log.Key, [.. entries.Select(i => Of(log.Read(i, size)))]);
        foreach (var (path, bytes) in files)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(_folder[$"evidence/{path}"])!);
            File.WriteAllBytes(_folder[$"evidence/{path}"], bytes);
        }

        EvidenceEntry Of(AuditEntry entry) => new(
            entry.Index, entry.LeafBytes, log.Reader.Proofs(size).Inclusion(entry.Index, size), entry.Opened?.Salt, entry.Opened?.Payload);
    }

    /// <summary>Runs the indented lines of the page, with a PATH that has two programs.</summary>
    private async Task<(int Code, string Output)> FollowPageAsync(string? page = null)
    {
        var lines = (page ?? File.ReadAllText(_folder["evidence/README.txt"])).Split('\n').Where(l => l.StartsWith("    ", StringComparison.Ordinal));
        var programs = Directory.CreateDirectory(_folder["bin"]).FullName;
        foreach (var program in new[] { "openssl", "sha256sum" })
        {
            if (!File.Exists($"/usr/bin/{program}"))
            {
                Assert.Skip($"/usr/bin/{program} is not here.");
            }

            File.Delete(Path.Combine(programs, program));
            File.CreateSymbolicLink(Path.Combine(programs, program), $"/usr/bin/{program}");
        }

        var start = new ProcessStartInfo("/bin/sh") { WorkingDirectory = _folder["evidence"], RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment.Clear();
        start.Environment["PATH"] = programs;
        start.ArgumentList.Add("-c");
        start.ArgumentList.Add(string.Join('\n', lines));
        using var shell = Process.Start(start)!;
        var errors = shell.StandardError.ReadToEndAsync(Cancel);
        var output = new StringBuilder(await shell.StandardOutput.ReadToEndAsync(Cancel)).Append(await errors);
        await shell.WaitForExitAsync(Cancel);
        return (shell.ExitCode, output.ToString());
    }
}
