using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using CsCheck;

namespace Yizhan.Gs1.Tests;

public sealed partial class ElementStringTests
{
    private static readonly DateOnly Today = new(2026, 11, 23);

    private static string Given => Path.Combine(Root().Parent!.FullName, "shared/corpus/emr/given/gs1");

    [Fact]
    public void The_given_vectors_are_read_or_refused()
    {
        Assert.SkipUnless(Directory.Exists(Given), "The test data '../shared/corpus/emr/given/gs1' is not beside the repository.");
        using var vectors = JsonDocument.Parse(File.ReadAllText(Path.Combine(Given, "vectors.json")));
        foreach (var vector in vectors.RootElement.EnumerateArray())
        {
            var raw = vector.GetProperty("raw").GetString()!;
            if (vector.GetProperty("ok").ValueKind != JsonValueKind.True)
            {
                Assert.Throws<Gs1Exception>(() => ElementString.Parse(raw));
                continue;
            }

            var scan = ElementString.Parse(raw);
            Assert.Equal(Expected("gtin"), scan.Gtin);
            Assert.Equal(Expected("lot"), scan.Lot);
            Assert.Equal(Expected("serial"), scan.Serial);
            Assert.Equal(Expected("sscc"), scan["00"]);
            Assert.Equal(Expected("expiry"), Text(scan.Expiry(Today)));
            Assert.Equal(Expected("prod")?[..10], Text(scan.Production(Today)));

            string? Expected(string name) => vector.TryGetProperty(name, out var value) ? value.GetString() : null;
        }

        static string? Text(DateOnly? date) => date?.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture);
    }

    [Fact]
    public void The_table_says_what_GS1_s_own_dictionary_says()
    {
        var path = Path.Combine(Given, "gs1-syntax-dictionary.txt");
        Assert.SkipUnless(File.Exists(path), "The test data '../shared/corpus/emr/given/gs1' is not beside the repository.");
        var known = ApplicationIdentifier.All.ToDictionary(i => i.Code);
        var seen = 0;
        foreach (var line in File.ReadLines(path).Where(l => DictionaryLine().IsMatch(l)))
        {
            var match = DictionaryLine().Match(line);
            var first = int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture);
            var last = match.Groups[2].Success ? int.Parse(match.Groups[2].Value, CultureInfo.InvariantCulture) : first;
            var lengths = Part().Matches(line[..(line.IndexOf('#', StringComparison.Ordinal) is >= 0 and var at ? at : line.Length)]);
            for (var code = first; code <= last; code++, seen++)
            {
                var identifier = known[code.ToString(CultureInfo.InvariantCulture).PadLeft(match.Groups[1].Length, '0')];
                Assert.Equal(match.Groups[3].Value.Contains('*', StringComparison.Ordinal), identifier.IsPredefined);
                Assert.Equal(lengths.Sum(p => int.Parse(p.Groups[1].Value, CultureInfo.InvariantCulture)), identifier.MaxLength);
            }
        }

        Assert.Equal(known.Count, seen);
    }

    [Theory]
    [InlineData("]d20106901234567892172712311\u001D", "'1' does not begin with")]
    [InlineData("", "empty")]
    [InlineData("]E06901234567892", "]E0")]
    [InlineData("8801", "'8801'")]
    [InlineData("010690123456789", "14 characters, not 13")]
    [InlineData("0106901234567893", "check digit would be 2")]
    [InlineData("010690123456789217271331", "no such day")]
    [InlineData("010690123456789217270230", "no such day")]
    [InlineData("]C110LOT", "(10) BATCH/LOT needs (01)")]
    [InlineData("]C1010690123456789202069012345678923705", "must not be beside")]
    [InlineData("(01)06901234567892(8040)123456789012345", "(8040) IMEI needs (01) with (21)")]
    [InlineData("(01)06901234567892(3101)000001(3102)000001", "must not be beside (3102)")]
    [InlineData("]C1010690123456789210A\u001D10B", "there twice")]
    [InlineData("]C1010690123456789210A~B", "U+007E")]
    [InlineData("]C1010690123456789210123456789012345678901", "separator")]
    [InlineData("(1)06901234567892", "At character 1")]
    [InlineData("(01)06901234567892(1)A", "14 characters, not 18")]
    [InlineData("(01)06901234567892(17)27123", "6 characters, not 5")]
    public void What_is_wrong_is_said(string scan, string reason) =>
        Assert.Contains(reason, Assert.Throws<Gs1Exception>(() => ElementString.Parse(scan)).Message, StringComparison.Ordinal);

    [Fact]
    public void A_lot_that_may_have_swallowed_the_serial_is_refused_unless_separators_are_sent()
    {
        const string Scan = "01069012345678921727123110A213B1";
        var refused = Assert.Throws<Gs1Exception>(() => ElementString.Parse(Scan));
        Assert.Contains("'A'", refused.Message, StringComparison.Ordinal);
        Assert.Equal("10", refused.ApplicationIdentifier);
        Assert.Equal("A213B1", ElementString.Parse("]d2" + Scan).Lot);
        Assert.Equal("A213B1", ElementString.Parse(Scan, sendsSeparators: true).Lot);
        Assert.Equal("A213B1", ElementString.Parse("010690123456789221S1\u001D10A213B1").Lot);
        Assert.Equal("ABC", ElementString.Parse("010690123456789210ABC").Lot);
    }

    [Fact]
    public void What_is_printed_is_read_as_what_is_scanned()
    {
        var printed = ElementString.Parse("(01)06901234567892(11)141231(17)150707(10)A(2)13B1(21)1234");
        Assert.Equal("A(2)13B1", printed.Lot);
        var scanned = ElementString.Parse("]C10106901234567892111412311715070710A(2)13B1\u001D211234");
        Assert.Equal(printed.Elements.Select(e => (e.Identifier.Code, e.Value)), scanned.Elements.Select(e => (e.Identifier.Code, e.Value)));
    }

    [Fact]
    public void An_element_may_be_repeated_and_does_not_exclude_itself() =>
        Assert.Equal(3, ElementString.Parse("(01)06901234567892(3101)000001(3101)000001").Elements.Count);

    [Theory]
    [InlineData("270200", "2027-02-28")]
    [InlineData("280200", "2028-02-29")]
    [InlineData("761231", "2076-12-31")]
    [InlineData("771231", "1977-12-31")]
    public void Days_and_centuries_follow_the_general_specifications(string digits, string expected) =>
        Assert.Equal(expected, Gs1Date.Read(digits, Today).ToString("yyyy-MM-dd", CultureInfo.InvariantCulture));

    [Theory]
    [InlineData(2049, "500101", 2050)]
    [InlineData(2051, "000101", 2100)]
    [InlineData(2099, "490101", 2149)]
    [InlineData(2001, "520101", 1952)]
    public void A_date_is_at_most_49_years_ago_and_50_ahead(int thisYear, string digits, int year) => Assert.Equal(year, Gs1Date.Read(digits, new DateOnly(thisYear, 6, 1)).Year);

    [Theory]
    [InlineData("8003", "06901234567892", null)]
    [InlineData("8003", "16901234567892", "0 is accepted")]
    [InlineData("8006", "069012345678920103", null)]
    [InlineData("8006", "069012345678920403", "piece number")]
    [InlineData("8013", "1987654Ad4X4bL5ttr2310c2K", null)]
    [InlineData("8013", "1987654Ad4X4bL5ttr2310c2L", "2K")]
    [InlineData("8007", "GB82WEST12345698765432", null)]
    [InlineData("8007", "GB82WEST12345698765433", "bank account")]
    [InlineData("4309", "18000000003600000000", null)]
    [InlineData("4309", "18000000013600000000", "1800000000")]
    [InlineData("7003", "2712312460", "no such time")]
    [InlineData("7258", "2/3", null)]
    [InlineData("7258", "3/2", "N/M")]
    [InlineData("4300", "A%2Gb", "hexadecimal")]
    [InlineData("423", "15604", "part of 3")]
    public void Values_are_checked_part_by_part(string code, string value, string? reason)
    {
        var wrong = ApplicationIdentifier.At(code)!.Check(value);
        if (reason is null)
        {
            Assert.Null(wrong);
        }
        else
        {
            Assert.Contains(reason, wrong, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void What_is_written_with_separators_is_read_back() =>
        Gen.Select(
            Gen.Int[0, 999999999],
            Gen.String[Gen.Char["ABCDEFGHIJ0123456789-/"], 1, 20],
            Gen.String[Gen.Char["ABCDEFGHIJ0123456789-/"], 1, 20]).Sample((item, lot, serial) =>
        {
            var digits = $"0690{item:D9}";
            var gtin = digits + ValuePart.CheckDigit(digits);
            var scan = ElementString.Parse($"]d201{gtin}10{lot}\u001D21{serial}");
            Assert.Equal((gtin, lot, serial), (scan.Gtin, scan.Lot, scan.Serial));
        });

    [Fact]
    public void Any_text_is_read_or_refused() =>
        Gen.Select(Gen.OneOf(Gen.Const(""), Gen.Const("]C1"), Gen.Const("(01)")), Gen.String[Gen.Char["0123456789()\u001DAz~"], 0, 60]).Sample((start, rest) =>
        {
            try
            {
                ElementString.Parse(start + rest);
            }
            catch (Gs1Exception e)
            {
                Assert.NotEmpty(e.Message);
            }
        });

    private static DirectoryInfo Root()
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(directory.FullName, "global.json")))
        {
            directory = directory.Parent ?? throw new DirectoryNotFoundException("No global.json above the test.");
        }

        return directory;
    }

    [GeneratedRegex(@"^(\d{2,4})(?:-(\d{2,4}))?\s+([*?]*)\s")]
    private static partial Regex DictionaryLine();

    [GeneratedRegex(@"[NXYZ](?:\.\.)?(\d+)\]?(?:,[a-z]\S*)?(?=\s|$)")]
    private static partial Regex Part();
}
