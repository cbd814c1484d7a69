using System.Text.RegularExpressions;
using System.Xml.Linq;

namespace Yizhan.Architecture;

/// <summary>DEPENDENCIES.md and Directory.Packages.props name the same packages in the same versions.</summary>
public sealed partial class DependenciesAreExplained
{
    [Fact]
    public void Every_pinned_package_is_explained_and_nothing_else()
    {
        var pinned = XDocument.Load(Path.Combine(Tree.Root, "Directory.Packages.props")).Descendants("PackageVersion")
            .Select(p => $"{(string)p.Attribute("Include")!} {(string)p.Attribute("Version")!}");
        var explained = Row().Matches(File.ReadAllText(Path.Combine(Tree.Root, "DEPENDENCIES.md")))
            .Select(m => $"{m.Groups[1].Value} {m.Groups[2].Value}");

        Assert.Equal(pinned.Order(StringComparer.Ordinal), explained.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void No_version_floats() =>
        Assert.All(
            XDocument.Load(Path.Combine(Tree.Root, "Directory.Packages.props")).Descendants("PackageVersion"),
            package => Assert.Matches("^[0-9]+([.][0-9]+)+(-[a-z]+[.][0-9]+)?$", (string)package.Attribute("Version")!));

    [GeneratedRegex(@"^\| ([A-Za-z0-9.-]+) \| ([0-9][^ |]*) \|", RegexOptions.Multiline)]
    private static partial Regex Row();
}
