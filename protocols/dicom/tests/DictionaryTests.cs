using System.Globalization;
using System.Text.RegularExpressions;

namespace Yizhan.Dicom.Tests;

public sealed class DictionaryTests
{
    [Theory]
    [InlineData("00100010", DicomVr.PN, "1", "PatientName")]
    [InlineData("00280106", DicomVr.US, "1", "SmallestImagePixelValue")]
    [InlineData("7FE00010", DicomVr.OW, "1", "PixelData")]
    [InlineData("60023000", DicomVr.OW, "1", "OverlayData")]
    [InlineData("50FE0005", DicomVr.US, "1", "CurveDimensions")]
    [InlineData("002031AB", DicomVr.CS, "1-n", "SourceImageIDs")]
    [InlineData("FFFEE000", DicomVr.None, "1", "Item")]
    public void An_element_is_found_by_its_tag(string tag, DicomVr vr, string vm, string keyword)
    {
        Assert.True(DicomDictionary.TryGet(DicomTag.Parse(tag), out var entry));
        Assert.Equal((DicomTag.Parse(tag), vr, vm, keyword), (entry.Tag, entry.Vr, entry.Vm, entry.Keyword));
    }

    [Theory]
    [InlineData("00090010", DicomVr.LO)]
    [InlineData("00091001", DicomVr.UN)]
    [InlineData("00090000", DicomVr.UL)]
    [InlineData("00080000", DicomVr.UL)]
    [InlineData("00080003", DicomVr.UN)]
    [InlineData("60013000", DicomVr.UN)]
    public void An_element_outside_the_dictionary_has_the_vr_of_implicit_encodings(string tag, DicomVr vr) =>
        Assert.Equal(vr, DicomDictionary.GetVr(DicomTag.Parse(tag)));

    [Fact]
    public void Every_element_of_dcmtks_dictionary_is_here()
    {
        Dcmtk.SkipIfAbsent();
        var path = Directory.GetDirectories("/usr/share", "libdcmtk*").Max() + "/dicom.dic";
        var count = 0;
        foreach (var match in File.ReadLines(path).Select(line => Regex.Match(line, @"^\(([0-9A-F]{4}),([0-9A-F]{4})\)\t([A-Z]{2})\t")).Where(m => m.Success))
        {
            var tag = new DicomTag(
                ushort.Parse(match.Groups[1].Value, NumberStyles.HexNumber, CultureInfo.InvariantCulture),
                ushort.Parse(match.Groups[2].Value, NumberStyles.HexNumber, CultureInfo.InvariantCulture));
            Assert.Equal((tag, match.Groups[3].Value), (tag, DicomDictionary.GetVr(tag).ToText()));
            count++;
        }

        Assert.InRange(count, 4000, 10_000);
    }

    [Theory]
    [InlineData("(0010,0020)")]
    [InlineData("0010,0020")]
    [InlineData("00100020")]
    [InlineData("PatientID")]
    public void A_tag_is_read_from_all_its_text_forms(string text) => Assert.Equal(DicomTags.PatientID, DicomTag.Parse(text));

    [Theory]
    [InlineData("")]
    [InlineData("(0010,002)")]
    [InlineData("001000200")]
    [InlineData("0010002G")]
    [InlineData("patientid")]
    public void Other_text_is_not_a_tag(string text)
    {
        Assert.False(DicomTag.TryParse(text, out _));
        Assert.Throws<FormatException>(() => DicomTag.Parse(text));
    }

    [Fact]
    public void Transfer_syntaxes_say_how_they_are_encoded()
    {
        Assert.True(DicomTransferSyntax.Get("1.2.840.10008.1.2\0").IsImplicitVr);
        Assert.True(DicomTransferSyntax.Get("1.2.840.10008.1.2.1.99").IsDeflated);
        Assert.True(DicomTransferSyntax.Get("1.2.840.10008.1.2.2").IsBigEndian);
        Assert.True(DicomTransferSyntax.Get("1.2.840.10008.1.2.4.95") is { IsDeflated: true, IsEncapsulated: false });
        Assert.All(["50", "57", "70", "80", "81", "90", "110", "201", "102.1", "107"], suffix => Assert.True(DicomTransferSyntax.Get("1.2.840.10008.1.2.4." + suffix) is { IsEncapsulated: true, IsKnown: true, IsImplicitVr: false }));
        Assert.True(DicomTransferSyntax.Get("1.2.840.10008.1.2.5") is { IsEncapsulated: true, IsLossy: false });
        Assert.True(DicomTransferSyntax.Get("1.2.3.4") is { IsKnown: false, IsEncapsulated: true, IsImplicitVr: false, Uid: "1.2.3.4" });
    }

    [Fact]
    public void Storage_sop_classes_have_their_names()
    {
        Assert.Equal("CT Image Storage", DicomUids.StorageSopClasses[DicomUids.CtImageStorage]);
        Assert.Equal("Hanging Protocol Storage", DicomUids.StorageSopClasses["1.2.840.10008.5.1.4.38.1"]);
        Assert.All(DicomUids.StorageSopClasses.Keys, uid => Assert.Matches(@"^1\.2\.840\.10008(\.\d+)+$", uid));
    }
}
