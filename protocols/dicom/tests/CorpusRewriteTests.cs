using System.Buffers;

namespace Yizhan.Dicom.Tests;

public sealed class CorpusRewriteTests
{
    public static TheoryData<string> Files => Corpus.Files();

    [Theory]
    [MemberData(nameof(Files))]
    public void What_parsed_is_written_as_the_same_data_set_in_the_eyes_of_dcmdump(string file)
    {
        Dcmtk.SkipIfAbsent();
        var original = Corpus.Read(file);
        if (!TryParse(original, out var parsed))
        {
            return;
        }

        var written = new ArrayBufferWriter<byte>();
        (parsed.Header.IsTransferSyntaxGuessed ? parsed.WithTransferSyntax(parsed.TransferSyntax) : parsed).Write(written);
        var (exitCode, dump) = Dcmtk.Run("dcmdump", written.WrittenSpan.ToArray(), "-q", "+L");
        Assert.Equal(0, exitCode);
        Assert.Equal(Lines(Dcmtk.Run("dcmdump", original, "-q", "+L").Output), Lines(dump));
    }

    private static List<string> Lines(string dump) =>
        [.. dump.Split('\n').Where(line => !line.StartsWith('#') && !line.StartsWith("(0002,", StringComparison.Ordinal))];

    private static bool TryParse(byte[] bytes, out DicomFile file)
    {
        try
        {
            file = DicomFile.Parse(bytes);
            return true;
        }
        catch (DicomFormatException)
        {
            file = null!;
            return false;
        }
    }
}
