using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Yizhan.PacsGw.Codecs;

/// <summary>JPEG 2000 and HTJ2K (ISO/IEC 15444-1, -15) by libopenjp2 2.5, whose interface these offsets are of.</summary>
internal static unsafe partial class Jpeg2000Codec
{
    private const string Library = NativeCodecs.OpenJpeg;
    private const int CodecJ2K = 0;
    private const int CodecJp2 = 2;
    private const int ColourSrgb = 1;
    private const int ColourGray = 2;
    private const int StreamBufferBytes = 64 * 1024;
    private const int MaxResolutions = 6;

    /// <summary>The largest of the library's parameter records, opj_cparameters_t.</summary>
    private const int ParameterBytes = 18720;
    private const int ParameterDistortionAllocation = 20;
    private const int ParameterLayers = 4796;
    private const int ParameterResolutions = 5600;
    private const int ParameterComponentTransform = 18698;

    public static byte[] Decode(ReadOnlySpan<byte> frame, PixelFormat format)
    {
        // Some put a whole JP2 file into the fragment instead of a codestream (PS3.5 §A.4.4 forbids it).
        var isFile = frame.Length > 12 && BinaryPrimitives.ReadUInt32BigEndian(frame[4..]) == 0x6A502020;
        var codec = opj_create_decompress(isFile ? CodecJp2 : CodecJ2K);
        var stream = opj_stream_create(StreamBufferBytes, 1);
        Image* image = null;
        try
        {
            fixed (byte* bytes = frame)
            {
                var source = new Source { Bytes = bytes, Length = frame.Length };
                opj_stream_set_read_function(stream, &Read);
                opj_stream_set_skip_function(stream, &Skip);
                opj_stream_set_seek_function(stream, &Seek);
                opj_stream_set_user_data(stream, &source, 0);
                opj_stream_set_user_data_length(stream, (ulong)frame.Length);

                var parameters = stackalloc byte[ParameterBytes];
                opj_set_default_decoder_parameters(parameters);
                if (opj_setup_decoder(codec, parameters) == 0 || opj_read_header(stream, codec, &image) == 0)
                {
                    throw new CodecException($"The JPEG 2000 codestream of {frame.Length} bytes has no readable header.");
                }

                PixelCodec.Match(format, image->X1 - image->X0, image->Y1 - image->Y0, (int)image->ComponentCount, (int)image->Components->Precision);
                if (opj_decode(codec, stream, image) == 0)
                {
                    throw new CodecException($"The JPEG 2000 codestream of {frame.Length} bytes is damaged or cut.");
                }

                return ToPixels(image, format);
            }
        }
        finally
        {
            opj_image_destroy(image);
            opj_stream_destroy(stream);
            opj_destroy_codec(codec);
        }
    }

    public static byte[] Encode(NativeFrame frame)
    {
        var format = frame.Format;
        if (format.BitsAllocated is not (8 or 16))
        {
            throw new CodecException($"JPEG 2000 is written with 8 or 16 allocated bits; this frame has {format.BitsAllocated}.");
        }

        var components = stackalloc ComponentParameters[3];
        for (var i = 0; i < format.Samples; i++)
        {
            components[i] = new ComponentParameters
            {
                Dx = 1,
                Dy = 1,
                Width = (uint)format.Columns,
                Height = (uint)format.Rows,
                Precision = (uint)Precision(frame),
                IsSigned = format.IsSigned ? 1u : 0u,
            };
        }

        var image = opj_image_create((uint)format.Samples, components, format.Samples == 3 ? ColourSrgb : ColourGray);
        var codec = opj_create_compress(CodecJ2K);
        var stream = opj_stream_create(StreamBufferBytes, 0);
        var output = new Output();
        var handle = GCHandle.Alloc(output);
        try
        {
            (image->X1, image->Y1) = ((uint)format.Columns, (uint)format.Rows);
            FromPixels(frame, image);
            opj_stream_set_write_function(stream, &Write);
            opj_stream_set_skip_function(stream, &SkipOutput);
            opj_stream_set_seek_function(stream, &SeekOutput);
            opj_stream_set_user_data(stream, (void*)GCHandle.ToIntPtr(handle), 0);

            var parameters = stackalloc byte[ParameterBytes];
            opj_set_default_encoder_parameters(parameters);
            *(int*)(parameters + ParameterDistortionAllocation) = 1;
            *(int*)(parameters + ParameterLayers) = 1;
            *(int*)(parameters + ParameterResolutions) = Resolutions(format);
            parameters[ParameterComponentTransform] = format is { Samples: 3, Photometric: "RGB" } ? (byte)1 : (byte)0;
            if (opj_setup_encoder(codec, parameters, image) == 0 || opj_start_compress(codec, image, stream) == 0
                || opj_encode(codec, stream) == 0 || opj_end_compress(codec, stream) == 0)
            {
                throw new CodecException($"libopenjp2 does not encode {format.Columns}x{format.Rows} pixels of {format.Samples} samples with {format.BitsStored} bits.");
            }
        }
        finally
        {
            opj_stream_destroy(stream);
            opj_destroy_codec(codec);
            opj_image_destroy(image);
            handle.Free();
        }

        return output.Bytes.ToArray();
    }

    private static int Resolutions(PixelFormat format) =>
        Math.Min(MaxResolutions, 1 + (int)Math.Log2(Math.Min(format.Rows, format.Columns)));

    /// <summary>Bits Stored, or all allocated bits when a sample has something above.</summary>
    private static int Precision(NativeFrame frame)
    {
        var format = frame.Format;
        var (least, most) = format.IsSigned
            ? (-(1 << (format.BitsStored - 1)), (1 << (format.BitsStored - 1)) - 1)
            : (0, (1 << format.BitsStored) - 1);
        var fits = (format.BitsAllocated, format.IsSigned) switch
        {
            (8, false) => !frame.Pixels.AsSpan().ContainsAnyExceptInRange((byte)least, (byte)most),
            (8, true) => !MemoryMarshal.Cast<byte, sbyte>(frame.Pixels).ContainsAnyExceptInRange((sbyte)least, (sbyte)most),
            (_, false) => !MemoryMarshal.Cast<byte, ushort>(frame.Pixels).ContainsAnyExceptInRange((ushort)least, (ushort)most),
            _ => !MemoryMarshal.Cast<byte, short>(frame.Pixels).ContainsAnyExceptInRange((short)least, (short)most),
        };
        return fits ? format.BitsStored : format.BitsAllocated;
    }

    private static byte[] ToPixels(Image* image, PixelFormat format)
    {
        var pixels = new byte[format.FrameBytes];
        var count = format.Rows * format.Columns;
        for (var sample = 0; sample < format.Samples; sample++)
        {
            var component = image->Components + sample;
            if (component->Width != format.Columns || component->Height != format.Rows || component->Data is null)
            {
                throw new CodecException($"Component {sample + 1} of the JPEG 2000 codestream has {component->Width}x{component->Height} pixels; the image has {format.Columns}x{format.Rows}.");
            }

            // Signed by the data set and unsigned in the codestream: the bits are two's complement of the codestream's precision.
            var shift = format.IsSigned && component->IsSigned == 0 ? 32 - (int)component->Precision : 0;
            var data = new ReadOnlySpan<int>(component->Data, count);
            switch (format.BytesPerSample)
            {
                case 1:
                    for (var i = 0; i < count; i++)
                    {
                        pixels[(i * format.Samples) + sample] = (byte)((data[i] << shift) >> shift);
                    }

                    break;
                case 2:
                    var words = MemoryMarshal.Cast<byte, ushort>(pixels.AsSpan());
                    for (var i = 0; i < count; i++)
                    {
                        words[(i * format.Samples) + sample] = (ushort)((data[i] << shift) >> shift);
                    }

                    break;
                default:
                    var numbers = MemoryMarshal.Cast<byte, int>(pixels.AsSpan());
                    for (var i = 0; i < count; i++)
                    {
                        numbers[(i * format.Samples) + sample] = (data[i] << shift) >> shift;
                    }

                    break;
            }
        }

        return pixels;
    }

    private static void FromPixels(NativeFrame frame, Image* image)
    {
        var format = frame.Format;
        var count = format.Rows * format.Columns;
        for (var sample = 0; sample < format.Samples; sample++)
        {
            var data = new Span<int>((image->Components + sample)->Data, count);
            for (var i = 0; i < count; i++)
            {
                var at = (i * format.Samples) + sample;
                data[i] = (format.BytesPerSample, format.IsSigned) switch
                {
                    (1, false) => frame.Pixels[at],
                    (1, true) => (sbyte)frame.Pixels[at],
                    (_, false) => BinaryPrimitives.ReadUInt16LittleEndian(frame.Pixels.AsSpan(at * 2)),
                    _ => BinaryPrimitives.ReadInt16LittleEndian(frame.Pixels.AsSpan(at * 2)),
                };
            }
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static nuint Read(byte* buffer, nuint count, void* user)
    {
        var source = (Source*)user;
        var read = Math.Min((long)count, source->Length - source->Position);
        if (read <= 0)
        {
            return nuint.MaxValue;
        }

        new ReadOnlySpan<byte>(source->Bytes + source->Position, (int)read).CopyTo(new Span<byte>(buffer, (int)read));
        source->Position += read;
        return (nuint)read;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static long Skip(long count, void* user)
    {
        var source = (Source*)user;
        var skipped = Math.Clamp(count, -source->Position, source->Length - source->Position);
        source->Position += skipped;
        return skipped == 0 && count != 0 ? -1 : skipped;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int Seek(long position, void* user)
    {
        var source = (Source*)user;
        if (position < 0 || position > source->Length)
        {
            return 0;
        }

        source->Position = position;
        return 1;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static nuint Write(byte* buffer, nuint count, void* user)
    {
        Out(user).Write(new ReadOnlySpan<byte>(buffer, (int)count));
        return count;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static long SkipOutput(long count, void* user)
    {
        Out(user).Position += count;
        return count;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int SeekOutput(long position, void* user)
    {
        Out(user).Position = position;
        return 1;
    }

    private static MemoryStream Out(void* user) => ((Output)GCHandle.FromIntPtr((nint)user).Target!).Bytes;

    private sealed class Output
    {
        public MemoryStream Bytes { get; } = new();
    }

    private struct Source
    {
        public byte* Bytes;
        public long Length;
        public long Position;
    }

#pragma warning disable CS0649 // The library writes these.
    /// <summary>opj_image_t.</summary>
    private struct Image
    {
        public uint X0;
        public uint Y0;
        public uint X1;
        public uint Y1;
        public uint ComponentCount;
        public int ColourSpace;
        public Component* Components;
    }

    /// <summary>opj_image_comp_t.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 64)]
    private struct Component
    {
        [FieldOffset(8)]
        public uint Width;
        [FieldOffset(12)]
        public uint Height;
        [FieldOffset(24)]
        public uint Precision;
        [FieldOffset(32)]
        public uint IsSigned;
        [FieldOffset(48)]
        public int* Data;
    }

#pragma warning restore CS0649

    /// <summary>opj_image_cmptparm_t.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 36)]
    private struct ComponentParameters
    {
        [FieldOffset(0)]
        public uint Dx;
        [FieldOffset(4)]
        public uint Dy;
        [FieldOffset(8)]
        public uint Width;
        [FieldOffset(12)]
        public uint Height;
        [FieldOffset(24)]
        public uint Precision;
        [FieldOffset(32)]
        public uint IsSigned;
    }

#pragma warning disable SA1300, CA1707, IDE1006 // The library's own names.
    [LibraryImport(Library)]
    private static partial nint opj_create_decompress(int format);

    [LibraryImport(Library)]
    private static partial nint opj_create_compress(int format);

    [LibraryImport(Library)]
    private static partial void opj_destroy_codec(nint codec);

    [LibraryImport(Library)]
    private static partial void opj_set_default_decoder_parameters(byte* parameters);

    [LibraryImport(Library)]
    private static partial int opj_setup_decoder(nint codec, byte* parameters);

    [LibraryImport(Library)]
    private static partial int opj_read_header(nint stream, nint codec, Image** image);

    [LibraryImport(Library)]
    private static partial int opj_decode(nint codec, nint stream, Image* image);

    [LibraryImport(Library)]
    private static partial void opj_set_default_encoder_parameters(byte* parameters);

    [LibraryImport(Library)]
    private static partial int opj_setup_encoder(nint codec, byte* parameters, Image* image);

    [LibraryImport(Library)]
    private static partial int opj_start_compress(nint codec, Image* image, nint stream);

    [LibraryImport(Library)]
    private static partial int opj_encode(nint codec, nint stream);

    [LibraryImport(Library)]
    private static partial int opj_end_compress(nint codec, nint stream);

    [LibraryImport(Library)]
    private static partial Image* opj_image_create(uint components, ComponentParameters* parameters, int colourSpace);

    [LibraryImport(Library)]
    private static partial void opj_image_destroy(Image* image);

    [LibraryImport(Library)]
    private static partial nint opj_stream_create(nuint bufferBytes, int isInput);

    [LibraryImport(Library)]
    private static partial void opj_stream_destroy(nint stream);

    [LibraryImport(Library)]
    private static partial void opj_stream_set_read_function(nint stream, delegate* unmanaged[Cdecl]<byte*, nuint, void*, nuint> function);

    [LibraryImport(Library)]
    private static partial void opj_stream_set_write_function(nint stream, delegate* unmanaged[Cdecl]<byte*, nuint, void*, nuint> function);

    [LibraryImport(Library)]
    private static partial void opj_stream_set_skip_function(nint stream, delegate* unmanaged[Cdecl]<long, void*, long> function);

    [LibraryImport(Library)]
    private static partial void opj_stream_set_seek_function(nint stream, delegate* unmanaged[Cdecl]<long, void*, int> function);

    [LibraryImport(Library)]
    private static partial void opj_stream_set_user_data(nint stream, void* user, nint free);

    [LibraryImport(Library)]
    private static partial void opj_stream_set_user_data_length(nint stream, ulong length);
#pragma warning restore SA1300, CA1707, IDE1006
}
