using System.Buffers;
using System.Text.RegularExpressions;

namespace Yizhan.Dicom.Tests;

public sealed partial class CorpusRewriteTests
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

        // A VR that is not defined ("??" for dcmdump) is written as UN.
        Assert.Equal(Lines(Dcmtk.Run("dcmdump", original, "-q", "+L").Output.Replace(") ?? ", ") UN ", StringComparison.Ordinal)), Lines(dump.Replace(") ?? ", ") UN ", StringComparison.Ordinal)));
    }

    private static List<string> Lines(string dump) =>
        [.. dump.Split('\n').Where(line => !line.StartsWith('#') && !Ignored().IsMatch(line))];

    // The meta information is made anew where it was missing. Group lengths are computed, and some files have wrong ones.
    [GeneratedRegex(@"^\(0002,|^ *\([0-9a-f]{4},0000\) UL")]
    private static partial Regex Ignored();

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
