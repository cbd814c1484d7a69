using CsCheck;

namespace Yizhan.Dicom.Tests;

public sealed class TokenizerTests
{
    private static readonly DicomTransferSyntax ExplicitLittle = DicomTransferSyntax.ExplicitVrLittleEndian;
    private static readonly DicomTransferSyntax ImplicitLittle = DicomTransferSyntax.ImplicitVrLittleEndian;
    private static readonly DicomTag Sequence = DicomTags.ReferencedStudySequence;
    private const uint Undefined = DicomTokenizer.UndefinedLength;

    public static TheoryData<string> Files => Corpus.Files();

    [Fact]
    public void A_random_data_set_gives_the_same_tokens_in_slices_as_whole()
    {
        Gen.Select(TestData.Datasets, Gen.Int[0, 2], Gen.Int[1, 40].Array[1, 8]).Sample((dataset, syntax, slices) =>
        {
            var bytes = DicomWriter.ToArray(dataset, TestData.Uncompressed[syntax]);
            Assert.Equal(Tokens(bytes, TestData.Uncompressed[syntax], [int.MaxValue]), Tokens(bytes, TestData.Uncompressed[syntax], slices));
        });
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void A_real_file_gives_the_same_tokens_byte_by_byte_as_whole(string file)
    {
        var bytes = Corpus.Read(file);
        if (bytes.Length > 100_000 || TryReadHeader(bytes) is not { TransferSyntax.IsDeflated: false } header)
        {
            return;
        }

        var data = bytes[(int)header.DatasetOffset..];
        Assert.Equal(Outcome(data, header.TransferSyntax, [int.MaxValue]), Outcome(data, header.TransferSyntax, [1]));
    }

    [Fact]
    public void Un_of_undefined_length_holds_implicit_little_endian_items()
    {
        // PS3.5 §6.2.2 note 2, inside a big endian data set to see that the byte order changes too.
        byte[] bytes =
        [
            0x00, 0x11, 0x10, 0x01, (byte)'U', (byte)'N', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF,
            .. TestData.Implicit(DicomTags.Item, Undefined), .. TestData.Implicit(DicomTags.Rows, 2, 1, 0),
            .. TestData.Implicit(DicomTags.ItemDelimitationItem, 0), .. TestData.Implicit(DicomTags.SequenceDelimitationItem, 0),
        ];
        var item = Assert.Single(DicomDataset.Parse(bytes, DicomTransferSyntax.ExplicitVrBigEndian).GetItems(new DicomTag(0x00111001)));
        Assert.Equal(1, item.GetInt32(DicomTags.Rows));
    }

    [Fact]
    public void A_private_element_of_undefined_length_in_implicit_vr_is_a_sequence()
    {
        byte[] bytes =
        [
            .. TestData.Implicit(new DicomTag(0x00111001), Undefined), .. TestData.Implicit(DicomTags.Item, 10),
            .. TestData.Implicit(DicomTags.Rows, 2, 7, 0), .. TestData.Implicit(DicomTags.SequenceDelimitationItem, 0),
        ];
        var item = Assert.Single(DicomDataset.Parse(bytes, ImplicitLittle).GetItems(new DicomTag(0x00111001)));
        Assert.Equal(7, item.GetInt32(DicomTags.Rows));
    }

    [Fact]
    public void Us_or_ss_in_implicit_vr_follows_pixel_representation_also_of_the_data_set_around()
    {
        byte[] item = TestData.Implicit(DicomTags.SmallestImagePixelValue, 2, 0xFF, 0xFF);
        byte[] bytes =
        [
            .. TestData.Implicit(Sequence, 18), .. TestData.Implicit(DicomTags.Item, 10), .. item,
            .. TestData.Implicit(DicomTags.PixelRepresentation, 2, 1, 0), .. item,
            .. TestData.Implicit(DicomTags.ContentSequence, 18), .. TestData.Implicit(DicomTags.Item, 10), .. item,
        ];
        var dataset = DicomDataset.Parse(bytes, ImplicitLittle);
        Assert.Equal(-1, dataset.GetInt32(DicomTags.SmallestImagePixelValue));
        Assert.Equal(-1, dataset.GetItems(DicomTags.ContentSequence)[0].GetInt32(DicomTags.SmallestImagePixelValue));

        // An item that comes before Pixel Representation cannot know it yet.
        Assert.Equal(65535, dataset.GetItems(Sequence)[0].GetInt32(DicomTags.SmallestImagePixelValue));
    }

    [Fact]
    public void Tolerable_departures_are_read_with_a_warning()
    {
        (string Expected, byte[] Bytes)[] cases =
        [
            ("elements are not in ascending order", [.. TestData.Explicit(DicomTags.Rows, "US", 2, 1, 0), .. TestData.Explicit(DicomTags.Modality, "CS", 2, (byte)'C', (byte)'T')]),
            ("the element is there twice", [.. TestData.Explicit(DicomTags.Rows, "US", 2, 1, 0), .. TestData.Explicit(DicomTags.Rows, "US", 2, 2, 0)]),
            ("VR 0x5A5A is not defined; taken as UN with a 32-bit length", [.. TestData.Explicit(DicomTags.Rows, "ZZ", 2, 1, 0)]),
            ("VR 0x3F3F is not defined; taken as UN with a 16-bit length", [.. DicomTagBytes(DicomTags.Rows), (byte)'?', (byte)'?', 2, 0, 1, 0]),
            ("zeros after the last element are ignored", [.. TestData.Explicit(DicomTags.Rows, "US", 2, 1, 0), .. new byte[100]]),
            ("zeros after the last element are ignored", [.. TestData.Explicit(DicomTags.Rows, "US", 2, 1, 0), .. new byte[3]]),
            ("an item of defined length ends with a delimitation item", [.. TestData.Explicit(Sequence, "SQ", 16), .. TestData.Implicit(DicomTags.Item, 8), .. TestData.Implicit(DicomTags.ItemDelimitationItem, 0), .. TestData.Explicit(DicomTags.Rows, "US", 2, 1, 0)]),
            ("a delimitation follows an item of defined length", [.. TestData.Explicit(Sequence, "SQ", 16), .. TestData.Implicit(DicomTags.Item, 0), .. TestData.Implicit(DicomTags.ItemDelimitationItem, 0), .. TestData.Explicit(DicomTags.Rows, "US", 2, 1, 0)]),
            ("a sequence of defined length ends with a delimitation item", [.. TestData.Explicit(Sequence, "SQ", 8), .. TestData.Implicit(DicomTags.SequenceDelimitationItem, 0), .. TestData.Explicit(DicomTags.Rows, "US", 2, 1, 0)]),
            ("the length of a sequence delimitation is not zero", [.. TestData.Explicit(Sequence, "SQ", Undefined), .. TestData.Implicit(DicomTags.SequenceDelimitationItem, 4), .. TestData.Explicit(DicomTags.Rows, "US", 2, 1, 0)]),
        ];
        foreach (var (expected, bytes) in cases)
        {
            var dataset = DicomDataset.Parse(bytes, ExplicitLittle);
            Assert.StartsWith(expected, Assert.Single(dataset.Warnings).Message, StringComparison.Ordinal);
            Assert.True(dataset.Contains(DicomTags.Rows));

            // The same for a stream whose length is not known.
            var inspector = new DicomStreamInspector(ExplicitLittle);
            inspector.Push(bytes);
            inspector.Complete();
            Assert.Equal(dataset.Warnings, inspector.Warnings);
        }
    }

    [Fact]
    public void The_first_of_two_elements_with_the_same_tag_is_used() =>
        Assert.Equal(1, DicomDataset.Parse(
            (byte[])[.. TestData.Explicit(DicomTags.Rows, "US", 2, 1, 0), .. TestData.Explicit(DicomTags.Rows, "US", 2, 2, 0)], ExplicitLittle).GetInt32(DicomTags.Rows));

    [Fact]
    public void What_contradicts_itself_is_refused_with_the_place()
    {
        (string Expected, byte[] Bytes)[] cases =
        [
            ("the value declares 4294967294 bytes but 0 remain in the data set (at byte 0, element (7FE0,0010))", TestData.Explicit(DicomTags.PixelData, "OB", 0xFFFFFFFE)),
            ("VR UT cannot have undefined length (at byte 0, element (0040,A160))", TestData.Explicit(DicomTag.Parse("0040A160"), "UT", Undefined)),
            ("the sequence declares 100 bytes but 8 remain in the data set (at byte 0, element (0008,1110))", [.. TestData.Explicit(Sequence, "SQ", 100), .. TestData.Implicit(DicomTags.Item, 0)]),
            ("the item declares 100 bytes but 0 remain in the sequence (at byte 12, element (0008,1110))", [.. TestData.Explicit(Sequence, "SQ", 8), .. TestData.Implicit(DicomTags.Item, 100)]),
            ("the value declares 8 bytes but 2 remain in an item of the sequence (at byte 20, element (0028,0010))", [.. TestData.Explicit(Sequence, "SQ", 18), .. TestData.Implicit(DicomTags.Item, 10), .. TestData.Explicit(DicomTags.Rows, "US", 8, 1, 0)]),
            ("4 bytes are left in an item of the sequence, too few for an element (at byte 20, element (0008,1110))", [.. TestData.Explicit(Sequence, "SQ", 12), .. TestData.Implicit(DicomTags.Item, 4), 1, 2, 3, 4]),
            ("(0028,0010) is found where an item of sequence (0008,1110) should start (at byte 12, element (0008,1110))", [.. TestData.Explicit(Sequence, "SQ", Undefined), .. TestData.Explicit(DicomTags.Rows, "US", 2, 1, 0)]),
            ("an item starts outside of a sequence (at byte 0, element (FFFE,E000))", TestData.Implicit(DicomTags.Item, 0)),
            ("a delimiter is not expected in the data set here (at byte 0, element (FFFE,E0DD))", TestData.Implicit(DicomTags.SequenceDelimitationItem, 0)),
            ("a delimiter is not expected in an item of the sequence here (at byte 20, element (FFFE,E0DD))", [.. TestData.Explicit(Sequence, "SQ", Undefined), .. TestData.Implicit(DicomTags.Item, Undefined), .. TestData.Implicit(DicomTags.SequenceDelimitationItem, 0)]),
            ("the sequence has no delimitation item before the end of what encloses it (at byte 12, element (0008,1110))", TestData.Explicit(Sequence, "SQ", Undefined)),
            ("an item of the sequence has no delimitation item before the end of what encloses it (at byte 20, element (0008,1110))", [.. TestData.Explicit(Sequence, "SQ", 8), .. TestData.Implicit(DicomTags.Item, Undefined)]),
            ("a fragment cannot have undefined length (at byte 12, element (7FE0,0010))", [.. TestData.Explicit(DicomTags.PixelData, "OB", Undefined), .. TestData.Implicit(DicomTags.Item, Undefined)]),
            ("(0028,0010) is found where a fragment of (7FE0,0010) should start (at byte 12, element (7FE0,0010))", [.. TestData.Explicit(DicomTags.PixelData, "OB", Undefined), .. TestData.Explicit(DicomTags.Rows, "US", 2, 1, 0)]),
            ("the encapsulated pixel data has no delimitation item before the end of what encloses it (at byte 20, element (7FE0,0010))", [.. TestData.Explicit(DicomTags.PixelData, "OB", Undefined), .. TestData.Implicit(DicomTags.Item, 0)]),
            ("the data set starts with zeros (at byte 0)", new byte[64]),
            ("zeros after the last element are followed by other bytes (at byte 110)", [.. TestData.Explicit(DicomTags.Rows, "US", 2, 1, 0), .. new byte[100], 1]),
            ("3 bytes are left in the data set, too few for an element (at byte 10)", [.. TestData.Explicit(DicomTags.Rows, "US", 2, 1, 0), 1, 2, 3]),
        ];
        foreach (var (expected, bytes) in cases)
        {
            var whole = Assert.Throws<DicomFormatException>(() => DicomDataset.Parse(bytes, ExplicitLittle));
            Assert.Equal(expected, whole.Message);
            Assert.Equal(expected, Outcome(bytes, ExplicitLittle, [1])[^1]);
        }
    }

    private static byte[] DicomTagBytes(DicomTag tag) => [(byte)tag.Group, (byte)(tag.Group >> 8), (byte)tag.Element, (byte)(tag.Element >> 8)];

    private static DicomFileHeader? TryReadHeader(byte[] bytes)
    {
        try
        {
            return DicomFileHeader.Read(bytes);
        }
        catch (DicomFormatException)
        {
            return null;
        }
    }

    private static List<string> Outcome(byte[] bytes, DicomTransferSyntax syntax, int[] slices)
    {
        var tokens = new List<string>();
        try
        {
            Collect(bytes, syntax, slices, tokens);
        }
        catch (DicomFormatException failure)
        {
            tokens.Add(failure.Message);
        }

        return tokens;
    }

    private static List<string> Tokens(byte[] bytes, DicomTransferSyntax syntax, int[] slices)
    {
        var tokens = new List<string>();
        Collect(bytes, syntax, slices, tokens);
        return tokens;
    }

    private static void Collect(byte[] bytes, DicomTransferSyntax syntax, int[] slices, List<string> tokens)
    {
        var tokenizer = new DicomTokenizer(syntax, length: bytes.Length);
        var offset = 0;
        for (var i = 0; offset < bytes.Length; i++)
        {
            var slice = bytes.AsSpan(offset, Math.Min(slices[i % slices.Length], bytes.Length - offset));
            offset += slice.Length;
            ReadOnlySpan<byte> input = slice;
            while (tokenizer.Read(ref input))
            {
                tokens.Add($"{tokenizer.Kind} {tokenizer.Tag} {tokenizer.Vr} {tokenizer.Length} {tokenizer.HeaderOffset} {tokenizer.ValueOffset} {tokenizer.Depth}");
            }

            Assert.True(input.IsEmpty);
        }

        tokenizer.Complete();
    }
}
