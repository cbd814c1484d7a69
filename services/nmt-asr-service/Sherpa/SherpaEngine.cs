using System.Runtime.InteropServices;
using System.Text;

namespace Yizhan.NmtAsr.Sherpa;

/// <summary>A model in sherpa-onnx and its streams, within the worker's process.</summary>
internal sealed class SherpaEngine : IDisposable
{
    // Recognisers that stream look a little ahead: they hear the last word when silence follows it.
    private const int TailMs = 700;

    // What each token of a hot word is likelier by (nats); the library's own default.
    private const float HotWordsScore = 1.5f;

    private readonly SherpaModel _family;
    private readonly int _rate;
    private readonly List<nint> _texts = [];
    private readonly Dictionary<int, Stream> _streams = [];
    private Func<nint> _voice = () => 0, _denoiser = () => 0;
    private nint _online, _offline;

    private SherpaEngine(SherpaModel family, int rate) => (_family, _rate) = (family, rate);

    /// <summary>Loads a model.</summary>
    /// <exception cref="InvalidDataException">sherpa-onnx does not take it. What it takes for hopeless ends the process instead, with its own words on standard error.</exception>
    public static SherpaEngine Load(SherpaModel family, string models, int rate, string language, int threads, string unit)
    {
        var engine = new SherpaEngine(family, rate);
        engine.Open(models, language, threads, unit);
        return engine;
    }

    /// <summary>Does what a request asks for; the bytes of its answer.</summary>
    public byte[] Do(byte operation, int id, ReadOnlySpan<byte> payload)
    {
        if (operation == SherpaWorker.Close || operation == SherpaWorker.Begin)
        {
            if (_streams.Remove(id, out var old))
            {
                Free(old);
            }
        }

        if (operation == SherpaWorker.Begin)
        {
            _streams[id] = _family switch
            {
                { Task: "vad" } => new Stream(Made(_voice())),
                { Task: "denoise" } => new Stream(Made(_denoiser())),
                { Streams: true } => new Stream(Made(payload.IsEmpty ? SherpaApi.CreateOnlineStream(_online) : SherpaApi.CreateOnlineStream(_online, Encoding.UTF8.GetString(payload)))),
                _ => new Stream(0),
            };
        }

        if (operation is SherpaWorker.Close or SherpaWorker.Begin)
        {
            return [];
        }

        var stream = _streams.GetValueOrDefault(id) ?? throw new InvalidDataException($"There is no stream {id}.");
        var samples = MemoryMarshal.Cast<byte, short>(payload);
        var floats = new float[samples.Length];
        for (var i = 0; i < floats.Length; i++)
        {
            floats[i] = samples[i] / 32768f;
        }

        return _family.Task switch
        {
            "vad" => Voice(stream, floats),
            "denoise" => Denoised(operation == SherpaWorker.End ? SherpaApi.FlushDenoiser(stream.Handle) : SherpaApi.Denoise(stream.Handle, floats, floats.Length, _rate)),
            _ => _family.Streams ? Online(stream, operation, floats) : Offline(stream, operation, floats),
        };
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var stream in _streams.Values)
        {
            Free(stream);
        }

        _streams.Clear();
        _texts.ForEach(Marshal.FreeCoTaskMem);
        _texts.Clear();
    }

    private byte[] Online(Stream stream, byte operation, float[] samples)
    {
        if (operation == SherpaWorker.End)
        {
            samples = new float[_rate * TailMs / 1000];
        }

        if (samples.Length > 0)
        {
            SherpaApi.AcceptOnline(stream.Handle, _rate, samples, samples.Length);
        }

        if (operation == SherpaWorker.End)
        {
            SherpaApi.FinishOnline(stream.Handle);
        }

        while (SherpaApi.IsOnlineReady(_online, stream.Handle) != 0)
        {
            SherpaApi.DecodeOnline(_online, stream.Handle);
        }

        return operation == SherpaWorker.Accept ? [] : Json(SherpaApi.OnlineResult(_online, stream.Handle), SherpaApi.FreeOnlineResult);
    }

    private byte[] Offline(Stream stream, byte operation, float[] samples)
    {
        stream.Said.AddRange(samples);
        if (operation != SherpaWorker.End || stream.Said.Count == 0)
        {
            return [];
        }

        var one = Made(SherpaApi.CreateOfflineStream(_offline));
        try
        {
            SherpaApi.AcceptOffline(one, _rate, CollectionsMarshal.AsSpan(stream.Said), stream.Said.Count);
            SherpaApi.DecodeOffline(_offline, one);
            return Json(SherpaApi.OfflineResult(one), SherpaApi.FreeOfflineResult);
        }
        finally
        {
            SherpaApi.DestroyOfflineStream(one);
            stream.Said.Clear();
        }
    }

    private static byte[] Voice(Stream stream, float[] samples)
    {
        SherpaApi.AcceptVoice(stream.Handle, samples, samples.Length);
        var speaks = SherpaApi.IsVoice(stream.Handle);

        // Only whether somebody speaks is asked; the segments that it keeps would grow.
        SherpaApi.ClearVoice(stream.Handle);
        return [(byte)speaks];
    }

    private static unsafe byte[] Denoised(nint audio)
    {
        if (audio == 0)
        {
            return [];
        }

        var denoised = Marshal.PtrToStructure<SherpaApi.DenoisedAudio>(audio);
        var samples = new short[denoised.Count];
        var floats = new ReadOnlySpan<float>((void*)denoised.Samples, denoised.Count);
        for (var i = 0; i < samples.Length; i++)
        {
            samples[i] = (short)Math.Clamp(MathF.Round(floats[i] * 32768f), short.MinValue, short.MaxValue);
        }

        SherpaApi.FreeDenoised(audio);
        return MemoryMarshal.AsBytes(samples.AsSpan()).ToArray();
    }

    private void Free(Stream stream)
    {
        Action<nint> free = _family switch { { Task: "vad" } => SherpaApi.DestroyVoice, { Task: "denoise" } => SherpaApi.DestroyDenoiser, _ => SherpaApi.DestroyOnlineStream };
        if (stream.Handle != 0)
        {
            free(stream.Handle);
        }
    }

    private void Open(string models, string language, int threads, string unit)
    {
        foreach (var file in _family.Files.Where(f => !File.Exists(Path.Combine(models, f))))
        {
            throw new InvalidDataException($"models/{file} is missing; a pack of '{_family.Name}' has {string.Join(", ", _family.Files)}.");
        }

        nint Part(string file) => Text(Path.Combine(models, file));
        var (model, encoder, decoder, joiner, cpu) = (Part("model.onnx"), Part("encoder.onnx"), Part("decoder.onnx"), Part("joiner.onnx"), Text("cpu"));
        switch (_family.Name)
        {
            case "silero":
                var voice = new SherpaApi.VoiceConfig { Silero = model, Threshold = 0.5f, MinSilenceSeconds = 0.1f, MinSpeechSeconds = 0.05f, Window = 512, MaxSpeechSeconds = 3600, SampleRate = _rate, Threads = threads, Provider = cpu };
                _voice = () => SherpaApi.CreateVoice(voice, 60);
                SherpaApi.DestroyVoice(Made(_voice()));
                return;
            case "gtcrn":
                var denoiser = new SherpaApi.DenoiserConfig { Gtcrn = model, Threads = threads, Provider = cpu };
                _denoiser = () => SherpaApi.CreateDenoiser(denoiser);
                SherpaApi.DestroyDenoiser(Made(_denoiser()));
                return;
        }

        if (_family.Streams)
        {
            var online = new SherpaApi.OnlineConfig { SampleRate = _rate, FeatureDimensions = _family.Features, Tokens = Part("tokens.txt"), Threads = threads, Provider = cpu, DecodingMethod = Text(unit.Length == 0 ? "greedy_search" : "modified_beam_search"), MaxActivePaths = 4, HotWordsScore = HotWordsScore };
            if (unit.Length > 0)
            {
                (online.ModelingUnit, online.BpeVocabulary) = (Text(unit), unit.Contains("bpe", StringComparison.Ordinal) ? Part("bpe.vocab") : 0);
            }

            switch (_family.Name)
            {
                case "zipformer-streaming": (online.TransducerEncoder, online.TransducerDecoder, online.TransducerJoiner) = (encoder, decoder, joiner); break;
                case "paraformer-streaming": (online.ParaformerEncoder, online.ParaformerDecoder) = (encoder, decoder); break;
                case "zipformer-ctc-streaming": online.ZipformerCtc = model; break;
                case "nemo-ctc-streaming": online.NemoCtc = model; break;
                case "t-one-ctc-streaming": online.ToneCtc = model; break;
            }

            _online = Made(SherpaApi.CreateOnline(online));
            return;
        }

        var offline = new SherpaApi.OfflineConfig { SampleRate = _rate, FeatureDimensions = _family.Features, Tokens = Part("tokens.txt"), Threads = threads, Provider = cpu };
        switch (_family.Name)
        {
            case "zipformer": (offline.TransducerEncoder, offline.TransducerDecoder, offline.TransducerJoiner) = (encoder, decoder, joiner); break;
            case "paraformer": offline.Paraformer = model; break;
            case "zipformer-ctc": offline.ZipformerCtc = model; break;
            case "nemo-ctc": offline.NemoCtc = model; break;
            case "wenet-ctc": offline.WenetCtc = model; break;
            case "telespeech-ctc": offline.TeleSpeechCtc = model; break;
            case "omnilingual-ctc": offline.OmnilingualCtc = model; break;
            case "dolphin-ctc": offline.Dolphin = model; break;
            case "sense-voice": (offline.SenseVoice, offline.SenseVoiceLanguage, offline.SenseVoiceNumbers) = (model, Text(language.Length == 0 ? "auto" : language), 1); break;
            case "whisper": (offline.WhisperEncoder, offline.WhisperDecoder, offline.WhisperLanguage, offline.WhisperTask, offline.WhisperTail) = (encoder, decoder, Text(language), Text("transcribe"), -1); break;
        }

        _offline = Made(SherpaApi.CreateOffline(offline));
    }

    private nint Text(string text)
    {
        _texts.Add(Marshal.StringToCoTaskMemUTF8(text));
        return _texts[^1];
    }

    private nint Made(nint handle) => handle != 0 ? handle : throw new InvalidDataException($"sherpa-onnx does not take this model as '{_family.Name}'.");

    private static byte[] Json(nint text, Action<nint> free)
    {
        var json = Encoding.UTF8.GetBytes(Marshal.PtrToStringUTF8(text) ?? "");
        free(text);
        return json;
    }

    private sealed record Stream(nint Handle)
    {
        public List<float> Said { get; } = [];
    }
}
