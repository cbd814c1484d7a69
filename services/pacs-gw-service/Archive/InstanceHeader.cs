using System.Buffers;
using System.IO.Compression;
using Yizhan.Dicom;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Archive;

/// <summary>A value that is too large for the header: pixel data, an encapsulated document.</summary>
/// <param name="Tag">The element, at the top level of the data set.</param>
/// <param name="Vr">Its VR.</param>
/// <param name="Offset">First byte of its value in the data set; for encapsulated pixel data the first item. Inflated, if the data set is deflated.</param>
/// <param name="Length">Bytes; <see cref="DicomTokenizer.UndefinedLength"/> for encapsulated pixel data.</param>
internal sealed record LargeValue(DicomTag Tag, DicomVr Vr, long Offset, uint Length)
{
    /// <summary>True for pixel data in fragments.</summary>
    public bool IsEncapsulated => Length == DicomTokenizer.UndefinedLength;
}

/// <summary>The data set of a stored instance up to its pixel data, without the large values.</summary>
/// <param name="Dataset">Everything small.</param>
/// <param name="LargeValues">What was left out, in order; pixel data last.</param>
internal sealed record InstanceHeader(DicomDataset Dataset, IReadOnlyList<LargeValue> LargeValues)
{
    /// <summary>A top-level value of more bytes is left out.</summary>
    private const int MaxValueBytes = 1024 * 1024;

    /// <summary>Most headers are shorter than the one chunk that storage opens for them.</summary>
    private const int PieceBytes = IBlobStore.ChunkBytes;

    /// <summary>The pixel data (also Float and Double Float); null when there is none.</summary>
    public LargeValue? PixelData =>
        LargeValues is [.., { Tag.Value: 0x7FE00008 or 0x7FE00009 or 0x7FE00010 } last] ? last : null;

    /// <summary>
    /// Reads the beginning of a blob. Top-level elements are independent of each other, so the data set without the large ones
    /// is a data set too, and what is in memory is bounded.
    /// </summary>
    /// <exception cref="DicomFormatException">The bytes are no data set, or more than <paramref name="maxBytes"/> come before the pixel data.</exception>
    public static async ValueTask<InstanceHeader> ReadAsync(
        BlobReader blob, DicomTransferSyntax syntax, int maxBytes, CancellationToken cancellationToken)
    {
        await using var source = Open(blob, syntax);
        var buffer = ArrayPool<byte>.Shared.Rent(PieceBytes);
        try
        {
            using var scan = new Scan(syntax, maxBytes);
            while (!scan.AtPixelData && await source.ReadAsync(buffer.AsMemory(0, PieceBytes), cancellationToken) is > 0 and var read)
            {
                scan.Push(buffer.AsSpan(0, read));
            }

            return scan.ToHeader();
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>The data set as a stream, inflated if it is deflated.</summary>
    public static Stream Open(BlobReader blob, DicomTransferSyntax syntax) =>
        syntax.IsDeflated ? new DeflateStream(new BlobStream(blob), CompressionMode.Decompress) : new BlobStream(blob);

    /// <summary>Copies the small part of a data set out of the pieces that it arrives in.</summary>
    private sealed class Scan(DicomTransferSyntax syntax, int maxBytes) : IDisposable
    {
        private readonly DicomTokenizer _tokenizer = new(syntax);
        private readonly MemoryStream _kept = new();
        private readonly List<LargeValue> _large = [];
        private long _pieceStart;

        /// <summary>First byte that was neither kept nor left out.</summary>
        private long _next;

        public bool AtPixelData { get; private set; }

        public void Push(ReadOnlySpan<byte> piece)
        {
            var input = piece;
            while (!AtPixelData && _tokenizer.Read(ref input))
            {
                if (_tokenizer is { Depth: 0, Kind: DicomTokenKind.Element or DicomTokenKind.FragmentsStart })
                {
                    var isPixelData = _tokenizer.Kind == DicomTokenKind.FragmentsStart || _tokenizer.Tag.Value is 0x7FE00008 or 0x7FE00009 or 0x7FE00010;
                    if (isPixelData || _tokenizer.Length > MaxValueBytes)
                    {
                        LeaveOut(piece);
                        AtPixelData = isPixelData;
                    }
                }
            }

            if (!AtPixelData)
            {
                Keep(piece, _pieceStart + piece.Length);
            }

            _pieceStart += piece.Length;
        }

        public InstanceHeader ToHeader() => new(
            DicomDataset.Parse(_kept.ToArray(), syntax with { IsDeflated = false }), _large);

        public void Dispose() => _kept.Dispose();

        private void LeaveOut(ReadOnlySpan<byte> piece)
        {
            if (_tokenizer.HeaderOffset >= _pieceStart)
            {
                Keep(piece, _tokenizer.HeaderOffset);
            }
            else
            {
                // The element's header began in an earlier piece, whose end was kept.
                _kept.SetLength(_kept.Length - (_pieceStart - _tokenizer.HeaderOffset));
            }

            _large.Add(new LargeValue(_tokenizer.Tag, _tokenizer.Vr, _tokenizer.ValueOffset, _tokenizer.Length));
            _next = _tokenizer.ValueOffset + _tokenizer.Length;
        }

        private void Keep(ReadOnlySpan<byte> piece, long end)
        {
            var start = Math.Max(_next, _pieceStart);
            if (start >= end)
            {
                return;
            }

            _kept.Write(piece[(int)(start - _pieceStart)..(int)(end - _pieceStart)]);
            _next = end;
            if (_kept.Length > maxBytes)
            {
                throw new DicomFormatException($"more than {maxBytes} bytes come before the pixel data", end);
            }
        }
    }
}
