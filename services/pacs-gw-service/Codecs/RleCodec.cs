using System.Buffers.Binary;

namespace Yizhan.PacsGw.Codecs;

/// <summary>RLE Lossless, PS3.5 annex G: one segment of packed bytes for each byte plane, the most significant first.</summary>
internal static class RleCodec
{
    private const int HeaderBytes = 64;
    private const int MaxSegments = 15;
    private const int MaxRun = 128;

    public static byte[] Decode(ReadOnlySpan<byte> frame, PixelFormat format)
    {
        var (size, segments) = Planes(format);
        if (frame.Length < HeaderBytes || BinaryPrimitives.ReadUInt32LittleEndian(frame) != segments)
        {
            throw new CodecException($"The RLE header does not announce {segments} segments in a frame of {frame.Length} bytes.");
        }

        var pixels = new byte[format.FrameBytes];
        var count = format.Rows * format.Columns;
        for (var segment = 0; segment < segments; segment++)
        {
            var start = BinaryPrimitives.ReadUInt32LittleEndian(frame[(4 + (segment * 4))..]);
            var end = segment + 1 < segments ? BinaryPrimitives.ReadUInt32LittleEndian(frame[(8 + (segment * 4))..]) : (uint)frame.Length;
            if (start < HeaderBytes || start > end || end > frame.Length)
            {
                throw new CodecException($"RLE segment {segment + 1} is said to lie at bytes {start} to {end} of {frame.Length}.");
            }

            var (sample, plane) = (segment / size, segment % size);
            Unpack(frame[(int)start..(int)end], pixels, (sample * size) + (size - 1 - plane), format.Samples * size, count);
        }

        return pixels;
    }

    public static byte[] Encode(NativeFrame frame)
    {
        var format = frame.Format;
        var (size, segments) = Planes(format);
        using var encoded = new MemoryStream(format.FrameBytes / 2);
        encoded.Write(new byte[HeaderBytes]);
        var header = new byte[HeaderBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(header, (uint)segments);
        var row = new byte[format.Columns];
        for (var segment = 0; segment < segments; segment++)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(4 + (segment * 4)), (uint)encoded.Position);
            var (sample, plane) = (segment / size, segment % size);
            for (var y = 0; y < format.Rows; y++)
            {
                var from = (y * format.Columns * format.Samples * size) + (sample * size) + (size - 1 - plane);
                for (var x = 0; x < row.Length; x++)
                {
                    row[x] = frame.Pixels[from + (x * format.Samples * size)];
                }

                // A row at a time: PS3.5 §G.3.1 does not let a run go on in the next.
                Pack(row, encoded);
            }

            if (encoded.Position % 2 != 0)
            {
                encoded.WriteByte(0);
            }
        }

        var bytes = encoded.ToArray();
        header.CopyTo(bytes, 0);
        return bytes;
    }

    private static (int BytesPerSample, int Segments) Planes(PixelFormat format) =>
        format.BitsAllocated >= 8 && format.BytesPerSample * format.Samples <= MaxSegments
            ? (format.BytesPerSample, format.BytesPerSample * format.Samples)
            : throw new CodecException($"RLE has up to {MaxSegments} byte planes; {format.Samples} samples of {format.BitsAllocated} bits do not fit.");

    private static void Unpack(ReadOnlySpan<byte> segment, byte[] pixels, int offset, int step, int count)
    {
        var at = 0;
        for (var done = 0; done < count;)
        {
            if (at + 1 >= segment.Length)
            {
                throw new CodecException($"An RLE segment ends after {done} of {count} bytes.");
            }

            var control = (sbyte)segment[at++];
            if (control == -128)
            {
                continue;
            }

            var isRun = control < 0;
            var length = Math.Min(isRun ? 1 - control : control + 1, count - done);
            if (!isRun && at + length > segment.Length)
            {
                throw new CodecException($"An RLE segment ends after {done} of {count} bytes.");
            }

            for (var i = 0; i < length; i++, done++)
            {
                pixels[offset + (done * step)] = isRun ? segment[at] : segment[at + i];
            }

            at += isRun ? 1 : length;
        }
    }

    private static void Pack(ReadOnlySpan<byte> row, MemoryStream output)
    {
        for (var at = 0; at < row.Length;)
        {
            var run = RunAt(row, at);
            if (run >= 2)
            {
                output.WriteByte((byte)(1 - run));
                output.WriteByte(row[at]);
                at += run;
                continue;
            }

            var end = at + 1;
            while (end < row.Length && end - at < MaxRun && RunAt(row, end) < 3)
            {
                end++;
            }

            output.WriteByte((byte)(end - at - 1));
            output.Write(row[at..end]);
            at = end;
        }
    }

    private static int RunAt(ReadOnlySpan<byte> row, int at)
    {
        var end = at + 1;
        while (end < row.Length && end - at < MaxRun && row[end] == row[at])
        {
            end++;
        }

        return end - at;
    }
}
