using System.Runtime.InteropServices;

namespace Yizhan.NmtAsr.Audio;

/// <summary>FLAC, Ogg (Opus, Vorbis) and MP3 by Debian's libsndfile (1.1 and later for MP3). The codings it is given are those it has read for years; others are not tried.</summary>
internal sealed partial class SoundFile : IAudioReader
{
    private const string Library = "libsndfile.so.1";
    private const int Read = 0x10, MaxChannels = 64;

    private static readonly Lazy<bool> s_isThere = new(() => NativeLibrary.TryLoad(Library, out _));

    private readonly FileStream _file;
    private readonly Info _info;
    private nint _handle;
    private long _read;

    private SoundFile(FileStream file, nint handle, Info info) => (_file, _handle, _info) = (file, handle, info);

    /// <summary>Whether the library is installed.</summary>
    public static bool IsInstalled => s_isThere.Value;

    /// <inheritdoc/>
    public int SampleRate => _info.SampleRate;

    /// <inheritdoc/>
    public long? Samples => _info.Frames is > 0 and < long.MaxValue ? _info.Frames : null;

    /// <inheritdoc/>
    public bool IsTruncated { get; private set; }

    /// <summary>Whether a file begins as one of those that are read here.</summary>
    public static bool Is(ReadOnlySpan<byte> start) => start.StartsWith("fLaC"u8) || start.StartsWith("OggS"u8) || start.StartsWith("ID3"u8) || start.Length > 1 && start[0] == 0xFF && (start[1] & 0xE6) == 0xE2;

    /// <summary>Opens a file by its name; it is closed with the reader.</summary>
    /// <exception cref="AudioRefusedException">The library is missing, or does not read it.</exception>
    public static SoundFile Open(FileStream file)
    {
        if (!IsInstalled)
        {
            throw new AudioRefusedException("This is FLAC, Ogg or MP3, and libsndfile, which reads them, is not installed: apt-get install libsndfile1. Accepted without it: WAV.");
        }

        var info = default(Info);
        var handle = OpenFile(file.Name, Read, ref info);
        if (handle == 0)
        {
            throw new AudioRefusedException($"This is no recording that libsndfile reads: {Marshal.PtrToStringUTF8(ErrorText(0))?.TrimEnd('.')}. Accepted: {Recordings.Accepted}.");
        }

        var opened = new SoundFile(file, handle, info);
        if (info.Channels is < 1 or > MaxChannels || info.SampleRate is < 4000 or > 384_000)
        {
            opened.Close();
            throw new AudioRefusedException($"The recording has {info.Channels} channels and {info.SampleRate} samples a second; accepted: 1 to {MaxChannels} channels, 4000 to 384000 samples a second.");
        }

        opened.IsTruncated = EndsEarly(file);
        return opened;
    }

    /// <inheritdoc/>
    public int Channels => _info.Channels;

    /// <inheritdoc/>
    public Task<short[]> ReadFramesAsync(int maxSamples, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var frames = new short[maxSamples * _info.Channels];
        var count = (int)ReadFrames(_handle, frames, maxSamples);
        _read += count;
        IsTruncated |= ErrorOf(_handle) != 0 || count == 0 && Samples is { } said && _read < said;
        return Task.FromResult(count == maxSamples ? frames : frames[..(Math.Max(0, count) * _info.Channels)]);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Close();
        _file.Dispose();
    }

    /// <summary>Whether the last page of an Ogg file is not the end of its stream (RFC 3533 §6: bit 3 of the header type), which libsndfile does not say.</summary>
    private static bool EndsEarly(FileStream file)
    {
        const int LongestPage = 65_307, HeaderType = 5, EndOfStream = 4;
        var tail = new byte[Math.Min(file.Length, LongestPage)];
        _ = RandomAccess.Read(file.SafeFileHandle, tail, file.Length - tail.Length);
        var start = new byte[4];
        _ = RandomAccess.Read(file.SafeFileHandle, start, 0);
        var last = tail.AsSpan().LastIndexOf("OggS"u8);
        return start.AsSpan().SequenceEqual("OggS"u8) && (last < 0 || last + HeaderType >= tail.Length || (tail[last + HeaderType] & EndOfStream) == 0);
    }

    private void Close()
    {
        if (_handle != 0)
        {
            _ = CloseFile(_handle);
            _handle = 0;
        }
    }

    [LibraryImport(Library, EntryPoint = "sf_open", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint OpenFile(string path, int mode, ref Info info);

    [LibraryImport(Library, EntryPoint = "sf_readf_short")]
    private static partial long ReadFrames(nint file, [Out] short[] frames, long count);

    [LibraryImport(Library, EntryPoint = "sf_close")]
    private static partial int CloseFile(nint file);

    [LibraryImport(Library, EntryPoint = "sf_error")]
    private static partial int ErrorOf(nint file);

    [LibraryImport(Library, EntryPoint = "sf_strerror")]
    private static partial nint ErrorText(nint file);

    /// <summary><c>SF_INFO</c> of sndfile.h.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Info
    {
        public long Frames;
        public int SampleRate, Channels, Format, Sections, Seekable;
    }
}
