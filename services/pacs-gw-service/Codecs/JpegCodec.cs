using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using JpegLibrary;
using SkiaSharp;

namespace Yizhan.PacsGw.Codecs;

/// <summary>
/// JPEG (ISO/IEC 10918-1): processes of 8 bits by Skia's libjpeg-turbo, which is bit-exact with the reference decoder; 12 bits by
/// JpegLibrary; lossless ones by <see cref="LosslessJpeg"/>.
/// </summary>
internal static class JpegCodec
{
    public static byte[] Decode(ReadOnlyMemory<byte> frame, PixelFormat format)
    {
        var header = JpegHeader.Read(frame.Span);
        PixelCodec.Match(format, header.Columns, header.Rows, header.Components, header.Precision);
        return header switch
        {
            { IsLossless: true } => LosslessJpeg.Decode(frame.Span, format),
            { Precision: 8 } => PixelCodec.Widen(DecodeBySkia(frame.Span, header, format), 1, format),
            _ => DecodeByBlocks(frame, header, format),
        };
    }

    private static byte[] DecodeBySkia(ReadOnlySpan<byte> frame, JpegHeader header, PixelFormat format)
    {
        // Without a marker that says so, the decoder takes three components as YCbCr; the data set knows better.
        using var data = header is { Components: 3, SaysColourSpace: false } && format.Photometric == "RGB"
            ? SKData.CreateCopy((byte[])[0xFF, 0xD8, .. JpegHeader.AdobeWithoutTransform, .. frame[2..]])
            : SKData.CreateCopy(frame);
        using var codec = SKCodec.Create(data) ?? throw Damaged(frame.Length);
        var info = new SKImageInfo(header.Columns, header.Rows, header.Components == 1 ? SKColorType.Gray8 : SKColorType.Rgba8888, SKAlphaType.Opaque);
        var pixels = new byte[info.BytesSize];
        var handle = GCHandle.Alloc(pixels, GCHandleType.Pinned);
        try
        {
            if (codec.GetPixels(info, handle.AddrOfPinnedObject()) != SKCodecResult.Success)
            {
                throw Damaged(frame.Length);
            }
        }
        finally
        {
            handle.Free();
        }

        if (header.Components == 1)
        {
            return pixels;
        }

        var colours = new byte[pixels.Length / 4 * 3];
        for (int from = 0, to = 0; to < colours.Length; from += 4, to += 3)
        {
            (colours[to], colours[to + 1], colours[to + 2]) = (pixels[from], pixels[from + 1], pixels[from + 2]);
        }

        return colours;
    }

    private static byte[] DecodeByBlocks(ReadOnlyMemory<byte> frame, JpegHeader header, PixelFormat format)
    {
        if (header.Components != 1)
        {
            throw new CodecException($"JPEG with {header.Precision} bits is decoded with one sample per pixel; this frame has {header.Components}.");
        }

        var samples = new ushort[format.Rows * format.Columns];
        try
        {
            var decoder = new JpegDecoder();
            decoder.SetInput(frame);
            decoder.Identify();
            decoder.SetOutputWriter(new Blocks(samples, format, (1 << header.Precision) - 1));
            decoder.Decode();
        }
        catch (Exception e) when (e is InvalidDataException or InvalidOperationException or NotSupportedException or IndexOutOfRangeException or ArgumentException)
        {
            throw new CodecException($"The JPEG codestream of {frame.Length} bytes is damaged or cut: {e.Message}");
        }

        return PixelCodec.Widen(MemoryMarshal.AsBytes<ushort>(samples).ToArray(), 2, format);
    }

    private static CodecException Damaged(int length) => new($"The JPEG codestream of {length} bytes is damaged or cut.");

    /// <summary>Takes blocks of 8 by 8 samples; those at the right and lower edge reach beyond the image.</summary>
    private sealed class Blocks(ushort[] samples, PixelFormat format, int most) : JpegBlockOutputWriter
    {
        private const int Side = 8;

        public override void WriteBlock(ref short blockRef, int componentIndex, int x, int y)
        {
            var (right, bottom) = (Math.Min(Side, format.Columns - x), Math.Min(Side, format.Rows - y));
            for (var row = 0; row < bottom; row++)
            {
                for (var column = 0; column < right; column++)
                {
                    // The inverse transform overshoots at edges.
                    samples[((y + row) * format.Columns) + x + column] =
                        (ushort)Math.Clamp((int)Unsafe.Add(ref blockRef, (row * Side) + column), 0, most);
                }
            }
        }
    }
}

/// <summary>What the markers before the first scan say.</summary>
/// <param name="IsLossless">Process 14 or 15.</param>
/// <param name="Precision">Bits of a sample.</param>
/// <param name="Rows">Height.</param>
/// <param name="Columns">Width.</param>
/// <param name="Components">Samples per pixel.</param>
/// <param name="SaysColourSpace">A JFIF or Adobe marker, or component identifiers R, G, B, say whether samples are YCbCr.</param>
internal sealed record JpegHeader(bool IsLossless, int Precision, int Rows, int Columns, int Components, bool SaysColourSpace)
{
    /// <summary>An APP14 marker segment: no colour transform.</summary>
    public static ReadOnlySpan<byte> AdobeWithoutTransform => [0xFF, 0xEE, 0, 14, (byte)'A', (byte)'d', (byte)'o', (byte)'b', (byte)'e', 0, 100, 0, 0, 0, 0, 0];

    /// <exception cref="CodecException">There is no frame header, or one of a process that is not decoded.</exception>
    public static JpegHeader Read(ReadOnlySpan<byte> stream)
    {
        var saysColourSpace = false;
        if (stream.Length < 4 || stream[0] != 0xFF || stream[1] != 0xD8)
        {
            throw new CodecException($"The frame of {stream.Length} bytes does not begin with JPEG's start of image.");
        }

        for (var at = 2; at + 9 < stream.Length;)
        {
            if (stream[at] != 0xFF)
            {
                break;
            }

            var marker = stream[at + 1];
            if (marker == 0xFF)
            {
                at++;
                continue;
            }

            var length = BinaryPrimitives.ReadUInt16BigEndian(stream[(at + 2)..]);
            var segment = stream[(at + 4)..];
            if (marker is 0xC0 or 0xC1 or 0xC2 or 0xC3)
            {
                var components = segment[5];
                var named = components == 3 && segment.Length > 12 && (segment[6], segment[9], segment[12]) is ((byte)'R', (byte)'G', (byte)'B');
                return new JpegHeader(
                    marker == 0xC3, segment[0], BinaryPrimitives.ReadUInt16BigEndian(segment[1..]), BinaryPrimitives.ReadUInt16BigEndian(segment[3..]),
                    components, saysColourSpace || named);
            }

            if (marker is (>= 0xC5 and <= 0xC7) or (>= 0xC9 and <= 0xCB) or (>= 0xCD and <= 0xCF) or 0xF7)
            {
                throw new CodecException($"JPEG process of marker FF{marker:X2} is not decoded; decoded are baseline, extended, progressive and lossless with Huffman codes.");
            }

            saysColourSpace |= (marker == 0xE0 && segment.StartsWith("JFIF"u8)) || (marker == 0xEE && segment.StartsWith("Adobe"u8));
            at += 2 + length;
        }

        throw new CodecException($"The JPEG codestream of {stream.Length} bytes has no frame header.");
    }
}
