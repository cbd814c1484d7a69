namespace Yizhan.Dicom;

/// <summary>What a <see cref="DicomStreamInspector"/> keeps of the data set that passes.</summary>
public sealed record DicomInspectorOptions
{
    /// <summary>The options used when none are given.</summary>
    public static DicomInspectorOptions Default { get; } = new();

    /// <summary>Bounds of the structure.</summary>
    public DicomLimits Limits { get; init; } = DicomLimits.Default;

    /// <summary>Largest value that is kept, in bytes. Default 64 KiB.</summary>
    public int MaxValueBytes { get; init; } = 64 * 1024;

    /// <summary>Most bytes of values that are kept, each counted with 32 bytes more. Default 1 MiB.</summary>
    public int MaxTotalBytes { get; init; } = 1024 * 1024;
}

/// <summary>
/// Checks the structure of a data set while it arrives, as the slices of a C-STORE, in bounded memory; keeps the small
/// top-level elements before the pixel data so that patient, study, series and instance are known at the end. Values
/// are skipped by count, so large pixel data costs nothing.
/// </summary>
/// <remarks>Not thread-safe. After an exception the same exception is thrown by every call.</remarks>
public sealed class DicomStreamInspector
{
    private static readonly DicomTag FirstPixelDataTag = DicomTags.ExtendedOffsetTable;

    private readonly DicomInspectorOptions _options;
    private readonly DicomTokenizer _tokenizer;
    private readonly Inflater? _inflater;
    private readonly List<(DicomTag Tag, DicomVr Vr, int Offset, int Length, bool IsBigEndian)> _kept = [];
    private byte[] _values = new byte[4096];
    private int _valueBytes;
    private int _budget;
    private bool _isCapturing;
    private DicomFormatException? _failure;
    private DicomDataset? _header;

    /// <summary>An inspector for one data set.</summary>
    /// <param name="syntax">Its transfer syntax.</param>
    /// <param name="options">What to keep and the bounds; null for the default.</param>
    /// <param name="length">The number of bytes that will be pushed, if it is known: wrong lengths are then found at once.</param>
    public DicomStreamInspector(DicomTransferSyntax syntax, DicomInspectorOptions? options = null, long? length = null)
        : this(syntax, options, length, origin: 0)
    {
    }

    private DicomStreamInspector(DicomTransferSyntax syntax, DicomInspectorOptions? options, long? length, long origin)
    {
        _options = options ?? DicomInspectorOptions.Default;
        _budget = _options.MaxTotalBytes;
        _tokenizer = syntax.IsDeflated
            ? new DicomTokenizer(syntax, _options.Limits)
            : new DicomTokenizer(syntax, _options.Limits, length, origin);
        _inflater = syntax.IsDeflated ? new Inflater(_options.Limits.MaxInflatedBytes) : null;
    }

    /// <summary>Bytes that were pushed.</summary>
    public long BytesPushed { get; private set; }

    /// <summary>
    /// Offset of the (7FE0,0010) header from the start of the data set (or of the file that was inspected), or null if
    /// there is none so far. For deflated data sets an offset in the inflated bytes.
    /// </summary>
    public long? PixelDataOffset { get; private set; }

    /// <summary>Fragments of encapsulated pixel data so far, the basic offset table included.</summary>
    public int PixelDataFragments { get; private set; }

    /// <summary>True if a top-level element before the pixel data was too large to be kept.</summary>
    public bool IsHeaderPartial { get; private set; }

    /// <summary>Departures from the standard that were tolerated.</summary>
    public IReadOnlyList<DicomWarning> Warnings => _tokenizer.Warnings;

    /// <summary>Departures that were tolerated, counted without bound.</summary>
    public int WarningCount => _tokenizer.WarningCount;

    /// <summary>The top-level elements that were kept: no sequences, no values above the bound, nothing from pixel data on.</summary>
    /// <remarks>Usable before the end too: it holds the elements whose values have arrived in full.</remarks>
    public DicomDataset Header => _header ??= BuildHeader();

    /// <summary>Takes the next bytes. They are not referred to after the call.</summary>
    /// <exception cref="DicomFormatException">The bytes contradict the transfer syntax or go beyond a bound.</exception>
    public void Push(ReadOnlySpan<byte> bytes)
    {
        ThrowIfFailed();
        BytesPushed += bytes.Length;
        try
        {
            if (_inflater is null)
            {
                Inspect(bytes);
                return;
            }

            while (_inflater.Next(ref bytes) is { IsEmpty: false } chunk)
            {
                Inspect(chunk);
            }
        }
        catch (DicomFormatException failure)
        {
            _failure = failure;
            throw;
        }
    }

    /// <summary>Says that the data set has been pushed in full.</summary>
    /// <exception cref="DicomFormatException">It ended in the middle of something, which is named; or it is empty.</exception>
    public void Complete()
    {
        ThrowIfFailed();
        try
        {
            _inflater?.Complete();
            _tokenizer.Complete();
            if (_tokenizer.Kind == DicomTokenKind.None)
            {
                throw new DicomFormatException("the data set is empty", 0);
            }
        }
        catch (DicomFormatException failure)
        {
            _failure = failure;
            throw;
        }
    }

    /// <summary>Checks a whole Part 10 file (or bare data set) in memory and returns its kept elements.</summary>
    /// <exception cref="DicomFormatException">The file is not valid; offsets count from the start of the file.</exception>
    public static DicomStreamInspector InspectFile(ReadOnlyMemory<byte> file, DicomInspectorOptions? options = null)
    {
        var header = DicomFileHeader.Read(file);
        var data = file.Span[(int)header.DatasetOffset..];
        var inspector = new DicomStreamInspector(header.TransferSyntax, options, data.Length, header.DatasetOffset);
        inspector.Push(data);
        inspector.Complete();
        return inspector;
    }

    private void ThrowIfFailed()
    {
        if (_failure is not null)
        {
            throw _failure;
        }
    }

    private void Inspect(ReadOnlySpan<byte> input)
    {
        while (true)
        {
            if (_isCapturing)
            {
                Capture(_tokenizer.ReadValue(ref input));
                if (_tokenizer.ValueRemaining > 0)
                {
                    return;
                }

                _isCapturing = false;
                _header = null;
            }

            if (!_tokenizer.Read(ref input))
            {
                return;
            }

            switch (_tokenizer.Kind)
            {
                case DicomTokenKind.Element when _tokenizer.Depth == 0:
                    StartElement();
                    break;
                case DicomTokenKind.FragmentsStart when _tokenizer.Depth == 0 && _tokenizer.Tag == DicomTags.PixelData:
                    PixelDataOffset = _tokenizer.HeaderOffset;
                    break;
                case DicomTokenKind.Fragment when _tokenizer.Depth == 1 && _tokenizer.Tag == DicomTags.PixelData:
                    PixelDataFragments++;
                    break;
            }
        }
    }

    private void StartElement()
    {
        if (_tokenizer.Tag == DicomTags.PixelData)
        {
            PixelDataOffset = _tokenizer.HeaderOffset;
        }

        if (PixelDataOffset is not null || _tokenizer.Tag >= FirstPixelDataTag)
        {
            return;
        }

        // Each kept element costs its bytes and some for itself, so a million empty elements are bounded too.
        var cost = _tokenizer.Length + 32L;
        if (_tokenizer.Length > _options.MaxValueBytes || cost > _budget)
        {
            IsHeaderPartial = true;
            return;
        }

        _budget -= (int)cost;
        _kept.Add((_tokenizer.Tag, _tokenizer.Vr, _valueBytes, (int)_tokenizer.Length, _tokenizer.IsBigEndian));
        _isCapturing = true;
    }

    private void Capture(ReadOnlySpan<byte> chunk)
    {
        if (_valueBytes + chunk.Length > _values.Length)
        {
            Array.Resize(ref _values, Math.Max(_valueBytes + chunk.Length, Math.Min(_values.Length * 2, _options.MaxTotalBytes)));
        }

        chunk.CopyTo(_values.AsSpan(_valueBytes));
        _valueBytes += chunk.Length;
    }

    private DicomDataset BuildHeader()
    {
        var header = new DicomDataset(_kept.Count);
        foreach (var (tag, vr, offset, length, isBigEndian) in _kept)
        {
            if (offset + length <= _valueBytes)
            {
                header.Append(DicomElement.OfValue(tag, vr, _values.AsMemory(offset, length), isBigEndian));
            }
        }

        return header;
    }
}
