using Microsoft.Extensions.Options;
using Microsoft.ML.OnnxRuntime;
using Yizhan.NmtAsr.Ctc;
using Yizhan.NmtAsr.Engines;
using Yizhan.NmtAsr.Sherpa;
using Yizhan.Platform;
using Yizhan.Platform.Bundles;
using Yizhan.Platform.Releases;

namespace Yizhan.NmtAsr.Packs;

/// <summary>The packs of this node, and the decoders that are made of them: kept for the next stream, bounded in number.</summary>
internal sealed partial class PackStore : IDisposable
{
    private readonly NmtAsrOptions _options;
    private readonly string _folder;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly Lock _lock = new();
    private readonly SemaphoreSlim _add = new(1, 1);
    private readonly SortedDictionary<string, SpeechPack> _packs = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, string> _refused = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Stack<IRecogniser>> _idle = [];
    private readonly Dictionary<string, CtcModel> _networks = [];
    private readonly Dictionary<string, SherpaProcess> _processes = [];
    private readonly SherpaSettings _sherpa;
    private InferenceSession? _silero;
    private int _lent;

    public PackStore(IOptions<NmtAsrOptions> options, IOptions<NodeOptions> node, TimeProvider clock, ILogger<PackStore> logger)
    {
        (_options, _clock, _logger) = (options.Value, clock, logger);
        _folder = _options.PacksFolder ?? node.Value.PathOf("nmt-asr", "packs");
        _sherpa = new SherpaSettings(_options.SherpaFolder, _options.SherpaMemoryMiB, _options.SherpaThreads);
        Directory.CreateDirectory(_folder);
        Hold(SpeechPack.EnglishOfDebian);
        Scan(Path.Combine(AppContext.BaseDirectory, "speech"), ships: true);
        Scan(_folder, ships: false);
    }

    /// <summary>Streams that are open.</summary>
    public int Lent => Volatile.Read(ref _lent);

    /// <summary>All packs: the newest version of each.</summary>
    public IReadOnlyList<SpeechPack> All
    {
        get
        {
            lock (_lock)
            {
                return [.. _packs.Values];
            }
        }
    }

    /// <summary>Folders that are no packs here, and why.</summary>
    public IReadOnlyDictionary<string, string> Refused
    {
        get
        {
            lock (_lock)
            {
                return new SortedDictionary<string, string>(_refused, StringComparer.Ordinal);
            }
        }
    }

    /// <summary>A pack by its name; null when there is none.</summary>
    public SpeechPack? Find(string name)
    {
        lock (_lock)
        {
            return _packs.GetValueOrDefault(name);
        }
    }

    /// <summary>Why a pack cannot be used now; null when it can.</summary>
    public string? Problem(SpeechPack pack) =>
        pack.Settings.Engine == "sherpa-onnx" ? _sherpa.Problem
        : pack.Settings.Engine != "pocketsphinx" ? null
        : !PocketSphinxApi.IsInstalled ? PocketSphinxApi.Missing
        : pack.Folder is null && !Directory.Exists(PocketSphinxModel.EnglishOfDebian.AcousticModel) ? PocketSphinxApi.Missing
        : null;

    /// <summary>Lends a decoder. Dispose the loan when the stream ends.</summary>
    /// <exception cref="EngineMissingException">The engine or a file of the pack is missing.</exception>
    /// <exception cref="TooManyStreamsException">As many streams as are allowed are open.</exception>
    public Loan Lend(SpeechPack pack)
    {
        if (Interlocked.Increment(ref _lent) > _options.MaxStreams)
        {
            Interlocked.Decrement(ref _lent);
            throw new TooManyStreamsException($"{_options.MaxStreams} streams are open (nmt-asr:maxStreams); try again when one has ended.");
        }

        IVoiceDetector? voice = null;
        SherpaDenoiser? denoiser = null;
        try
        {
            (voice, denoiser) = (Voice(), Denoiser());
            return new Loan(this, pack, Kept(pack) ?? Load(pack), voice, denoiser);
        }
        catch
        {
            voice?.Dispose();
            denoiser?.Dispose();
            Interlocked.Decrement(ref _lent);
            throw;
        }
    }

    /// <summary>Takes a new pack: unpacked apart, verified, let to hear a second of noise, then kept.</summary>
    /// <exception cref="BundleRefusedException">It is not taken; nothing of it stays.</exception>
    public async Task<SpeechPack> AddAsync(Stream archive, CancellationToken cancellationToken)
    {
        await _add.WaitAsync(cancellationToken);
        var apart = Path.Combine(_folder, ".new-" + Guid.CreateVersion7(_clock.GetUtcNow()).ToString("N"));
        try
        {
            SignedBundle.Unpack(archive, apart, _options.MaxPackMiB * 1024L * 1024);
            var pack = Open(apart, ships: false);
            var folder = Path.Combine(_folder, pack.Name, pack.Version);
            if (Directory.Exists(folder))
            {
                throw new BundleRefusedException($"{pack.Id} is here already; a pack never changes, so give the new one another version.");
            }

            await Task.Run(() => Try(pack), cancellationToken);
            Directory.CreateDirectory(Path.GetDirectoryName(folder)!);
            Directory.Move(apart, folder);
            pack = pack with { Folder = folder };
            Hold(pack);
            Added(pack.Name, pack.Version, pack.SignedBy.Count == 0 ? "nobody" : string.Join(", ", pack.SignedBy));
            return pack;
        }
        finally
        {
            if (Directory.Exists(apart))
            {
                Directory.Delete(apart, recursive: true);
            }

            _add.Release();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_lock)
        {
            foreach (var recogniser in _idle.Values.SelectMany(i => i))
            {
                recogniser.Dispose();
            }

            _idle.Clear();
            foreach (var network in _networks.Values)
            {
                network.Dispose();
            }

            _networks.Clear();
            foreach (var process in _processes.Values)
            {
                process.Dispose();
            }

            _processes.Clear();
            _silero?.Dispose();
            _silero = null;
        }

        _add.Dispose();
    }

    /// <summary>A decoder that is kept; null when there is none.</summary>
    private IRecogniser? Kept(SpeechPack pack)
    {
        lock (_lock)
        {
            while (_idle.TryGetValue(pack.Id, out var idle) && idle.TryPop(out var ready))
            {
                if (ready.ForgetsStreams)
                {
                    return ready;
                }

                // Its process has ended meanwhile.
                ready.Dispose();
            }

            return null;
        }
    }

    private IRecogniser Load(SpeechPack pack)
    {
        if (Problem(pack) is { } problem)
        {
            throw new EngineMissingException(problem);
        }

        return pack.Settings.Engine switch
        {
            "ctc" => new CtcRecogniser(Network(pack)),
            "sherpa-onnx" => new SherpaRecogniser(Process(pack), Family(pack), pack.Settings.SampleRate, SherpaRecogniser.Writer(pack.Settings.ModelingUnit, pack.Models)),
            _ => Sphinx(pack),
        };
    }

    /// <summary>The network of a pack, which all its decoders share.</summary>
    private CtcModel Network(SpeechPack pack)
    {
        lock (_lock)
        {
            return _networks.TryGetValue(pack.Id, out var network) ? network : _networks[pack.Id] = Ctc(pack);
        }
    }

    /// <summary>The process of a pack, which all its streams share; another one when it has ended.</summary>
    private SherpaProcess Process(SpeechPack pack)
    {
        lock (_lock)
        {
            if (_processes.TryGetValue(pack.Id, out var process) && process.Runs)
            {
                return process;
            }

            process?.Dispose();
            return _processes[pack.Id] = Started(pack);
        }
    }

    private SherpaProcess Started(SpeechPack pack) => SherpaProcess.Start(_sherpa, pack.Settings.Model!, pack.Models, pack.Settings.SampleRate, pack.Settings.Language, pack.Settings.ModelingUnit);

    private static SherpaModel Family(SpeechPack pack) => SherpaModel.Find(pack.Settings.Model, pack.Settings.Task)!;

    /// <summary>What takes the noise out of a stream; null when the site names nothing.</summary>
    private SherpaDenoiser? Denoiser()
    {
        if (_options.Denoiser is not { } name)
        {
            return null;
        }

        var pack = Find(name) is { Settings.Task: "denoise" } found ? found : throw new EngineMissingException($"nmt-asr:denoiser names '{name}', and no pack of that name takes noise out of sound.");
        return new SherpaDenoiser(Process(pack));
    }

    private static CtcModel Ctc(SpeechPack pack) => CtcModel.Load(pack.Models, pack.Settings.Grammar, pack.Settings.JoinsWords, pack.Settings.Context, pack.Settings.Reject);

    private static PocketSphinx Sphinx(SpeechPack pack) => PocketSphinx.Load(pack.Folder is null ? PocketSphinxModel.EnglishOfDebian : new PocketSphinxModel(
        pack.Models, Path.Combine(pack.Models, "words.dict"), pack.Settings.Grammar ? null : LanguageModel(pack),
        pack.Settings.Grammar ? [.. File.ReadLines(Path.Combine(pack.Models, "phrases.txt")).Where(l => l.Length > 0).Take(10_000)] : null,
        pack.Settings.SampleRate, pack.Settings.JoinsWords));

    /// <summary>N-grams as text, or as pocketsphinx packs them.</summary>
    private static string LanguageModel(SpeechPack pack) =>
        File.Exists(Path.Combine(pack.Models, "words.arpa")) ? Path.Combine(pack.Models, "words.arpa")
        : File.Exists(Path.Combine(pack.Models, "words.lm.bin")) ? Path.Combine(pack.Models, "words.lm.bin")
        : throw new EngineMissingException("The pack has neither models/words.arpa nor models/words.lm.bin: an open vocabulary needs one of them, phrases need grammar true and models/phrases.txt.");

    private IVoiceDetector Voice()
    {
        lock (_lock)
        {
            if (_packs.Values.FirstOrDefault(p => p.Settings.Task == "vad") is not { } pack)
            {
                return new LevelDetector();
            }

            if (pack.Settings.Engine == "sherpa-onnx")
            {
                return new SherpaDetector(Process(pack));
            }

            using var options = new Microsoft.ML.OnnxRuntime.SessionOptions { IntraOpNumThreads = 1, InterOpNumThreads = 1 };
            _silero ??= new InferenceSession(Path.Combine(pack.Models, "model.onnx"), options);
            return new SileroDetector(_silero);
        }
    }

    private void Try(SpeechPack pack)
    {
        try
        {
            var random = new Random(1);
            var noise = Enumerable.Range(0, SpeechStream.SampleRate).Select(_ => (short)random.Next(-2000, 2000)).ToArray();
            switch (pack.Settings.Engine)
            {
                case "pocketsphinx":
                    using (var recogniser = Sphinx(pack))
                    {
                        recogniser.Begin([], whole: false);
                        recogniser.Accept(noise);
                        recogniser.End();
                    }

                    break;
                case "ctc":
                    using (var network = Ctc(pack))
                    using (var recogniser = new CtcRecogniser(network))
                    {
                        recogniser.Begin([], whole: false);
                        recogniser.Accept(noise);
                        recogniser.End();
                    }

                    break;
                case "sherpa-onnx":
                    using (var process = Started(pack))
                    {
                        var stream = process.NewStream();
                        process.Ask(SherpaWorker.Begin, stream);
                        process.Ask(SherpaWorker.Accept, stream, noise);
                        process.Ask(SherpaWorker.End, stream);
                    }

                    break;
                case "seq2seq":
                    using (var model = Translation.Seq2Seq.Load(pack.Models, 1))
                    {
                        model.Translate(model.Encode("1"), 1, CancellationToken.None);
                    }

                    break;
                case "silero":
                    using (var session = new InferenceSession(Path.Combine(pack.Models, "model.onnx")))
                    using (var voice = new SileroDetector(session))
                    {
                        voice.Probability(noise.AsSpan(0, IVoiceDetector.Window));
                    }

                    break;
            }
        }
        catch (Exception e) when (e is EngineMissingException or OnnxRuntimeException or IOException or InvalidDataException or ArgumentException)
        {
            throw new BundleRefusedException($"{pack.Id} does not run: {e.Message}", e);
        }
    }

    private void Return(SpeechPack pack, IRecogniser recogniser)
    {
        lock (_lock)
        {
            if (!_idle.TryGetValue(pack.Id, out var idle))
            {
                _idle[pack.Id] = idle = new Stack<IRecogniser>();
            }

            if (recogniser.ForgetsStreams && idle.Count < _options.KeptDecoders)
            {
                idle.Push(recogniser);
                recogniser = null!;
            }
        }

        recogniser?.Dispose();
        Interlocked.Decrement(ref _lent);
    }

    private void Scan(string folder, bool ships)
    {
        foreach (var version in Directory.Exists(folder) ? Directory.GetDirectories(folder).Where(d => Path.GetFileName(d)[0] != '.').SelectMany(Directory.GetDirectories).Order(StringComparer.Ordinal).ToArray() : [])
        {
            try
            {
                Hold(Open(version, ships));
            }
            catch (BundleRefusedException e)
            {
                _refused[Path.GetRelativePath(folder, version)] = e.Message;
                NotTaken(Path.GetRelativePath(folder, version), e.Message);
            }
        }
    }

    private SpeechPack Open(string folder, bool ships)
    {
        var (manifest, signedBy) = SignedBundle.Open(folder, Trust(), !ships && !_options.AllowUnsigned, "nmt-asr:trustPath");
        return SpeechPack.Of(folder, manifest, signedBy, ships);
    }

    private ReleaseTrust? Trust()
    {
        try
        {
            return _options.TrustPath is { } path ? ReleaseTrust.Load(path) ?? throw new BundleRefusedException($"nmt-asr:trustPath '{path}' does not exist.") : null;
        }
        catch (ReleaseRefusedException e)
        {
            throw new BundleRefusedException($"nmt-asr:trustPath: {e.Message}", e);
        }
    }

    private void Hold(SpeechPack pack)
    {
        lock (_lock)
        {
            if (!_packs.TryGetValue(pack.Name, out var there) || Newer(pack.Version, there.Version))
            {
                _packs[pack.Name] = pack;
            }
        }
    }

    private static bool Newer(string a, string b)
    {
        var (left, right) = (a.Split('.').Select(int.Parse).ToArray(), b.Split('.').Select(int.Parse).ToArray());
        for (var i = 0; i < Math.Max(left.Length, right.Length); i++)
        {
            if (left.ElementAtOrDefault(i) != right.ElementAtOrDefault(i))
            {
                return left.ElementAtOrDefault(i) > right.ElementAtOrDefault(i);
            }
        }

        return false;
    }

    [LoggerMessage(5000, LogLevel.Information, "Pack {Name} {Version} was added, signed by {SignedBy}.")]
    private partial void Added(string name, string version, string signedBy);

    [LoggerMessage(5001, LogLevel.Error, "The pack in {Folder} is not used: {Reason}")]
    private partial void NotTaken(string folder, string reason);

    /// <summary>A decoder for one stream.</summary>
    internal sealed class Loan(PackStore store, SpeechPack pack, IRecogniser recogniser, IVoiceDetector voice, SherpaDenoiser? denoiser) : IDisposable
    {
        private bool _returned;

        public IRecogniser Recogniser { get; } = recogniser;

        public IVoiceDetector Voice { get; } = voice;

        /// <summary>What takes noise out first; null when nothing does.</summary>
        public SherpaDenoiser? Denoiser { get; } = denoiser;

        public SpeechPack Pack { get; } = pack;

        public void Dispose()
        {
            if (!_returned)
            {
                _returned = true;
                Voice.Dispose();
                Denoiser?.Dispose();
                store.Return(Pack, Recogniser);
            }
        }
    }
}

/// <summary>As many streams as are allowed are open.</summary>
internal sealed class TooManyStreamsException(string message) : Exception(message);
