namespace Yizhan.Fuzz;

/// <summary>Where the checkout is.</summary>
internal static class Tree
{
    public static string Root { get; } = Find();

    private static string Find()
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(directory.FullName, "global.json")))
        {
            directory = directory.Parent ?? throw new DirectoryNotFoundException("No global.json above the program.");
        }

        return directory.FullName;
    }
}
