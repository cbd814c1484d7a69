using CsCheck;

namespace Yizhan.Dicom.Tests;

public sealed class StreamInspectorTests
{
    private static readonly DicomTransferSyntax ExplicitLittle = DicomTransferSyntax.ExplicitVrLittleEndian;

    public static TheoryData<string> Files => Corpus.Files();

    [Theory]
    [MemberData(nameof(Files))]
    public void The_header_holds_the_small_top_level_elements_before_the_pixel_data(string file)
    {
        var bytes = Corpus.Read(file);
        DicomFile parsed;
        try
        {
            parsed = DicomFile.Parse(bytes);
        }
        catch (DicomFormatException)
        {
            return;
        }

        var inspector = new DicomStreamInspector(parsed.TransferSyntax);
        var random = new Random(bytes.Length);
        for (var data = bytes.AsMemory((int)parsed.Header.DatasetOffset); !data.IsEmpty;)
        {
            var slice = data[..Math.Min(random.Next(1, 3000), data.Length)];
            inspector.Push(slice.Span);
            data = data[slice.Length..];
        }

        inspector.Complete();
        var expected = parsed.Dataset.Where(e => e.Items is null && e.Fragments is null && e.Tag < DicomTags.ExtendedOffsetTable && e.Value.Length <= 65536);

        // US or SS of implicit VR is decided when parsing only; the inspector keeps the bytes.
        Assert.Equal(expected.Select(e => (e.Tag, Convert.ToHexString(e.Value.Span))), inspector.Header.Select(e => (e.Tag, Convert.ToHexString(e.Value.Span))));
        Assert.Equal(parsed.Dataset.GetString(DicomTags.PatientName), inspector.Header.GetString(DicomTags.PatientName));
        Assert.Equal(parsed.Dataset.Contains(DicomTags.PixelData), inspector.PixelDataOffset is not null);
        Assert.Equal(parsed.Dataset.TryGet(DicomTags.PixelData, out var pixels) && pixels.Fragments is { } fragments ? fragments.Count : 0, inspector.PixelDataFragments);
    }

    [Fact]
    public void A_data_set_cut_anywhere_is_found_incomplete_except_between_elements()
    {
        var dataset = new DicomDataset()
            .Set(DicomTags.SOPInstanceUID, "1.2.3")
            .Set(DicomTags.ReferencedStudySequence, new DicomDataset { IsUndefinedLength = true }.Set(DicomTags.ReferencedSOPClassUID, "1.2"))
            .SetBytes(DicomTags.PixelData, new byte[] { 1, 2, 3, 4 });
        var bytes = DicomWriter.ToArray(dataset, ExplicitLittle, DicomSequenceLength.Undefined);
        var whole = new List<int>();
        for (var length = 1; length <= bytes.Length; length++)
        {
            var inspector = new DicomStreamInspector(ExplicitLittle);
            inspector.Push(bytes.AsSpan(0, length));
            try
            {
                inspector.Complete();
                whole.Add(length);
            }
            catch (DicomFormatException failure)
            {
                Assert.StartsWith("the data ended", failure.Reason, StringComparison.Ordinal);
            }
        }

        // After the UID (8 + 6), after the sequence (12 + 8 + 8 + 4 + 8 + 8), after the pixel data (12 + 4).
        Assert.Equal([14, 14 + 48, 14 + 48 + 16], whole);
    }

    [Fact]
    public void An_announced_length_that_is_wrong_is_found_when_the_element_declares_its_own()
    {
        var bytes = TestData.Explicit(DicomTags.PixelData, "OW", 1000);
        var failure = Assert.Throws<DicomFormatException>(() => new DicomStreamInspector(ExplicitLittle, length: 500).Push(bytes));
        Assert.Equal("the value declares 1000 bytes but 488 remain in the data set", failure.Reason);
    }

    [Fact]
    public void An_empty_data_set_is_refused() =>
        Assert.Equal("the data set is empty", Assert.Throws<DicomFormatException>(new DicomStreamInspector(ExplicitLittle).Complete).Reason);

    [Fact]
    public void After_a_failure_every_call_fails_in_the_same_way()
    {
        var inspector = new DicomStreamInspector(ExplicitLittle);
        var first = Assert.Throws<DicomFormatException>(() => inspector.Push(TestData.Implicit(DicomTags.Item, 0, 0, 0, 0, 0)));
        Assert.Same(first, Assert.Throws<DicomFormatException>(() => inspector.Push([1])));
        Assert.Same(first, Assert.Throws<DicomFormatException>(inspector.Complete));
    }

    [Fact]
    public void Values_above_the_bound_are_not_kept_and_that_is_said()
    {
        var dataset = new DicomDataset().SetBytes(DicomTags.PatientComments, new byte[1000]).Set(DicomTags.Rows, 5);
        var inspector = new DicomStreamInspector(ExplicitLittle, new DicomInspectorOptions { MaxValueBytes = 999 });
        inspector.Push(DicomWriter.ToArray(dataset, ExplicitLittle));
        inspector.Complete();
        Assert.True(inspector.IsHeaderPartial);
        Assert.Equal(DicomTags.Rows, Assert.Single(inspector.Header).Tag);
    }

    [Fact]
    public void A_cut_deflated_data_set_is_refused_wherever_it_is_cut()
    {
        var syntax = DicomTransferSyntax.DeflatedExplicitVrLittleEndian;
        var dataset = new DicomDataset().SetBytes(DicomTags.PatientComments, System.Text.Encoding.ASCII.GetBytes(string.Concat(Enumerable.Range(0, 300))));
        var bytes = DicomWriter.ToArray(dataset, syntax);
        for (var length = 0; length < bytes.Length - 2; length++)
        {
            var inspector = new DicomStreamInspector(syntax);
            inspector.Push(bytes.AsSpan(0, length));
            Assert.Throws<DicomFormatException>(inspector.Complete);
        }
    }

    [Fact]
    public void A_deflated_stream_without_its_last_block_is_refused_though_the_elements_are_whole()
    {
        using var deflated = new MemoryStream();
        using var deflate = new System.IO.Compression.DeflateStream(deflated, System.IO.Compression.CompressionLevel.Optimal, leaveOpen: true);
        deflate.Write(TestData.Explicit(DicomTags.Rows, "US", 2, 1, 0));
        deflate.Flush();
        var inspector = new DicomStreamInspector(DicomTransferSyntax.DeflatedExplicitVrLittleEndian);
        inspector.Push(deflated.ToArray());
        Assert.Equal(1, inspector.Header.GetInt32(DicomTags.Rows));
        Assert.Equal("the deflated data ended before its last block", Assert.Throws<DicomFormatException>(inspector.Complete).Reason);
    }

    [Theory]
    [InlineData("1 10 10010001 0000001 00001 0000000", "the deflated data refers to bytes before its start")] // 'a', then 3 bytes from 2 back
    [InlineData("1 10 11000110", "the deflated data has a bad length code")] // length symbol 286
    [InlineData("1 11", "the deflated data has a block of unknown type")]
    [InlineData("1 00 00000 1000000000000000 1000000000000000", "the deflated data has a stored block with a bad length")]
    public void Deflated_data_that_contradicts_rfc_1951_is_refused(string bits, string reason)
    {
        var packed = new byte[16];
        var at = 0;
        foreach (var bit in bits.Where(c => c != ' '))
        {
            packed[at / 8] |= (byte)((bit - '0') << (at++ % 8));
        }

        Assert.Equal(reason, Assert.Throws<DicomFormatException>(() => Inflater.InflateAll(packed, 1000)).Reason);
    }

    [Fact]
    public void Inflating_in_slices_gives_what_was_deflated_at_any_level()
    {
        var levels = new[] { System.IO.Compression.CompressionLevel.NoCompression, System.IO.Compression.CompressionLevel.Fastest, System.IO.Compression.CompressionLevel.SmallestSize };
        Gen.Select(Gen.Byte[0, 3].Array[0, 2000], Gen.Int[1, 100], Gen.Int[0, 2], Gen.Int[1, 50]).Sample((pattern, repeat, level, slice) =>
        {
            var plain = Enumerable.Repeat(pattern, repeat).SelectMany(b => b).ToArray();
            using var deflated = new MemoryStream();
            using (var deflate = new System.IO.Compression.DeflateStream(deflated, levels[level], leaveOpen: true))
            {
                deflate.Write(plain);
            }

            var inflater = new Inflater(1 << 30);
            var output = new List<byte>();
            for (var rest = deflated.ToArray().AsMemory(); !rest.IsEmpty;)
            {
                var size = Math.Min(slice, rest.Length);
                var input = (ReadOnlySpan<byte>)rest.Span[..size];
                rest = rest[size..];
                while (inflater.Next(ref input) is { IsEmpty: false } chunk)
                {
                    output.AddRange(chunk);
                }
            }

            Assert.Equal(plain, output);
            if (plain.Length > 0)
            {
                inflater.Complete();
            }
        });
    }
}
