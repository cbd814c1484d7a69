using System.Globalization;
using System.Text.Json.Nodes;

namespace Yizhan.Dicom.Tests;

public sealed class CorpusJsonTests
{
    /// <summary>Files that dcm2json cannot convert, and why; their text is looked at in the character set tests.</summary>
    private static readonly Dictionary<string, string> NotConvertedByDcmtk = new()
    {
        ["charset/chrH31.dcm"] = "dcm2json on this system cannot open the Japanese character encodings.",
        ["charset/chrJapMulti.dcm"] = "dcm2json on this system cannot open the Japanese character encodings.",
        ["jpeg2000/J2K_pixelrep_mismatch.dcm"] = "dcm2json on this system cannot open the Japanese character encodings.",
        ["malformed/1.dcm"] = "dcm2json does not know the label ISO_2022_IR_6.",
        ["malformed/explicit_VR-UN.dcm"] = "dcm2json cannot read Specific Character Set in UN.",
    };

    /// <summary>Attributes in which the two differ, with what ours says and why it is right.</summary>
    private static readonly Dictionary<string, string[]> KnownDifferences = new()
    {
        // Chinese in a code string: dcm2json gives up on the bytes.
        ["charset/GH1301.dcm"] = ["/00100040/Value[0]: dcm2json \"\\uFFFD\\uFFFD\", ours \"\\u7537\""],

        // JSON is always UTF-8, so the label says so also where all is ASCII.
        ["charset/Lena-ascii.dcm"] = ["/00080005/Value[0]: dcm2json \"ISO_IR 6\", ours \"ISO_IR 192\""],

        // dcm2json does not convert items that have a character set of their own.
        ["charset/chrSQEncoding.dcm"] =
        [
            "/00321064/Value[0]/00080005/Value: dcm2json [\"ISO 2022 IR 13\",\"ISO 2022 IR 87\"], ours [\"ISO_IR 192\"]",
            "/00321064/Value[0]/00100010/Value[0]/Alphabetic: dcm2json \"\\uFFFD\\uFFFD\\uFFFD\\uFFFD^\\uFFFD\\u06F3\", ours \"\\uFF94\\uFF8F\\uFF80\\uFF9E^\\uFF80\\uFF9B\\uFF73\"",
            "/00321064/Value[0]/00100010/Value[0]/Ideographic: dcm2json \"\\u001B$B;3ED\\u001B(B^\\u001B$BB@O:\\u001B(B\", ours \"\\u5C71\\u7530^\\u592A\\u90CE\"",
            "/00321064/Value[0]/00100010/Value[0]/Phonetic: dcm2json \"\\u001B$B$d$^$@\\u001B(B^\\u001B$B$?$m$\\u0026\\u001B(B\", ours \"\\u3084\\u307E\\u3060^\\u305F\\u308D\\u3046\"",
        ],

        // dcm2json prints a neighbour of the 64-bit number in the file.
        ["native/examples_palette.dcm"] =
        [
            "/00186011/Value[0]/0018602C/Value[0]: dcm2json 0.026228787661969974, ours 0.02622878766196998",
            "/00186011/Value[0]/0018602E/Value[0]: dcm2json 0.026228787661969974, ours 0.02622878766196998",
        ],

        // GBK bytes under ISO_IR 100: repaired here.
        ["derived/zh-gbk-declared-as-latin1.dcm"] =
            ["/00100010/Value[0]/Alphabetic: dcm2json \"\\u00C5\\u00B7\\u00D1\\u00F4^\\u00B7\\u00E6\", ours \"\\u6B27\\u9633^\\u950B\""],
    };

    public static TheoryData<string> Files => Corpus.Files();

    [Theory]
    [MemberData(nameof(Files))]
    public void The_json_of_a_real_file_agrees_with_dcm2json(string file)
    {
        Dcmtk.SkipIfAbsent();
        var dataset = ParseOrSkip(file);
        var bare = TestData.Bytes(DicomFile.Create(WithoutFragments(dataset), DicomTransferSyntax.ExplicitVrLittleEndian));
        var (exitCode, output) = Dcmtk.Run("dcm2json", bare, "-q", "-ee");
        if (NotConvertedByDcmtk.TryGetValue(file, out var reason))
        {
            Assert.NotEqual(0, exitCode);
            Assert.Skip(reason);
        }

        Assert.Equal(0, exitCode);
        var differences = new List<string>();
        Compare("", JsonNode.Parse(output)!, JsonNode.Parse(DicomJson.ToUtf8Bytes(DicomFile.Parse(bare).Dataset))!, differences);
        Assert.Equal(KnownDifferences.GetValueOrDefault(file, []), differences);
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void Json_that_is_read_again_gives_the_same_json(string file)
    {
        var json = DicomJson.ToUtf8Bytes(WithoutFragments(ParseOrSkip(file)));
        Assert.Equal(json, DicomJson.ToUtf8Bytes(DicomJson.Read(json)));
    }

    private static DicomDataset ParseOrSkip(string file)
    {
        var bytes = Corpus.Read(file);
        try
        {
            return DicomFile.Parse(bytes).Dataset;
        }
        catch (DicomFormatException failure)
        {
            Assert.Skip($"Refused: {failure.Message}");
            throw;
        }
    }

    // dcm2json refuses compressed pixel data; it has no inline form in JSON.
    private static DicomDataset WithoutFragments(DicomDataset dataset)
    {
        var copy = new DicomDataset();
        foreach (var element in dataset.Where(element => element.Fragments is null))
        {
            copy.Set(element.Items is { } items ? DicomElement.OfItems(element.Tag, [.. items.Select(WithoutFragments)]) : element);
        }

        foreach (var (tag, uid) in new[] { (DicomTags.SOPClassUID, "1.2.3"), (DicomTags.SOPInstanceUID, "1.2.4") })
        {
            if (dataset.Parent is null && copy.GetString(tag) is null)
            {
                copy.Set(tag, uid);
            }
        }

        return copy;
    }

    private static void Compare(string path, JsonNode? expected, JsonNode? actual, List<string> differences)
    {
        switch (expected, actual)
        {
            case (JsonObject left, JsonObject right):
                if (left["vr"]?.ToString() == "UN" && right["vr"]?.ToString() != "UN")
                {
                    // A standard element that came as UN has its own VR in our JSON; it must have the same bytes.
                    var element = DicomJson.Read(System.Text.Encoding.UTF8.GetBytes($"{{\"{path[^8..]}\":{right.ToJsonString()}}}")).Single();
                    Assert.Equal(left["InlineBinary"]?.ToString() ?? "", Convert.ToBase64String(element.Value.Span));
                    break;
                }

                foreach (var key in left.Select(p => p.Key).Union(right.Select(p => p.Key)))
                {
                    if (left["vr"]?.ToString() == "FL" && key == "Value")
                    {
                        // dcm2json prints 9 digits of a 32-bit number, this library the fewest that give it back.
                        Assert.Equal(Singles(left[key]), Singles(right[key]));
                        continue;
                    }

                    Compare($"{path}/{key}", left[key], right[key], differences);
                }

                break;
            case (JsonArray left, JsonArray right) when left.Count == right.Count:
                for (var i = 0; i < left.Count; i++)
                {
                    Compare($"{path}[{i}]", left[i], right[i], differences);
                }

                break;
            default:
                if (!AreSame(expected, actual))
                {
                    differences.Add($"{path}: dcm2json {expected?.ToJsonString() ?? "nothing"}, ours {actual?.ToJsonString() ?? "nothing"}");
                }

                break;
        }
    }

    private static float[] Singles(JsonNode? values) =>
        [.. values?.AsArray().Select(value => float.Parse(value!.ToString(), CultureInfo.InvariantCulture)) ?? []];

    private static bool AreSame(JsonNode? expected, JsonNode? actual) =>
        expected?.GetValueKind() == System.Text.Json.JsonValueKind.Number && actual?.GetValueKind() == System.Text.Json.JsonValueKind.Number
            ? double.Parse(expected.ToJsonString(), CultureInfo.InvariantCulture).Equals(double.Parse(actual.ToJsonString(), CultureInfo.InvariantCulture))
            : JsonNode.DeepEquals(expected, actual);
}
