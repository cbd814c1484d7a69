using Microsoft.Extensions.Options;
using Yizhan.AiInfer.Engine;
using Yizhan.Platform;
using Yizhan.Platform.Bundles;
using Yizhan.Platform.Releases;

namespace Yizhan.AiInfer.Repository;

/// <summary>
/// All bundles of this node and what of them is loaded. Several versions of a model may be loaded at once. A bundle is verified each time it is loaded, and
/// a new one has to pass a trial in a process of its own before it is kept.
/// </summary>
internal sealed partial class ModelRepository : IHostedService, IAsyncDisposable
{
    /// <summary>Reason of a version that somebody unloaded.</summary>
    private const string Unload = "unloaded";

    private readonly AiInferOptions _options;
    private readonly string _folder;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly SemaphoreSlim _change = new(1, 1);
    private readonly Lock _lock = new();
    private readonly SortedDictionary<string, SortedDictionary<string, Held>> _models = new(StringComparer.Ordinal);

    public ModelRepository(IOptions<AiInferOptions> options, IOptions<NodeOptions> node, TimeProvider clock, ILogger<ModelRepository> logger)
    {
        (_options, _clock, _logger) = (options.Value, clock, logger);
        _folder = _options.ModelsFolder ?? node.Value.PathOf("ai-infer", "models");
        Directory.CreateDirectory(_folder);
        Scan(Path.Combine(AppContext.BaseDirectory, "bundles"), ships: true);
        Scan(_folder, ships: false);
    }

    /// <summary>Every version of every model, in order of name and version.</summary>
    public IReadOnlyList<HeldView> Index()
    {
        lock (_lock)
        {
            return [.. _models.SelectMany(m => m.Value.Values).Select(h => new HeldView(h.Name, h.Version, h.State, h.Reason, h.Ships, h.Runner))];
        }
    }

    /// <summary>Why this repository does not serve what the settings ask of it; null when it does. What people unloaded is no fault.</summary>
    public string? Fault()
    {
        if (!Directory.Exists(_folder))
        {
            return "The folder of the site's models is gone.";
        }

        lock (_lock)
        {
            foreach (var name in _options.Load.Concat(_options.Rules.Select(r => r.Model)).Distinct(StringComparer.Ordinal))
            {
                if (!_models.TryGetValue(name, out var versions))
                {
                    return $"The settings name model '{name}', which is not here.";
                }

                if (versions.Values.All(h => h.Runner is null) && versions.Values.FirstOrDefault(h => h.Reason is not ("" or Unload)) is { } broken)
                {
                    return $"Model '{name}' {broken.Version} does not load: {broken.Reason}";
                }
            }
        }

        return null;
    }

    /// <summary>The loaded version of a model; null when that one is not loaded, and <paramref name="reason"/> says why.</summary>
    /// <param name="name">Model.</param>
    /// <param name="version">Version; empty or null for the newest loaded one.</param>
    /// <param name="reason">Why there is none.</param>
    public ModelRunner? Find(string name, string? version, out string reason)
    {
        lock (_lock)
        {
            if (!_models.TryGetValue(name, out var versions))
            {
                reason = $"There is no model '{name}'; accepted: {string.Join(", ", _models.Keys)}.";
                return null;
            }

            var held = string.IsNullOrEmpty(version)
                ? versions.Values.LastOrDefault(h => h.Runner is not null) ?? versions.Values.Last()
                : versions.GetValueOrDefault(version);
            reason = held is null ? $"Model '{name}' has no version '{version}'; accepted: {string.Join(", ", versions.Keys)}."
                : held.Runner is null ? $"Model '{name}' {held.Version} is not loaded{(held.Reason.Length > 0 ? ": " + held.Reason : "; POST /v2/repository/models/" + name + "/load loads it.")}"
                : "";
            return held?.Runner;
        }
    }

    /// <summary>Versions of a model, oldest first.</summary>
    public IReadOnlyList<string> Versions(string name)
    {
        lock (_lock)
        {
            return _models.TryGetValue(name, out var versions) ? [.. versions.Keys] : [];
        }
    }

    /// <summary>The bundle, verified once; it need not be loaded. <see cref="LoadAsync"/> verifies it again.</summary>
    /// <exception cref="BundleRefusedException">It is not here or not what was signed.</exception>
    public ModelBundle Bundle(string name, string version)
    {
        lock (_lock)
        {
            return _models.TryGetValue(name, out var versions) && versions.TryGetValue(version, out var held)
                ? held.Bundle ??= Open(held)
                : throw new BundleRefusedException($"There is no {name} {version} here; accepted: {string.Join(", ", _models.SelectMany(m => m.Value.Keys.Select(v => $"{m.Key} {v}")))}.");
        }
    }

    /// <summary>Loads a version, verifying it, and warms it up. One that is loaded stays as it is.</summary>
    /// <param name="name">Model.</param>
    /// <param name="version">Version; null for the newest.</param>
    /// <param name="cancellationToken">Stops the wait for another load.</param>
    /// <exception cref="BundleRefusedException">It is not here, not what was signed, or does not load.</exception>
    public async Task<ModelRunner> LoadAsync(string name, string? version, CancellationToken cancellationToken)
    {
        await _change.WaitAsync(cancellationToken);
        try
        {
            var held = Require(name, version);
            if (held.Runner is { } loaded)
            {
                return loaded;
            }

            try
            {
                held.State = ModelState.Loading;
                held.Bundle = Open(held);
                var engine = await StartAsync(held.Bundle, cancellationToken);
                try
                {
                    held.Bundle.CheckAgainst(engine);
                }
                catch
                {
                    await engine.DisposeAsync();
                    throw;
                }

                var runner = new ModelRunner(name, held.Version, engine, held.Bundle.Settings.Runner ?? new RunnerSettings(), _clock);
                lock (_lock)
                {
                    (held.Runner, held.State, held.Reason) = (runner, ModelState.Ready, "");
                }

                Loaded(name, held.Version, engine.RunsOn);
                return runner;
            }
            catch (Exception e) when (e is BundleRefusedException or ModelFailedException)
            {
                (held.State, held.Reason) = (ModelState.Unavailable, e.Message);
                NotLoaded(name, held.Version, e.Message);
                throw e as BundleRefusedException ?? new BundleRefusedException(e.Message, e);
            }
        }
        finally
        {
            _change.Release();
        }
    }

    /// <summary>Unloads a version, or all of a model: requests that wait are answered first.</summary>
    /// <exception cref="BundleRefusedException">There is no such model.</exception>
    public async Task UnloadAsync(string name, string? version, CancellationToken cancellationToken)
    {
        await _change.WaitAsync(cancellationToken);
        try
        {
            _ = Require(name, version);
            foreach (var held in _models[name].Values.Where(h => h.Runner is not null && (version is null || h.Version == version)).ToArray())
            {
                ModelRunner runner;
                lock (_lock)
                {
                    runner = held.Runner!;
                    (held.Runner, held.State, held.Reason) = (null, ModelState.Unavailable, Unload);
                }

                await runner.DisposeAsync();
                Unloaded(name, held.Version);
            }
        }
        finally
        {
            _change.Release();
        }
    }

    /// <summary>Takes a new bundle: unpacked apart, verified, tried in a process of its own, then kept.</summary>
    /// <exception cref="BundleRefusedException">It is not taken; nothing of it stays.</exception>
    public async Task<ModelBundle> AddAsync(Stream archive, CancellationToken cancellationToken)
    {
        await _change.WaitAsync(cancellationToken);
        var apart = Path.Combine(_folder, ".new-" + Guid.CreateVersion7(_clock.GetUtcNow()).ToString("N"));
        try
        {
            SignedBundle.Unpack(archive, apart, _options.MaxBundleMiB * 1024L * 1024);
            var bundle = ModelBundle.Open(apart, Trust(), !_options.AllowUnsigned);
            var (name, version) = (bundle.Manifest.Name, bundle.Manifest.Version);
            lock (_lock)
            {
                if (_models.TryGetValue(name, out var there) && there.ContainsKey(version))
                {
                    throw new BundleRefusedException($"{name} {version} is here already; a bundle never changes, so give the new one another version.");
                }
            }

            if (bundle.Settings.Clinical is not null)
            {
                // What it asks of an image must be understood now, not when a patient waits for it.
                Clinical.Recipe.Parse(bundle.Inference);
            }

            await ModelTrial.RunAsync(bundle, Limits, cancellationToken);
            var folder = Path.Combine(_folder, name, version);
            Directory.CreateDirectory(Path.GetDirectoryName(folder)!);
            Directory.Move(apart, folder);
            lock (_lock)
            {
                Hold(new Held(name, version, folder, false));
            }

            Added(name, version, bundle.Digest, bundle.SignedBy.Count == 0 ? "nobody" : string.Join(", ", bundle.SignedBy));
            return Bundle(name, version);
        }
        finally
        {
            if (Directory.Exists(apart))
            {
                Directory.Delete(apart, recursive: true);
            }

            _change.Release();
        }
    }

    /// <summary>Loads what the settings name. One that does not load is logged and its reason is in the index; the node starts without it.</summary>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        foreach (var name in _options.Load)
        {
            try
            {
                await LoadAsync(name, null, cancellationToken);
            }
            catch (BundleRefusedException e)
            {
                NotLoaded(name, "", e.Message);
            }
        }
    }

    /// <inheritdoc/>
    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        foreach (var held in _models.Values.SelectMany(m => m.Values).Where(h => h.Runner is not null))
        {
            await held.Runner!.DisposeAsync();
            held.Runner = null;
        }

        _change.Dispose();
    }

    private WorkerLimits Limits => new(_options.WorkerMemoryMiB, _options.Threads);

    private async Task<IModelEngine> StartAsync(ModelBundle bundle, CancellationToken cancellationToken)
    {
        if (bundle.RknnFile is { } rknn && RknnEngine.TryLoad(rknn, out var npu, out var why))
        {
            return npu;
        }
        else if (bundle.ModelPath != "models/model.onnx")
        {
            throw new ModelFailedException(RknnEngine.Missing);
        }

        return bundle.Settings.Isolation == "process"
            ? await WorkerEngine.StartAsync(bundle.ModelFile, Limits, cancellationToken)
            : OnnxEngine.Load(bundle.ModelFile, _options.Threads);
    }

    private Held Require(string name, string? version)
    {
        lock (_lock)
        {
            return !_models.TryGetValue(name, out var versions) ? throw new BundleRefusedException($"There is no model '{name}'; accepted: {string.Join(", ", _models.Keys)}.")
                : version is null ? versions.Values.Last()
                : versions.GetValueOrDefault(version) ?? throw new BundleRefusedException($"Model '{name}' has no version '{version}'; accepted: {string.Join(", ", versions.Keys)}.");
        }
    }

    private ModelBundle Open(Held held) => ModelBundle.Open(held.Folder, Trust(), !held.Ships && !_options.AllowUnsigned);

    private ReleaseTrust? Trust()
    {
        try
        {
            return _options.TrustPath is { } path ? ReleaseTrust.Load(path) ?? throw new BundleRefusedException($"ai-infer:trustPath '{path}' does not exist.") : null;
        }
        catch (ReleaseRefusedException e)
        {
            throw new BundleRefusedException($"ai-infer:trustPath: {e.Message}", e);
        }
    }

    private void Scan(string folder, bool ships)
    {
        foreach (var version in Directory.Exists(folder) ? Directory.GetDirectories(folder).SelectMany(Directory.GetDirectories) : [])
        {
            var (name, number) = (Path.GetFileName(Path.GetDirectoryName(version))!, Path.GetFileName(version));
            if (BundleManifest.NamePattern().IsMatch(name) && BundleManifest.VersionPattern().IsMatch(number))
            {
                Hold(new Held(name, number, version, ships));
            }
        }
    }

    private void Hold(Held held)
    {
        if (!_models.TryGetValue(held.Name, out var versions))
        {
            _models[held.Name] = versions = new SortedDictionary<string, Held>(ByVersion);
        }

        versions.TryAdd(held.Version, held);
    }

    private static readonly Comparer<string> ByVersion = Comparer<string>.Create((a, b) =>
    {
        var (left, right) = (a.Split('.').Select(int.Parse).ToArray(), b.Split('.').Select(int.Parse).ToArray());
        for (var i = 0; i < Math.Max(left.Length, right.Length); i++)
        {
            if (left.ElementAtOrDefault(i).CompareTo(right.ElementAtOrDefault(i)) is not 0 and var order)
            {
                return order;
            }
        }

        return left.Length.CompareTo(right.Length);
    });

    [LoggerMessage(4000, LogLevel.Information, "Model {Name} {Version} is loaded. It runs on {RunsOn}.")]
    private partial void Loaded(string name, string version, string runsOn);

    [LoggerMessage(4001, LogLevel.Error, "Model {Name} {Version} is not loaded: {Reason}")]
    private partial void NotLoaded(string name, string version, string reason);

    [LoggerMessage(4002, LogLevel.Information, "Model {Name} {Version} is unloaded.")]
    private partial void Unloaded(string name, string version);

    [LoggerMessage(4003, LogLevel.Information, "Model {Name} {Version} was added, digest {Digest}, signed by {SignedBy}.")]
    private partial void Added(string name, string version, string digest, string signedBy);

    /// <summary>One version of a model.</summary>
    private sealed class Held(string name, string version, string folder, bool ships)
    {
        public string Name { get; } = name;

        public string Version { get; } = version;

        public string Folder { get; } = folder;

        public bool Ships { get; } = ships;

        public ModelBundle? Bundle { get; set; }

        public ModelRunner? Runner { get; set; }

        public string State { get; set; } = ModelState.Unavailable;

        public string Reason { get; set; } = "";
    }
}

/// <summary>States of the repository index (Triton's model repository extension).</summary>
internal static class ModelState
{
    public const string Ready = "READY", Unavailable = "UNAVAILABLE", Loading = "LOADING";
}

/// <summary>One version of a model as it is now.</summary>
internal sealed record HeldView(string Name, string Version, string State, string Reason, bool Ships, ModelRunner? Runner);
