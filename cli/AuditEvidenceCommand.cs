using System.CommandLine;
using System.Text;
using System.Text.Json;
using Yizhan.Transparency;

namespace Yizhan.Cli;

/// <summary><c>yizhan audit evidence</c>: entries with their proofs, in a folder that anybody can verify with public tools.</summary>
internal static class AuditEvidenceCommand
{
    public static Command Create()
    {
        var entries = new Argument<long[]>("entry") { Description = "Places of the entries, as a search shows them.", Arity = ArgumentArity.OneOrMore };
        var key = new Option<string>("--key") { Description = "Key of the log, or a file with it.", Required = true };
        var folder = new Option<DirectoryInfo>("--out") { Description = "New folder for the evidence.", Required = true };
        var command = new Command("evidence", """
            Writes entries, their inclusion proofs, the signed checkpoint, the key, and a page that says how to verify all of it with a
            shell, openssl and sha256sum. What it writes was verified before.

            Examples:
              yizhan audit evidence 17 --key log.vkey --out case-12
              yizhan audit evidence 17 18 40 --key log.vkey --out case-12 --json
            """) { entries, key, folder };
        command.SetAction((parsed, cancellationToken) => AuditCommand.RunAsync(parsed, async http =>
        {
            var to = parsed.GetValue(folder)!;
            if (to.Exists)
            {
                throw new IOException($"The folder '{to.FullName}' exists already.");
            }

            // All proofs are for one size: that of the checkpoint that the first one brings.
            var proven = new List<EvidenceEntry>();
            string? checkpoint = null;
            long? size = null;
            foreach (var index in parsed.GetValue(entries)!.Distinct().Order())
            {
                var proof = await AuditCommand.JsonOf(await http.GetAsync($"records/{index}/proof{(size is { } s ? $"?size={s}" : "")}", cancellationToken), cancellationToken);
                checkpoint ??= proof.GetProperty("checkpoint").GetString();
                size ??= proof.GetProperty("size").GetInt64();
                proven.Add(new EvidenceEntry(
                    index,
                    proof.GetProperty("leaf").GetBytesFromBase64(),
                    [.. proof.GetProperty("proof").EnumerateArray().Select(h => new TreeHash(h.GetBytesFromBase64()))],
                    BytesOf(proof, "salt"),
                    BytesOf(proof, "payload")));
            }

            var files = EvidenceFile.Make(Encoding.UTF8.GetBytes(checkpoint!), AuditVerifyCommand.ReadKey(parsed.GetValue(key)!), proven);
            foreach (var (path, bytes) in files)
            {
                var file = Path.Combine(to.FullName, path);
                Directory.CreateDirectory(Path.GetDirectoryName(file)!);
                await File.WriteAllBytesAsync(file, bytes, cancellationToken);
            }

            Console.WriteLine(parsed.GetValue(AuditCommand.Json)
                ? JsonSerializer.Serialize(new { folder = to.FullName, entries = proven.Select(e => e.Index), size })
                : $"{proven.Count} entries are in {to.FullName}. How to verify them: {Path.Combine(to.FullName, EvidenceFile.Page)}");
            return 0;
        }));
        return command;
    }

    private static ReadOnlyMemory<byte>? BytesOf(JsonElement proof, string name) =>
        proof.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetBytesFromBase64().AsMemory() : default(ReadOnlyMemory<byte>?);
}
