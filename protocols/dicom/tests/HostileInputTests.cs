using System.IO.Compression;
using System.Text;

namespace Yizhan.Dicom.Tests;

public sealed class HostileInputTests(ITestOutputHelper output)
{
    private const uint Undefined = DicomTokenizer.UndefinedLength;
    private static readonly DicomTransferSyntax ExplicitLittle = DicomTransferSyntax.ExplicitVrLittleEndian;

    public static TheoryData<string> Syntaxes => [.. TestData.Uncompressed.Where(s => !s.IsDeflated && !s.IsBigEndian).Select(s => s.Uid)];

    [Theory]
    [MemberData(nameof(Syntaxes))]
    public void Ten_thousand_nested_sequences_are_refused(string uid)
    {
        var syntax = DicomTransferSyntax.Get(uid);
        var level = (byte[])[
            .. syntax.IsImplicitVr ? TestData.Implicit(DicomTags.ContentSequence, Undefined) : TestData.Explicit(DicomTags.ContentSequence, "SQ", Undefined),
            .. TestData.Implicit(DicomTags.Item, Undefined)];
        var bytes = Enumerable.Repeat(level, 10_000).SelectMany(b => b).ToArray();

        Assert.StartsWith("sequences are nested deeper than 64", Assert.Throws<DicomFormatException>(() => DicomDataset.Parse(bytes, syntax)).Message, StringComparison.Ordinal);
        Assert.StartsWith("sequences are nested deeper than 64", Assert.Throws<DicomFormatException>(() => new DicomStreamInspector(syntax).Push(bytes)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Sixty_four_nested_sequences_are_read_and_written()
    {
        var dataset = new DicomDataset().Set(DicomTags.Rows, 1);
        for (var i = 0; i < 64; i++)
        {
            dataset = new DicomDataset().Set(DicomTags.ContentSequence, dataset);
        }

        var bytes = DicomWriter.ToArray(dataset, ExplicitLittle);
        TestData.AssertSame(dataset, DicomDataset.Parse(bytes, ExplicitLittle));
        var json = DicomJson.ToUtf8Bytes(dataset);
        Assert.Equal(json, DicomJson.ToUtf8Bytes(DicomJson.Read(json)));

        var deeper = new DicomDataset().Set(DicomTags.ContentSequence, dataset);
        Assert.Throws<DicomFormatException>(() => DicomDataset.Parse(DicomWriter.ToArray(deeper, ExplicitLittle), ExplicitLittle));
        Assert.Throws<DicomFormatException>(() => DicomJson.Read(DicomJson.ToUtf8Bytes(deeper)));
    }

    [Fact]
    public void Json_nested_ten_thousand_deep_is_refused()
    {
        var json = Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat("{\"0040A730\":{\"vr\":\"SQ\",\"Value\":[", 10_000)));
        Assert.Throws<DicomFormatException>(() => DicomJson.Read(json));
    }

    [Theory]
    [InlineData("[]")]
    [InlineData("{\"0010\":{}}")]
    [InlineData("{\"00100010\":[]}")]
    [InlineData("{\"00100010\":{\"vr\":\"XX\"}}")]
    [InlineData("{\"00100010\":{\"vr\":\"PN\",\"Value\":[5]}}")]
    [InlineData("{\"00100020\":{\"vr\":\"LO\",\"Value\":[\"\\uD800\"]}}")]
    [InlineData("{\"00280010\":{\"vr\":\"US\",\"Value\":[65536]}}")]
    [InlineData("{\"00280010\":{\"vr\":\"US\",\"Value\":[\"x\"]}}")]
    [InlineData("{\"7FE00010\":{\"vr\":\"OB\",\"InlineBinary\":\"?\"}}")]
    [InlineData("{\"7FE00010\":{\"vr\":\"OB\",\"BulkDataURI\":\"http://x\"}}")]
    [InlineData("{\"00081110\":{\"vr\":\"SQ\",\"Value\":[1]}}")]
    [InlineData("{")]
    public void Json_outside_the_model_is_refused(string json) =>
        Assert.Throws<DicomFormatException>(() => DicomJson.Read(Encoding.UTF8.GetBytes(json)));

    [Fact]
    public void An_endless_sequence_takes_no_memory_in_the_inspector()
    {
        var inspector = new DicomStreamInspector(ExplicitLittle);
        inspector.Push(TestData.Explicit(DicomTags.ReferencedStudySequence, "SQ", Undefined));
        var items = Enumerable.Repeat(TestData.Implicit(DicomTags.Item, 0), 8192).SelectMany(b => b).ToArray();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 256; i++)
        {
            inspector.Push(items);
        }

        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 10_000);
        Assert.Contains("ended inside the sequence", Assert.Throws<DicomFormatException>(inspector.Complete).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Endless_elements_keep_a_bounded_header_in_the_inspector()
    {
        var inspector = new DicomStreamInspector(ExplicitLittle);
        var element = TestData.Explicit(DicomTags.PatientID, "LO", 60_000, new byte[60_000]);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
        {
            inspector.Push(element);
        }

        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 8_000_000);
        Assert.True(inspector.IsHeaderPartial);
        Assert.Equal(999, inspector.WarningCount);
        Assert.Equal(32, inspector.Warnings.Count);
    }

    [Fact]
    public void More_elements_than_allowed_are_refused_when_parsing()
    {
        byte[] bytes = [.. TestData.Explicit(DicomTags.ReferencedStudySequence, "SQ", 8 * 1000), .. Enumerable.Repeat(TestData.Implicit(DicomTags.Item, 0), 1000).SelectMany(b => b)];
        Assert.Contains("more than 500 elements", Assert.Throws<DicomFormatException>(() => DicomDataset.Parse(bytes, ExplicitLittle, new DicomLimits { MaxElements = 500 })).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_declared_length_of_4_gib_allocates_nothing_and_is_missed_at_the_end()
    {
        var inspector = new DicomStreamInspector(ExplicitLittle);
        var before = GC.GetAllocatedBytesForCurrentThread();
        inspector.Push(TestData.Explicit(DicomTags.PixelData, "OW", 0xFFFFFFFE));
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 10_000);
        Assert.Contains("the data ended 4294967294 bytes before the end of the value", Assert.Throws<DicomFormatException>(inspector.Complete).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_zip_bomb_is_refused_at_the_bound_with_bounded_memory()
    {
        using var bomb = new MemoryStream();
        using (var deflate = new DeflateStream(bomb, CompressionLevel.Optimal, leaveOpen: true))
        {
            deflate.Write(TestData.Explicit(DicomTags.PixelData, "OW", 512 << 20));
            var zeros = new byte[1 << 20];
            for (var i = 0; i < 512; i++)
            {
                deflate.Write(zeros);
            }
        }

        var bytes = bomb.ToArray();
        var limits = new DicomLimits { MaxInflatedBytes = 4 << 20 };
        var syntax = DicomTransferSyntax.DeflatedExplicitVrLittleEndian;
        var before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Contains("inflates to more than 4194304 bytes", Assert.Throws<DicomFormatException>(() => DicomDataset.Parse(bytes, syntax, limits)).Message, StringComparison.Ordinal);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 32 << 20);

        before = GC.GetAllocatedBytesForCurrentThread();
        new DicomStreamInspector(syntax).Push(bytes); // 512 MiB pass through 64 KiB of window.
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
    }

    [Fact]
    public void Whatever_is_changed_in_a_file_only_a_format_exception_comes_out()
    {
        var seed = int.TryParse(Environment.GetEnvironmentVariable("YIZHAN_FUZZ_SEED"), out var given) ? given : Random.Shared.Next();
        var iterations = int.TryParse(Environment.GetEnvironmentVariable("YIZHAN_FUZZ_ITERATIONS"), out var count) ? count : 20_000;
        output.WriteLine($"YIZHAN_FUZZ_SEED={seed} YIZHAN_FUZZ_ITERATIONS={iterations}");
        var random = new Random(seed);
        var files = SeedFiles();
        var refused = 0;
        for (var i = 0; i < iterations; i++)
        {
            var bytes = Mutate(files[random.Next(files.Count)], random);
            try
            {
                refused += Exercise(bytes, random) ? 0 : 1;
            }
            catch (Exception failure)
            {
                throw new InvalidOperationException($"Seed {seed}, iteration {i}: {Convert.ToBase64String(bytes)}", failure);
            }
        }

        output.WriteLine($"{refused} of {iterations} were refused.");
        Assert.InRange(refused, 1, iterations - 1);
    }

    private static List<byte[]> SeedFiles()
    {
        var own = new DicomDataset()
            .Set(DicomTags.SpecificCharacterSet, "", "ISO 2022 IR 87").Set(DicomTags.SOPClassUID, "1.2").Set(DicomTags.SOPInstanceUID, "1.3")
            .Set(DicomTags.PatientName, "Yamada^Tarou=山田^太郎")
            .Set(DicomTags.ReferencedStudySequence, new DicomDataset { IsUndefinedLength = true }.Set(DicomTags.Rows, 1), new DicomDataset())
            .Set(DicomTags.WindowCenter, 1.5).SetBytes(DicomTags.PixelData, new byte[40]);
        var files = TestData.Uncompressed.Select(syntax => TestData.Bytes(DicomFile.Create(own, syntax))).ToList();
        if (Corpus.IsPresent)
        {
            files.AddRange(Directory.GetFiles(Corpus.Folder, "*", SearchOption.AllDirectories).Select(File.ReadAllBytes).Where(b => b.Length is > 0 and < 6000));
        }

        return files;
    }

    private static byte[] Mutate(byte[] file, Random random)
    {
        var bytes = (byte[])file.Clone();
        for (var n = random.Next(1, 6); n > 0 && bytes.Length > 0; n--)
        {
            // Most bytes of interest are headers, after the preamble.
            var at = random.Next(Math.Min(bytes.Length - 1, 128), bytes.Length);
            switch (random.Next(6))
            {
                case 0:
                    bytes[at] = (byte)random.Next(256);
                    break;
                case 1:
                    bytes[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 2:
                    bytes = bytes[..at];
                    break;
                case 3:
                    bytes = [.. bytes[..at], .. bytes[random.Next(bytes.Length)..]];
                    break;
                case 4:
                    byte[][] parts = [[0xFF, 0xFF, 0xFF, 0xFF], [0xFE, 0xFF, 0x00, 0xE0], [0xFE, 0xFF, 0x0D, 0xE0], [0xFE, 0xFF, 0xDD, 0xE0], "SQ"u8.ToArray(), "UN"u8.ToArray(), [0, 0, 0, 0], [0x1B, 0x24, 0x42]];
                    var part = parts[random.Next(parts.Length)];
                    part.AsSpan(0, Math.Min(part.Length, bytes.Length - at)).CopyTo(bytes.AsSpan(at));
                    break;
                default:
                    bytes = [.. bytes[..at], .. bytes[Math.Min(at + random.Next(1, 20), bytes.Length)..]];
                    break;
            }
        }

        return bytes;
    }

    private static bool Exercise(byte[] bytes, Random random)
    {
        var limits = new DicomLimits { MaxInflatedBytes = 1 << 20 };
        DicomFile file;
        try
        {
            file = DicomFile.Parse(bytes, limits);
        }
        catch (DicomFormatException failure)
        {
            // The length of deflated data is not known in advance, so it is found wrong in other words.
            var again = InspectInSlices(bytes, limits, random);
            Assert.NotNull(again);
            Assert.True(again == failure.Message || DicomFileHeader.Read(bytes).TransferSyntax.IsDeflated, again);
            return false;
        }

        // The inspector refuses an empty data set, which parsing does not.
        var inspected = InspectInSlices(bytes, limits, random);
        Assert.True(inspected is null || file.Dataset.Count == 0, inspected);

        DicomJson.Read(DicomJson.ToUtf8Bytes(file.Dataset), new DicomJsonOptions { ReadBulkData = (_, _) => default });
        var syntax = file.TransferSyntax with { IsEncapsulated = true };
        DicomDataset.Parse(DicomWriter.ToArray(file.Dataset, syntax), syntax, limits);
        return true;
    }

    private static string? InspectInSlices(byte[] bytes, DicomLimits limits, Random random)
    {
        try
        {
            var header = DicomFileHeader.Read(bytes);
            if (header.TransferSyntax.IsDeflated)
            {
                DicomStreamInspector.InspectFile(bytes, new DicomInspectorOptions { Limits = limits });
                return null;
            }

            var data = bytes.AsMemory((int)header.DatasetOffset);
            var tokenizer = new DicomTokenizer(header.TransferSyntax, limits, data.Length, header.DatasetOffset);
            while (!data.IsEmpty)
            {
                var slice = data[..Math.Min(random.Next(1, 64), data.Length)];
                data = data[slice.Length..];
                ReadOnlySpan<byte> input = slice.Span;
                while (tokenizer.Read(ref input))
                {
                    // Only the structure matters here.
                }
            }

            tokenizer.Complete();
            DicomStreamInspector.InspectFile(bytes, new DicomInspectorOptions { Limits = limits });
            return null;
        }
        catch (DicomFormatException failure)
        {
            return failure.Message;
        }
    }
}
