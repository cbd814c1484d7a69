using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Options;
using Yizhan.NmtAsr.Engines;
using Yizhan.NmtAsr.Packs;
using Yizhan.Platform;

namespace Yizhan.NmtAsr.Live;

/// <summary>What is kept of a dictation beside its audio, so that it survives a restart.</summary>
internal sealed record DictationState(string Id, string Owner, string Dialect, string Pack, IReadOnlyList<SpeechResult> Finals, long HeardSamples, bool Finished)
{
    public string Text => string.Join(Dialect.StartsWith("en", StringComparison.Ordinal) ? " " : "", Finals.Select(f => f.Text));
}

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web)]
[JsonSerializable(typeof(DictationState))]
internal sealed partial class DictationJson : JsonSerializerContext;

/// <summary>Dictations on disk: <c>ID.pcm</c> (16 kHz, mono, 16 bits) and <c>ID.json</c>. One client holds one at a time.</summary>
internal sealed partial class Dictations : IClinicalWork
{
    private readonly string _folder;
    private readonly NmtAsrOptions _options;
    private readonly TimeProvider _clock;
    private readonly ConcurrentDictionary<string, byte> _open = new(StringComparer.Ordinal);
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
    public DictationState? Find(string id) => File.Exists(JsonOf(id)) ? JsonSerializer.Deserialize(File.ReadAllBytes(JsonOf(id)), DictationJson.Default.DictationState) : null;

    /// <summary>The audio of a dictation, in bytes.</summary>
    public string AudioOf(string id) => Path.Combine(_folder, id + ".pcm");

    /// <summary>Takes a dictation for one client; null when another has it. Forgets those that nobody resumed.</summary>
    public Dictation? Open(string id, string owner, string dialect, PackStore.Loan loan, IReadOnlyList<string> hotWords)
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
            return new Dictation(this, state, loan, new Endpointing(_options.EndSilenceMs, _options.MaxUtteranceSeconds * 1000, 300), hotWords);
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
        File.Delete(AudioOf(id));
    }

    internal void Save(DictationState state)
    {
        var path = JsonOf(state.Id);
        using (var file = new FileStream(path + ".new", FileMode.Create))
        {
            JsonSerializer.Serialize(file, state, DictationJson.Default.DictationState);
            file.Flush(flushToDisk: true);
        }

        File.Move(path + ".new", path, overwrite: true);
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
    private readonly PackStore.Loan _loan;
    private readonly SpeechStream _stream;
    private readonly FileStream _file;

    public Dictation(Dictations owner, DictationState state, PackStore.Loan loan, Endpointing endpointing, IReadOnlyList<string> hotWords)
    {
        (_owner, State, _loan) = (owner, state, loan);
        owner.Save(state);
        _file = new FileStream(owner.AudioOf(state.Id), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read);

        // A power cut may leave half a sample.
        _file.SetLength(_file.Length / 2 * 2);
        _stream = new SpeechStream(loan.Recogniser, loan.Voice, endpointing, hotWords, state.HeardSamples, state.Finals.Count);
        Replay();
    }

    public DictationState State { get; private set; }

    /// <summary>Samples that were taken.</summary>
    public long Samples => _file.Length / 2;

    public IReadOnlyList<string> Warnings => [.. _stream.Warnings];

    /// <summary>Takes audio after what is there.</summary>
    public List<SpeechResult> Accept(ReadOnlySpan<short> samples)
    {
        _file.Seek(0, SeekOrigin.End);
        _file.Write(MemoryMarshal.AsBytes(samples));
        return Keep(_stream.Accept(samples));
    }

    /// <summary>Returns once the audio would survive a power cut.</summary>
    public void Flush() => _file.Flush(flushToDisk: true);

    /// <summary>Ends what is being said; with <paramref name="finished"/> the dictation too.</summary>
    public List<SpeechResult> Finish(bool finished)
    {
        Flush();
        var results = Keep(_stream.Finish());
        if (finished)
        {
            State = State with { Finished = true };
            _owner.Save(State);
        }

        return results;
    }

    public void Dispose()
    {
        _file.Dispose();
        _loan.Dispose();
        _owner.Close(State.Id);
    }

    private void Replay()
    {
        var buffer = new byte[64 * 1024];
        _file.Seek(State.HeardSamples * 2, SeekOrigin.Begin);
        while (_file.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false) is > 0 and var read)
        {
            var at = _file.Position;
            Keep(_stream.Accept(MemoryMarshal.Cast<byte, short>(buffer.AsSpan(0, read))));
            _file.Seek(at, SeekOrigin.Begin);
        }
    }

    private List<SpeechResult> Keep(List<SpeechResult> results)
    {
        if (results.Any(r => r.IsFinal))
        {
            State = State with { Finals = [.. State.Finals, .. results.Where(r => r.IsFinal)], HeardSamples = Math.Min(_stream.Heard, Samples) };
            Flush();
            _owner.Save(State);
        }

        return results;
    }
}
