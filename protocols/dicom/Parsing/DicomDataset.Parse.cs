namespace Yizhan.Dicom;

/// <content>Parsing of a whole data set in memory.</content>
public sealed partial class DicomDataset
{
    /// <summary>Parses a data set; its values stay where they are. Deflated ones are inflated first.</summary>
    /// <param name="data">The whole data set, without file meta information.</param>
    /// <param name="syntax">Its transfer syntax.</param>
    /// <param name="limits">Bounds; null for the default.</param>
    /// <exception cref="DicomFormatException">The bytes are not such a data set; says what is wrong and where.</exception>
    public static DicomDataset Parse(ReadOnlyMemory<byte> data, DicomTransferSyntax syntax, DicomLimits? limits = null)
    {
        limits ??= DicomLimits.Default;
        return syntax.IsDeflated
            ? Parse(Inflater.InflateAll(data.Span, limits.MaxInflatedBytes), syntax, limits, 0)
            : Parse(data, syntax, limits, 0);
    }

    internal static DicomDataset Parse(ReadOnlyMemory<byte> data, DicomTransferSyntax syntax, DicomLimits limits, long origin)
    {
        var builder = new Builder(data, limits, origin);
        var tokenizer = new DicomTokenizer(syntax, limits, data.Length, origin);
        var input = data.Span;
        while (tokenizer.Read(ref input))
        {
            builder.Add(tokenizer);
        }

        tokenizer.Complete();
        return builder.Finish(tokenizer.Warnings);
    }

    /// <summary>Builds the tree of data sets from tokens, with a stack of its own: no recursion.</summary>
    private sealed class Builder(ReadOnlyMemory<byte> data, DicomLimits limits, long origin)
    {
        private readonly Stack<OpenSequence> _open = new();
        private DicomDataset _current = new();
        private List<ReadOnlyMemory<byte>>? _fragments;
        private int _count;

        internal void Add(DicomTokenizer token)
        {
            if (token.Kind is not (DicomTokenKind.ItemEnd or DicomTokenKind.SequenceEnd or DicomTokenKind.FragmentsEnd) && ++_count > limits.MaxElements)
            {
                throw new DicomFormatException($"there are more than {limits.MaxElements} elements and items", token.HeaderOffset, token.Tag);
            }

            switch (token.Kind)
            {
                case DicomTokenKind.Element:
                    _current.Append(DicomElement.OfValue(token.Tag, ResolveVr(token), Value(token), token.IsBigEndian));
                    break;
                case DicomTokenKind.SequenceStart:
                    _open.Push(new OpenSequence(_current, [], token.Length == DicomTokenizer.UndefinedLength));
                    break;
                case DicomTokenKind.ItemStart:
                    // The parent is known from here on because US or SS depends on Pixel Representation around it.
                    _current = new DicomDataset(0) { IsUndefinedLength = token.Length == DicomTokenizer.UndefinedLength, Parent = _open.Peek().Owner };
                    _open.Peek().Items.Add(_current);
                    break;
                case DicomTokenKind.ItemEnd:
                    _current = _open.Peek().Owner;
                    break;
                case DicomTokenKind.SequenceEnd:
                    var sequence = _open.Pop();
                    _current = sequence.Owner;
                    _current.Append(DicomElement.OfItems(token.Tag, sequence.Items, sequence.IsUndefinedLength));
                    break;
                case DicomTokenKind.FragmentsStart:
                    _fragments = [];
                    break;
                case DicomTokenKind.Fragment:
                    _fragments!.Add(Value(token));
                    break;
                case DicomTokenKind.FragmentsEnd:
                    _current.Append(DicomElement.OfFragments(token.Tag, _fragments!, token.Vr));
                    break;
            }
        }

        internal DicomDataset Finish(IReadOnlyList<DicomWarning> warnings)
        {
            _current.Warnings = warnings;
            return _current;
        }

        private ReadOnlyMemory<byte> Value(DicomTokenizer token) => data.Slice((int)(token.ValueOffset - origin), (int)token.Length);

        private DicomVr ResolveVr(DicomTokenizer token)
        {
            if (!token.IsImplicitVr || token.Vr != DicomVr.US || !DicomDictionary.IsUnsignedOrSigned(token.Tag))
            {
                return token.Vr;
            }

            for (var dataset = _current; dataset is not null; dataset = dataset.Parent)
            {
                if (dataset.GetInt64(DicomTags.PixelRepresentation) is { } representation)
                {
                    return representation == 1 ? DicomVr.SS : DicomVr.US;
                }
            }

            return DicomVr.US;
        }

        private readonly record struct OpenSequence(DicomDataset Owner, List<DicomDataset> Items, bool IsUndefinedLength);
    }
}
