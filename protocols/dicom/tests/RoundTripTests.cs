using CsCheck;

namespace Yizhan.Dicom.Tests;

public sealed class RoundTripTests
{
    public static TheoryData<string> Files => Corpus.Files();

    [Fact]
    public void A_random_data_set_is_the_same_after_writing_and_parsing()
    {
        Gen.Select(TestData.Datasets, Gen.Int[0, 3], Gen.Enum<DicomSequenceLength>()).Sample((dataset, syntax, lengths) =>
        {
            var bytes = DicomWriter.ToArray(dataset, TestData.Uncompressed[syntax], lengths);
            TestData.AssertSame(dataset, DicomDataset.Parse(bytes, TestData.Uncompressed[syntax]));
        });
    }

    [Fact]
    public void A_random_data_set_is_the_same_after_json()
    {
        TestData.Datasets.Sample(dataset =>
        {
            var json = DicomJson.ToUtf8Bytes(dataset);
            Assert.Equal(json, DicomJson.ToUtf8Bytes(DicomJson.Read(json)));
        });
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void A_real_uncompressed_data_set_survives_every_uncompressed_transfer_syntax(string file)
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

        if (parsed.TransferSyntax.IsEncapsulated)
        {
            return;
        }

        // Through explicit VR first: what implicit VR forgets (VRs of private elements) cannot come back from it.
        var expected = parsed.Dataset;
        foreach (var syntax in new[] { DicomTransferSyntax.ExplicitVrBigEndian, DicomTransferSyntax.DeflatedExplicitVrLittleEndian, DicomTransferSyntax.ExplicitVrLittleEndian })
        {
            var again = DicomFile.Parse(TestData.Bytes(new DicomFile(parsed.Header, expected).WithTransferSyntax(syntax)));
            Assert.Equal(syntax, again.TransferSyntax);
            TestData.AssertSame(Padded(expected), Padded(again.Dataset));
            expected = again.Dataset;
        }

        var first = DicomFile.Parse(TestData.Bytes(new DicomFile(parsed.Header, expected).WithTransferSyntax(DicomTransferSyntax.ImplicitVrLittleEndian)));
        var second = DicomFile.Parse(TestData.Bytes(first.WithTransferSyntax(DicomTransferSyntax.ExplicitVrBigEndian)));
        TestData.AssertSame(Padded(first.Dataset), Padded(second.Dataset));
    }

    [Fact]
    public void Group_lengths_are_computed_when_they_are_there()
    {
        var dataset = new DicomDataset()
            .SetBytes(new DicomTag(0x00080000), new byte[8], DicomVr.UN).Set(DicomTags.Modality, "CT")
            .Set(DicomTags.ReferencedStudySequence, new DicomDataset().Set(DicomTags.ReferencedSOPClassUID, "1.2"))
            .Set(DicomTags.PatientID, "X");
        var bytes = DicomWriter.ToArray(dataset, DicomTransferSyntax.ExplicitVrLittleEndian);
        Assert.Equal(10 + 12 + 8 + 12, DicomDataset.Parse(bytes, DicomTransferSyntax.ExplicitVrLittleEndian).GetInt64(new DicomTag(0x00080000)));
    }

    [Fact]
    public void A_value_too_long_for_a_16_bit_length_becomes_un_and_is_still_read()
    {
        var text = string.Join('\\', Enumerable.Repeat("1.5", 30_000));
        var dataset = new DicomDataset().SetBytes(DicomTags.PixelSpacing, System.Text.Encoding.ASCII.GetBytes(text));
        var bytes = DicomWriter.ToArray(dataset, DicomTransferSyntax.ExplicitVrBigEndian);
        var parsed = DicomDataset.Parse(bytes, DicomTransferSyntax.ExplicitVrBigEndian);
        Assert.Equal(DicomVr.UN, parsed.Single().Vr);
        Assert.Equal(30_000, parsed.GetDoubles(DicomTags.PixelSpacing).Count);
    }

    [Fact]
    public void Numbers_that_became_un_are_little_endian_in_big_endian_too()
    {
        long[] numbers = [.. Enumerable.Range(0, 40_000)];
        var bytes = DicomWriter.ToArray(new DicomDataset().Set(DicomTags.Rows, numbers), DicomTransferSyntax.ExplicitVrBigEndian);
        Assert.Equal(numbers, DicomDataset.Parse(bytes, DicomTransferSyntax.ExplicitVrBigEndian).GetInt64s(DicomTags.Rows));
    }

    [Theory]
    [InlineData("PatientID", "A ")]
    [InlineData("SOPInstanceUID", "1\0")]
    public void An_odd_value_is_padded_as_its_vr_asks(string keyword, string expected)
    {
        var dataset = new DicomDataset().SetBytes(DicomTag.Parse(keyword), System.Text.Encoding.ASCII.GetBytes(expected[..1]));
        var parsed = DicomDataset.Parse(DicomWriter.ToArray(dataset, DicomTransferSyntax.ExplicitVrLittleEndian), DicomTransferSyntax.ExplicitVrLittleEndian);
        Assert.Equal(expected, System.Text.Encoding.ASCII.GetString(parsed.GetBytes(DicomTag.Parse(keyword)).Span));
    }

    [Fact]
    public void A_private_sequence_is_still_a_sequence_after_implicit_vr()
    {
        var tag = new DicomTag(0x00111001);
        var dataset = new DicomDataset().Set(tag, new DicomDataset().Set(DicomTags.Rows, 7));
        var bytes = DicomWriter.ToArray(dataset, DicomTransferSyntax.ImplicitVrLittleEndian, DicomSequenceLength.Defined);
        Assert.Equal(7, DicomDataset.Parse(bytes, DicomTransferSyntax.ImplicitVrLittleEndian).GetItems(tag).Single().GetInt32(DicomTags.Rows));
    }

    [Fact]
    public void Numbers_json_cannot_hold_exactly_are_strings_and_come_back()
    {
        var dataset = new DicomDataset()
            .Set(DicomTag.Parse("00720082"), long.MinValue, 5) // SV
            .SetBytes(DicomTag.Parse("00720083"), new byte[] { 255, 255, 255, 255, 255, 255, 255, 255 }) // UV
            .Set(DicomTag.Parse("00720074"), double.NaN, double.PositiveInfinity, double.NegativeInfinity, 0.1)
            .Set(DicomTags.WindowCenter, "+1.50", "01", ".5", "x", "");
        var json = DicomJson.ToUtf8Bytes(dataset);
        Assert.Equal(
            """{"00281050":{"vr":"DS","Value":[1.50,1,0.5,"x",null]},"00720074":{"vr":"FD","Value":["NaN","inf","-inf",0.1]},"00720082":{"vr":"SV","Value":["-9223372036854775808",5]},"00720083":{"vr":"UV","Value":["18446744073709551615"]}}""",
            System.Text.Encoding.UTF8.GetString(json));
        Assert.Equal(json, DicomJson.ToUtf8Bytes(DicomJson.Read(json)));
    }

    [Fact]
    public void Bulk_data_goes_out_as_a_uri_and_is_fetched_when_read()
    {
        var dataset = new DicomDataset().Set(DicomTags.Rows, 1).SetBytes(DicomTags.PixelData, new byte[] { 1, 2, 3, 4 });
        var json = DicomJson.ToUtf8Bytes(dataset, new DicomJsonOptions { BulkDataUri = element => element.Tag == DicomTags.PixelData ? "bulk/1" : null });
        Assert.Contains("\"7FE00010\":{\"vr\":\"OW\",\"BulkDataURI\":\"bulk/1\"}", System.Text.Encoding.UTF8.GetString(json), StringComparison.Ordinal);
        var again = DicomJson.Read(json, new DicomJsonOptions { ReadBulkData = (_, uri) => uri == "bulk/1" ? new byte[] { 1, 2, 3, 4 } : null });
        TestData.AssertSame(dataset, again);
    }

    [Fact]
    public void Encapsulated_pixel_data_is_refused_in_a_native_transfer_syntax()
    {
        var dataset = new DicomDataset().Set(DicomElement.OfFragments(DicomTags.PixelData, [default, new byte[] { 1, 2 }]));
        Assert.Throws<ArgumentException>(() => DicomWriter.ToArray(dataset, DicomTransferSyntax.ExplicitVrLittleEndian));
        var jpeg = DicomTransferSyntax.Get("1.2.840.10008.1.2.4.50");
        TestData.AssertSame(dataset, DicomDataset.Parse(DicomWriter.ToArray(dataset, jpeg), jpeg));
    }

    [Fact]
    public void A_new_file_is_accepted_by_dcmtk_with_its_meta_information()
    {
        Dcmtk.SkipIfAbsent();
        var dataset = new DicomDataset()
            .Set(DicomTags.SOPClassUID, DicomUids.SecondaryCaptureImageStorage)
            .Set(DicomTags.SOPInstanceUID, DicomUids.FromGuid(new Guid("f81d4fae-7dec-11d0-a765-00a0c91e6bf6")))
            .Set(DicomTags.Rows, 512).Set(DicomTags.WindowCenter, 40.5);
        var file = DicomFile.Create(dataset, DicomTransferSyntax.ExplicitVrLittleEndian);
        var bytes = TestData.Bytes(file);
        var (exitCode, dump) = Dcmtk.Run("dcmdump", bytes);
        Assert.Equal(0, exitCode);
        Assert.Contains($"(0002,0000) UL {file.Header.DatasetOffset - 144} ", dump, StringComparison.Ordinal);
        Assert.Contains("(0002,0012) UI [2.25.213681243868147430938846307386204137229]", dump, StringComparison.Ordinal);
        Assert.Contains("[2.25.329800735698586629295641978511506172918]", dump, StringComparison.Ordinal); // The example of PS3.5 §B.2.
        Assert.Contains("(0028,0010) US 512 ", dump, StringComparison.Ordinal);
        Assert.Contains("(0028,1050) DS [40.5]", dump, StringComparison.Ordinal);
    }

    // Values of odd length come back even; group lengths are those of the encoding.
    private static DicomDataset Padded(DicomDataset dataset)
    {
        var copy = new DicomDataset();
        foreach (var element in dataset.Where(element => !element.Tag.IsGroupLength))
        {
            var value = element.Value.ToArray();
            copy.Set(
                element.Items is { } items ? DicomElement.OfItems(element.Tag, [.. items.Select(Padded)])
                : DicomElement.OfValue(element.Tag, element.Vr, DicomValues.Pad(value, element.Vr.IsText() && element.Vr != DicomVr.UI ? (byte)' ' : (byte)0), element.IsBigEndian));
        }

        return copy;
    }
}
