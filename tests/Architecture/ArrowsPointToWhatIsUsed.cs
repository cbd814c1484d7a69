using System.Xml.Linq;

namespace Yizhan.Architecture;

/// <summary>The dependency rule of ARCHITECTURE.md, read from the project files themselves so it cannot miss an assembly.</summary>
public sealed class ArrowsPointToWhatIsUsed
{
    private static readonly string Root = Tree.Root;

    /// <summary>Folder → what its projects may reference. A folder that is not named here fails the test.</summary>
    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        ["contracts"] = [],
        ["protocols"] = [],
        ["platform"] = ["contracts"],
        ["storage"] = ["platform", "contracts"],
        ["services"] = ["platform", "storage", "contracts", "protocols"],
        ["edge"] = ["platform", "storage", "contracts", "protocols"],
        ["fleet"] = ["platform", "storage", "contracts", "protocols"],
        ["console"] = ["platform", "contracts", "protocols"],
        ["samples"] = ["protocols"],
        ["host"] = ["services", "edge", "fleet", "console", "platform", "storage", "contracts"],
        ["drills"] = ["contracts", "platform", "protocols", "samples", "host", "storage"],
        ["cli"] = ["contracts", "drills", "platform", "protocols", "samples", "storage", "tests"],
        ["bench"] = ["contracts", "drills", "protocols", "samples", "services", "storage", "platform"],
    };

    public static TheoryData<string> Projects() =>
        new(Directory.GetFiles(Root, "*.csproj", SearchOption.AllDirectories)
            .Select(path => Path.GetRelativePath(Root, path))
            .Where(path => !path.Split('/').Any(part => part is "tests" or "artifacts" or "node_modules")));

    [Theory]
    [MemberData(nameof(Projects))]
    public void A_project_references_only_what_its_folder_may(string project)
    {
        var folder = project.Split('/')[0];
        Assert.True(Allowed.ContainsKey(folder), $"{folder}/ is not in the dependency rule: add it to this test and ARCHITECTURE.md.");

        var references = XDocument.Load(Path.Combine(Root, project)).Descendants("ProjectReference")
            .Select(r => Path.GetRelativePath(Root, Path.Combine(Root, Path.GetDirectoryName(project)!, (string)r.Attribute("Include")!)));
        Assert.Empty(references.Select(r => r.Split('/')[0]).Except(Allowed[folder]));
    }

    [Fact]
    public void Every_service_has_one_project_and_it_is_looked_at() =>
        Assert.Equal(
            Directory.GetDirectories(Path.Combine(Root, "services")).Length,
            Projects().Count(p => ((string)p.Data).StartsWith("services/", StringComparison.Ordinal)));
}
