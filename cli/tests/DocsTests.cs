using System.CommandLine;
using System.Text.RegularExpressions;
using Yizhan.Architecture;

namespace Yizhan.Cli.Tests;

/// <summary>What the documents tell people to type, open and click is there: verbs, options, files and links. Settings and routes are looked at in <c>host/tests</c>.</summary>
public sealed partial class DocsTests
{
    /// <summary>Verbs that <c>./yizhan</c> hands to something else: the file where their options stand.</summary>
    private static readonly Dictionary<string, string> Scripts = new()
    {
        ["bench"] = "bench",
        ["fuzz"] = "tests/Fuzz",
        ["images"] = "scripts/images.sh",
        ["bundle"] = "scripts/bundle.sh",
    };

    /// <summary>What a running node has in its data folder, not what the tree has.</summary>
    private static readonly string[] InDataFolders = ["fleet/ca", "fleet/ca/revocations.jws", "fleet/logs.db", "fleet/models.db", "storage/site.key"];

    public static TheoryData<string> Documents() => [.. Directory.EnumerateFiles(Tree.Root, "*.md", SearchOption.AllDirectories)
        .Select(path => Path.GetRelativePath(Tree.Root, path))
        .Where(path => !path.StartsWith("docs/adr/", StringComparison.Ordinal) && !path.Split('/').Any(part => part is "node_modules" or "artifacts" or ".git" or ".yizhan"))
        .Order(StringComparer.Ordinal)];

    [Theory]
    [MemberData(nameof(Documents))]
    public void Each_command_of_a_document_has_its_verbs_and_options(string document) =>
        Assert.Empty(CallsIn(File.ReadAllText(Path.Combine(Tree.Root, document))).Select(Wrong).OfType<string>());

    [Theory]
    [MemberData(nameof(Documents))]
    public void Each_link_and_file_of_a_document_is_there(string document)
    {
        var text = File.ReadAllText(Path.Combine(Tree.Root, document));
        var folder = Path.GetDirectoryName(Path.Combine(Tree.Root, document))!;
        var links = Link().Matches(text).Select(m => m.Groups[1].Value.Split('#')[0]).Where(l => l.Length > 0 && !l.Contains("://", StringComparison.Ordinal) && !l.StartsWith("mailto:", StringComparison.Ordinal))
            .Where(l => !Path.Exists(Path.Combine(folder, l)));
        var files = NamedFile().Matches(text).Select(m => m.Groups[1].Value.TrimEnd('/'))
            .Where(f => !InDataFolders.Contains(f) && !Placeholder().IsMatch(f) && !Path.Exists(Path.Combine(Tree.Root, f)) && !Path.Exists(Path.Combine(folder, f)));
        Assert.Empty(links.Concat(files));
    }

    [Theory]
    [InlineData("```\nyizhan spool look\n```")]
    [InlineData("`yizhan nonsense`")]
    [InlineData("`yizhan spool ls --nonsense`")]
    [InlineData("`./yizhan bundle build --nonsense X`")]
    public void What_is_wrong_is_found(string document) => Assert.Single(CallsIn(document).Select(Wrong).OfType<string>());

    [Fact]
    public void Both_readmes_link_to_the_same_files()
    {
        var (english, chinese) = (LinksOf("README.md"), LinksOf("README.zh-CN.md"));
        Assert.Equal(english, chinese);

        static IEnumerable<string> LinksOf(string name) => Link().Matches(File.ReadAllText(Path.Combine(Tree.Root, name))).Select(m => m.Groups[1].Value)
            .Where(l => !l.StartsWith("README", StringComparison.Ordinal)).Distinct().Order(StringComparer.Ordinal);
    }

    /// <summary>The words behind each <c>yizhan</c> in blocks of code and in code within a sentence.</summary>
    private static IEnumerable<string[]> CallsIn(string text) =>
        Code().Matches(text).Select(m => m.Value.Replace("\\\n", " ", StringComparison.Ordinal))
            .SelectMany(code => Call().Matches(code).Select(m => m.Groups[1].Value)).Where(call => !call.Contains('…', StringComparison.Ordinal))
            .Select(call => Word().Matches(call).Select(w => w.Value.TrimEnd(',', ')', ']', '.', ';').TrimStart('[', '(')).ToArray());

    /// <summary>What is wrong with a call; null when nothing is.</summary>
    private static string? Wrong(string[] words)
    {
        if (words is [var verb, ..] && Scripts.TryGetValue(verb, out var script))
        {
            var path = Path.Combine(Tree.Root, script);
            var source = File.Exists(path) ? File.ReadAllText(path)
                : string.Join('\n', Directory.EnumerateFiles(path, "*.cs", SearchOption.AllDirectories).Where(f => !f.Contains("/obj/", StringComparison.Ordinal)).Select(File.ReadAllText));
            return words.Skip(1).Take(1).Where(w => Name().IsMatch(w)).Concat(words.Where(w => Option().IsMatch(w)))
                .FirstOrDefault(w => !source.Contains(w.Split('=')[0], StringComparison.Ordinal)) is { } missing ? $"yizhan {string.Join(' ', words)}: {missing}" : null;
        }

        Command command = CommandLine.Root();
        var at = 0;
        for (; at < words.Length && command.Subcommands.FirstOrDefault(c => words[at].Split('|').Contains(c.Name)) is { } next; at++)
        {
            command = next;
        }

        // A group, or the program itself, may stand in a sentence alone.
        if (command.Action is null && at < words.Length && Name().IsMatch(words[at]))
        {
            return $"yizhan {string.Join(' ', words)}: {words[at]}";
        }

        var known = CommandLine.OptionsOf(command).SelectMany(o => o.Aliases.Append(o.Name)).Append("--help").Append("--version").ToHashSet(StringComparer.Ordinal);
        return words.Skip(at).Where(w => Option().IsMatch(w)).Select(w => w.Split('=')[0]).FirstOrDefault(o => !known.Contains(o)) is { } unknown
            ? $"yizhan {string.Join(' ', words)}: {unknown}"
            : null;
    }

    [GeneratedRegex(@"```.*?```|`[^`\n]+`", RegexOptions.Singleline)]
    private static partial Regex Code();

    // A call ends where the shell, a comment, or another piece of code does.
    [GeneratedRegex(@"(?<![\w/.-])(?:\./)?yizhan[ \t]+((?:[^\n|&;#>`]|\|(?=\w))*)")]
    private static partial Regex Call();

    [GeneratedRegex("""("[^"]*"|'[^']*'|\S)+""")]
    private static partial Regex Word();

    [GeneratedRegex("^[a-z][a-z-]*$")]
    private static partial Regex Name();

    [GeneratedRegex("^--[a-z]")]
    private static partial Regex Option();

    [GeneratedRegex("(^|/)[A-Z]+(\\.|/|$)")]
    private static partial Regex Placeholder();

    [GeneratedRegex(@"\]\(([^)\s]+)\)")]
    private static partial Regex Link();

    [GeneratedRegex(@"`((?:services|edge|fleet|host|cli|console|platform|sites|contracts|protocols|storage|infra|apps|scripts|models|samples|drills|bench|tests|docs)/[A-Za-z0-9._/-]+)`")]
    private static partial Regex NamedFile();
}
