using System.Buffers.Binary;

namespace Yizhan.NmtAsr.Audio;

/// <summary>Audio that cannot be read; the message says what was found and what would be accepted.</summary>
internal sealed class AudioRefusedException(string message) : Exception(message);

/// <summary>Reads WAV (RIFF) as a stream: PCM of 8, 16, 24 or 32 bits and IEEE float of 32, any number of channels.</summary>
internal sealed class WavReader : IAudioReader
{
    private const int MaxHeaderBytes = 1024 * 1024;

    private readonly Stream _stream;
    private readonly int _bits;
    private readonly bool _float;
    private long _left;

    private WavReader(Stream stream, int sampleRate, int channels, int bits, bool isFloat, long dataBytes) =>
        (_stream, SampleRate, Channels, _bits, _float, _left, Samples) =
            (stream, sampleRate, channels, bits, isFloat, dataBytes, dataBytes == long.MaxValue ? null : dataBytes / (bits / 8 * channels));

    /// <summary>Samples for each second.</summary>
    public int SampleRate { get; }

    /// <inheritdoc/>
    public long? Samples { get; }

    /// <inheritdoc/>
    public bool IsTruncated { get; private set; }

    /// <inheritdoc/>
    public int Channels { get; }

    /// <summary>Whether a file says that it is one.</summary>
    public static bool IsWav(ReadOnlySpan<byte> start) => start.Length >= 12 && start[..4].SequenceEqual("RIFF"u8) && start[8..12].SequenceEqual("WAVE"u8);

    /// <summary>Reads up to the first sample.</summary>
    /// <exception cref="AudioRefusedException">It is no WAV, or of a coding that is not read here.</exception>
    public static async Task<WavReader> OpenAsync(Stream stream, CancellationToken cancellationToken)
    {
        var head = new byte[12];
        return await OpenAsync(stream, head.AsMemory(0, await stream.ReadAtLeastAsync(head, head.Length, false, cancellationToken)), cancellationToken);
    }

    /// <summary>The same when the first twelve bytes were read already.</summary>
    /// <exception cref="AudioRefusedException">It is no WAV, or of a coding that is not read here.</exception>
    public static async Task<WavReader> OpenAsync(Stream stream, ReadOnlyMemory<byte> head, CancellationToken cancellationToken)
    {
        if (!IsWav(head.Span))
        {
            throw new AudioRefusedException($"This is no WAV file: it does not begin with RIFF and WAVE. Accepted: {Recordings.Accepted}.");
        }

        (int Rate, int Channels, int Bits, bool Float)? format = null;
        for (long read = 12; read < MaxHeaderBytes;)
        {
            var chunk = new byte[8];
            if (await stream.ReadAtLeastAsync(chunk, 8, false, cancellationToken) < 8)
            {
                break;
            }

            long length = BinaryPrimitives.ReadUInt32LittleEndian(chunk.AsSpan(4));
            if (chunk.AsSpan(0, 4).SequenceEqual("data"u8))
            {
                var f = format ?? throw new AudioRefusedException("The WAV file has samples before it says how they are coded (no 'fmt ' chunk).");

                // What is recorded into a pipe says 0 or 0xFFFFFFFF: then it is as long as it is.
                return new WavReader(stream, f.Rate, f.Channels, f.Bits, f.Float, length is 0 or uint.MaxValue ? long.MaxValue : length);
            }

            if (length > MaxHeaderBytes)
            {
                break;
            }

            var body = new byte[length + (length & 1)];
            if (await stream.ReadAtLeastAsync(body, body.Length, false, cancellationToken) < length)
            {
                break;
            }

            read += 8 + body.Length;
            if (chunk.AsSpan(0, 4).SequenceEqual("fmt "u8))
            {
                format = Format(body);
            }
        }

        throw new AudioRefusedException("The WAV file ends before its first sample.");
    }

    /// <inheritdoc/>
    public async Task<short[]> ReadFramesAsync(int maxSamples, CancellationToken cancellationToken)
    {
        var frame = _bits / 8 * Channels;
        var buffer = new byte[Math.Min((long)maxSamples * frame, _left - _left % frame)];
        var read = await _stream.ReadAtLeastAsync(buffer, buffer.Length, false, cancellationToken);
        _left -= read;
        IsTruncated |= read < buffer.Length && _left < long.MaxValue / 2;
        var samples = new short[read / frame * Channels];
        for (var i = 0; i < samples.Length; i++)
        {
            samples[i] = (short)Math.Clamp(One(buffer.AsSpan(i * _bits / 8)), short.MinValue, short.MaxValue);
        }

        return samples;
    }

    /// <inheritdoc/>
    public void Dispose() => _stream.Dispose();

    private double One(ReadOnlySpan<byte> at) => _bits switch
    {
        8 => (at[0] - 128) * 256,
        16 => BinaryPrimitives.ReadInt16LittleEndian(at),
        24 => (at[2] << 24 | at[1] << 16 | at[0] << 8) / 65536.0,
        _ => _float
            ? BinaryPrimitives.ReadSingleLittleEndian(at) is var f && float.IsFinite(f) ? f * 32768.0 : 0
            : BinaryPrimitives.ReadInt32LittleEndian(at) / 65536.0,
    };

    private static (int, int, int, bool) Format(ReadOnlySpan<byte> fmt)
    {
        if (fmt.Length < 16)
        {
            throw new AudioRefusedException($"The 'fmt ' chunk has {fmt.Length} bytes; a WAV file has at least 16.");
        }

        int coding = BinaryPrimitives.ReadUInt16LittleEndian(fmt), channels = BinaryPrimitives.ReadUInt16LittleEndian(fmt[2..]), rate = BinaryPrimitives.ReadInt32LittleEndian(fmt[4..]),
            bits = BinaryPrimitives.ReadUInt16LittleEndian(fmt[14..]);
        if (coding == 0xFFFE && fmt.Length >= 26)
        {
            coding = BinaryPrimitives.ReadUInt16LittleEndian(fmt[24..]);
        }

        return coding is not (1 or 3) || coding == 3 && bits != 32 || bits is not (8 or 16 or 24 or 32)
            ? throw new AudioRefusedException($"The WAV file is of coding {coding} with {bits} bits; accepted: PCM (1) of 8, 16, 24 or 32 bits and float (3) of 32.")
            : channels is < 1 or > 64 || rate is < 4000 or > 384_000
                ? throw new AudioRefusedException($"The WAV file has {channels} channels and {rate} samples a second; accepted: 1 to 64 channels, 4000 to 384000 samples a second.")
                : (rate, channels, bits, coding == 3);
    }
}
