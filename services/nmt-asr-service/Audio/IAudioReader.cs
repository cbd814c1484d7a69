namespace Yizhan.NmtAsr.Audio;

/// <summary>A recording as a stream of samples.</summary>
internal interface IAudioReader : IDisposable
{
    /// <summary>Samples for each second.</summary>
    int SampleRate { get; }

    /// <summary>Channels of the recording.</summary>
    int Channels { get; }

    /// <summary>Samples of a channel of the whole, as the recording says; null when it does not say.</summary>
    long? Samples { get; }

    /// <summary>Whether it ended before it said that it would, or in the middle of something.</summary>
    bool IsTruncated { get; }

    /// <summary>The next samples, one of each channel and again one of each; empty at the end. A file that ends in the middle of them ends before.</summary>
    /// <param name="maxSamples">Most of each channel.</param>
    /// <param name="cancellationToken">Ends it.</param>
    Task<short[]> ReadFramesAsync(int maxSamples, CancellationToken cancellationToken);
}

/// <summary>Opens recordings by what they begin with.</summary>
internal static class Recordings
{
    /// <summary>What is read here.</summary>
    public const string Accepted = "WAV (PCM and float); with libsndfile1 also FLAC, Ogg (Opus, Vorbis) and MP3";

    /// <summary>The next samples, mixed to one channel; empty at the end.</summary>
    public static async Task<short[]> ReadAsync(this IAudioReader recording, int maxSamples, CancellationToken cancellationToken)
    {
        var (frames, channels) = (await recording.ReadFramesAsync(maxSamples, cancellationToken), recording.Channels);
        if (channels == 1)
        {
            return frames;
        }

        var mixed = new short[frames.Length / channels];
        for (var i = 0; i < mixed.Length; i++)
        {
            var sum = 0;
            for (var c = 0; c < channels; c++)
            {
                sum += frames[i * channels + c];
            }

            mixed[i] = (short)(sum / channels);
        }

        return mixed;
    }

    /// <summary>Opens a recording while it arrives when it is a WAV file, and from a file in the folder, which is gone when it is closed, when it is another.</summary>
    /// <exception cref="AudioRefusedException">It is none that is read here.</exception>
    public static async Task<IAudioReader> OpenAsync(Stream stream, string folder, CancellationToken cancellationToken)
    {
        var head = new byte[12];
        var length = await stream.ReadAtLeastAsync(head, head.Length, false, cancellationToken);
        if (WavReader.IsWav(head.AsSpan(0, length)) || !SoundFile.Is(head.AsSpan(0, length)))
        {
            return await WavReader.OpenAsync(stream, head.AsMemory(0, length), cancellationToken);
        }

        var file = new FileStream(Path.Combine(folder, Path.GetRandomFileName()), FileMode.CreateNew, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete, 128 * 1024, FileOptions.DeleteOnClose);
        try
        {
            await file.WriteAsync(head.AsMemory(0, length), cancellationToken);
            await stream.CopyToAsync(file, cancellationToken);
            await file.FlushAsync(cancellationToken);
            return SoundFile.Open(file);
        }
        catch
        {
            await file.DisposeAsync();
            throw;
        }
    }

    /// <summary>Opens a file; it is closed with the reader.</summary>
    /// <exception cref="AudioRefusedException">It is none that is read here.</exception>
    public static async Task<IAudioReader> OpenAsync(FileStream file, CancellationToken cancellationToken)
    {
        var head = new byte[12];
        var length = await file.ReadAtLeastAsync(head, head.Length, false, cancellationToken);
        return WavReader.IsWav(head.AsSpan(0, length)) || !SoundFile.Is(head.AsSpan(0, length))
            ? await WavReader.OpenAsync(file, head.AsMemory(0, length), cancellationToken)
            : SoundFile.Open(file);
    }
}
