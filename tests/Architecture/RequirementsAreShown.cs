using System.Text.RegularExpressions;

namespace Yizhan.Architecture;

/// <summary>docs/requirements.md and the tests name the same clauses.</summary>
public sealed partial class RequirementsAreShown
{
    [Fact]
    public void Every_clause_that_a_test_names_is_in_the_document_and_every_test_clause_of_the_document_has_a_test()
    {
        var tested = Directory.GetFiles(Tree.Root, "*.cs", SearchOption.AllDirectories)
            .Where(path => path.Contains("/tests/", StringComparison.Ordinal) && !path.Contains("/artifacts/", StringComparison.Ordinal))
            .SelectMany(path => Clause().Matches(File.ReadAllText(path)))
            .Select(match => match.Groups[1].Value)
            .ToHashSet();
        var documented = Row().Matches(File.ReadAllText(Path.Combine(Tree.Root, "docs", "requirements.md")))
            .Where(match => match.Value.Contains("`./check tests`", StringComparison.Ordinal))
            .Select(match => match.Groups[1].Value)
            .ToHashSet();

        Assert.Equal(documented.Order(StringComparer.Ordinal), tested.Order(StringComparer.Ordinal));
    }

    [GeneratedRegex("""Trait\("Clause", "([A-Z0-9.]+)"\)""")]
    private static partial Regex Clause();

    [GeneratedRegex(@"^\| ([A-Z][0-9.]+) \|.*$", RegexOptions.Multiline)]
    private static partial Regex Row();
}
