using System.Text.RegularExpressions;

namespace Yizhan.Architecture;

/// <summary>docs/threat-model.md names tests that there are, and for every threat one.</summary>
public sealed partial class ThreatsAreTested
{
    private static readonly string[] Rows = [.. File.ReadAllLines(Path.Combine(Tree.Root, "docs", "threat-model.md"))
        .Where(line => line.StartsWith("| ", StringComparison.Ordinal) && line.Split('|').Length == 7 && !line.StartsWith("| asset", StringComparison.Ordinal))];

    [Fact]
    public void Every_threat_names_a_test_that_there_is_and_an_item_of_ASVS()
    {
        var tests = Directory.GetFiles(Tree.Root, "*.cs", SearchOption.AllDirectories)
            .Where(path => (path.Contains("/tests/", StringComparison.Ordinal) || path.Contains("/drills/", StringComparison.Ordinal)) && !path.Contains("/artifacts/", StringComparison.Ordinal))
            .Select(File.ReadAllText).ToArray();
        var classes = tests.SelectMany(text => Class().Matches(text)).Select(m => m.Groups[1].Value).ToHashSet(StringComparer.Ordinal);
        var methods = tests.SelectMany(text => Method().Matches(text)).Select(m => m.Groups[1].Value).ToHashSet(StringComparer.Ordinal);
        var wrong = new List<string>();
        foreach (var cells in Rows.Select(row => row.Split('|')))
        {
            var (threat, named) = ($"{cells[1].Trim()}: {cells[2].Trim()}", Name().Matches(cells[4]).Select(m => m.Groups[1].Value).ToArray());
            if (named.Length == 0)
            {
                wrong.Add($"{threat} names no test");
            }

            foreach (var name in named)
            {
                var parts = name.Split('.');
                if (!(parts is [var one] ? classes.Contains(one) || methods.Contains(one) : classes.Contains(parts[0]) && methods.Contains(parts[1])))
                {
                    wrong.Add($"{threat}: there is no test {name}");
                }
            }

            if (!Item().IsMatch(cells[5]))
            {
                wrong.Add($"{threat}: '{cells[5].Trim()}' is no item of ASVS");
            }
        }

        Assert.Empty(wrong);
        Assert.True(Rows.Length >= 40, $"Only {Rows.Length} threats were read.");
    }

    [GeneratedRegex(@"class (\w+)")]
    private static partial Regex Class();

    [GeneratedRegex(@"public (?:async Task|void) (\w+)\(")]
    private static partial Regex Method();

    [GeneratedRegex("`([^`]+)`")]
    private static partial Regex Name();

    [GeneratedRegex(@"\d+\.\d+\.\d+")]
    private static partial Regex Item();
}
