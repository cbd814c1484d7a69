using System.Buffers.Binary;

namespace Yizhan.Dicom;

/// <summary>What the tokenizer found.</summary>
public enum DicomTokenKind : byte
{
    /// <summary>Nothing yet.</summary>
    None,
    /// <summary>An element with a value of known length, which follows.</summary>
    Element,
    /// <summary>A sequence starts; items or its end follow.</summary>
    SequenceStart,
    /// <summary>An item of a sequence starts; elements or its end follow.</summary>
    ItemStart,
    /// <summary>The item ended.</summary>
    ItemEnd,
    /// <summary>The sequence ended.</summary>
    SequenceEnd,
    /// <summary>Encapsulated pixel data starts; fragments follow, the first is the basic offset table (PS3.5 §A.4).</summary>
    FragmentsStart,
    /// <summary>A fragment with its value.</summary>
    Fragment,
    /// <summary>Encapsulated pixel data ended.</summary>
    FragmentsEnd,
}

/// <summary>
/// A resumable tokenizer of data sets: fed with the bytes in slices of any size, it yields element headers, value
/// ranges, sequences, items and fragments. It keeps a stack of open sequences (no recursion) and at most one header;
/// values are counted, never copied. Every declared length is checked against what encloses it.
/// </summary>
/// <remarks>
/// Call <see cref="Read"/> until it returns false, then again with the next slice; after the last slice call
/// <see cref="Complete"/>. Deflated data sets must be inflated before. After a <see cref="DicomFormatException"/> the
/// tokenizer must not be used again.
/// </remarks>
public sealed class DicomTokenizer
{
    /// <summary>The length that means "until a delimiter" (PS3.5 §7.1.1).</summary>
    public const uint UndefinedLength = 0xFFFFFFFF;

    private readonly DicomLimits _limits;
    private readonly byte[] _partialHeader = new byte[12];
    private readonly List<DicomWarning> _warnings = [];
    private int _partialCount;
    private Frame[] _stack = new Frame[8];
    private int _top;
    private long _position;
    private long _valueRemaining;
    private bool _padding;

    /// <summary>A tokenizer for one data set.</summary>
    /// <param name="syntax">How the data set is encoded; only VR and byte order matter.</param>
    /// <param name="limits">Bounds; null for the default.</param>
    /// <param name="length">Total bytes if known: lengths that reach beyond are then refused when declared.</param>
    /// <param name="origin">Offset of the first byte, added to every offset reported.</param>
    public DicomTokenizer(DicomTransferSyntax syntax, DicomLimits? limits = null, long? length = null, long origin = 0)
    {
        _limits = limits ?? DicomLimits.Default;
        _position = origin;
        _stack[0] = new Frame
        {
            Kind = FrameKind.DataSet,
            Limit = length is { } bytes ? origin + bytes : long.MaxValue,
            IsImplicitVr = syntax.IsImplicitVr,
            IsBigEndian = syntax.IsBigEndian,
        };
    }

    private enum FrameKind : byte
    {
        DataSet,
        Sequence,
        Item,
        Fragments,
    }

    /// <summary>What was read last.</summary>
    public DicomTokenKind Kind { get; private set; }

    /// <summary>Its tag; for the end of a sequence or item the tag of the sequence.</summary>
    public DicomTag Tag { get; private set; }

    /// <summary>Its VR: as encoded, or from the dictionary in implicit VR.</summary>
    public DicomVr Vr { get; private set; }

    /// <summary>The declared length in bytes, or <see cref="UndefinedLength"/>.</summary>
    public uint Length { get; private set; }

    /// <summary>Offset of the first byte of the header.</summary>
    public long HeaderOffset { get; private set; }

    /// <summary>Offset of the first byte of the value.</summary>
    public long ValueOffset { get; private set; }

    /// <summary>Open sequences around what was read: 0 for top-level elements, for the start and end of top-level sequences too.</summary>
    public int Depth { get; private set; }

    /// <summary>True if this element was encoded in implicit VR (also inside UN of undefined length).</summary>
    public bool IsImplicitVr { get; private set; }

    /// <summary>True if the value is big endian.</summary>
    public bool IsBigEndian { get; private set; }

    /// <summary>Bytes consumed, plus the origin.</summary>
    public long Position => _position + _partialCount;

    /// <summary>Bytes of the current value that were not consumed yet.</summary>
    public long ValueRemaining => _valueRemaining;

    /// <summary>Departures from the standard that were tolerated, at most <see cref="DicomLimits.MaxWarnings"/>.</summary>
    public IReadOnlyList<DicomWarning> Warnings => _warnings;

    /// <summary>Departures that were tolerated, counted without bound.</summary>
    public int WarningCount { get; private set; }

    /// <summary>
    /// Reads the next token. Consumes from <paramref name="input"/> what it used; a value that was not taken with
    /// <see cref="ReadValue"/> is skipped by count.
    /// </summary>
    /// <returns>True with a token; false when all of the input was consumed and more is needed.</returns>
    /// <exception cref="DicomFormatException">The bytes contradict the encoding.</exception>
    public bool Read(ref ReadOnlySpan<byte> input)
    {
        while (true)
        {
            if (_valueRemaining > 0)
            {
                ReadValue(ref input);
                if (_valueRemaining > 0)
                {
                    return false;
                }
            }

            ref var frame = ref _stack[_top];
            if (_position + _partialCount >= frame.Limit)
            {
                if (_top == 0)
                {
                    return EndOfDataSet(input);
                }

                if (frame.IsUndefinedLength)
                {
                    throw Error($"{Describe(frame)} has no delimitation item before the end of what encloses it", _position, frame.Tag);
                }

                Pop();
                return true;
            }

            if (_padding)
            {
                SkipPadding(ref input);
                return false;
            }

            if (!TryReadHeader(ref frame, ref input, out var header))
            {
                return false;
            }

            var isToken = frame.Kind switch
            {
                FrameKind.Sequence => ReadInSequence(ref frame, header),
                FrameKind.Fragments => ReadInFragments(header),
                _ => ReadInDataSet(ref frame, header),
            };
            if (isToken)
            {
                return true;
            }
        }
    }

    /// <summary>Takes the bytes of the current value that are in <paramref name="input"/>; empty when there are none left.</summary>
    public ReadOnlySpan<byte> ReadValue(ref ReadOnlySpan<byte> input)
    {
        var count = (int)Math.Min(_valueRemaining, input.Length);
        var chunk = input[..count];
        input = input[count..];
        _valueRemaining -= count;
        _position += count;
        return chunk;
    }

    /// <summary>Says that there are no more bytes.</summary>
    /// <exception cref="DicomFormatException">The data set ended in the middle of something, which is named.</exception>
    public void Complete()
    {
        var none = ReadOnlySpan<byte>.Empty;
        if (_valueRemaining > 0)
        {
            throw Error($"the data ended {_valueRemaining} bytes before the end of the value of {Length} bytes", _position, Tag);
        }

        if (_partialCount > 0 && _top == 0 && IsZero(_partialHeader.AsSpan(0, _partialCount)))
        {
            // As SkipTail, for a stream whose length was not known.
            Warn("zeros after the last element are ignored", _position, default);
            _position += _partialCount;
            _partialCount = 0;
        }

        if (_partialCount > 0)
        {
            throw Error($"the data ended inside an element header ({_partialCount} bytes of it)", _position + _partialCount, null);
        }

        while (Read(ref none))
        {
            // Sequences and items that end exactly here.
        }

        if (_top > 0)
        {
            var frame = _stack[_top];
            throw Error($"the data ended inside {Describe(frame)}", _position, frame.Tag);
        }

        if (_stack[0].Limit != long.MaxValue && _position < _stack[0].Limit)
        {
            throw Error($"the data ended {_stack[0].Limit - _position} bytes early", _position, null);
        }
    }

    private static bool IsZero(ReadOnlySpan<byte> bytes) => bytes.IndexOfAnyExcept((byte)0) < 0;

    private static string Describe(in Frame frame) => frame.Kind switch
    {
        FrameKind.Sequence => "the sequence",
        FrameKind.Item => "an item of the sequence",
        FrameKind.Fragments => "the encapsulated pixel data",
        _ => "the data set",
    };

    private static bool EndOfDataSet(ReadOnlySpan<byte> input) =>
        input.IsEmpty ? false : throw new InvalidOperationException("More bytes were given than the length that was announced.");

    private static DicomFormatException Error(string message, long offset, DicomTag? tag) => new(message, offset, tag);

    // Some writers fill up the file with zeros. Nothing but zeros may follow then.
    private void SkipPadding(ref ReadOnlySpan<byte> input)
    {
        var other = input.IndexOfAnyExcept((byte)0);
        if (other >= 0)
        {
            throw Error("zeros after the last element are followed by other bytes", _position + other, null);
        }

        _position += input.Length;
        input = [];
    }

    private bool TryReadHeader(ref Frame frame, ref ReadOnlySpan<byte> input, out Header header)
    {
        header = default;
        scoped ReadOnlySpan<byte> bytes;
        if (_partialCount == 0 && input.Length >= 12)
        {
            bytes = input;
        }
        else
        {
            if (frame.Limit - _position < 8)
            {
                return SkipTail(ref frame, ref input);
            }

            if (!FillPartial(8, ref input)
                || (IsLongHeader(frame, _partialHeader) && EnoughFor12(frame) && !FillPartial(12, ref input)))
            {
                return false;
            }

            bytes = _partialHeader.AsSpan(0, _partialCount);
        }

        var group = frame.IsBigEndian ? BinaryPrimitives.ReadUInt16BigEndian(bytes) : BinaryPrimitives.ReadUInt16LittleEndian(bytes);
        var element = frame.IsBigEndian ? BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]) : BinaryPrimitives.ReadUInt16LittleEndian(bytes[2..]);
        header = new Header { Offset = _position, Tag = new DicomTag(group, element), Size = 8 };
        if (frame.Limit - _position < 8)
        {
            throw Error($"{frame.Limit - _position} bytes are left in {Describe(frame)}, too few for an element", _position, frame.Tag);
        }

        if (frame.IsImplicitVr || group == 0xFFFE)
        {
            header.Length = frame.IsBigEndian ? BinaryPrimitives.ReadUInt32BigEndian(bytes[4..]) : BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]);
            header.Vr = group == 0xFFFE ? DicomVr.None : DicomDictionary.GetVr(header.Tag);
        }
        else
        {
            ReadExplicit(frame, bytes, ref header);
        }

        if (_partialCount == 0)
        {
            input = input[header.Size..];
        }

        _partialCount = 0;
        _position += header.Size;
        return true;
    }

    private void ReadExplicit(in Frame frame, ReadOnlySpan<byte> bytes, ref Header header)
    {
        header.Vr = (DicomVr)(bytes[4] << 8 | bytes[5]);
        if (header.Vr.HasShortLength())
        {
            header.Length = frame.IsBigEndian ? BinaryPrimitives.ReadUInt16BigEndian(bytes[6..]) : BinaryPrimitives.ReadUInt16LittleEndian(bytes[6..]);
            return;
        }

        if (IsLongHeader(frame, bytes))
        {
            if (!EnoughFor12(frame))
            {
                throw Error("the header of an element reaches beyond what encloses it", header.Offset, header.Tag);
            }

            header.Size = 12;
            header.Length = frame.IsBigEndian ? BinaryPrimitives.ReadUInt32BigEndian(bytes[8..]) : BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]);
        }
        else
        {
            header.Length = frame.IsBigEndian ? BinaryPrimitives.ReadUInt16BigEndian(bytes[6..]) : BinaryPrimitives.ReadUInt16LittleEndian(bytes[6..]);
        }

        if (!header.Vr.IsKnown())
        {
            if (header.Tag.Value == 0 && header.Length == 0 && _top == 0)
            {
                return; // The start of zero padding; see ReadInDataSet.
            }

            Warn($"VR 0x{(int)header.Vr:X4} is not defined; taken as UN with a {(header.Size == 12 ? 32 : 16)}-bit length", header.Offset, header.Tag);
            header.Vr = DicomVr.UN;
        }
    }

    // Every VR added since 1993 has the 32-bit form, so two unknown capital letters are a VR of the future; anything
    // else ("  ", "??", zeros) comes from writers that meant the 16-bit form. dcmtk decides in the same way.
    private static bool IsLongHeader(in Frame frame, ReadOnlySpan<byte> bytes)
    {
        if (frame.IsImplicitVr)
        {
            return false;
        }

        var group = frame.IsBigEndian ? BinaryPrimitives.ReadUInt16BigEndian(bytes) : BinaryPrimitives.ReadUInt16LittleEndian(bytes);
        return group != 0xFFFE
            && !((DicomVr)(bytes[4] << 8 | bytes[5])).HasShortLength()
            && bytes[4] is >= (byte)'A' and <= (byte)'Z' && bytes[5] is >= (byte)'A' and <= (byte)'Z';
    }

    private bool EnoughFor12(in Frame frame) => frame.Limit - _position >= 12;

    private bool FillPartial(int size, ref ReadOnlySpan<byte> input)
    {
        var count = Math.Min(Math.Max(size - _partialCount, 0), input.Length);
        input[..count].CopyTo(_partialHeader.AsSpan(_partialCount));
        input = input[count..];
        _partialCount += count;
        return _partialCount >= size;
    }

    // Fewer than 8 bytes are left. At the end of the whole data set zeros are padding; anything else is a cut header.
    private bool SkipTail(ref Frame frame, ref ReadOnlySpan<byte> input)
    {
        var left = (int)(frame.Limit - _position);
        if (!FillPartial(left, ref input))
        {
            return false;
        }

        if (_top > 0 || !IsZero(_partialHeader.AsSpan(0, left)))
        {
            throw Error($"{left} bytes are left in {Describe(frame)}, too few for an element", _position, _top > 0 ? frame.Tag : null);
        }

        Warn("zeros after the last element are ignored", _position, default);
        _position += left;
        _partialCount = 0;
        return false;
    }

    private bool ReadInDataSet(ref Frame frame, in Header header)
    {
        if (header.Tag.Group == 0xFFFE)
        {
            return ReadDelimiter(ref frame, header);
        }

        if (header.Tag.Value == 0 && header.Length == 0 && _top == 0)
        {
            if (!frame.HasElements)
            {
                throw Error("the data set starts with zeros", header.Offset, null);
            }

            Warn("zeros after the last element are ignored", header.Offset, header.Tag);
            _padding = true;
            return false;
        }

        if (header.Tag <= frame.LastTag && frame.HasElements)
        {
            Warn(header.Tag == frame.LastTag ? "the element is there twice; the first is used" : "elements are not in ascending order", header.Offset, header.Tag);
        }

        frame.LastTag = header.Tag;
        frame.HasElements = true;
        if (header.Length == UndefinedLength)
        {
            StartUndefined(ref frame, header);
        }
        else if (header.Vr == DicomVr.SQ)
        {
            Push(FrameKind.Sequence, header, frame.IsImplicitVr, frame.IsBigEndian);
        }
        else
        {
            CheckFits(frame, header, "the value");
            Emit(DicomTokenKind.Element, header, frame);
            _valueRemaining = header.Length;
        }

        return true;
    }

    private void StartUndefined(ref Frame frame, in Header header)
    {
        // Pixel data of undefined length is encapsulated also where the transfer syntax says it should not be.
        var isPixelData = header.Vr is DicomVr.OB or DicomVr.OW && (!frame.IsImplicitVr || header.Tag == DicomTags.PixelData);
        if (isPixelData)
        {
            Push(FrameKind.Fragments, header, frame.IsImplicitVr, frame.IsBigEndian);
        }
        else if (header.Vr == DicomVr.SQ || frame.IsImplicitVr)
        {
            Push(FrameKind.Sequence, header with { Vr = DicomVr.SQ }, frame.IsImplicitVr, frame.IsBigEndian);
        }
        else if (header.Vr == DicomVr.UN)
        {
            // PS3.5 §6.2.2 note 2: the items of UN are in implicit VR little endian.
            Push(FrameKind.Sequence, header, isImplicitVr: true, isBigEndian: false);
        }
        else
        {
            throw Error($"VR {header.Vr.ToText()} cannot have undefined length", header.Offset, header.Tag);
        }
    }

    private bool ReadDelimiter(ref Frame frame, in Header header)
    {
        if (header.Tag == DicomTags.ItemDelimitationItem && frame.Kind == FrameKind.Item)
        {
            if (header.Length != 0)
            {
                Warn("the length of an item delimitation is not zero; ignored", header.Offset, header.Tag);
            }

            if (frame.IsUndefinedLength)
            {
                Pop();
                return true;
            }

            if (_position == frame.Limit)
            {
                Warn("an item of defined length ends with a delimitation item; ignored", header.Offset, header.Tag);
                return false;
            }
        }

        throw Error(header.Tag == DicomTags.Item ? "an item starts outside of a sequence" : $"a delimiter is not expected in {Describe(frame)} here", header.Offset, header.Tag);
    }

    private bool ReadInSequence(ref Frame frame, in Header header)
    {
        if (header.Tag == DicomTags.Item)
        {
            Push(FrameKind.Item, header with { Vr = frame.Vr }, frame.IsImplicitVr, frame.IsBigEndian);
            return true;
        }

        if (header.Tag == DicomTags.SequenceDelimitationItem)
        {
            if (header.Length != 0)
            {
                Warn("the length of a sequence delimitation is not zero; ignored", header.Offset, header.Tag);
            }

            if (frame.IsUndefinedLength)
            {
                Pop();
                return true;
            }

            if (_position == frame.Limit)
            {
                Warn("a sequence of defined length ends with a delimitation item; ignored", header.Offset, header.Tag);
                return false;
            }
        }
        else if (header.Tag == DicomTags.ItemDelimitationItem && header.Length == 0)
        {
            Warn("a delimitation follows an item of defined length; ignored", header.Offset, header.Tag);
            return false;
        }

        throw Error($"{header.Tag} is found where an item of sequence {frame.Tag} should start", header.Offset, frame.Tag);
    }

    private bool ReadInFragments(in Header header)
    {
        ref var frame = ref _stack[_top];
        if (header.Tag == DicomTags.SequenceDelimitationItem)
        {
            if (header.Length != 0)
            {
                Warn("the length of a sequence delimitation is not zero; ignored", header.Offset, header.Tag);
            }

            Pop();
            return true;
        }

        if (header.Tag != DicomTags.Item)
        {
            throw Error($"{header.Tag} is found where a fragment of {frame.Tag} should start", header.Offset, frame.Tag);
        }

        if (header.Length == UndefinedLength)
        {
            throw Error("a fragment cannot have undefined length", header.Offset, frame.Tag);
        }

        CheckFits(frame, header, "the fragment");
        Emit(DicomTokenKind.Fragment, header with { Tag = frame.Tag, Vr = frame.Vr }, frame);
        _valueRemaining = header.Length;
        return true;
    }

    private void CheckFits(in Frame frame, in Header header, string what)
    {
        if (header.Length > frame.Limit - _position)
        {
            throw Error($"{what} declares {header.Length} bytes but {frame.Limit - _position} remain in {Describe(frame)}", header.Offset, header.Tag.Group == 0xFFFE ? frame.Tag : header.Tag);
        }
    }

    private void Push(FrameKind kind, in Header header, bool isImplicitVr, bool isBigEndian)
    {
        ref var parent = ref _stack[_top];
        var isUndefined = header.Length == UndefinedLength;
        if (!isUndefined)
        {
            CheckFits(parent, header, kind == FrameKind.Item ? "the item" : "the sequence");
        }

        var depth = kind == FrameKind.Item ? parent.Depth : parent.Depth + 1;
        if (depth > _limits.MaxDepth)
        {
            throw Error($"sequences are nested deeper than {_limits.MaxDepth}", header.Offset, header.Tag);
        }

        var tag = kind == FrameKind.Item ? parent.Tag : header.Tag;
        Emit(
            kind switch { FrameKind.Item => DicomTokenKind.ItemStart, FrameKind.Fragments => DicomTokenKind.FragmentsStart, _ => DicomTokenKind.SequenceStart },
            header with { Tag = tag },
            parent);
        if (_top + 1 == _stack.Length)
        {
            Array.Resize(ref _stack, _stack.Length * 2);
        }

        _stack[++_top] = new Frame
        {
            Kind = kind,
            Limit = isUndefined ? _stack[_top - 1].Limit : _position + header.Length,
            IsUndefinedLength = isUndefined,
            IsImplicitVr = isImplicitVr,
            IsBigEndian = isBigEndian,
            Tag = tag,
            Vr = header.Vr,
            Depth = depth,
            HeaderOffset = header.Offset,
        };
    }

    private void Pop()
    {
        ref var frame = ref _stack[_top--];
        Kind = frame.Kind switch
        {
            FrameKind.Item => DicomTokenKind.ItemEnd,
            FrameKind.Fragments => DicomTokenKind.FragmentsEnd,
            _ => DicomTokenKind.SequenceEnd,
        };
        Tag = frame.Tag;
        Vr = frame.Vr;
        Length = 0;
        HeaderOffset = frame.HeaderOffset;
        ValueOffset = _position;
        Depth = _stack[_top].Depth;
        IsImplicitVr = frame.IsImplicitVr;
        IsBigEndian = frame.IsBigEndian;
    }

    private void Emit(DicomTokenKind kind, in Header header, in Frame frame)
    {
        Kind = kind;
        Tag = header.Tag;
        Vr = header.Vr;
        Length = header.Length;
        HeaderOffset = header.Offset;
        ValueOffset = _position;
        Depth = frame.Depth;
        IsImplicitVr = frame.IsImplicitVr;
        IsBigEndian = frame.IsBigEndian;
    }

    private void Warn(string message, long offset, DicomTag tag)
    {
        WarningCount++;
        if (_warnings.Count < _limits.MaxWarnings)
        {
            _warnings.Add(new DicomWarning(message, offset, tag));
        }
    }

    private struct Header
    {
        internal long Offset;
        internal DicomTag Tag;
        internal DicomVr Vr;
        internal uint Length;
        internal int Size;
    }

    private struct Frame
    {
        internal FrameKind Kind;
        internal bool IsUndefinedLength;
        internal bool IsImplicitVr;
        internal bool IsBigEndian;
        internal bool HasElements;
        internal int Depth;
        internal DicomTag Tag;
        internal DicomTag LastTag;
        internal DicomVr Vr;
        internal long Limit;
        internal long HeaderOffset;
    }
}
