namespace Yizhan.NmtAsr.Tests;

/// <summary>The given models, recordings and texts; a test skips where they are not.</summary>
internal static class Given
{
    /// <summary>The root of the project.</summary>
    public static string Root { get; } = Find();

    /// <summary>A file or folder of the given models.</summary>
    public static string Path(params string[] parts)
    {
        var path = System.IO.Path.Combine([Root, "..", "shared", "models", .. parts]);
        Assert.SkipUnless(File.Exists(path) || Directory.Exists(path), $"{string.Join('/', parts)} of the given models is not here.");
        return path;
    }

    private static string Find()
    {
        var folder = AppContext.BaseDirectory;
        while (!File.Exists(System.IO.Path.Combine(folder, "Yizhan.slnx")))
        {
            folder = System.IO.Path.GetDirectoryName(folder)!;
        }

        return folder;
    }
}
