using System.Buffers;
using System.Buffers.Binary;

namespace Yizhan.Dicom;

/// <summary>
/// A push decoder of RFC 1951 for data sets that arrive in slices: it takes what input there is, gives what output that
/// makes, and knows whether the stream is whole. (DeflateStream pulls, and cannot tell a cut stream from a finished one.)
/// </summary>
internal sealed class Inflater(long maxBytes)
{
    private const int WindowSize = 32768;
    private const int TrailerSize = 8;

    private static readonly ushort[] LengthBase =
        [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];

    private static readonly byte[] LengthExtra = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];

    private static readonly ushort[] DistanceBase =
        [1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577];

    private static readonly byte[] DistanceExtra = [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];

    private static readonly byte[] CodeLengthOrder = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

    // The last 32 KiB of output, then up to 32 KiB (and one match) of new output.
    private readonly byte[] _window = new byte[(WindowSize * 2) + 258];
    private readonly byte[] _lengths = new byte[320];
    private int _end = WindowSize;
    private int _given = WindowSize;
    private long _consumed;
    private long _produced;
    private ulong _bits;
    private int _bitCount;
    private State _state;
    private bool _isLastBlock;
    private int _stored;
    private int _trailer;
    private int _literalCount;
    private int _distanceCount;
    private int _codeCount;
    private int _index;
    private Huffman _literals = null!;
    private Huffman _distances = null!;

    private enum State
    {
        BlockHeader,
        StoredLength,
        Stored,
        DynamicHeader,
        CodeLengthCodes,
        CodeLengths,
        Symbols,
        Finished,
    }

    /// <summary>Inflates a whole data set into memory.</summary>
    internal static ReadOnlyMemory<byte> InflateAll(ReadOnlySpan<byte> input, long maxBytes)
    {
        var inflater = new Inflater(maxBytes);
        var output = new ArrayBufferWriter<byte>(Math.Max(1024, input.Length));
        while (true)
        {
            var chunk = inflater.Next(ref input);
            if (chunk.IsEmpty)
            {
                inflater.Complete();
                return output.WrittenMemory;
            }

            output.Write(chunk);
        }
    }

    /// <summary>The next output, valid until the next call; empty when all input is consumed.</summary>
    /// <exception cref="DicomFormatException">The input is not deflated, or more comes out than is allowed.</exception>
    internal ReadOnlySpan<byte> Next(ref ReadOnlySpan<byte> input)
    {
        if (_end - WindowSize > 0 && _given == _end && _end >= WindowSize * 2)
        {
            _window.AsSpan(_end - WindowSize, WindowSize).CopyTo(_window);
            _end = _given = WindowSize;
        }

        while (_end < WindowSize * 2 && Step(ref input))
        {
            // Each step is one header field, one stored run or one symbol.
        }

        var chunk = _window.AsSpan(_given, _end - _given);
        _given = _end;
        _produced += chunk.Length;
        return _produced <= maxBytes ? chunk : throw Error($"the data set inflates to more than {maxBytes} bytes");
    }

    /// <summary>Says that there is no more input.</summary>
    /// <exception cref="DicomFormatException">The stream is cut.</exception>
    internal void Complete()
    {
        if (_state != State.Finished)
        {
            throw Error("the deflated data ended before its last block");
        }
    }

    private DicomFormatException Error(string message) => new(message, _consumed, null);

    private bool Step(ref ReadOnlySpan<byte> input)
    {
        Refill(ref input);
        switch (_state)
        {
            case State.BlockHeader:
                return TryTake(3, out var header) && StartBlock(header);
            case State.StoredLength:
                return StartStored();
            case State.Stored:
                return CopyStored(ref input);
            case State.DynamicHeader:
                if (!TryTake(14, out var counts))
                {
                    return false;
                }

                (_literalCount, _distanceCount, _codeCount) = ((counts & 31) + 257, ((counts >> 5) & 31) + 1, (counts >> 10) + 4);
                if (_literalCount > 286 || _distanceCount > 30)
                {
                    throw Error("the deflated data has a bad block header");
                }

                _lengths.AsSpan().Clear();
                (_index, _state) = (0, State.CodeLengthCodes);
                return true;
            case State.CodeLengthCodes:
                return ReadCodeLengthCode();
            case State.CodeLengths:
                return ReadCodeLength();
            case State.Symbols:
                return ReadSymbol();
            default:
                return SkipTrailer(ref input);
        }
    }

    private void Refill(ref ReadOnlySpan<byte> input)
    {
        if (_bitCount <= 32 && input.Length >= 4)
        {
            _bits |= (ulong)BinaryPrimitives.ReadUInt32LittleEndian(input) << _bitCount;
            _bitCount += 32;
            _consumed += 4;
            input = input[4..];
        }

        while (_bitCount <= 56 && !input.IsEmpty)
        {
            _bits |= (ulong)input[0] << _bitCount;
            _bitCount += 8;
            _consumed++;
            input = input[1..];
        }
    }

    private bool TryTake(int count, out int value)
    {
        value = (int)(_bits & ((1ul << count) - 1));
        if (_bitCount < count)
        {
            return false;
        }

        _bits >>= count;
        _bitCount -= count;
        return true;
    }

    private bool StartBlock(int header)
    {
        _isLastBlock = (header & 1) != 0;
        switch (header >> 1)
        {
            case 0:
                TryTake(_bitCount & 7, out _);
                _state = State.StoredLength;
                return true;
            case 1:
                (_literals, _distances) = (Huffman.FixedLiterals, Huffman.FixedDistances);
                _state = State.Symbols;
                return true;
            case 2:
                _state = State.DynamicHeader;
                return true;
            default:
                throw Error("the deflated data has a block of unknown type");
        }
    }

    private bool StartStored()
    {
        if (_bitCount < 32)
        {
            return false;
        }

        TryTake(16, out _stored);
        TryTake(16, out var complement);
        if (_stored != (~complement & 0xFFFF))
        {
            throw Error("the deflated data has a stored block with a bad length");
        }

        _state = State.Stored;
        return true;
    }

    private bool CopyStored(ref ReadOnlySpan<byte> input)
    {
        while (_stored > 0 && _end < WindowSize * 2 && TryTake(8, out var value))
        {
            _window[_end++] = (byte)value;
            _stored--;
        }

        var count = Math.Min(Math.Min(_stored, input.Length), (WindowSize * 2) - _end);
        if (_bitCount == 0 && count > 0)
        {
            input[..count].CopyTo(_window.AsSpan(_end));
            input = input[count..];
            _consumed += count;
            _end += count;
            _stored -= count;
        }

        if (_stored == 0)
        {
            EndBlock();
            return true;
        }

        return !input.IsEmpty;
    }

    private void EndBlock() => _state = _isLastBlock ? State.Finished : State.BlockHeader;

    private bool ReadCodeLengthCode()
    {
        if (!TryTake(3, out var length))
        {
            return false;
        }

        _lengths[CodeLengthOrder[_index++]] = (byte)length;
        if (_index == _codeCount)
        {
            _literals = Huffman.Build(_lengths.AsSpan(0, 19)) ?? throw Error("the deflated data has a bad Huffman code");
            _lengths.AsSpan().Clear();
            (_index, _state) = (0, State.CodeLengths);
        }

        return true;
    }

    private bool ReadCodeLength()
    {
        var (bits, bitCount) = (_bits, _bitCount);
        if (!TryDecode(_literals, out var symbol))
        {
            return false;
        }

        var (extraBits, start) = symbol switch { 16 => (2, 3), 17 => (3, 3), 18 => (7, 11), _ => (0, 1) };
        if (!TryTake(extraBits, out var extra))
        {
            (_bits, _bitCount) = (bits, bitCount);
            return false;
        }

        var repeat = start + extra;
        if (_index + repeat > _literalCount + _distanceCount || (symbol == 16 && _index == 0))
        {
            throw Error("the deflated data has a bad Huffman code");
        }

        _lengths.AsSpan(_index, repeat).Fill(symbol switch { 16 => _lengths[_index - 1], 17 or 18 => 0, _ => (byte)symbol });
        _index += repeat;
        if (_index == _literalCount + _distanceCount)
        {
            _literals = Huffman.Build(_lengths.AsSpan(0, _literalCount)) ?? throw Error("the deflated data has a bad Huffman code");
            _distances = Huffman.Build(_lengths.AsSpan(_literalCount, _distanceCount)) ?? throw Error("the deflated data has a bad Huffman code");
            _state = State.Symbols;
        }

        return true;
    }

    // A symbol with all its extra bits has at most 15 + 5 + 15 + 13 = 48 bits, so it fits the bit buffer whole.
    private bool ReadSymbol()
    {
        var (bits, bitCount) = (_bits, _bitCount);
        if (!TryDecode(_literals, out var symbol))
        {
            return false;
        }

        if (symbol < 256)
        {
            _window[_end++] = (byte)symbol;
            return true;
        }

        if (symbol == 256)
        {
            EndBlock();
            return true;
        }

        symbol -= 257;
        if (symbol >= LengthBase.Length)
        {
            throw Error("the deflated data has a bad length code");
        }

        if (!TryTake(LengthExtra[symbol], out var lengthExtra)
            || !TryDecode(_distances, out var distanceSymbol)
            || !TryTake(DistanceExtra[distanceSymbol], out var distanceExtra))
        {
            (_bits, _bitCount) = (bits, bitCount);
            return false;
        }

        CopyMatch(LengthBase[symbol] + lengthExtra, DistanceBase[distanceSymbol] + distanceExtra);
        return true;
    }

    private void CopyMatch(int length, int distance)
    {
        var available = _produced + _end - _given;
        if (distance > available)
        {
            throw Error("the deflated data refers to bytes before its start");
        }

        if (distance >= length)
        {
            _window.AsSpan(_end - distance, length).CopyTo(_window.AsSpan(_end));
            _end += length;
            return;
        }

        for (var i = 0; i < length; i++, _end++)
        {
            _window[_end] = _window[_end - distance];
        }
    }

    private bool TryDecode(Huffman code, out int symbol)
    {
        var entry = code.Table[(int)(_bits & (ulong)(code.Table.Length - 1))];
        var length = entry & 15;
        symbol = entry >> 4;
        if (length > _bitCount || (length == 0 && _bitCount < code.MaxBits))
        {
            return false;
        }

        if (length == 0)
        {
            throw Error("the deflated data has a bad Huffman code");
        }

        _bits >>= length;
        _bitCount -= length;
        return true;
    }

    // A zero that makes the length even may follow (PS3.5 §A.5). Real writers also leave the CRC and length of gzip there:
    // 8 bytes are let pass, after them only zeros.
    private bool SkipTrailer(ref ReadOnlySpan<byte> input)
    {
        TryTake(_bitCount & 7, out _);
        while (TryTake(8, out var value))
        {
            CheckTrailer(value);
        }

        while (!input.IsEmpty && _trailer < TrailerSize)
        {
            CheckTrailer(input[0]);
            _consumed++;
            input = input[1..];
        }

        if (input.IndexOfAnyExcept((byte)0) >= 0)
        {
            throw Error("the deflated data is followed by other bytes");
        }

        _consumed += input.Length;
        input = [];
        return false;
    }

    private void CheckTrailer(int value)
    {
        if (++_trailer > TrailerSize && value != 0)
        {
            throw Error("the deflated data is followed by other bytes");
        }
    }

    private sealed record Huffman(ushort[] Table, int MaxBits)
    {
        internal static readonly Huffman FixedLiterals = Fixed();
        internal static readonly Huffman FixedDistances = Build([5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5])!;

        /// <summary>A table indexed by the next bits, low bit first: symbol in the upper 12 bits, code length in the lower 4.</summary>
        internal static Huffman? Build(ReadOnlySpan<byte> lengths)
        {
            var maxBits = 1;
            Span<int> counts = stackalloc int[16];
            foreach (var length in lengths)
            {
                counts[length]++;
                maxBits = Math.Max(maxBits, length);
            }

            counts[0] = 0;
            Span<int> next = stackalloc int[17];
            for (var bits = 1; bits <= 15; bits++)
            {
                next[bits + 1] = (next[bits] + counts[bits]) << 1;
                if (next[bits] + counts[bits] > 1 << bits)
                {
                    return null;
                }
            }

            var table = new ushort[1 << maxBits];
            for (var symbol = 0; symbol < lengths.Length; symbol++)
            {
                int length = lengths[symbol];
                if (length == 0)
                {
                    continue;
                }

                var code = Reverse(next[length]++, length);
                for (var i = code; i < table.Length; i += 1 << length)
                {
                    table[i] = (ushort)(symbol << 4 | length);
                }
            }

            return new Huffman(table, maxBits);
        }

        private static Huffman Fixed()
        {
            var lengths = new byte[288];
            lengths.AsSpan(0, 144).Fill(8);
            lengths.AsSpan(144, 112).Fill(9);
            lengths.AsSpan(256, 24).Fill(7);
            lengths.AsSpan(280, 8).Fill(8);
            return Build(lengths)!;
        }

        private static int Reverse(int code, int length)
        {
            var reversed = 0;
            for (var i = 0; i < length; i++, code >>= 1)
            {
                reversed = reversed << 1 | (code & 1);
            }

            return reversed;
        }
    }
}
