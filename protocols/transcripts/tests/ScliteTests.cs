using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

namespace Yizhan.Transcripts.Tests;

/// <summary>The reference scorer itself: Debian's <c>sctk</c>.</summary>
[Trait("Clause", "S4")]
public sealed partial class ScliteTests
{
    private const string Sclite = "/usr/lib/sctk/bin/sclite";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Counts_equal_those_of_sclite_on_random_utterances()
    {
        Assert.SkipUnless(File.Exists(Sclite), "sclite is not installed (Debian: sctk).");
        var random = new Random(20240611);
        var pairs = Enumerable.Range(0, 400).Select(_ => (Utterance(random), Utterance(random))).ToArray();
        var theirs = await ScliteAsync(pairs);
        Assert.Equal(pairs.Length, theirs.Count);
        for (var i = 0; i < pairs.Length; i++)
        {
            var ours = Alignment.Count(TranscriptTokens.Words(pairs[i].Item1), TranscriptTokens.Words(pairs[i].Item2), AlignmentCost.Sclite);
            Assert.True(ours == theirs[i], $"'{pairs[i].Item1}' and '{pairs[i].Item2}': ours {ours}, sclite {theirs[i]}");
        }
    }

    [Fact]
    public async Task Mixed_tokens_equal_those_that_sclite_makes_of_Chinese()
    {
        Assert.SkipUnless(File.Exists(Sclite), "sclite is not installed (Debian: sctk).");
        (string, string)[] pairs =
        [
            ("广州市房地产中介协会分析", "广州市房地产中介协会"), ("患者右侧肺炎 CT 示结节", "患者左侧肺炎 CT 是结节"), ("请复查血常规", "请复查血长归 MRI"), ("没有发热", "有发热"),
        ];
        var theirs = await ScliteAsync(pairs, "-c", "NOASCII", "-e", "utf-8");
        Assert.Equal(pairs.Select(p => Alignment.Count(TranscriptTokens.Mixed(p.Item1), TranscriptTokens.Mixed(p.Item2), AlignmentCost.Sclite)), theirs);
    }

    private static string Utterance(Random random) => string.Join(' ', Enumerable.Range(0, random.Next(1, 12)).Select(_ => "abcd"[random.Next(4)]));

    private static async Task<IReadOnlyList<ErrorCounts>> ScliteAsync(IReadOnlyList<(string Reference, string Hypothesis)> pairs, params string[] more)
    {
        var folder = Directory.CreateTempSubdirectory("yizhan-sclite-").FullName;
        try
        {
            await File.WriteAllLinesAsync(Path.Combine(folder, "ref"), pairs.Select((p, i) => $"{p.Reference} (s_{i:0000})"), Cancel);
            await File.WriteAllLinesAsync(Path.Combine(folder, "hyp"), pairs.Select((p, i) => $"{p.Hypothesis} (s_{i:0000})"), Cancel);
            var start = new ProcessStartInfo(Sclite, ["-r", "ref", "trn", "-h", "hyp", "trn", "-i", "rm", "-o", "pra", "stdout", .. more]) { WorkingDirectory = folder, RedirectStandardOutput = true };
            using var process = Process.Start(start)!;
            var text = await process.StandardOutput.ReadToEndAsync(Cancel);
            await process.WaitForExitAsync(Cancel);
            return [.. Scores().Matches(text).Select(m => new ErrorCounts(Value(m, 1), Value(m, 2), Value(m, 3), Value(m, 4)))];
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static long Value(Match match, int group) => long.Parse(match.Groups[group].Value, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"Scores: \(#C #S #D #I\) (\d+) (\d+) (\d+) (\d+)")]
    private static partial Regex Scores();
}
