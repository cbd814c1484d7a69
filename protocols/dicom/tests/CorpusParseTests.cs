using System.Text.RegularExpressions;

namespace Yizhan.Dicom.Tests;

public sealed class CorpusParseTests
{
    /// <summary>The files that must be refused, and why; dcmdump refuses the same.</summary>
    private static readonly Dictionary<string, string> Refused = new()
    {
        ["derived/ct-truncated-1500.dcm"] = @"the value declares 10 bytes but 6 remain in the data set \(at byte 1486, element \(0019,1003\)\)",
        ["derived/ct-truncated-200.dcm"] = @"the value declares 48 bytes but 0 remain in the file \(at byte 192, element \(0002,0003\)\)",
        ["derived/ct-truncated-20000.dcm"] = @"the value declares 32768 bytes but .* remain .*\(7FE0,0010\)",
        ["derived/dicm-then-garbage.dcm"] = "the meta information has no transfer syntax",
        ["derived/zero-length.dcm"] = "the file is empty",
        ["derived/html-not-dicom.dcm"] = "not a DICOM file",
        ["malformed/MR_truncated.dcm"] = @"the value declares 8192 bytes but .* remain .*\(7FE0,0010\)",
        ["malformed/emri_small_jpeg_2k_lossless_too_short.dcm"] = @"the encapsulated pixel data has no delimitation item .*\(7FE0,0010\)",
        ["malformed/no_meta.dcm"] = "not a DICOM file",
        ["malformed/rtplan_truncated.dcm"] = @"the sequence declares 976 bytes but 711 remain in the data set .*\(300A,00B0\)",
    };

    public static TheoryData<string> Files => Corpus.Files();

    [Theory]
    [MemberData(nameof(Files))]
    public void A_real_file_parses_or_is_refused_for_the_expected_reason(string file)
    {
        var bytes = Corpus.Read(file);
        var outcome = Outcome(() => DicomFile.Parse(bytes));
        Assert.Equal(outcome, Outcome(() => DicomStreamInspector.InspectFile(bytes)));
        if (Refused.TryGetValue(file, out var reason))
        {
            Assert.Matches(new Regex(reason), outcome);
        }
        else
        {
            Assert.Equal("", outcome);
        }
    }

    private static string Outcome(Action read)
    {
        try
        {
            read();
            return "";
        }
        catch (DicomFormatException failure)
        {
            return failure.Message;
        }
    }
}
