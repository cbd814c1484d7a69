using System.Text;

namespace Yizhan.Dicom.Tests;

public sealed class CharacterSetTests
{
    /// <summary>The examples of PS3.5 annexes H, I, J and K, and real files: label, bytes, name.</summary>
    public static TheoryData<string, string, string> Names => new()
    {
        { "", "Smith^John", "Smith^John" },
        { @"\ISO 2022 IR 87", "Yamada^Tarou=\e$B;3ED\e(B^\e$BB@O:\e(B=\e$B$d$^$@\e(B^\e$B$?$m$&\e(B", "Yamada^Tarou=山田^太郎=やまだ^たろう" },
        { @"ISO 2022 IR 13\ISO 2022 IR 87", "\u00D4\u00CF\u00C0\u00DE^\u00C0\u00DB\u00B3=\e$B;3ED\e(J^\e$BB@O:\e(J=\e$B$d$^$@\e(J^\e$B$?$m$&\e(J", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう" },
        { @"\ISO 2022 IR 149", "Hong^Gildong=\e$)C\u00FB\u00F3^\e$)C\u00D1\u00CE\u00D4\u00D7=\e$)C\u00C8\u00AB^\e$)C\u00B1\u00E6\u00B5\u00BF", "Hong^Gildong=洪^吉洞=홍^길동" },
        { @"\ISO 2022 IR 149", "Hong^Gildong=\u00FB\u00F3^\u00D1\u00CE\u00D4\u00D7", "Hong^Gildong=洪^吉洞" },
        { @"\ISO 2022 IR 58", "Zhang^XiaoDong=\e$)A\u00D5\u00C5^\e$)A\u00D0\u00A1\u00B6\u00AB=", "Zhang^XiaoDong=张^小东" },
        { @"\ISO 2022 IR 159", "\e$(D\u0030\u0021\e(B^X", "丂^X" },
        { @"ISO 2022 IR 6\ISO 2022 IR 100\ISO 2022 IR 144", "\e-A\u00C4neas^\e-L\u00BB\u00EE\u00DA", "Äneas^Люк" },
        { @"\ISO 2022 IR 126\ISO 2022 IR 166", "\e-F\u00C4^\e-T\u00A1", "Δ^ก" },
        { @"ISO 2022 IR 100\ISO 2022 IR 144", "\e-L\u00BB^\u00C4", "Л^Ä" },
        { "ISO_IR 13", "\u00D4\u00CF\u00C0\u00DE", "ﾔﾏﾀﾞ" },
        { "ISO_IR 100", "Buc^J\u00E9r\u00F4me", "Buc^Jérôme" },
        { "ISO_IR 101", "\u00A3ukasz", "Łukasz" },
        { "ISO_IR 109", "\u00A6", "Ĥ" },
        { "ISO_IR 110", "\u00A2", "ĸ" },
        { "ISO_IR 126", "\u00C4\u00E9", "Δι" },
        { "ISO_IR 127", "\u00E2", "ق" },
        { "ISO_IR 138", "\u00F9", "ש" },
        { "ISO_IR 144", "\u00BB", "Л" },
        { "ISO_IR 148", "\u00DD", "İ" },
        { "ISO_IR 166", "\u00A1", "ก" },
        { "ISO_IR 203", "\u00A4", "€" },
        { "ISO_IR 192", "Wang^XiaoDong=\u00E7\u008E\u008B", "Wang^XiaoDong=王" },
        { "GB18030", "Wang^XiaoDong=\u00CD\u00F5^\u00D0\u00A1\u00B6\u00AB=", "Wang^XiaoDong=王^小东" },
        { "GB18030", "\u0095\u0032\u0082\u0036^X", "𠀀^X" },
        { "GBK", "\u00C5\u00B7\u00D1\u00F4^\u00B7\u00E6", "欧阳^锋" },

        // GBK has backslash, "^" and "=" as second bytes: 誠 is D5 5C, 昢 is 95 5E.
        { "GBK", "\u00D5\u005C\u0095\u005E^X", "誠昢^X" },
        { "GB18030", "\u00D5\u005C^X", "誠^X" },

        // Labels as devices write them.
        { "ISO_2022_IR_6", "Smith^John", "Smith^John" },
        { "ISO IR 192", "\u00E7\u008E\u008B", "王" },
        { "iso-ir 101", "\u00A3ukasz", "Łukasz" },
        { "UTF-8", "\u00E7\u008E\u008B", "王" },
        { "GB2312", "\u00CD\u00F5", "王" },
    };

    /// <summary>Bytes under no label or under ISO_IR 100, and what they are.</summary>
    public static TheoryData<string, string> Unlabelled => new()
    {
        { "\u00C5\u00B7\u00D1\u00F4^\u00B7\u00E6", "欧阳^锋" },
        { "\u00CD\u00F5^\u00E6\u00C3", "王^婷" },
        { "\u00CD\u00F5", "王" },
        { "\u00D6\u00EC\u00E9F\u00BB\u00F9", "朱镕基" },
        { "CT\u00D0\u00D8\u00B2\u00BF\u00C6\u00BD\u00C9\u00A8", "CT胸部平扫" },
        { "\u00E7\u008E\u008B^X", "王^X" },
        { "M\u00FCller^J\u00F6rg", "Müller^Jörg" },
        { "Buc^J\u00E9r\u00F4me", "Buc^Jérôme" },
        { "M\u00E4\u00E4tt\u00E4^P\u00E4ivi", "Määttä^Päivi" },
        { "S\u00E4\u00E4", "Sää" },
        { "\u00E4\u00E4^X", "ää^X" },
        { "M\u00C4\u00C4r^P\u00C4\u00C4", "MÄÄr^PÄÄ" },
        { "\u00C9l^\u00C9a", "Él^Éa" },
        { "cr\u00E9\u00E9e", "créée" },
        { "Fran\u00E7ois^Ren\u00E9", "François^René" },
        { "\u00C5ngstr\u00F6m^\u00D8yvind", "Ångström^Øyvind" },
        { "Pe\u00F1a^Mu\u00F1oz", "Peña^Muñoz" },
    };

    [Theory]
    [MemberData(nameof(Names))]
    public void Names_are_read_in_their_character_set(string label, string latin1, string expected)
    {
        var dataset = Dataset(label, Encoding.Latin1.GetBytes(latin1));
        Assert.Equal(DicomPersonName.Parse(expected), dataset.GetPersonName(DicomTags.PatientName));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Names_are_written_in_their_character_set(string label, string _, string expected)
    {
        var dataset = new DicomDataset().SetBytes(DicomTags.SpecificCharacterSet, Encoding.ASCII.GetBytes(label));
        dataset.Set(DicomTags.PatientName, expected);
        Assert.Equal(expected, dataset.GetString(DicomTags.PatientName));
    }

    [Theory]
    [MemberData(nameof(Unlabelled))]
    public void Missing_and_wrong_labels_are_repaired_and_the_bytes_stay(string latin1, string expected)
    {
        foreach (var label in new[] { null, "", "ISO_IR 6", "ISO_IR 100", "what is this" })
        {
            var bytes = Encoding.Latin1.GetBytes(latin1);
            var dataset = Dataset(label, bytes);
            Assert.Equal(expected, dataset.GetString(DicomTags.PatientName));
            Assert.Equal(bytes, dataset.GetBytes(DicomTags.PatientName).ToArray());
        }
    }

    [Fact]
    public void A_label_other_than_latin_1_is_believed() =>
        Assert.Equal("ÍőŃô", Dataset("ISO_IR 101", [0xCD, 0xF5, 0xD1, 0xF4]).GetString(DicomTags.PatientName));

    [Fact]
    public void The_initial_state_is_back_after_each_value_and_line()
    {
        var dataset = Dataset(@"\ISO 2022 IR 87", []);
        dataset.SetBytes(DicomTags.OtherPatientNames, "\e$B;3ED\e(B\\Smith\\\e$BB@O:"u8.ToArray());
        Assert.Equal(["山田", "Smith", "太郎"], dataset.GetStrings(DicomTags.OtherPatientNames));
        dataset.SetBytes(DicomTags.PatientComments, "\e$B;3ED\r\nSmith \\ Co"u8.ToArray());
        Assert.Equal("山田\r\nSmith \\ Co", dataset.GetString(DicomTags.PatientComments));
    }

    [Fact]
    public void An_item_inherits_the_character_set_unless_it_has_its_own()
    {
        var inherits = new DicomDataset().SetBytes(DicomTags.PatientName, new byte[] { 0xCD, 0xF5 });
        var own = new DicomDataset().Set(DicomTags.SpecificCharacterSet, "ISO_IR 144").SetBytes(DicomTags.PatientName, new byte[] { 0xBB, 0xEE });
        var dataset = new DicomDataset().Set(DicomTags.SpecificCharacterSet, "GB18030").Set(DicomTags.ReferencedPatientSequence, inherits, own);
        Assert.Equal("王", inherits.GetString(DicomTags.PatientName));
        Assert.Equal("Лю", own.GetString(DicomTags.PatientName));

        dataset.Set(DicomTags.SpecificCharacterSet, "ISO_IR 144");
        Assert.NotEqual("王", inherits.GetString(DicomTags.PatientName));
    }

    [Fact]
    public void Text_that_the_character_set_lacks_is_refused_and_not_replaced()
    {
        Assert.Throws<ArgumentException>(() => new DicomDataset().Set(DicomTags.PatientName, "王"));
        Assert.Throws<ArgumentException>(() => Dataset("ISO_IR 100", []).Set(DicomTags.PatientName, "王"));
        Assert.Throws<ArgumentException>(() => Dataset(@"\ISO 2022 IR 149", []).Set(DicomTags.PatientName, "Ж𠀀"));
        Assert.Throws<ArgumentException>(() => Dataset("ISO_IR 192", []).Set(DicomTags.Modality, "王"));
    }

    [Theory]
    [InlineData("charset/GH1301.dcm", "(0010,0040)", "男")]
    [InlineData("charset/chrH31.dcm", "(0010,0010)", "Yamada^Tarou=山田^太郎=やまだ^たろう")]
    [InlineData("charset/chrJapMulti.dcm", "(0010,0010)", "やまだ^たろう")]
    [InlineData("charset/chrI2.dcm", "(0010,0010)", "Hong^Gildong=洪^吉洞=홍^길동")]
    [InlineData("charset/chrX1.dcm", "(0010,0010)", "Wang^XiaoDong=王^小東=")]
    [InlineData("charset/chrX2.dcm", "(0010,0010)", "Wang^XiaoDong=王^小东=")]
    [InlineData("charset/chrArab.dcm", "(0010,0010)", "قباني^لنزار")]
    [InlineData("derived/zh-gbk-declared-as-latin1.dcm", "(0010,0010)", "欧阳^锋")]
    public void Real_files_give_the_names_that_are_in_them(string file, string tag, string expected) =>
        Assert.Equal(expected.TrimEnd('='), DicomFile.Parse(Corpus.Read(file)).Dataset.GetString(DicomTag.Parse(tag))?.TrimEnd('='));

    private static DicomDataset Dataset(string? label, byte[] name)
    {
        var dataset = new DicomDataset().SetBytes(DicomTags.PatientName, name);
        return label is null ? dataset : dataset.SetBytes(DicomTags.SpecificCharacterSet, Encoding.ASCII.GetBytes(label));
    }
}
