using System.Text.Json;
using System.Text.Json.Serialization;
using Yizhan.NmtAsr.Sherpa;
using Yizhan.Platform.Bundles;

namespace Yizhan.NmtAsr.Packs;

/// <summary>What a pack says of itself: <c>configs/speech.json</c>.</summary>
/// <param name="Task"><c>asr</c>, <c>vad</c>, <c>denoise</c> or <c>mt</c>.</param>
/// <param name="Engine">What runs it: <c>pocketsphinx</c>, <c>ctc</c>, <c>silero</c>, <c>seq2seq</c> or <c>sherpa-onnx</c>.</param>
/// <param name="Licence">Its licence and whose it is.</param>
/// <param name="Description">What it is, and what it is not.</param>
/// <param name="Dialects">Dialects that it was made for and measured on (BCP 47: cmn, yue, hak, en …). Nobody guesses that it knows another.</param>
/// <param name="SampleRate">Samples for each second that it hears.</param>
/// <param name="Grammar">Its phrases are those of <c>models/phrases.txt</c>, and no other is heard.</param>
/// <param name="JoinsWords">Its words are written without spaces.</param>
/// <param name="ClinicalUse">Whether it may be used for clinical records without a look. Default false: every result says so.</param>
/// <param name="Figures">What was measured on what; text by test set.</param>
/// <param name="Source">Language that a translation is from.</param>
/// <param name="Target">Language that it is into.</param>
/// <param name="Context">Of <c>ctc</c>: frames to each side that an answer depends on.</param>
/// <param name="Reject">Of <c>ctc</c>: how much worse than the network's freest reading each sound may be (nats); what is worse is not heard.</param>
/// <param name="Model">Of <c>sherpa-onnx</c>: the family of the model (<see cref="SherpaModel"/>).</param>
/// <param name="Language">Of <c>sherpa-onnx</c>: the language that a model of several is told (<c>zh</c>, <c>en</c>, <c>yue</c> …).</param>
/// <param name="ModelingUnit">Of <c>zipformer-streaming</c> in <c>sherpa-onnx</c>: what its tokens are, <c>cjkchar</c>, <c>bpe</c> or <c>cjkchar+bpe</c> (with the last two the pack has <c>models/bpe.vocab</c>). Then it takes hot words, by a slower search.</param>
internal sealed record PackSettings(
    string Task, string Engine, string Licence, string Description, IReadOnlyList<string>? Dialects = null, int SampleRate = 16_000,
    bool Grammar = false, bool JoinsWords = false, bool ClinicalUse = false, IReadOnlyDictionary<string, string>? Figures = null, string? Source = null, string? Target = null,
    int Context = 9, double Reject = 2, string? Model = null, string? Language = null, string? ModelingUnit = null);

/// <summary>A signed bundle with a model for speech.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Version">Its version.</param>
/// <param name="Folder">Where it is; null for what Debian installed.</param>
/// <param name="SignedBy">Who signed it.</param>
/// <param name="Ships">It came with the product or with Debian.</param>
/// <param name="Settings">What it says.</param>
internal sealed record SpeechPack(string Name, string Version, string? Folder, IReadOnlyList<string> SignedBy, bool Ships, PackSettings Settings)
{
    private const int MaxSettingsBytes = 64 * 1024;

    private static readonly Dictionary<string, string[]> s_engines = new(StringComparer.Ordinal)
    {
        ["asr"] = ["pocketsphinx", "ctc", "sherpa-onnx"],
        ["vad"] = ["silero", "sherpa-onnx"],
        ["denoise"] = ["sherpa-onnx"],
        ["mt"] = ["seq2seq"],
    };

    /// <summary>English, by Debian's own packages.</summary>
    public static SpeechPack EnglishOfDebian { get; } = new("pocketsphinx-en-us", "5", null, [], true, new PackSettings(
        "asr", "pocketsphinx", "BSD-2-Clause (CMU Sphinx, as Debian packages it)", "Open English vocabulary, 16 kHz; for quiet rooms and clear speech.", ["en"]));

    /// <summary>Name and version.</summary>
    public string Id => $"{Name} {Version}";

    /// <summary>Folder of the models.</summary>
    public string Models => Path.Combine(Folder!, "models");

    /// <summary>Reads what a verified bundle says of itself.</summary>
    /// <exception cref="BundleRefusedException">It is no pack.</exception>
    public static SpeechPack Of(string folder, BundleManifest manifest, IReadOnlyList<string> signedBy, bool ships)
    {
        var what = $"configs/speech.json of {manifest.Name} {manifest.Version}";
        var path = Path.Combine(folder, "configs", "speech.json");
        if (manifest.Files.All(f => f.Path != "configs/speech.json") || new FileInfo(path).Length > MaxSettingsBytes)
        {
            throw new BundleRefusedException($"{manifest.Name} {manifest.Version} has no configs/speech.json of up to {MaxSettingsBytes} bytes, so it is no pack for speech.");
        }

        try
        {
            var settings = JsonSerializer.Deserialize(File.ReadAllBytes(path), PackJson.Default.PackSettings) ?? throw new JsonException("It is null.");
            return !s_engines.TryGetValue(settings.Task, out var engines) ? throw new JsonException($"task is '{settings.Task}'; accepted: {string.Join(", ", s_engines.Keys)}.")
                : !engines.Contains(settings.Engine) ? throw new JsonException($"engine is '{settings.Engine}'; accepted for {settings.Task}: {string.Join(", ", engines)}.")
                : settings.SampleRate is not (8000 or 16_000) ? throw new JsonException($"sampleRate is {settings.SampleRate}; accepted: 8000, 16000.")
                : settings.Task == "asr" && settings.Dialects is not { Count: > 0 } ? throw new JsonException("dialects is missing: a pack says which it was made for.")
                : settings.Task == "mt" && (!Translation.Translator.Languages.Contains(settings.Source) || !Translation.Translator.Languages.Contains(settings.Target))
                    ? throw new JsonException($"source is '{settings.Source}' and target '{settings.Target}'; accepted: {string.Join(", ", Translation.Translator.Languages)}.")
                : settings.Engine == "ctc" && (settings.SampleRate != 16_000 || settings.Context is < 0 or > 200)
                    ? throw new JsonException($"sampleRate is {settings.SampleRate} and context {settings.Context}; accepted for ctc: 16000, and 0 to 200.")
                : settings.Engine == "sherpa-onnx" && SherpaModel.Find(settings.Model, settings.Task) is null
                    ? throw new JsonException($"model is '{settings.Model}'; accepted for {settings.Task} by sherpa-onnx: {SherpaModel.Names(settings.Task)}.")
                : settings.Task is "vad" or "denoise" && settings.SampleRate != 16_000 ? throw new JsonException($"sampleRate is {settings.SampleRate}; accepted for {settings.Task}: 16000.")
                : settings.Language is { } language && !(language.Length is >= 2 and <= 8 && language.All(c => char.IsAsciiLetterLower(c) || c == '-')) ? throw new JsonException("language has 2 to 8 of a-z and '-', or is not given.")
                : settings.ModelingUnit is { } unit && (settings.Model != SherpaModel.TakesHotWords || !SherpaModel.Units.Contains(unit))
                    ? throw new JsonException($"modelingUnit is '{unit}' and model '{settings.Model}'; accepted: {string.Join(", ", SherpaModel.Units)}, of {SherpaModel.TakesHotWords} by sherpa-onnx.")
                : settings.Licence.Length == 0 ? throw new JsonException("licence is empty.")
                : new SpeechPack(manifest.Name, manifest.Version, folder, signedBy, ships, settings);
        }
        catch (JsonException e)
        {
            throw new BundleRefusedException($"{what}: {e.Message}", e);
        }
    }
}

[JsonSourceGenerationOptions(
    JsonSerializerDefaults.Web, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(PackSettings))]
internal sealed partial class PackJson : JsonSerializerContext;
