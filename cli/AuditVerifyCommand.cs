using System.CommandLine;
using System.Net;
using System.Text.Json;
using Yizhan.Transparency;

namespace Yizhan.Cli;

/// <summary><c>yizhan audit verify</c>: reads a log, over HTTP or from a folder, and believes nothing but keys.</summary>
internal static class AuditVerifyCommand
{
    public static Command Create()
    {
        var offline = new Option<DirectoryInfo?>("--offline") { Description = "Verify this folder (audit/tree of a node, or a copy) and ask nobody." };
        var key = new Option<string>("--key") { Description = "Key of the log (name+id+base64), or a file with it; from a trusted place, not from the log.", Required = true };
        var witnesses = new Option<string[]>("--witness") { Description = "Key of a witness, or a file with it: its cosignature must be there. Repeat for several.", DefaultValueFactory = _ => [] };
        var seen = new Option<FileInfo?>("--seen") { Description = "Checkpoint of the last time: the log must begin with it. Written anew after a good verification." };
        var command = new Command("verify", """
            Checks every entry, every hash, the root, the signature, the sealed records and the chain of each source. Names the first entry
            that is wrong. A cut tail, a fork and a rewritten past contradict what was seen before (--seen) or what a witness signed.
            Exit code 0: all is right. 1: something is wrong.

            Examples:
              yizhan audit verify --key log.vkey
              yizhan audit verify --offline /mnt/copy/tree --key log.vkey --seen last.checkpoint
              yizhan audit verify --key log.vkey --witness witness.vkey --json | tail -n 1 | jq .ok
            """) { offline, key, witnesses, seen };
        command.SetAction((parsed, cancellationToken) => AuditCommand.RunAsync(parsed, http =>
        {
            if (parsed.GetValue(offline) is { Exists: false } missing)
            {
                throw new IOException($"The folder '{missing.FullName}' does not exist.");
            }

            ILogFiles files = parsed.GetValue(offline) is { } folder ? new LogFolder(folder.FullName) : new LogOverHttp(http);
            return Task.FromResult(Verify(
                files, parsed.GetValue(key)!, parsed.GetValue(witnesses)!, parsed.GetValue(seen), parsed.GetValue(AuditCommand.Json), cancellationToken));
        }));
        return command;
    }

    /// <summary>A key as text, or in a file.</summary>
    public static NoteKey ReadKey(string text) =>
        NoteKey.TryParse(File.Exists(text) ? File.ReadAllText(text) : text, out var key) ? key
        : throw new InvalidDataException($"'{text}' is no key; accepted: name+id+base64, or a file with it.");

    private static int Verify(ILogFiles files, string key, string[] witnesses, FileInfo? seen, bool json, CancellationToken cancellationToken)
    {
        var trust = new LogTrust(ReadKey(key))
        {
            Witnesses = [.. witnesses.Select(ReadKey)],
            Older = seen is { Exists: true } ? [File.ReadAllBytes(seen.FullName)] : [],
        };
        var result = LogVerifier.Verify(files, trust, new Progress(json), cancellationToken);
        var output = json ? Console.Error : Console.Out;
        foreach (var remark in result.Remarks)
        {
            output.WriteLine($"note: {remark}");
        }

        output.WriteLine(result.Ok
            ? $"All {result.EntriesChecked} entries of {result.Checkpoint!.Origin} are what was signed."
            : $"NOT VERIFIED: {result.Problem}");
        if (result.Ok && seen is not null && files.TryOpen(LogVerifier.CheckpointFile) is { } note)
        {
            Save(note, seen, trust.Key, result.Checkpoint!);
        }

        if (json)
        {
            Console.WriteLine(JsonSerializer.Serialize(
                new { ok = result.Ok, entries = result.EntriesChecked, size = result.Checkpoint?.Size, problem = result.Problem, badEntry = result.BadEntry, remarks = result.Remarks }));
        }

        return result.Ok ? 0 : 1;
    }

    /// <summary>Keeps what was verified; a log that grew meanwhile is kept next time.</summary>
    private static void Save(Stream note, FileInfo seen, NoteKey key, Checkpoint verified)
    {
        using (note)
        {
            using var bytes = new MemoryStream();
            note.CopyTo(bytes);
            if (Checkpoint.TryOpen(bytes.ToArray(), key, out var checkpoint) && checkpoint == verified)
            {
                File.WriteAllBytes(seen.FullName + ".tmp", bytes.ToArray());
                File.Move(seen.FullName + ".tmp", seen.FullName, overwrite: true);
            }
        }
    }

    private sealed class Progress(bool toError) : IProgress<long>
    {
        private const long Each = 1_000_000;
        private long _next = Each;

        public void Report(long value)
        {
            if (value >= _next)
            {
                (toError ? Console.Error : Console.Out).WriteLine($"{value} entries");
                _next = value + Each;
            }
        }
    }
}

/// <summary>The log of a node as its HTTP surface serves it. Nothing can be listed there but the tombstones.</summary>
internal sealed class LogOverHttp(HttpClient http) : ILogFiles
{
    private byte[]? _checkpoint;

    public Stream? TryOpen(string path)
    {
        // One state for the whole verification, although the node goes on writing.
        if (path == LogVerifier.CheckpointFile)
        {
            return new MemoryStream(_checkpoint ??= Bytes(path) ?? []);
        }

        var answer = http.Send(new HttpRequestMessage(HttpMethod.Get, path), HttpCompletionOption.ResponseHeadersRead);
        if (answer.StatusCode == HttpStatusCode.NotFound)
        {
            return null;
        }

        answer.EnsureSuccessStatusCode();
        return answer.Content.ReadAsStream();
    }

    public IReadOnlyList<string> Names(string folder) => folder == Tombstone.Folder && Bytes(folder) is { } lines
        ? System.Text.Encoding.UTF8.GetString(lines).Split('\n', StringSplitOptions.RemoveEmptyEntries)
        : [];

    public IEnumerable<string> Paths() => [];

    private byte[]? Bytes(string path)
    {
        using var answer = http.Send(new HttpRequestMessage(HttpMethod.Get, path));
        if (answer.StatusCode == HttpStatusCode.NotFound)
        {
            return null;
        }

        answer.EnsureSuccessStatusCode();
        using var bytes = new MemoryStream();
        answer.Content.ReadAsStream().CopyTo(bytes);
        return bytes.ToArray();
    }
}
