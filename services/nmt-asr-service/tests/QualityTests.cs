using System.Diagnostics;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.NmtAsr.Audio;
using Yizhan.NmtAsr.Engines;
using Yizhan.NmtAsr.Quality;
using Yizhan.Platform.Bundles;

namespace Yizhan.NmtAsr.Tests;

/// <summary>What the alert P2 divides, from real dictation and from golden sets.</summary>
[Trait("Clause", "S4")]
[Trait("Clause", "D6.4")]
public sealed class QualityTests() : NodeTest("--node:siteId=hill", "--nmt-asr:dialects:0=en", "--nmt-asr:allowUnsigned=true")
{
    private const string Said = "go forward ten meters";

    [Fact]
    public async Task A_degraded_microphone_raises_the_metric_of_P2_and_a_fixed_one_clears_it()
    {
        var good = Recording();

        // A microphone whose amplifier is far too high: every sample is at one end or the other.
        var broken = (byte[])good.Clone();
        for (var at = WavWriter.HeaderBytes; at < broken.Length; at += 2)
        {
            var loud = (short)Math.Clamp(BitConverter.ToInt16(broken, at) * 100, short.MinValue, short.MaxValue);
            BitConverter.TryWriteBytes(broken.AsSpan(at), loud);
        }

        var (errorsBefore, wordsBefore) = await CountersAsync();
        await LiveClient.NoteAsync(App, "degraded-1", broken, Said);
        var (errorsBroken, wordsBroken) = await CountersAsync();
        await LiveClient.NoteAsync(App, "repaired-1", good, Said);
        var (errorsFixed, wordsFixed) = await CountersAsync();
        var (worse, better) = (errorsBroken - errorsBefore, errorsFixed - errorsBroken);
        Assert.Equal((4, 4), (wordsBroken - wordsBefore, wordsFixed - wordsBroken));
        Assert.True(worse >= 2, $"{worse} errors with the degraded microphone");
        Assert.Equal(0, better);
        await AlertsAsync(worse, better);
    }

    [Fact]
    public async Task A_golden_set_is_played_and_counted_and_an_altered_one_is_not()
    {
        Recording();
        var sets = App.Services.GetRequiredService<GoldenSets>();
        var counts = await sets.PlayAsync(Cancel);
        Assert.Equal((4L, 0L), (counts.Reference, counts.Errors));
        using var http = Operator.Client(App);
        Assert.Contains("source=\"golden\"", await http.GetStringAsync("metrics", Cancel), StringComparison.Ordinal);
        await File.AppendAllTextAsync(Path.Combine(Folder, "nmt-asr", "golden", "ward", "1", "configs", "golden.json"), " ", Cancel);
        Assert.Equal(0L, (await sets.PlayAsync(Cancel)).Reference);
    }

    /// <summary>The rule itself, in the real rule engine: such a dictation every five minutes, then the repaired microphone.</summary>
    private async Task AlertsAsync(long worse, long better)
    {
        if (!File.Exists("/usr/bin/promtool"))
        {
            return;
        }

        var rules = Path.Combine(Given.Root, "infra", "observability", "rules", "yizhan.rules.yaml");
        var test = Path.Combine(Folder, "p2.test.yaml");
        await File.WriteAllTextAsync(test, $$"""
            rule_files: ['{{rules}}']
            evaluation_interval: 5m
            tests:
              - interval: 5m
                input_series:
                  - {series: 'yizhan_asr_word_errors_total{site="hill",dialect="en",source="correction"}', values: '0+{{worse}}x288 {{worse * 288 + better}}+{{better}}x600'}
                  - {series: 'yizhan_asr_reference_words_total{site="hill",dialect="en",source="correction"}', values: '0+4x889'}
                promql_expr_test:
                  - {expr: 'count(ALERTS{alertname="WordErrorRateHigh",alertstate="firing",site="hill"})', eval_time: 23h, exp_samples: [{labels: '{}', value: 1}]}
                  - {expr: 'count(ALERTS{alertname="WordErrorRateHigh",alertstate="firing",site="hill"})', eval_time: 60h, exp_samples: []}
            """, Cancel);
        using var promtool = Process.Start(new ProcessStartInfo("/usr/bin/promtool", ["test", "rules", test]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var said = await promtool.StandardOutput.ReadToEndAsync(Cancel) + await promtool.StandardError.ReadToEndAsync(Cancel);
        await promtool.WaitForExitAsync(Cancel);
        Assert.True(promtool.ExitCode == 0, said);
    }

    private async Task<(long Errors, long Words)> CountersAsync()
    {
        using var http = Operator.Client(App);
        var lines = (await http.GetStringAsync("metrics", Cancel)).Split('\n');
        return (Sum("yizhan_asr_word_errors_total{"), Sum("yizhan_asr_reference_words_total{"));
        long Sum(string name) => lines.Where(l => l.StartsWith(name, StringComparison.Ordinal)).Sum(l => long.Parse(l.Split("} ")[1].Split(' ')[0], System.Globalization.CultureInfo.InvariantCulture));
    }

    protected override void Prepare()
    {
        var raw = Path.Combine(Given.Root, "..", "shared", "models", "pocketsphinx-en-us", "test", "goforward.raw");
        if (!File.Exists(raw))
        {
            return;
        }

        var set = Path.Combine(Folder, "nmt-asr", "golden", "ward", "1");
        Directory.CreateDirectory(Path.Combine(set, "configs"));
        Directory.CreateDirectory(Path.Combine(set, "models"));
        File.WriteAllBytes(Path.Combine(set, "models", "go.wav"), Recording());
        File.WriteAllText(Path.Combine(set, "configs", "golden.json"), JsonSerializer.Serialize(new[] { new { file = "go.wav", dialect = "en", text = Said } }));
        File.WriteAllBytes(Path.Combine(set, BundleManifest.Path), BundleManifest.Of("ward", "1", set).ToBytes());
    }

    private static byte[] Recording()
    {
        Assert.SkipUnless(PocketSphinxApi.IsInstalled && Directory.Exists(PocketSphinxModel.EnglishOfDebian.AcousticModel), PocketSphinxApi.Missing);
        var samples = File.ReadAllBytes(Given.Path("pocketsphinx-en-us", "test", "goforward.raw"));
        return [.. WavWriter.Header(SpeechStream.SampleRate, samples.Length), .. samples];
    }
}
