using System.Runtime.InteropServices;

namespace Yizhan.PacsGw.Codecs;

/// <summary>JPEG-LS (ISO/IEC 14495-1) by libcharls 2.</summary>
internal static unsafe partial class JpegLsCodec
{
    private const string Library = NativeCodecs.CharLs;
    private const int InterleaveNone = 0;
    private const int InterleaveSample = 2;

    public static byte[] Decode(ReadOnlySpan<byte> frame, PixelFormat format)
    {
        var decoder = charls_jpegls_decoder_create();
        try
        {
            fixed (byte* source = frame)
            {
                Check(charls_jpegls_decoder_set_source_buffer(decoder, source, (nuint)frame.Length), "read");
                Check(charls_jpegls_decoder_read_header(decoder), "read");
                Check(charls_jpegls_decoder_get_frame_info(decoder, out var info), "read");
                PixelCodec.Match(format, info.Width, info.Height, info.ComponentCount, info.BitsPerSample);
                Check(charls_jpegls_decoder_get_interleave_mode(decoder, out var interleave), "read");
                var size = info.BitsPerSample > 8 ? 2 : 1;
                var pixels = new byte[format.Rows * format.Columns * format.Samples * size];
                fixed (byte* target = pixels)
                {
                    Check(charls_jpegls_decoder_decode_to_buffer(decoder, target, (nuint)pixels.Length, 0), "decoded");
                }

                if (interleave == InterleaveNone && format.Samples > 1)
                {
                    pixels = FromPlanes(pixels, format.Samples, size);
                }

                return PixelCodec.Widen(pixels, size, format);
            }
        }
        finally
        {
            charls_jpegls_decoder_destroy(decoder);
        }
    }

    public static byte[] Encode(NativeFrame frame)
    {
        var format = frame.Format;
        if (format.BitsAllocated is not (8 or 16))
        {
            throw new CodecException($"JPEG-LS has 2 to 16 bits a sample; this frame has {format.BitsAllocated} allocated.");
        }

        // Bits above Bits Stored have to come back too: signs, overlays. Then the codestream takes all that are allocated.
        var info = new FrameInfo
        {
            Width = (uint)format.Columns,
            Height = (uint)format.Rows,
            BitsPerSample = Math.Max(2, FitsBitsStored(frame) ? format.BitsStored : format.BitsAllocated),
            ComponentCount = format.Samples,
        };
        var encoder = charls_jpegls_encoder_create();
        try
        {
            Check(charls_jpegls_encoder_set_frame_info(encoder, in info), "encoded");
            Check(charls_jpegls_encoder_set_interleave_mode(encoder, format.Samples > 1 ? InterleaveSample : InterleaveNone), "encoded");
            Check(charls_jpegls_encoder_get_estimated_destination_size(encoder, out var size), "encoded");
            var encoded = new byte[size];
            fixed (byte* target = encoded, source = frame.Pixels)
            {
                Check(charls_jpegls_encoder_set_destination_buffer(encoder, target, size), "encoded");
                Check(charls_jpegls_encoder_encode_from_buffer(encoder, source, (nuint)frame.Pixels.Length, 0), "encoded");
            }

            Check(charls_jpegls_encoder_get_bytes_written(encoder, out var written), "encoded");
            return encoded[..(int)written];
        }
        finally
        {
            charls_jpegls_encoder_destroy(encoder);
        }
    }

    /// <summary>True when no sample has a bit above Bits Stored.</summary>
    private static bool FitsBitsStored(NativeFrame frame)
    {
        var format = frame.Format;
        return format.BitsStored == format.BitsAllocated
            || (format.BitsAllocated == 8
                ? !frame.Pixels.AsSpan().ContainsAnyExceptInRange((byte)0, (byte)((1 << format.BitsStored) - 1))
                : !MemoryMarshal.Cast<byte, ushort>(frame.Pixels).ContainsAnyExceptInRange((ushort)0, (ushort)((1 << format.BitsStored) - 1)));
    }

    private static byte[] FromPlanes(byte[] planes, int samples, int size)
    {
        var pixels = new byte[planes.Length];
        var count = planes.Length / samples / size;
        for (var i = 0; i < count * samples; i++)
        {
            planes.AsSpan(((i % samples * count) + (i / samples)) * size, size).CopyTo(pixels.AsSpan(i * size));
        }

        return pixels;
    }

    private static void Check(int error, string what)
    {
        if (error != 0)
        {
            throw new CodecException($"The JPEG-LS codestream cannot be {what}: {Marshal.PtrToStringUTF8(charls_get_error_message(error))}");
        }
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct FrameInfo
    {
        public uint Width;
        public uint Height;
        public int BitsPerSample;
        public int ComponentCount;
    }

#pragma warning disable SA1300, CA1707, IDE1006 // The library's own names.
    [LibraryImport(Library)]
    private static partial nint charls_jpegls_decoder_create();

    [LibraryImport(Library)]
    private static partial void charls_jpegls_decoder_destroy(nint decoder);

    [LibraryImport(Library)]
    private static partial int charls_jpegls_decoder_set_source_buffer(nint decoder, byte* source, nuint size);

    [LibraryImport(Library)]
    private static partial int charls_jpegls_decoder_read_header(nint decoder);

    [LibraryImport(Library)]
    private static partial int charls_jpegls_decoder_get_frame_info(nint decoder, out FrameInfo info);

    [LibraryImport(Library)]
    private static partial int charls_jpegls_decoder_get_interleave_mode(nint decoder, out int mode);

    [LibraryImport(Library)]
    private static partial int charls_jpegls_decoder_decode_to_buffer(nint decoder, byte* target, nuint size, uint stride);

    [LibraryImport(Library)]
    private static partial nint charls_jpegls_encoder_create();

    [LibraryImport(Library)]
    private static partial void charls_jpegls_encoder_destroy(nint encoder);

    [LibraryImport(Library)]
    private static partial int charls_jpegls_encoder_set_frame_info(nint encoder, in FrameInfo info);

    [LibraryImport(Library)]
    private static partial int charls_jpegls_encoder_set_interleave_mode(nint encoder, int mode);

    [LibraryImport(Library)]
    private static partial int charls_jpegls_encoder_get_estimated_destination_size(nint encoder, out nuint size);

    [LibraryImport(Library)]
    private static partial int charls_jpegls_encoder_set_destination_buffer(nint encoder, byte* target, nuint size);

    [LibraryImport(Library)]
    private static partial int charls_jpegls_encoder_encode_from_buffer(nint encoder, byte* source, nuint size, uint stride);

    [LibraryImport(Library)]
    private static partial int charls_jpegls_encoder_get_bytes_written(nint encoder, out nuint written);

    [LibraryImport(Library)]
    private static partial nint charls_get_error_message(int error);
#pragma warning restore SA1300, CA1707, IDE1006
}
