using System.Text.Json;
using System.Text.Json.Serialization;
using Microsoft.Extensions.Options;
using Yizhan.NmtAsr.Audio;
using Yizhan.NmtAsr.Engines;
using Yizhan.NmtAsr.Packs;
using Yizhan.Platform;
using Yizhan.Platform.Bundles;
using Yizhan.Platform.Releases;
using Yizhan.Transcripts;

namespace Yizhan.NmtAsr.Quality;

/// <summary>A recording of a golden set and what is said in it; an element of <c>configs/golden.json</c>.</summary>
/// <param name="File">The recording (WAV) in <c>models/</c>.</param>
/// <param name="Dialect">What is spoken.</param>
/// <param name="Text">What is said.</param>
internal sealed record GoldenRecording(string File, string Dialect, string Text);

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(IReadOnlyList<GoldenRecording>))]
internal sealed partial class GoldenJson : JsonSerializerContext;

/// <summary>
/// Signed sets of recordings with known text, played once in a day: what hears them is then measured even where nobody corrects. A set is a bundle in
/// <c>nmt-asr/golden/NAME/VERSION</c>; one that is not signed, altered, or of a dialect that nothing hears is said and not counted.
/// </summary>
internal sealed partial class GoldenSets(
    SpeechRouter router, PackStore packs, ErrorFigures figures, IOptions<NodeOptions> node, IOptions<NmtAsrOptions> options, TimeProvider clock, ILogger<GoldenSets> logger) : BackgroundService
{
    private const int MaxListBytes = 1024 * 1024;

    private readonly NmtAsrOptions _options = options.Value;

    /// <summary>Plays all sets that are here and counts what was heard.</summary>
    public async Task<ErrorCounts> PlayAsync(CancellationToken cancellationToken)
    {
        var total = default(ErrorCounts);
        var root = node.Value.PathOf("nmt-asr", "golden");
        foreach (var folder in Directory.Exists(root) ? Directory.GetDirectories(root).SelectMany(Directory.GetDirectories).Order(StringComparer.Ordinal) : Enumerable.Empty<string>())
        {
            try
            {
                foreach (var recording in Read(folder))
                {
                    total += await PlayAsync(folder, recording, cancellationToken);
                }
            }
            catch (Exception e) when (e is BundleRefusedException or JsonException or IOException or AudioRefusedException or EngineMissingException or TooManyStreamsException)
            {
                NotPlayed(Path.GetRelativePath(root, folder), e.Message);
            }
        }

        return total;
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            while (true)
            {
                var now = clock.GetUtcNow();
                var next = new DateTimeOffset(now.Date, TimeSpan.Zero).AddHours(_options.GoldenHour);
                await Task.Delay(next > now ? next - now : next.AddDays(1) - now, clock, stoppingToken);
                var counts = await PlayAsync(stoppingToken);
                Played(counts.Reference, counts.Errors);
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // The node stops.
        }
    }

    private IReadOnlyList<GoldenRecording> Read(string folder)
    {
        var trust = _options.TrustPath is { } path ? ReleaseTrust.Load(path) : null;
        var (manifest, _) = SignedBundle.Open(folder, trust, !_options.AllowUnsigned, "nmt-asr:trustPath");
        var list = Path.Combine(folder, "configs", "golden.json");
        if (manifest.Files.All(f => f.Path != "configs/golden.json") || new FileInfo(list).Length > MaxListBytes)
        {
            throw new BundleRefusedException($"{manifest.Name} {manifest.Version} has no configs/golden.json of up to {MaxListBytes} bytes, so it is no golden set.");
        }

        var recordings = JsonSerializer.Deserialize(File.ReadAllBytes(list), GoldenJson.Default.IReadOnlyListGoldenRecording) ?? [];
        return recordings.FirstOrDefault(r => manifest.Files.All(f => f.Path != $"models/{r.File}")) is { } missing
            ? throw new BundleRefusedException($"{manifest.Name} {manifest.Version} names the recording '{missing.File}', which its manifest does not.")
            : recordings;
    }

    private async Task<ErrorCounts> PlayAsync(string folder, GoldenRecording recording, CancellationToken cancellationToken)
    {
        if (router.Find(recording.Dialect) is not { Pack: { } pack } route)
        {
            throw new EngineMissingException(router.Find(recording.Dialect).Problem!);
        }

        await using var file = File.OpenRead(Path.Combine(folder, "models", recording.File));
        var wav = await WavReader.OpenAsync(file, cancellationToken);
        using var loan = packs.Lend(pack);
        var stream = new SpeechStream(loan.Recogniser, loan.Voice, new Endpointing(_options.EndSilenceMs, _options.MaxUtteranceSeconds * 1000, 0), _options.HotWords, denoiser: loan.Denoiser);
        var found = await stream.HearAsync(wav, cancellationToken);
        var counts = ErrorFigures.Count(string.Join(' ', found.Select(f => f.Text)), recording.Text);
        figures.Add(route.Dialect, "golden", counts);
        return counts;
    }

    [LoggerMessage(5030, LogLevel.Information, "The golden sets were played: {Errors} errors in {Words} tokens.")]
    private partial void Played(long words, long errors);

    [LoggerMessage(5031, LogLevel.Error, "The golden set in {Folder} is not played: {Reason}")]
    private partial void NotPlayed(string folder, string reason);
}
