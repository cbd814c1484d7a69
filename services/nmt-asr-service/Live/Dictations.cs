using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Options;
using Microsoft.Win32.SafeHandles;
using Yizhan.NmtAsr.Audio;
using Yizhan.NmtAsr.Engines;
using Yizhan.NmtAsr.Packs;
using Yizhan.Platform;

namespace Yizhan.NmtAsr.Live;

/// <summary>What is kept of a dictation beside its audio, so that it survives a restart.</summary>
internal sealed record DictationState(string Id, string Owner, string Dialect, string Pack, IReadOnlyList<SpeechResult> Finals, long HeardSamples, bool Finished)
{
    public string Text => string.Join(Dialect.StartsWith("en", StringComparison.Ordinal) ? " " : "", Finals.Select(f => f.Text));
}

/// <summary>What was added to a dictation since the line before.</summary>
internal sealed record DictationStep(IReadOnlyList<SpeechResult> Finals, long HeardSamples, bool Finished);

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web)]
[JsonSerializable(typeof(DictationState))]
[JsonSerializable(typeof(DictationStep))]
internal sealed partial class DictationJson : JsonSerializerContext;

/// <summary>
/// Dictations on disk: <c>ID.pcm</c> (16 kHz, mono, 16 bits), <c>ID.opus</c> when the client sends that (the recording as it came, from which the samples are made again after a break), and <c>ID.json</c>, a line with the state and then one for each step, so that a long dictation is not written again with
/// every sentence. One client holds one at a time.
/// </summary>
internal sealed partial class Dictations : IClinicalWork, IDisposable
{
    private readonly string _folder;
    private readonly NmtAsrOptions _options;
    private readonly TimeProvider _clock;
    private readonly ConcurrentDictionary<string, byte> _open = new(StringComparer.Ordinal);
    private readonly Flusher _flusher = new("dictations");
    private long _begun;

    public Dictations(IOptions<NodeOptions> node, IOptions<NmtAsrOptions> options, TimeProvider clock)
    {
        (_options, _clock) = (options.Value, clock);
        _folder = node.Value.PathOf("nmt-asr", "dictations", ".");
        Directory.CreateDirectory(_folder);
    }

    /// <inheritdoc/>
    string IClinicalWork.Kind => "dictation";

    /// <inheritdoc/>
    int IClinicalWork.UnderWay => _open.Count;

    /// <inheritdoc/>
    long IClinicalWork.Begun => Interlocked.Read(ref _begun);

    /// <summary>Whether a text may be the identity of a dictation.</summary>
    public static bool IsId(string? id) => id is not null && Id().IsMatch(id);

    /// <summary>What is kept of a dictation; null when it is not here.</summary>
    public DictationState? Find(string id)
    {
        if (!File.Exists(JsonOf(id)))
        {
            return null;
        }

        using var lines = File.ReadLines(JsonOf(id)).GetEnumerator();
        var state = lines.MoveNext() ? JsonSerializer.Deserialize(lines.Current, DictationJson.Default.DictationState) : null;
        var finals = state?.Finals.ToList() ?? [];
        while (state is not null && lines.MoveNext())
        {
            try
            {
                var step = JsonSerializer.Deserialize(lines.Current, DictationJson.Default.DictationStep)!;
                finals.AddRange(step.Finals);
                state = state with { HeardSamples = step.HeardSamples, Finished = step.Finished };
            }
            catch (JsonException)
            {
                // A power cut ended the last line early: what it said is heard again from the audio.
                break;
            }
        }

        return state is null ? null : state with { Finals = finals };
    }

    /// <summary>The audio of a dictation, in bytes.</summary>
    public string AudioOf(string id) => Path.Combine(_folder, id + ".pcm");

    /// <summary>The recording of a dictation that came as Opus.</summary>
    public string RecordingOf(string id) => Path.Combine(_folder, id + ".opus");

    /// <summary>Takes a dictation for one client; null when another has it. Forgets those that nobody resumed.</summary>
    public Dictation? Open(string id, string owner, string dialect, PackStore.Loan loan, IReadOnlyList<string> hotWords, bool opus)
    {
        if (!_open.TryAdd(id, 0))
        {
            return null;
        }

        Interlocked.Increment(ref _begun);
        try
        {
            Forget();
            var state = Find(id) ?? new DictationState(id, owner, dialect, loan.Pack.Id, [], 0, false);
            return new Dictation(this, _flusher, state, loan, new Endpointing(_options.EndSilenceMs, _options.MaxUtteranceSeconds * 1000, 300), hotWords, opus);
        }
        catch
        {
            _open.TryRemove(id, out _);
            throw;
        }
    }

    /// <summary>Removes a dictation whose note is durable.</summary>
    public void Remove(string id)
    {
        File.Delete(JsonOf(id));
        File.Delete(RecordingOf(id));
        File.Delete(AudioOf(id));
    }

    /// <inheritdoc/>
    public void Dispose() => _flusher.Dispose();

    /// <summary>Writes the whole state anew; steps go behind it.</summary>
    internal FileStream Begin(DictationState state)
    {
        var path = JsonOf(state.Id);
        var file = new FileStream(path + ".new", FileMode.Create, FileAccess.Write, FileShare.Read | FileShare.Delete);
        JsonSerializer.Serialize(file, state, DictationJson.Default.DictationState);
        file.Write("\n"u8);
        file.Flush(flushToDisk: true);
        File.Move(path + ".new", path, overwrite: true);
        return file;
    }

    internal void Close(string id) => _open.TryRemove(id, out _);

    private void Forget()
    {
        var before = _clock.GetUtcNow().UtcDateTime.AddHours(-_options.ResumeHours);
        foreach (var file in Directory.EnumerateFiles(_folder, "*.pcm").Where(f => File.GetLastWriteTimeUtc(f) < before && !_open.ContainsKey(Path.GetFileNameWithoutExtension(f))).ToArray())
        {
            Remove(Path.GetFileNameWithoutExtension(file));
        }
    }

    private string JsonOf(string id) => Path.Combine(_folder, id + ".json");

    [GeneratedRegex(@"\A[a-z0-9-]{8,48}\z")]
    private static partial Regex Id();
}

/// <summary>One dictation in the hands of one client. Audio is on disk before it is acknowledged; what was heard in part is heard again after a break.</summary>
internal sealed class Dictation : IDisposable
{
    private readonly Dictations _owner;
    private readonly Flusher _flusher;
    private readonly PackStore.Loan _loan;
    private readonly SpeechStream _stream;
    private readonly SafeFileHandle _audio;
    private readonly FileStream _steps;
    private readonly SafeFileHandle? _recording;
    private readonly OpusStream? _opus;
    private long _samples, _bytes;
    private DictationState _state;
    private int _savedFinals;

    public Dictation(Dictations owner, Flusher flusher, DictationState state, PackStore.Loan loan, Endpointing endpointing, IReadOnlyList<string> hotWords, bool opus)
    {
        (_owner, _flusher, _state, _loan, _savedFinals) = (owner, flusher, state, loan, state.Finals.Count);
        _steps = owner.Begin(state);
        _audio = File.OpenHandle(owner.AudioOf(state.Id), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read);

        // A power cut may leave half a sample.
        Samples = RandomAccess.GetLength(_audio) / 2;
        if (opus)
        {
            _recording = File.OpenHandle(owner.RecordingOf(state.Id), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read);
            _opus = new OpusStream();
            Decode();
        }

        _stream = new SpeechStream(loan.Recogniser, loan.Voice, endpointing, hotWords, State.HeardSamples, state.Finals.Count, loan.Denoiser);
        Replay();
    }

    public DictationState State { get => Volatile.Read(ref _state); private set => Volatile.Write(ref _state, value); }

    /// <summary>Samples that were taken.</summary>
    public long Samples { get => Volatile.Read(ref _samples); private set => Volatile.Write(ref _samples, value); }

    /// <summary>Bytes of a recording in Opus that were taken.</summary>
    public long Bytes { get => Volatile.Read(ref _bytes); private set => Volatile.Write(ref _bytes, value); }

    public IReadOnlyList<string> Warnings => [.. _stream.Warnings];

    /// <summary>Takes audio after what is there.</summary>
    public List<SpeechResult> Accept(ReadOnlySpan<short> samples)
    {
        RandomAccess.Write(_audio, MemoryMarshal.AsBytes(samples), Samples * 2);
        Samples += samples.Length;
        return Keep(_stream.Accept(samples));
    }

    /// <summary>Takes a piece of a recording in Opus after what is there.</summary>
    /// <exception cref="AudioRefusedException">It is none; nothing of the piece is taken.</exception>
    public List<SpeechResult> AcceptOpus(ReadOnlySpan<byte> bytes)
    {
        var samples = _opus!.Push(bytes);
        RandomAccess.Write(_recording!, bytes, Bytes);
        Bytes += bytes.Length;
        return Accept(samples);
    }

    /// <summary>
    /// Returns once what was taken until now would survive a power cut: how many samples that is, and bytes of a recording in Opus. Hearing may go on meanwhile, on another thread too; asking again may not.
    /// </summary>
    public async Task<(long Samples, long Bytes)> FlushAsync()
    {
        // The recording, then the audio, then the text: what was heard is never more than what is there, and samples can be made again.
        // Asked for in the other order of how they are made, so that what was heard is never of samples that came later.
        var state = State;
        var (samples, bytes) = (Samples, Bytes);
        await _flusher.RunAsync(() =>
        {
            if (_recording is not null)
            {
                RandomAccess.FlushToDisk(_recording);
            }

            RandomAccess.FlushToDisk(_audio);
            if (state.Finals.Count > _savedFinals || state.Finished)
            {
                JsonSerializer.Serialize(_steps, new DictationStep([.. state.Finals.Skip(_savedFinals)], state.HeardSamples, state.Finished), DictationJson.Default.DictationStep);
                _steps.Write("\n"u8);
                _steps.Flush(flushToDisk: true);
                _savedFinals = state.Finals.Count;
            }
        });
        return (samples, bytes);
    }

    /// <summary>Ends what is being said; with <paramref name="finished"/> the dictation too. Durable with the next <see cref="FlushAsync"/>.</summary>
    public List<SpeechResult> Finish(bool finished)
    {
        var results = Keep(_stream.Finish());
        State = State with { Finished = finished };
        return results;
    }

    public void Dispose()
    {
        _audio.Dispose();
        _recording?.Dispose();
        _opus?.Dispose();
        _steps.Dispose();
        _loan.Dispose();
        _owner.Close(State.Id);
    }

    /// <summary>Makes the samples of what is there of a recording in Opus again, so that the decoder is where it was; what was made of bytes that are not there goes.</summary>
    private void Decode()
    {
        var buffer = new byte[64 * 1024];
        for (Samples = 0; RandomAccess.Read(_recording!, buffer, Bytes) is > 0 and var read; Bytes += read)
        {
            var samples = _opus!.Push(buffer.AsSpan(0, read));
            RandomAccess.Write(_audio, MemoryMarshal.AsBytes(samples.AsSpan()), Samples * 2);
            Samples += samples.Length;
        }

        RandomAccess.SetLength(_audio, Samples * 2);
        State = State with { HeardSamples = Math.Min(State.HeardSamples, Samples) };
    }

    private void Replay()
    {
        var buffer = new byte[64 * 1024];
        for (var at = State.HeardSamples; at < Samples;)
        {
            var read = RandomAccess.Read(_audio, buffer.AsSpan(0, (int)Math.Min(buffer.Length, (Samples - at) * 2)), at * 2) / 2;
            Keep(_stream.Accept(MemoryMarshal.Cast<byte, short>(buffer.AsSpan(0, read * 2))));
            at += read;
        }
    }

    private List<SpeechResult> Keep(List<SpeechResult> results)
    {
        if (results.Any(r => r.IsFinal))
        {
            State = State with { Finals = [.. State.Finals, .. results.Where(r => r.IsFinal)], HeardSamples = Math.Min(_stream.Heard, Samples) };
        }

        return results;
    }
}
