using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using Yizhan.Transcripts;

namespace Yizhan.Cli;

/// <summary>Programs of others that the figures stand beside: NIST's scorer (Debian: <c>sctk</c>) and pocketsphinx's own recogniser (Debian: <c>pocketsphinx</c>).</summary>
internal static partial class AsrReferences
{
    private const string Sclite = "/usr/lib/sctk/bin/sclite", Batch = "/usr/bin/pocketsphinx_batch", Model = "/usr/share/pocketsphinx/model/en-us/";

    /// <summary>What sclite counts for the same tokens; null when it is not installed.</summary>
    public static async Task<ErrorCounts?> ScoreAsync(IReadOnlyList<(string Said, string Heard)> pairs, Func<string, IReadOnlyList<string>> tokens, CancellationToken cancellationToken)
    {
        if (!File.Exists(Sclite))
        {
            return null;
        }

        return await InFolderAsync(async folder =>
        {
            await WriteAsync("ref", p => p.Said);
            await WriteAsync("hyp", p => p.Heard);
            var text = await RunAsync(folder, Sclite, ["-r", "ref", "trn", "-h", "hyp", "trn", "-i", "rm", "-o", "pra", "stdout"], cancellationToken);
            var scores = Scores().Matches(text).Select(m => new ErrorCounts(Value(m, 1), Value(m, 2), Value(m, 3), Value(m, 4))).ToArray();
            return scores.Length == pairs.Count ? scores.Aggregate(default(ErrorCounts), ErrorCounts.Add) : throw new InvalidDataException($"sclite scored {scores.Length} of {pairs.Count} utterances.");

            Task WriteAsync(string name, Func<(string Said, string Heard), string> side) => File.WriteAllLinesAsync(
                Path.Combine(folder, name), pairs.Select((p, i) => $"{string.Join(' ', tokens(side(p)))} (s_{i:0000})"), cancellationToken);
        });

        static long Value(Match match, int group) => long.Parse(match.Groups[group].Value, CultureInfo.InvariantCulture);
    }

    /// <summary>What pocketsphinx's own program hears in each recording, given whole; null and why when it cannot.</summary>
    public static async Task<(IReadOnlyList<string>? Heard, string? Problem)> HearAsync(IReadOnlyList<string> files, CancellationToken cancellationToken)
    {
        if (!File.Exists(Batch) || !File.Exists(Model + "en-us/mdef"))
        {
            return (null, "apt-get install pocketsphinx pocketsphinx-en-us");
        }

        if (files.FirstOrDefault(f => !IsPlain(f)) is { } other)
        {
            return (null, $"'{Path.GetFileName(other)}' is not WAV of one channel, 16 bits and 16 kHz with a header of {HeaderBytes} bytes");
        }

        return (await InFolderAsync(async folder =>
        {
            for (var i = 0; i < files.Count; i++)
            {
                File.CreateSymbolicLink(Path.Combine(folder, $"u{i:0000}.wav"), Path.GetFullPath(files[i]));
            }

            await File.WriteAllLinesAsync(Path.Combine(folder, "ctl"), files.Select((_, i) => $"u{i:0000}"), cancellationToken);
            _ = await RunAsync(folder, Batch, [
                "-adcin", "yes", "-adchdr", $"{HeaderBytes}", "-cepdir", folder, "-cepext", ".wav", "-ctl", "ctl", "-hyp", "hyp", "-logfn", "/dev/null",
                "-hmm", Model + "en-us", "-dict", Model + "cmudict-en-us.dict", "-lm", Model + "en-us.lm.bin"], cancellationToken);
            var heard = (await File.ReadAllLinesAsync(Path.Combine(folder, "hyp"), cancellationToken)).Select(l => Utterance().Match(l))
                .ToDictionary(m => m.Groups[2].Value, m => Variant().Replace(m.Groups[1].Value, ""), StringComparer.Ordinal);
            return files.Select((_, i) => heard.GetValueOrDefault($"u{i:0000}", "")).ToArray();
        }), null);
    }

    private const int HeaderBytes = 44;

    private static bool IsPlain(string path)
    {
        var head = new byte[HeaderBytes];
        using var file = File.OpenRead(path);
        return file.ReadAtLeast(head, head.Length, throwOnEndOfStream: false) == head.Length && head.AsSpan(36, 4).SequenceEqual("data"u8)
            && BinaryPrimitives.ReadInt16LittleEndian(head.AsSpan(22)) == 1 && BinaryPrimitives.ReadInt32LittleEndian(head.AsSpan(24)) == 16_000 && BinaryPrimitives.ReadInt16LittleEndian(head.AsSpan(34)) == 16;
    }

    private static async Task<T> InFolderAsync<T>(Func<string, Task<T>> work)
    {
        var folder = Directory.CreateTempSubdirectory("yizhan-asr-").FullName;
        try
        {
            return await work(folder);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task<string> RunAsync(string folder, string program, string[] arguments, CancellationToken cancellationToken)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true })!;
        var errors = process.StandardError.ReadToEndAsync(cancellationToken);
        var text = await process.StandardOutput.ReadToEndAsync(cancellationToken);
        await process.WaitForExitAsync(cancellationToken);
        return process.ExitCode == 0 ? text : throw new InvalidDataException($"{Path.GetFileName(program)} ended with {process.ExitCode}: {(await errors).Trim()}");
    }

    [GeneratedRegex(@"Scores: \(#C #S #D #I\) (\d+) (\d+) (\d+) (\d+)")]
    private static partial Regex Scores();

    [GeneratedRegex(@"^(.*?)\s*\((\S+) [-\d]+\)$")]
    private static partial Regex Utterance();

    // "read(2)" is the second pronunciation of "read".
    [GeneratedRegex(@"\(\d+\)")]
    private static partial Regex Variant();
}
