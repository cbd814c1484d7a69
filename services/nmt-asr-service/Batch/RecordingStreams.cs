using Yizhan.NmtAsr.Audio;
using Yizhan.NmtAsr.Engines;
using Yizhan.NmtAsr.Packs;

namespace Yizhan.NmtAsr.Batch;

/// <summary>What hears a recording: one stream, or one for each channel when each channel is a speaker.</summary>
internal sealed class RecordingStreams : IDisposable
{
    /// <summary>The value of <c>speakers</c> by which each channel is a speaker.</summary>
    public const string ByChannel = "channels";

    private const int MaxSpeakers = 8;

    private readonly List<PackStore.Loan> _loans = [];
    private readonly List<SpeechStream> _streams = [];

    private RecordingStreams()
    {
    }

    /// <summary>Samples that were taken of each channel.</summary>
    public long Samples => _streams[0].Samples;

    /// <summary>What the microphones should be looked at for.</summary>
    public IReadOnlyList<string> Warnings => [.. _streams.SelectMany(s => s.Warnings).Distinct()];

    /// <summary>Why <c>speakers</c> of a request is none; null when it is one.</summary>
    public static string? Unknown(string? speakers) => speakers is null or ByChannel ? null : $"speakers is '{speakers}'; accepted: {ByChannel}, or none.";

    /// <summary>Takes the decoders that are needed, all of them or none.</summary>
    /// <exception cref="AudioRefusedException">More channels than can be heard at a time.</exception>
    /// <exception cref="TooManyStreamsException">There are not so many free.</exception>
    public static RecordingStreams Open(PackStore packs, SpeechPack pack, NmtAsrOptions options, IAudioReader recording, string? speakers)
    {
        var most = Math.Min(MaxSpeakers, options.MaxStreams);
        if (speakers == ByChannel && recording.Channels > most)
        {
            throw new AudioRefusedException($"The recording has {recording.Channels} channels; accepted as speakers: up to {most}.");
        }

        var opened = new RecordingStreams();
        try
        {
            for (var count = speakers == ByChannel ? recording.Channels : 1; count > 0; count--)
            {
                opened._loans.Add(packs.Lend(pack));
                opened._streams.Add(new SpeechStream(
                    opened._loans[^1].Recogniser, opened._loans[^1].Voice, new Endpointing(options.EndSilenceMs, options.MaxUtteranceSeconds * 1000, 0), options.HotWords, denoiser: opened._loans[^1].Denoiser));
            }

            return opened;
        }
        catch
        {
            opened.Dispose();
            throw;
        }
    }

    /// <summary>Hears all of it; says after each second what was found in it. Of several channels the utterances are in the order in which they ended.</summary>
    public Task HearAsync(IAudioReader recording, Action<List<SpeechResult>> found, CancellationToken cancellationToken) =>
        _streams.Count == 1 ? _streams[0].HearAsync(recording, found, cancellationToken) : SpeechStream.HearAsync(_streams, recording, found, cancellationToken);

    /// <inheritdoc/>
    public void Dispose() => _loans.ForEach(l => l.Dispose());
}
