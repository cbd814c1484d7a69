using System.IO.Compression;
using System.Runtime.InteropServices;
using Yizhan.Dicom;

namespace Yizhan.PacsGw.Codecs;

/// <summary>
/// Decodes and encodes single frames by transfer syntax. CPU-bound and without state; what it allocates is a few times the native
/// size of the frame, which <see cref="PixelFormat.Of"/> bounds, and which is compared with the codestream's own size before.
/// </summary>
internal static class PixelCodec
{
    private const string Jpeg = "1.2.840.10008.1.2.4.";

    /// <summary>Transfer syntaxes without compression that we read and write.</summary>
    public static bool IsNative(string uid) =>
        uid is "1.2.840.10008.1.2" or "1.2.840.10008.1.2.1" or "1.2.840.10008.1.2.1.99" or "1.2.840.10008.1.2.2";

    /// <summary>True for transfer syntaxes whose frames we can decode.</summary>
    public static bool Decodes(string uid) => IsNative(uid) || uid is
        Jpeg + "50" or Jpeg + "51" or Jpeg + "57" or Jpeg + "70" or Jpeg + "80" or Jpeg + "81" or Jpeg + "90" or Jpeg + "91"
        or Jpeg + "201" or Jpeg + "202" or Jpeg + "203" or "1.2.840.10008.1.2.5" or "1.2.840.10008.1.2.8.1" or "1.2.840.10008.1.2.1.98";

    /// <summary>True for transfer syntaxes that we can produce, all of them lossless.</summary>
    public static bool Encodes(string uid) => IsNative(uid) || uid is Jpeg + "80" or Jpeg + "90" or "1.2.840.10008.1.2.5";

    /// <summary>The format of frames after decoding; known before the first is decoded.</summary>
    public static PixelFormat Decoded(PixelFormat format, string uid) => format with
    {
        IsPlanar = false,
        Photometric = (format.Samples, uid) switch
        {
            (3, Jpeg + "50" or Jpeg + "51") => "RGB",
            (3, _) when format.Photometric is "YBR_RCT" or "YBR_ICT" => "RGB",
            (3, _) when format.IsSubsampled => "YBR_FULL",
            _ => format.Photometric,
        },
    };

    /// <summary>The format that the data set of an encoded instance states.</summary>
    public static PixelFormat Encoded(PixelFormat decoded, string uid) =>
        uid == Jpeg + "90" && decoded is { Samples: 3, Photometric: "RGB" } ? decoded with { Photometric = "YBR_RCT" } : decoded;

    /// <summary>One frame in native form.</summary>
    /// <param name="frame">The frame as stored: its fragments joined, or its native bytes in little endian.</param>
    /// <param name="uid">Transfer syntax.</param>
    /// <param name="format">What the data set says.</param>
    /// <exception cref="CodecException">It cannot be decoded, or is not what the data set says.</exception>
    public static NativeFrame Decode(ReadOnlyMemory<byte> frame, string uid, PixelFormat format)
    {
        var decoded = Decoded(format, uid);
        return new NativeFrame(
            uid switch
            {
                _ when IsNative(uid) => Interleave(frame, format),
                "1.2.840.10008.1.2.1.98" => Interleave(frame, format),
                "1.2.840.10008.1.2.8.1" => Interleave(Inflate(frame, format), format),
                "1.2.840.10008.1.2.5" => RleCodec.Decode(frame.Span, format),
                Jpeg + "50" or Jpeg + "51" or Jpeg + "57" or Jpeg + "70" => JpegCodec.Decode(frame, format),
                Jpeg + "80" or Jpeg + "81" => JpegLsCodec.Decode(frame.Span, format),
                _ when Decodes(uid) => Jpeg2000Codec.Decode(frame.Span, format),
                _ => throw new CodecException($"Transfer syntax {uid} ({DicomTransferSyntax.Get(uid).Name}) cannot be decoded."),
            },
            decoded);
    }

    /// <summary>One frame in a compressed transfer syntax.</summary>
    /// <exception cref="CodecException">The transfer syntax does not allow such pixels, or is not one of <see cref="Encodes"/>.</exception>
    public static byte[] Encode(NativeFrame frame, string uid) => uid switch
    {
        "1.2.840.10008.1.2.5" => RleCodec.Encode(frame),
        Jpeg + "80" => JpegLsCodec.Encode(frame),
        Jpeg + "90" => Jpeg2000Codec.Encode(frame),
        _ => throw new CodecException($"Transfer syntax {uid} ({DicomTransferSyntax.Get(uid).Name}) cannot be encoded."),
    };

    /// <summary>Checks a codestream's own size against the data set's before anything is allocated for it.</summary>
    /// <exception cref="CodecException">They differ.</exception>
    public static void Match(PixelFormat format, long columns, long rows, int samples, int precision)
    {
        if (columns != format.Columns || rows != format.Rows || samples != format.Samples || precision > format.BitsAllocated)
        {
            throw new CodecException(
                $"The codestream has {columns}x{rows} pixels of {samples} samples with {precision} bits; the data set says "
                + $"{format.Columns}x{format.Rows} of {format.Samples} with {format.BitsAllocated} allocated bits.");
        }
    }

    /// <summary>Puts samples into the allocated size: a codestream of 8 bits may stand for 16 allocated ones.</summary>
    public static byte[] Widen(byte[] samples, int bytesPerSample, PixelFormat format)
    {
        if (bytesPerSample == format.BytesPerSample)
        {
            return samples;
        }

        var wide = new byte[format.FrameBytes];
        for (var i = 0; i < samples.Length / bytesPerSample; i++)
        {
            samples.AsSpan(i * bytesPerSample, bytesPerSample).CopyTo(wide.AsSpan(i * format.BytesPerSample));
        }

        return wide;
    }

    private static byte[] Inflate(ReadOnlyMemory<byte> frame, PixelFormat format)
    {
        var pixels = new byte[format.FrameBytes];
        try
        {
            using var inflate = new DeflateStream(new MemoryStream(frame.ToArray(), writable: false), CompressionMode.Decompress);
            inflate.ReadExactly(pixels);
        }
        catch (Exception e) when (e is InvalidDataException or EndOfStreamException)
        {
            throw new CodecException($"The deflated frame does not inflate to {pixels.Length} bytes: {e.Message}");
        }

        return pixels;
    }

    private static byte[] Interleave(ReadOnlyMemory<byte> frame, PixelFormat format)
    {
        // The usual case needs no copy: the frame was read into an array of its own.
        if ((format.Samples == 1 || (!format.IsPlanar && !format.IsSubsampled))
            && MemoryMarshal.TryGetArray(frame, out var array) && array is { Offset: 0, Array: { } whole } && whole.Length == format.FrameBytes)
        {
            return whole;
        }

        var native = frame.Span;
        var pixels = new byte[format.FrameBytes];
        var stored = format.IsSubsampled ? pixels.Length / 3 * 2 : pixels.Length;
        if (native.Length < stored)
        {
            throw new CodecException($"The frame has {native.Length} bytes; its rows and columns need {stored}.");
        }

        if (format is { Samples: 3, IsSubsampled: true })
        {
            Upsample(native, pixels, format);
        }
        else if (format is { Samples: 3, IsPlanar: true })
        {
            var size = format.BytesPerSample;
            var count = pixels.Length / 3 / size;
            for (var i = 0; i < count * 3; i++)
            {
                native.Slice(((i % 3 * count) + (i / 3)) * size, size).CopyTo(pixels.AsSpan(i * size));
            }
        }
        else
        {
            native[..stored].CopyTo(pixels);
        }

        return pixels;
    }

    /// <summary>Y Y Cb Cr for two pixels becomes Y Cb Cr twice.</summary>
    private static void Upsample(ReadOnlySpan<byte> native, Span<byte> pixels, PixelFormat format)
    {
        if (format.BitsAllocated != 8 || format.Columns % 2 != 0)
        {
            throw new CodecException($"{format.Photometric} has 8 bits and an even number of columns; this frame has {format.BitsAllocated} and {format.Columns}.");
        }

        for (int from = 0, to = 0; to < pixels.Length; from += 4, to += 6)
        {
            (pixels[to], pixels[to + 1], pixels[to + 2]) = (native[from], native[from + 2], native[from + 3]);
            (pixels[to + 3], pixels[to + 4], pixels[to + 5]) = (native[from + 1], native[from + 2], native[from + 3]);
        }
    }
}
