namespace Yizhan.NmtAsr.Sherpa;

/// <summary>A family of models that sherpa-onnx runs, by the name that a pack gives (<c>model</c> of <c>configs/speech.json</c>).</summary>
/// <param name="Name">The name.</param>
/// <param name="Task">What it is for.</param>
/// <param name="Streams">It hears while somebody speaks; the others hear an utterance when it has ended.</param>
/// <param name="Files">Its files in <c>models/</c>.</param>
/// <param name="Features">Mel bands that it hears; 80 unless its authors chose others.</param>
internal sealed record SherpaModel(string Name, string Task, bool Streams, string[] Files, int Features = 80)
{
    private const string Tokens = "tokens.txt", Encoder = "encoder.onnx", Decoder = "decoder.onnx", Joiner = "joiner.onnx", Model = "model.onnx";

    /// <summary>The family whose search can make words likelier.</summary>
    public const string TakesHotWords = "zipformer-streaming";

    /// <summary>What tokens of that family may be.</summary>
    public static IReadOnlyList<string> Units { get; } = ["cjkchar", "bpe", "cjkchar+bpe"];

    /// <summary>All that are known.</summary>
    public static IReadOnlyList<SherpaModel> All { get; } =
    [
        new("zipformer-streaming", "asr", true, [Encoder, Decoder, Joiner, Tokens]),
        new("paraformer-streaming", "asr", true, [Encoder, Decoder, Tokens]),
        new("zipformer-ctc-streaming", "asr", true, [Model, Tokens]),
        new("nemo-ctc-streaming", "asr", true, [Model, Tokens]),
        new("t-one-ctc-streaming", "asr", true, [Model, Tokens]),
        new("zipformer", "asr", false, [Encoder, Decoder, Joiner, Tokens]),
        new("paraformer", "asr", false, [Model, Tokens]),
        new("zipformer-ctc", "asr", false, [Model, Tokens]),
        new("nemo-ctc", "asr", false, [Model, Tokens]),
        new("wenet-ctc", "asr", false, [Model, Tokens]),
        new("telespeech-ctc", "asr", false, [Model, Tokens], 40),
        new("omnilingual-ctc", "asr", false, [Model, Tokens]),
        new("dolphin-ctc", "asr", false, [Model, Tokens]),
        new("sense-voice", "asr", false, [Model, Tokens]),
        new("whisper", "asr", false, [Encoder, Decoder, Tokens]),
        new("silero", "vad", true, [Model]),
        new("gtcrn", "denoise", true, [Model]),
    ];

    /// <summary>Names of those for a task.</summary>
    public static string Names(string task) => string.Join(", ", All.Where(m => m.Task == task).Select(m => m.Name));

    /// <summary>The family with a name; null when there is none for the task.</summary>
    public static SherpaModel? Find(string? name, string task) => All.FirstOrDefault(m => m.Name == name && m.Task == task);
}
