using System.Buffers.Binary;

namespace Yizhan.PacsGw.Codecs;

/// <summary>
/// Lossless JPEG with Huffman codes (ISO/IEC 10918-1 annex H, processes 14 with all selection values). Samples of 2 to 16 bits, no
/// subsampling, with restart intervals.
/// </summary>
internal ref struct LosslessJpeg
{
    private const int MaxCodeBits = 16;
    private const int MaxComponents = 3;

    private readonly PixelFormat _format;
    private readonly ushort[]?[] _tables = new ushort[]?[4];
    private readonly byte[] _pixels;
    private readonly ReadOnlySpan<byte> _stream;
    private int _at;
    private int _precision;
    private int _restartInterval;
    private ulong _bits;
    private int _bitCount;

    private LosslessJpeg(ReadOnlySpan<byte> stream, PixelFormat format)
    {
        _stream = stream;
        _format = format;
        _pixels = new byte[format.FrameBytes];
    }

    /// <summary>The samples of a frame whose size was compared with the data set.</summary>
    /// <exception cref="CodecException">The codestream is damaged, cut, or subsampled.</exception>
    public static byte[] Decode(ReadOnlySpan<byte> stream, PixelFormat format)
    {
        var decoder = new LosslessJpeg(stream, format);
        try
        {
            return decoder.Decode();
        }
        catch (Exception e) when (e is IndexOutOfRangeException or ArgumentOutOfRangeException)
        {
            throw Damaged("it ends within a marker segment");
        }
    }

    private static CodecException Damaged(string what) => new($"The lossless JPEG codestream is damaged: {what}.");

    private byte[] Decode()
    {
        var identifiers = new byte[_format.Samples];
        var decoded = 0;
        for (_at = 2; decoded < _format.Samples;)
        {
            if (_stream[_at] != 0xFF)
            {
                throw Damaged($"there is no marker at byte {_at}");
            }

            var marker = _stream[_at + 1];
            if (marker == 0xFF)
            {
                _at++;
                continue;
            }

            var segment = _stream.Slice(_at + 4, BinaryPrimitives.ReadUInt16BigEndian(_stream[(_at + 2)..]) - 2);
            _at += 4 + segment.Length;
            switch (marker)
            {
                case 0xC3:
                    _precision = segment[0];
                    for (var i = 0; i < identifiers.Length; i++)
                    {
                        identifiers[i] = segment[6 + (i * 3)];
                        if (segment[7 + (i * 3)] != 0x11)
                        {
                            throw Damaged("its components are subsampled, which is not decoded");
                        }
                    }

                    break;
                case 0xC4:
                    ReadTables(segment);
                    break;
                case 0xDD:
                    _restartInterval = BinaryPrimitives.ReadUInt16BigEndian(segment);
                    break;
                case 0xDA:
                    decoded += ReadScan(segment, identifiers);
                    break;
                case 0xD9:
                    throw Damaged($"it ends after {decoded} of {_format.Samples} components");
            }
        }

        return _pixels;
    }

    /// <summary>Each table becomes 65536 entries, of the next 16 bits: code length in the upper byte, category in the lower.</summary>
    private readonly void ReadTables(ReadOnlySpan<byte> segment)
    {
        while (segment.Length > MaxCodeBits)
        {
            var table = new ushort[1 << MaxCodeBits];
            var (code, value) = (0, 1 + MaxCodeBits);
            for (var length = 1; length <= MaxCodeBits; length++, code <<= 1)
            {
                for (var i = 0; i < segment[length]; i++, code++)
                {
                    var first = code << (MaxCodeBits - length);
                    table.AsSpan(first, 1 << (MaxCodeBits - length)).Fill((ushort)(length << 8 | segment[value++]));
                }
            }

            _tables[segment[0] & 3] = table;
            segment = segment[value..];
        }
    }

    /// <returns>Number of components that the scan had.</returns>
    private int ReadScan(ReadOnlySpan<byte> segment, byte[] identifiers)
    {
        var count = segment[0];
        if (count is 0 or > MaxComponents || _precision is < 2 or > 16)
        {
            throw Damaged($"a scan has {count} components with {_precision} bits");
        }

        var components = new int[count];
        var tables = new ushort[count][];
        for (var i = 0; i < count; i++)
        {
            components[i] = Array.IndexOf(identifiers, segment[1 + (i * 2)]);
            tables[i] = _tables[(segment[2 + (i * 2)] >> 4) & 3] is { } table && components[i] >= 0
                ? table
                : throw Damaged("a scan names a component or a Huffman table that is not there");
        }

        var predictor = segment[1 + (count * 2)];
        var shift = segment[3 + (count * 2)] & 0xF;
        if (predictor is 0 or > 7 || shift >= _precision)
        {
            throw Damaged($"selection value {predictor} with point transform {shift} does not exist");
        }

        Decode(components, tables, predictor, shift);
        return count;
    }

    private void Decode(int[] components, ushort[][] tables, int predictor, int shift)
    {
        var (columns, rows) = (_format.Columns, _format.Rows);
        var above = new int[components.Length][];
        var current = new int[components.Length][];
        for (var i = 0; i < components.Length; i++)
        {
            (above[i], current[i]) = (new int[columns], new int[columns]);
        }

        (_bits, _bitCount) = (0, 0);
        var start = 1 << (_precision - shift - 1);
        var untilRestart = _restartInterval;
        var firstRow = 0;
        for (var y = 0; y < rows; y++)
        {
            for (var x = 0; x < columns; x++)
            {
                var restarted = false;
                if (_restartInterval > 0 && untilRestart-- == 0)
                {
                    Restart();
                    untilRestart = _restartInterval - 1;
                    (firstRow, restarted) = (y, true);
                }

                for (var i = 0; i < components.Length; i++)
                {
                    var (row, up) = (current[i], above[i]);
                    var prediction = (x == 0 && y == firstRow) || restarted ? start
                        : y == firstRow ? row[x - 1]
                        : x == 0 ? up[0]
                        : Predict(predictor, row[x - 1], up[x], up[x - 1]);
                    row[x] = (prediction + ReadDifference(tables[i])) & 0xFFFF;
                    Store(((y * columns) + x) * _format.Samples + components[i], row[x] << shift);
                }
            }

            (above, current) = (current, above);
        }

        // What is left of the last byte is padding; the next marker is at or before the reader.
        _at -= _bitCount / 8;
        while (_at + 1 < _stream.Length && !(_stream[_at] == 0xFF && _stream[_at + 1] is not (0 or 0xFF)))
        {
            _at++;
        }
    }

    private static int Predict(int predictor, int left, int up, int upLeft) => predictor switch
    {
        1 => left,
        2 => up,
        3 => upLeft,
        4 => left + up - upLeft,
        5 => left + ((up - upLeft) >> 1),
        6 => up + ((left - upLeft) >> 1),
        _ => (left + up) >> 1,
    };

    private readonly void Store(int index, int value)
    {
        switch (_format.BytesPerSample)
        {
            case 1:
                _pixels[index] = (byte)value;
                break;
            case 2:
                BinaryPrimitives.WriteUInt16LittleEndian(_pixels.AsSpan(index * 2), (ushort)value);
                break;
            default:
                BinaryPrimitives.WriteUInt16LittleEndian(_pixels.AsSpan(index * _format.BytesPerSample), (ushort)value);
                break;
        }
    }

    private int ReadDifference(ushort[] table)
    {
        if (_bitCount < 32)
        {
            Fill();
        }

        var entry = table[(ushort)(_bits >> 48)];
        var length = entry >> 8;
        var category = entry & 0xFF;
        if (length == 0 || category > 16 || length > _bitCount)
        {
            throw Damaged($"there is no Huffman code at byte {_at}");
        }

        _bits <<= length;
        _bitCount -= length;
        if (category is 0 or 16)
        {
            return category == 0 ? 0 : 32768;
        }

        if (category > _bitCount)
        {
            throw Damaged($"it ends at byte {_at}");
        }

        var value = (int)(_bits >> (64 - category));
        _bits <<= category;
        _bitCount -= category;
        return value < 1 << (category - 1) ? value - (1 << category) + 1 : value;
    }

    /// <summary>Takes whole bytes up to a marker; a stuffed zero is no data.</summary>
    private void Fill()
    {
        while (_bitCount <= 48 && _at < _stream.Length)
        {
            var value = _stream[_at];
            if (value == 0xFF)
            {
                if (_at + 1 >= _stream.Length || _stream[_at + 1] != 0)
                {
                    return;
                }

                _at++;
            }

            _at++;
            _bits |= (ulong)value << (56 - _bitCount);
            _bitCount += 8;
        }
    }

    private void Restart()
    {
        (_bits, _bitCount) = (0, 0);
        if (_at + 1 >= _stream.Length || _stream[_at] != 0xFF || (_stream[_at + 1] & 0xF8) != 0xD0)
        {
            throw Damaged($"there is no restart marker at byte {_at}");
        }

        _at += 2;
    }
}
