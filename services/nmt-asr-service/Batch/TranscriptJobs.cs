using System.Collections.Concurrent;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Threading.Channels;
using Microsoft.Extensions.Options;
using Yizhan.NmtAsr.Audio;
using Yizhan.NmtAsr.Engines;
using Yizhan.NmtAsr.Packs;
using Yizhan.Platform;

namespace Yizhan.NmtAsr.Batch;

/// <summary>What is kept of a job: <c>ID.json</c>, beside the recording (<c>ID.audio</c>) and a line for each utterance (<c>ID.lines</c>).</summary>
internal sealed record JobState(string Owner, JobView View);

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web)]
[JsonSerializable(typeof(JobState))]
[JsonSerializable(typeof(SpeechResult))]
internal sealed partial class JobJson : JsonSerializerContext;

/// <summary>Recordings that are heard one after the other in the background. Memory does not grow with their length; what was not finished is begun again after a restart.</summary>
internal sealed partial class TranscriptJobs : BackgroundService
{
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(10);

    private readonly string _folder;
    private readonly NmtAsrOptions _options;
    private readonly PackStore _packs;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly Lock _lock = new();
    private readonly ConcurrentDictionary<string, JobState> _jobs = new(StringComparer.Ordinal);
    private readonly Channel<string> _queue = Channel.CreateUnbounded<string>();
    private (string Id, CancellationTokenSource Cancel, Task Done)? _running;
    private int _arriving;

    public TranscriptJobs(IOptions<NodeOptions> node, IOptions<NmtAsrOptions> options, PackStore packs, TimeProvider clock, ILogger<TranscriptJobs> logger)
    {
        (_options, _packs, _clock, _logger) = (options.Value, packs, clock, logger);
        _folder = node.Value.PathOf("nmt-asr", "jobs", ".");
        Directory.CreateDirectory(_folder);

        // Names are in the order of time: version 7 of UUID.
        foreach (var path in Directory.GetFiles(_folder, "*.json").Order(StringComparer.Ordinal))
        {
            var id = Path.GetFileNameWithoutExtension(path);
            if (JsonSerializer.Deserialize(File.ReadAllBytes(path), JobJson.Default.JobState) is { } state)
            {
                _jobs[id] = state;
                if (state.View.State is "queued" or "running")
                {
                    Keep(id, state.View with { State = "queued", HeardMs = 0, Utterances = 0 });
                    _queue.Writer.TryWrite(id);
                }
            }
        }

        foreach (var orphan in Directory.GetFiles(_folder).Where(f => !_jobs.ContainsKey(Path.GetFileNameWithoutExtension(f))))
        {
            File.Delete(orphan);
        }
    }

    /// <summary>Folder for what arrives.</summary>
    public string Folder => _folder;

    /// <summary>Takes a recording; null when too many wait. It and the job would survive a power cut when this returns.</summary>
    /// <exception cref="AudioRefusedException">It is no recording that is read here; nothing of it stays.</exception>
    public async Task<JobView?> AddAsync(string owner, string dialect, SpeechPack pack, string? speakers, Stream body, CancellationToken cancellationToken)
    {
        Forget();
        if (Interlocked.Increment(ref _arriving) + _jobs.Values.Count(j => j.View.State is "queued" or "running") > _options.MaxJobs)
        {
            Interlocked.Decrement(ref _arriving);
            return null;
        }

        var id = Guid.CreateVersion7(_clock.GetUtcNow()).ToString("N");
        try
        {
            await using (var file = new FileStream(PathOf(id, "audio"), FileMode.CreateNew))
            {
                await body.CopyToAsync(file, cancellationToken);
                file.Flush(flushToDisk: true);
            }

            long? duration;
            using (var recording = await Recordings.OpenAsync(File.OpenRead(PathOf(id, "audio")), cancellationToken))
            {
                duration = recording.Samples * 1000 / recording.SampleRate;
            }

            var view = new JobView(id, "queued", dialect, pack.Id, 0, duration, 0, [], null, speakers);
            _jobs[id] = new JobState(owner, view);
            Keep(id, view);
            _queue.Writer.TryWrite(id);
            return view;
        }
        catch
        {
            File.Delete(PathOf(id, "audio"));
            throw;
        }
        finally
        {
            Interlocked.Decrement(ref _arriving);
        }
    }

    /// <summary>A job of its owner; null when there is none.</summary>
    public JobView? Find(string id, string owner) => _jobs.TryGetValue(id, out var state) && state.Owner == owner ? state.View : null;

    /// <summary>All jobs of an owner, the newest first.</summary>
    public IReadOnlyList<JobView> Of(string owner) => [.. _jobs.Values.Where(j => j.Owner == owner).Select(j => j.View).OrderByDescending(v => v.Id, StringComparer.Ordinal)];

    /// <summary>What was heard in a job that is done.</summary>
    public IReadOnlyList<SpeechResult> Results(string id) => [.. File.ReadLines(PathOf(id, "lines")).Select(l => JsonSerializer.Deserialize(l, JobJson.Default.SpeechResult)!)];

    /// <summary>Ends a job if it runs, and removes everything of it.</summary>
    public async Task<bool> RemoveAsync(string id, string owner)
    {
        if (Find(id, owner) is null || !_jobs.TryRemove(id, out _))
        {
            return false;
        }

        Task done;
        lock (_lock)
        {
            (done, var cancel) = _running is { } running && running.Id == id ? (running.Done, running.Cancel) : (Task.CompletedTask, null);
            cancel?.Cancel();
        }

        await done.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        Erase(id);
        return true;
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await foreach (var id in _queue.Reader.ReadAllAsync(stoppingToken))
        {
            using var cancel = CancellationTokenSource.CreateLinkedTokenSource(stoppingToken);
            Task done;
            lock (_lock)
            {
                if (!_jobs.TryGetValue(id, out var state))
                {
                    continue;
                }

                done = Task.Run(() => HearAsync(id, state.View, cancel.Token), CancellationToken.None);
                _running = (id, cancel, done);
            }

            await done.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            lock (_lock)
            {
                _running = null;
            }

            stoppingToken.ThrowIfCancellationRequested();
        }
    }

    private async Task HearAsync(string id, JobView job, CancellationToken cancellationToken)
    {
        try
        {
            var pack = _packs.All.FirstOrDefault(p => p.Id == job.Pack) ?? throw new EngineMissingException($"The pack {job.Pack} is not here any more.");
            using var recording = await Recordings.OpenAsync(File.OpenRead(PathOf(id, "audio")), cancellationToken);
            using var streams = await OpenAsync(pack, recording, job.Speakers, cancellationToken);
            await using var lines = new StreamWriter(PathOf(id, "lines"), append: false);
            job = job with { State = "running", HeardMs = 0, Utterances = 0 };
            Keep(id, job);
            await streams.HearAsync(
                recording,
                found =>
                {
                    found.ForEach(f => lines.WriteLine(JsonSerializer.Serialize(f, JobJson.Default.SpeechResult)));
                    job = job with { HeardMs = streams.Samples * 1000 / SpeechStream.SampleRate, Utterances = job.Utterances + found.Count };
                    Show(id, job);
                },
                cancellationToken);
            await lines.FlushAsync(cancellationToken);
            ((FileStream)lines.BaseStream).Flush(flushToDisk: true);
            Keep(id, job with { State = "done", Warnings = streams.Warnings });
        }
        catch (Exception e) when (e is AudioRefusedException or EngineMissingException or IOException)
        {
            Failed(id, e.GetType().Name);
            Keep(id, job with { State = "failed", Problem = e is IOException ? "The disk could not be read or written." : e.Message });
        }
    }

    /// <summary>Decoders when they are free: live streams go first.</summary>
    private async Task<RecordingStreams> OpenAsync(SpeechPack pack, IAudioReader recording, string? speakers, CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                return RecordingStreams.Open(_packs, pack, _options, recording, speakers);
            }
            catch (TooManyStreamsException)
            {
                await Task.Delay(s_retry, _clock, cancellationToken);
            }
        }
    }

    private void Show(string id, JobView view)
    {
        if (_jobs.TryGetValue(id, out var state))
        {
            _jobs.TryUpdate(id, state with { View = view }, state);
        }
    }

    private void Keep(string id, JobView view)
    {
        Show(id, view);
        if (!_jobs.TryGetValue(id, out var state))
        {
            return;
        }

        using (var file = new FileStream(PathOf(id, "new"), FileMode.Create))
        {
            JsonSerializer.Serialize(file, state with { View = view }, JobJson.Default.JobState);
            file.Flush(flushToDisk: true);
        }

        File.Move(PathOf(id, "new"), PathOf(id, "json"), overwrite: true);
    }

    /// <summary>Removes what was done or failed long ago.</summary>
    private void Forget()
    {
        var before = _clock.GetUtcNow().UtcDateTime.AddHours(-_options.JobHours);
        foreach (var (id, state) in _jobs.Where(j => j.Value.View.State is "done" or "failed" && File.GetLastWriteTimeUtc(PathOf(j.Key, "json")) < before).ToArray())
        {
            if (_jobs.TryRemove(id, out _))
            {
                Erase(id);
            }
        }
    }

    private void Erase(string id)
    {
        foreach (var part in new[] { "json", "lines", "audio", "new" })
        {
            File.Delete(PathOf(id, part));
        }
    }

    private string PathOf(string id, string part) => Path.Combine(_folder, $"{id}.{part}");

    [LoggerMessage(5010, LogLevel.Error, "The job {Id} failed: {Reason}.")]
    private partial void Failed(string id, string reason);
}
