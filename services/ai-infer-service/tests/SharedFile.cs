namespace Yizhan.AiInfer.Tests;

/// <summary>Models and images of public projects, kept beside the tree, not in it.</summary>
internal static class SharedFile
{
    /// <summary>The tree.</summary>
    public static readonly string Root = Find();

    /// <summary>Path of a file; the test is skipped where it is absent.</summary>
    public static string Require(string path)
    {
        var file = Path.Combine(Root, "..", "shared", "models", path);
        Assert.SkipUnless(File.Exists(file), $"{path} is not beside the tree (shared/models).");
        return file;
    }

    private static string Find()
    {
        var at = AppContext.BaseDirectory;
        while (at is not null && !File.Exists(Path.Combine(at, "Yizhan.slnx")))
        {
            at = Path.GetDirectoryName(at);
        }

        return at ?? "";
    }
}
