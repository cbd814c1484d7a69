namespace Yizhan.Hl7v2.Tests;

/// <summary>The HL7 messages of ../shared/corpus/emr/given.</summary>
internal static class Corpus
{
    private static readonly string Root = Find();

    public static IEnumerable<string> Names { get; } = ((string[])["hl7v2", "hl7v2-hapi", "hl7v2-pixpdq", "hl7v2-bad"])
        .Where(folder => Directory.Exists(Path.Combine(Root, folder)))
        .SelectMany(folder => Directory.GetFiles(Path.Combine(Root, folder)))
        .Select(path => Path.GetRelativePath(Root, path))
        .Order(StringComparer.Ordinal);

    public static byte[] Read(string name)
    {
        var path = Path.Combine(Root, name);
        Assert.SkipUnless(File.Exists(path), $"The test data '../shared/corpus/emr/given/{name}' is not beside the repository.");
        return File.ReadAllBytes(path);
    }

    private static string Find()
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(directory.FullName, "global.json")))
        {
            directory = directory.Parent ?? throw new DirectoryNotFoundException("No global.json above the test.");
        }

        return Path.Combine(directory.Parent!.FullName, "shared/corpus/emr/given");
    }
}
