using System.Text;
using Yizhan.Dicom;
using Yizhan.PacsGw.Deidentify;

namespace Yizhan.PacsGw.Tests;

/// <summary>PS3.15 Annex E on real files: nothing identifying is left in the bytes, and what is written is as valid as it was.</summary>
public sealed partial class DeidentifyTests(ITestOutputHelper output)
{
    private static readonly string[] Categories = ["deid", "identity", "charset", "native", "non-image", "multiframe", "rle", "jpegls", "jpeg2000"];

    private static readonly Pseudonyms Names = new(Enumerable.Range(0, 32).Select(i => (byte)i).ToArray(), new UidFactory("1.2.826.0.1.3680043.9.9999"));

    [Theory]
    [InlineData("charset")]
    [InlineData("native")]
    [InlineData("non-image")]
    [InlineData("multiframe")]
    [InlineData("jpegls")]
    [InlineData("deid")]
    [InlineData("identity")]
    public void Nothing_that_names_a_person_or_an_instance_is_left_in_the_bytes(string category)
    {
        var checkedValues = 0;
        foreach (var path in Folder(category))
        {
            if (Make(path, Profile()) is not { } made)
            {
                continue;
            }

            var (before, after) = made;
            after.Dataset.Remove(DicomTags.PixelData);
            var written = Written(after);
            foreach (var (tag, value) in Identifying(before.Dataset))
            {
                foreach (var bytes in Encodings(value))
                {
                    checkedValues++;
                    Assert.True(written.AsSpan().IndexOf(bytes) < 0, $"{Path.GetFileName(path)}: the value of {tag} is still there");
                }
            }
        }

        output.WriteLine($"{checkedValues} values looked for.");
        Assert.True(checkedValues > 0);
    }

    /// <summary>Rows of Table E.1-1 that files may have no value for; the count notices when any other is lost.</summary>
    [Theory]
    [InlineData("00080050", "Empty")]
    [InlineData("00080080", "Dummy")]
    [InlineData("00080081", "Remove")]
    [InlineData("00080090", "Empty")]
    [InlineData("00081048", "Remove")]
    [InlineData("00081050", "Remove")]
    [InlineData("00081070", "Dummy")]
    [InlineData("00100010", "Dummy")]
    [InlineData("00100030", "Empty")]
    [InlineData("00101001", "Remove")]
    [InlineData("00101040", "Remove")]
    [InlineData("00101060", "Remove")]
    [InlineData("00102154", "Remove")]
    [InlineData("00104000", "Remove")]
    [InlineData("00120042", "Dummy")]
    [InlineData("00200052", "NewUid")]
    [InlineData("00321032", "Remove")]
    [InlineData("00380400", "Remove")]
    [InlineData("0040A123", "Dummy")]
    [InlineData("300E0008", "Empty")]
    public void The_table_says(string tag, string action)
    {
        var element = Assert.Single(new DicomDataset().SetBytes(DicomTag.Parse(tag), Array.Empty<byte>()));
        Assert.Equal(action, BasicProfile.Of(element, RetainOptions.None).ToString());
        Assert.Equal(614, BasicProfile.Count);
    }

    [Fact]
    public async Task Dciodvfy_finds_no_error_that_it_did_not_find_before()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/dciodvfy"), "dciodvfy is not installed (Debian package dicom3tools).");
        var folder = Directory.CreateTempSubdirectory("yizhan-deid-");
        try
        {
            var files = Categories.SelectMany(Folder).Where(f => new FileInfo(f).Length < 400_000).ToList();
            var looked = 0;
            foreach (var path in files)
            {
                if (Make(path, Profile(RetainOptions.PatientCharacteristics | RetainOptions.ModifiedDates)) is not { } made)
                {
                    continue;
                }

                // Both written by us: the validator does not inflate, and would find nothing in a deflated original.
                var (original, copy) = (Path.Combine(folder.FullName, "before.dcm"), Path.Combine(folder.FullName, "after.dcm"));
                await File.WriteAllBytesAsync(original, Written(made.Before), Gateway.Cancel);
                await File.WriteAllBytesAsync(copy, Written(made.After), Gateway.Cancel);
                var news = (await ErrorsAsync(copy)).Except(await ErrorsAsync(original)).ToList();
                Assert.True(news.Count == 0, $"{Path.GetFileName(path)}: {string.Join(" | ", news)}");
                looked++;
            }

            output.WriteLine($"{looked} files compared.");
            Assert.True(looked > 30, $"{looked}");
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public void Equal_instances_get_equal_pseudonyms_and_other_projects_others()
    {
        var (one, again, other) = (Example(), Example(), Example());
        new Deidentifier(Profile(), Names).Apply(one, DicomTransferSyntax.ExplicitVrLittleEndian);
        new Deidentifier(Profile(), Names).Apply(again, DicomTransferSyntax.ExplicitVrLittleEndian);
        new Deidentifier(Profile(), new Pseudonyms(new byte[32], new UidFactory(null))).Apply(other, DicomTransferSyntax.ExplicitVrLittleEndian);
        Assert.Equal(DicomWriter.ToArray(one, DicomTransferSyntax.ExplicitVrLittleEndian), DicomWriter.ToArray(again, DicomTransferSyntax.ExplicitVrLittleEndian));
        Assert.NotEqual(one.GetString(DicomTags.PatientID), other.GetString(DicomTags.PatientID));
        Assert.StartsWith("1.2.826.0.1.3680043.9.9999.", one.GetString(DicomTags.StudyInstanceUID), StringComparison.Ordinal);
        Assert.StartsWith("2.25.", other.GetString(DicomTags.StudyInstanceUID), StringComparison.Ordinal);
        Assert.All([one, other], d => Assert.True(d.GetString(DicomTags.SOPInstanceUID)!.Length <= 64));

        // The reference inside follows the instance that it names.
        Assert.Equal(one.GetString(DicomTags.SOPInstanceUID), one.GetItems(DicomTags.ReferencedImageSequence)[0].GetString(DicomTags.ReferencedSOPInstanceUID));
    }

    [Fact]
    public void The_data_set_says_what_was_done_to_it()
    {
        var dataset = Example();
        new Deidentifier(Profile(RetainOptions.ModifiedDates | RetainOptions.Descriptors), Names).Apply(dataset, DicomTransferSyntax.ExplicitVrLittleEndian);
        Assert.Equal("YES", dataset.GetString(DicomTags.PatientIdentityRemoved));
        Assert.Equal(["113100", "113105", "113107"], dataset.GetItems(DicomTags.DeidentificationMethodCodeSequence).Select(i => i.GetString(DicomTags.CodeValue)));
        Assert.Equal("MODIFIED", dataset.GetString(new DicomTag(0x0028, 0x0303)));
        Assert.Equal("Thorax of , seen by Dr", dataset.GetString(DicomTags.StudyDescription));
        Assert.False(dataset.Contains(DicomTag.Parse("00091001")));
        Assert.DoesNotContain(dataset, e => e.Tag.IsPrivate);

        // All dates of the patient move by the same number of days.
        var study = DateOnly.ParseExact(dataset.GetString(DicomTags.StudyDate)!, "yyyyMMdd", null);
        var series = DateOnly.ParseExact(dataset.GetString(DicomTags.SeriesDate)!, "yyyyMMdd", null);
        Assert.Equal(2, series.DayNumber - study.DayNumber);
        Assert.NotEqual(new DateOnly(2026, 1, 2), study);
        Assert.Equal("101530", dataset.GetString(DicomTags.StudyTime));
        Assert.Equal("", dataset.GetString(DicomTags.PatientBirthDate) ?? "");
    }

    [Fact]
    public void Options_keep_what_they_say_and_nothing_else()
    {
        var dataset = Example();
        new Deidentifier(Profile(RetainOptions.Uids | RetainOptions.Device | RetainOptions.Institution | RetainOptions.PatientCharacteristics | RetainOptions.FullDates), Names)
            .Apply(dataset, DicomTransferSyntax.ExplicitVrLittleEndian);
        Assert.Equal("2.25.2", dataset.GetString(DicomTags.StudyInstanceUID));
        Assert.Equal("CT1", dataset.GetString(DicomTags.StationName));
        Assert.Equal("General", dataset.GetString(DicomTags.InstitutionName));
        Assert.Equal("M", dataset.GetString(DicomTags.PatientSex));
        Assert.Equal("20260102", dataset.GetString(DicomTags.StudyDate));
        Assert.Equal("", dataset.GetString(DicomTags.PatientBirthDate) ?? "");
        Assert.False(dataset.Contains(DicomTags.StudyDescription));
        Assert.NotEqual("Wang^Xiaodong=王^小东", dataset.GetString(DicomTags.PatientName));
    }

    [Fact]
    public void Regions_are_black_in_every_frame_and_the_rest_is_as_it_was()
    {
        foreach (var (photometric, samples, bits, planar, black) in ((string, int, int, int, byte[])[])
        [
            ("MONOCHROME2", 1, 8, 0, [0]), ("MONOCHROME1", 1, 8, 0, [255]), ("MONOCHROME2", 1, 16, 0, [0, 0]), ("RGB", 3, 8, 0, [0, 0, 0]), ("RGB", 3, 8, 1, [0]),
            ("YBR_FULL", 3, 8, 0, [0, 128, 128]),
        ])
        {
            var dataset = Example();
            var frame = 4 * 3 * samples * bits / 8;
            var pixels = Enumerable.Range(0, frame * 2).Select(i => (byte)(i + 7)).ToArray();
            dataset.Set(DicomTags.Rows, 3).Set(DicomTags.Columns, 4).Set(DicomTags.SamplesPerPixel, samples).Set(DicomTags.BitsAllocated, bits).Set(DicomTags.BitsStored, bits)
                .Set(DicomTags.PlanarConfiguration, planar).Set(DicomTags.NumberOfFrames, "2").Set(DicomTags.PhotometricInterpretation, photometric)
                .SetBytes(DicomTags.PixelData, pixels, DicomVr.OW);
            PixelBlanking.Apply(dataset, DicomTransferSyntax.ExplicitVrLittleEndian, [new BlankedRegion(2, 1, 99, 1)]);
            var after = dataset.GetBytes(DicomTags.PixelData).ToArray();
            var plane = planar == 1 ? 12 : frame;
            for (var i = 0; i < after.Length; i += black.Length)
            {
                var pixel = i % plane / black.Length;
                var expected = pixel is 6 or 7 ? black : pixels[i..(i + black.Length)];
                Assert.True(expected.AsSpan().SequenceEqual(after.AsSpan(i, black.Length)), $"{photometric} {bits} {planar}: pixel {pixel}");
            }
        }
    }

    [Fact]
    public void What_cannot_be_cleaned_is_not_sent()
    {
        var burnedIn = Example().Set(DicomTags.BurnedInAnnotation, "YES");
        Assert.Contains("burnedIn: accept", Refused(burnedIn, Profile()), StringComparison.Ordinal);
        var document = Example().SetBytes(DicomTags.EncapsulatedDocument, new byte[10], DicomVr.OB);
        Assert.Contains("document", Refused(document, Profile()), StringComparison.Ordinal);
        var wrong = Example().Set(DicomTags.Rows, 1000);
        Assert.Contains("cannot be blanked", Refused(wrong, Profile() with { Blank = [new BlankedRegion(0, 0, 1, 1)] }), StringComparison.Ordinal);

        static string Refused(DicomDataset dataset, DeidentifyProfile profile) => Assert.Throws<NotDeidentifiableException>(
            () => new Deidentifier(profile, Names).Apply(dataset, DicomTransferSyntax.ExplicitVrLittleEndian)).Message;
    }

    [Theory]
    [InlineData("1.2.840.113619", null)]
    [InlineData("2.25", null)]
    [InlineData("1", "one component")]
    [InlineData("1.2.03", "begins with 0")]
    [InlineData("1.2..3", "not a number")]
    [InlineData("3.2", "first component")]
    [InlineData("1.40", "at most 39")]
    [InlineData("1.2.840.10008.1", "belongs to the standard")]
    [InlineData("1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20", "leave room")]
    public void A_root_for_our_own_UIDs_is_checked(string root, string? problem)
    {
        Assert.Equal(problem is null, UidFactory.Problem(root) is null);
        Assert.Contains(problem ?? "", UidFactory.Problem(root) ?? "", StringComparison.Ordinal);
    }

    [Fact]
    public void Our_UIDs_are_valid_and_do_not_repeat()
    {
        foreach (var root in (string?[])[null, "1.2.840.113619", "1.2.826.0.1.3680043.9.9999.1234567890.123456"])
        {
            var factory = new UidFactory(root);
            var made = Enumerable.Range(0, 1000).Select(_ => factory.Create(TimeProvider.System)).ToList();
            Assert.Equal(1000, made.Distinct().Count());
            Assert.All(made, uid => Assert.True(Uid.IsValid(uid) && uid.StartsWith((root ?? "2.25") + ".", StringComparison.Ordinal), uid));
        }
    }

    private static DeidentifyProfile Profile(RetainOptions retain = RetainOptions.None) => new("test", "project", retain, [], AcceptBurnedIn: false);

    private static DicomDataset Example() => DicomDataset.Parse(
        DicomWriter.ToArray(
            new TestInstance("2.25.2", "2.25.21", "2.25.211") { PatientName = "Wang^Xiaodong=王^小东", PatientId = "P-778899", Time = "101530" }.ToDataset()
                .Set(DicomTags.PatientBirthDate, "19700304").Set(DicomTags.PatientSex, "M").Set(DicomTags.SeriesDate, "20260104").Set(DicomTags.StationName, "CT1")
                .Set(DicomTags.InstitutionName, "General").Set(DicomTags.ReferringPhysicianName, "House^Gregory")
                .Set(DicomTags.StudyDescription, "Thorax of Xiaodong, seen by Dr House")
                .Set(DicomTags.ReferencedImageSequence, new DicomDataset().Set(DicomTags.ReferencedSOPClassUID, DicomUids.CtImageStorage).Set(DicomTags.ReferencedSOPInstanceUID, "2.25.211"))
                .SetBytes(DicomTag.Parse("00090010"), Encoding.ASCII.GetBytes("MAKER "), DicomVr.LO).SetBytes(DicomTag.Parse("00091001"), Encoding.ASCII.GetBytes("Wang"), DicomVr.LO),
            DicomTransferSyntax.ExplicitVrLittleEndian),
        DicomTransferSyntax.ExplicitVrLittleEndian);

    private static IReadOnlyList<string> Folder(string category)
    {
        try
        {
            return Outside.Files(category);
        }
        catch (DirectoryNotFoundException)
        {
            return [];
        }
    }

    /// <summary>A file before and after; null when it does not parse or the profile refuses it.</summary>
    private static (DicomFile Before, DicomFile After)? Make(string path, DeidentifyProfile profile)
    {
        var bytes = File.ReadAllBytes(path);
        try
        {
            var (before, after) = (DicomFile.Parse(bytes), DicomFile.Parse(bytes));
            if (!before.Dataset.Contains(DicomTags.SOPClassUID) || string.IsNullOrEmpty(before.Dataset.GetString(DicomTags.SOPInstanceUID)))
            {
                return null;
            }

            new Deidentifier(profile, Names).Apply(after.Dataset, after.TransferSyntax);
            return (before, after);
        }
        catch (Exception e) when (e is DicomFormatException or NotDeidentifiableException)
        {
            return null;
        }
    }

    private static byte[] Written(DicomFile file)
    {
        var bytes = new System.Buffers.ArrayBufferWriter<byte>();
        var syntax = file.TransferSyntax.IsDeflated ? DicomTransferSyntax.ExplicitVrLittleEndian : file.TransferSyntax;
        DicomFile.Create(file.Dataset, syntax).Write(bytes);
        return bytes.WrittenSpan.ToArray();
    }

    /// <summary>Values that must be gone: names, identifiers, addresses, and the UIDs of instances.</summary>
    private static IEnumerable<(DicomTag Tag, string Value)> Identifying(DicomDataset dataset)
    {
        foreach (var element in dataset)
        {
            foreach (var found in (element.Items ?? []).SelectMany(Identifying))
            {
                yield return found;
            }

            var isUid = BasicProfile.Of(element, RetainOptions.None) == ProfileAction.NewUid;
            var isName = element.ValueVr == DicomVr.PN || element.Tag == DicomTags.PatientID || element.Tag == DicomTags.AccessionNumber || element.Tag == DicomTags.PatientBirthDate
                || element.Tag == DicomTags.InstitutionName || element.Tag == DicomTag.Parse("00101000") || element.Tag == DicomTag.Parse("00101040") || element.Tag == DicomTag.Parse("00102154");
            if (isUid || isName)
            {
                foreach (var value in dataset.GetStrings(element.Tag).SelectMany(v => isUid ? [v] : (string[])[v, .. v.Split('^', '=')]))
                {
                    if (value.Trim().Length >= (isUid ? 10 : 5) && !value.StartsWith("1.2.840.10008.", StringComparison.Ordinal) && value != "19000101")
                    {
                        yield return (element.Tag, value.Trim());
                    }
                }
            }
        }
    }

    /// <summary>The bytes that a text may have in any character set that a data set may declare.</summary>
    private static IEnumerable<byte[]> Encodings(string text)
    {
        var encodings = (string[])["utf-8", "utf-16", "gb18030", "iso-8859-1", "iso-8859-2", "iso-8859-5", "iso-8859-6", "iso-8859-7", "iso-8859-8", "windows-874", "shift_jis", "euc-kr", "euc-jp", "iso-2022-jp"];
        Encoding.RegisterProvider(CodePagesEncodingProvider.Instance);
        return encodings.Select(name => Encoding.GetEncoding(name, EncoderFallback.ReplacementFallback, DecoderFallback.ReplacementFallback).GetBytes(text))
            .Where(bytes => !bytes.AsSpan().Contains((byte)'?') && bytes.Length >= 4)
            .DistinctBy(Convert.ToHexString);
    }

    [System.Text.RegularExpressions.GeneratedRegex(@"[\d.]{9,}|(?<=UID )[\d.]+")]
    private static partial System.Text.RegularExpressions.Regex LongUid();

    private static async Task<IReadOnlyList<string>> ErrorsAsync(string path)
    {
        var (_, text) = await Outside.DcmtkAsync("dciodvfy", path);

        // A UID in a message is another one afterwards.
        return [.. text.Split('\n').Where(l => l.StartsWith("Error", StringComparison.Ordinal)).Select(l => LongUid().Replace(l, "UID")).Distinct()];
    }
}
