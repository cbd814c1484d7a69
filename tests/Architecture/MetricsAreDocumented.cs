using System.Text.RegularExpressions;

namespace Yizhan.Architecture;

/// <summary>What dashboards and alerts of others stand on: the names of instruments, as <c>docs/operations/metrics.md</c> has them.</summary>
public sealed partial class MetricsAreDocumented
{
    private static readonly string[] Folders = ["services", "edge", "fleet", "platform", "storage", "console", "host"];

    [Fact]
    [Trait("Clause", "D6.1")]
    public void Each_instrument_of_the_source_is_in_the_table_and_nothing_else()
    {
        var made = Sources().Where(f => Maker().IsMatch(f.Text)).SelectMany(f => Name().Matches(f.Text).Select(m => m.Groups[1].Value)).Distinct().Order(StringComparer.Ordinal);
        var documented = Table().Select(row => row.Instrument).Order(StringComparer.Ordinal);
        Assert.Equal(made, documented);
    }

    [Fact]
    [Trait("Clause", "D6.1")]
    public void Rules_and_dashboards_ask_for_nothing_that_nobody_shows()
    {
        var known = Table().Select(row => row.Prometheus).ToHashSet(StringComparer.Ordinal);
        var asked = Directory.GetFiles(Path.Combine(Tree.Root, "infra", "observability", "rules")).Append(Path.Combine(Tree.Root, "infra", "observability", "dashboards", "dashboards.json"))
            .SelectMany(f => Series().Matches(File.ReadAllText(f)).Select(m => Part().Replace(m.Value, ""))).Distinct();
        Assert.Empty(asked.Except(known));
    }

    [Fact]
    [Trait("Clause", "D6.1")]
    public void No_label_can_say_who_a_patient_is()
    {
        string[] wrong = ["patient", "study", "series", "instance_uid", "accession", "name", "user", "session", "id", "text", "url", "path"];
        Assert.Empty(Table().SelectMany(row => row.Labels).Intersect(wrong));
    }

    private static IEnumerable<(string Instrument, string Prometheus, string[] Labels)> Table() =>
        File.ReadLines(Path.Combine(Tree.Root, "docs", "operations", "metrics.md")).Where(l => l.StartsWith("| `", StringComparison.Ordinal))
            .Select(l => l.Split('|', StringSplitOptions.TrimEntries)).Select(c => (c[1].Trim('`'), c[2].Trim('`'), c[3].Split(", ", StringSplitOptions.RemoveEmptyEntries)));

    private static IEnumerable<(string Path, string Text)> Sources() =>
        Folders
            .SelectMany(folder => Directory.GetFiles(Path.Combine(Tree.Root, folder), "*.cs", SearchOption.AllDirectories))
            .Where(path => !Path.GetRelativePath(Tree.Root, path).Split('/').Any(part => part is "tests" or "obj" or "bin" or "node_modules"))
            .Select(path => (path, File.ReadAllText(path)));

    [GeneratedRegex(@"\.Create(Observable)?(Counter|Histogram|Gauge|UpDownCounter)\b")]
    private static partial Regex Maker();

    [GeneratedRegex(@"""(yizhan(\.[a-z_]+){2,})""")]
    private static partial Regex Name();

    [GeneratedRegex(@"\byizhan_[a-z_]+")]
    private static partial Regex Series();

    [GeneratedRegex("_(bucket|sum|count)$")]
    private static partial Regex Part();
}
