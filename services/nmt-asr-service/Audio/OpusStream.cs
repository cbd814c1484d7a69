using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Yizhan.NmtAsr.Audio;

/// <summary>
/// Opus (RFC 6716) while it arrives, as a browser's MediaRecorder gives it: in WebM (Matroska; clusters and segment may be of unknown size) or in Ogg (RFC 7845), in pieces of any length. Decoded by Debian's
/// libopus to 16 kHz, mono; the same bytes give the same samples, however they were cut. Not for concurrent use.
/// </summary>
internal sealed partial class OpusStream : IDisposable
{
    private const string Library = "libopus.so.0";
    private const int SampleRate = 16_000, HeadBytes = 19, MaxHeld = 256 * 1024, MaxPacketSamples = SampleRate * 120 / 1000;

    // Elements of Matroska (RFC 9559 §5): those that are looked into, and those that are read. All others are passed over.
    private const uint Ebml = 0x1A45DFA3, Segment = 0x18538067, Cluster = 0x1F43B675, Tracks = 0x1654AE6B, TrackEntry = 0xAE, BlockGroup = 0xA0, CodecId = 0x86, CodecPrivate = 0x63A2, SimpleBlock = 0xA3, Block = 0xA1;

    private static readonly Lazy<bool> s_isThere = new(() => NativeLibrary.TryLoad(Library, out _));

    private readonly List<short> _samples = [];
    private readonly List<byte> _packet = [];
    private byte[] _held = new byte[4096];
    private int _length;
    private long _pass;
    private nint _decoder;
    private int _skip;
    private bool? _isWebm;
    private bool _isOpus;

    /// <summary>Whether the library is installed.</summary>
    public static bool IsInstalled => s_isThere.Value;

    /// <summary>Takes bytes behind those that were there; what they complete.</summary>
    /// <exception cref="AudioRefusedException">It is no Opus in WebM or Ogg.</exception>
    public short[] Push(ReadOnlySpan<byte> bytes)
    {
        var passed = (int)Math.Min(_pass, bytes.Length);
        _pass -= passed;
        bytes = bytes[passed..];
        if (_length + bytes.Length > _held.Length)
        {
            Array.Resize(ref _held, Math.Max(_held.Length * 2, _length + bytes.Length));
        }

        bytes.CopyTo(_held.AsSpan(_length));
        _length += bytes.Length;
        var used = 0;
        while (_pass == 0 && used < _length && Next(_held.AsSpan(used, _length - used)) is > 0 and var length)
        {
            used += length;
        }

        _held.AsSpan(used, _length - used).CopyTo(_held);
        _length -= used;
        if (_length > MaxHeld)
        {
            throw new AudioRefusedException($"A part of the recording has more than {MaxHeld} bytes; Opus has less than {ushort.MaxValue}.");
        }

        short[] made = [.. _samples];
        _samples.Clear();
        return made;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_decoder != 0)
        {
            Destroy(_decoder);
            _decoder = 0;
        }
    }

    /// <summary>Bytes of the next part, which is dealt with; 0 when it is not whole yet.</summary>
    private int Next(ReadOnlySpan<byte> held)
    {
        if (_isWebm is null)
        {
            if (held.Length < 4)
            {
                return 0;
            }

            _isWebm = BinaryPrimitives.ReadUInt32BigEndian(held) == Ebml ? true : held.StartsWith("OggS"u8) ? false
                : throw new AudioRefusedException($"This is neither WebM nor Ogg: it begins with {Convert.ToHexString(held[..4])}. Accepted: Opus in WebM or Ogg, as MediaRecorder gives it.");
        }

        return _isWebm.Value ? Element(held) : Page(held);
    }

    /// <summary>One element of Matroska: what has others in it is entered, so its size, which may be unknown, does not matter.</summary>
    private int Element(ReadOnlySpan<byte> held)
    {
        if (!Number(held, keepsMarker: true, out var id, out var idBytes) || !Number(held[idBytes..], keepsMarker: false, out var size, out var sizeBytes))
        {
            return 0;
        }

        var head = idBytes + sizeBytes;
        switch ((uint)id)
        {
            case Segment or Cluster or Tracks or TrackEntry or BlockGroup:
                return head;
            case CodecId or CodecPrivate or SimpleBlock or Block:
                if (size > MaxHeld)
                {
                    throw new AudioRefusedException($"An element of the WebM has {size} bytes; accepted: up to {MaxHeld}.");
                }

                if (held.Length < head + (int)size)
                {
                    return 0;
                }

                Read((uint)id, held.Slice(head, (int)size));
                return head + (int)size;
            default:
                if (size > int.MaxValue)
                {
                    throw new AudioRefusedException($"The element {id:X} of the WebM has an unknown size; accepted of segment and cluster alone.");
                }

                var there = (int)Math.Min((long)size, held.Length - head);
                _pass = (long)size - there;
                return head + there;
        }
    }

    private void Read(uint id, ReadOnlySpan<byte> content)
    {
        switch (id)
        {
            case CodecId:
                _isOpus = content.SequenceEqual("A_OPUS"u8) ? true
                    : throw new AudioRefusedException($"The track of the WebM is of {System.Text.Encoding.ASCII.GetString(content[..Math.Min(32, content.Length)])}; accepted: one track of A_OPUS.");
                break;
            case CodecPrivate:
                Head(content);
                break;
            case SimpleBlock or Block when Number(content, keepsMarker: false, out _, out var track) && content.Length > track + 3:
                // Behind the track: the time (2 bytes) and flags, of which two say whether frames are laced together.
                Packet((content[track + 2] & 0x06) == 0 ? content[(track + 3)..] : throw new AudioRefusedException("Blocks of the WebM hold several frames each (lacing); accepted: one."));
                break;
        }
    }

    /// <summary>A page of Ogg (RFC 3533 §6): its segments are packets, or parts of them.</summary>
    private int Page(ReadOnlySpan<byte> held)
    {
        const int Head = 27, SegmentCount = 26, Full = 255;
        if (held.Length < Head || held.Length < Head + held[SegmentCount])
        {
            return 0;
        }

        if (!held.StartsWith("OggS"u8))
        {
            throw new AudioRefusedException("A page of the Ogg does not begin where the one before ended.");
        }

        var sizes = held.Slice(Head, held[SegmentCount]);
        var length = Head + sizes.Length;
        foreach (var size in sizes)
        {
            length += size;
        }

        if (held.Length < length)
        {
            return 0;
        }

        var at = Head + sizes.Length;
        foreach (var size in sizes)
        {
            _packet.AddRange(held.Slice(at, size));
            at += size;
            if (size < Full)
            {
                OggPacket(CollectionsMarshal.AsSpan(_packet));
                _packet.Clear();
            }
        }

        return _packet.Count <= MaxHeld ? length : throw new AudioRefusedException($"A packet of the Ogg has more than {MaxHeld} bytes.");
    }

    private void OggPacket(ReadOnlySpan<byte> packet)
    {
        if (packet.StartsWith("OpusHead"u8))
        {
            _isOpus = true;
            Head(packet);
        }
        else if (!packet.StartsWith("OpusTags"u8))
        {
            Packet(packet);
        }
    }

    /// <summary>RFC 7845 §5.1: channels, and samples of 48 kHz at the beginning that are not to be heard.</summary>
    private void Head(ReadOnlySpan<byte> head)
    {
        if (head.Length < HeadBytes || !head.StartsWith("OpusHead"u8) || head[9] is 0 or > 2)
        {
            throw new AudioRefusedException("The head of the Opus stream is none (OpusHead), or it has more than two channels.");
        }

        _skip = BinaryPrimitives.ReadUInt16LittleEndian(head[10..]) * SampleRate / 48_000;
    }

    private void Packet(ReadOnlySpan<byte> packet)
    {
        if (!_isOpus)
        {
            throw new AudioRefusedException("There is sound before it is said to be Opus.");
        }

        if (_decoder == 0)
        {
            _decoder = IsInstalled && Create(SampleRate, 1, out _) is var made && made != 0 ? made
                : throw new AudioRefusedException("This is Opus, and libopus, which decodes it, is not installed: apt-get install libopus0. Accepted without it: PCM.");
        }

        var samples = new short[MaxPacketSamples];
        var count = Decode(_decoder, packet, packet.Length, samples, samples.Length, 0);
        if (count < 0)
        {
            // A packet that was damaged is as long as those around it: what is lost is filled in, as on a line.
            count = Decode(_decoder, [], 0, samples, SampleRate / 50, 0);
        }

        var skipped = Math.Min(_skip, Math.Max(0, count));
        _skip -= skipped;
        _samples.AddRange(samples.AsSpan(skipped, Math.Max(0, count) - skipped));
    }

    /// <summary>A number of Matroska (RFC 8794 §4): the zeros at its front say how long it is. All ones: unknown, which is the largest here.</summary>
    private static bool Number(ReadOnlySpan<byte> held, bool keepsMarker, out ulong value, out int bytes)
    {
        (value, bytes) = (0, held.IsEmpty ? 0 : System.Numerics.BitOperations.LeadingZeroCount(held[0]) - 23);
        if (held.IsEmpty || held.Length < bytes)
        {
            return false;
        }

        if (bytes > 8)
        {
            throw new AudioRefusedException("An element of the WebM begins with a zero; accepted: what MediaRecorder gives, from its beginning.");
        }

        var ones = bytes == 8 ? 0 : 0xFFu >> bytes;
        value = keepsMarker ? held[0] : held[0] & ones;
        var unknown = (held[0] & ones) == ones;
        for (var i = 1; i < bytes; i++)
        {
            value = value << 8 | held[i];
            unknown &= held[i] == 0xFF;
        }

        value = unknown && !keepsMarker ? ulong.MaxValue : value;
        return true;
    }

    [LibraryImport(Library, EntryPoint = "opus_decoder_create")]
    private static partial nint Create(int sampleRate, int channels, out int error);

    [LibraryImport(Library, EntryPoint = "opus_decoder_destroy")]
    private static partial void Destroy(nint decoder);

    [LibraryImport(Library, EntryPoint = "opus_decode")]
    private static partial int Decode(nint decoder, ReadOnlySpan<byte> packet, int bytes, Span<short> samples, int most, int fec);
}
