namespace Yizhan.Architecture;

/// <summary>The source tree that these tests read.</summary>
internal static class Tree
{
    public static string Root { get; } = Find();

    private static string Find()
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(directory.FullName, "global.json")))
        {
            directory = directory.Parent ?? throw new DirectoryNotFoundException("No global.json above the test.");
        }

        return directory.FullName;
    }
}
