namespace Yizhan.Audit.Tests;

/// <summary>Test data that lies beside the repository and may be absent.</summary>
internal static class Corpus
{
    /// <summary>A folder of given files; skips the test when there is none.</summary>
    public static string Folder(string name)
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(directory.FullName, "global.json")))
        {
            directory = directory.Parent ?? throw new DirectoryNotFoundException("No global.json above the test.");
        }

        var folder = Path.Combine(directory.Parent!.FullName, "shared/corpus/emr/given", name);
        if (!Directory.Exists(folder))
        {
            Assert.Skip($"The test data '../shared/corpus/emr/given/{name}' is not beside the repository.");
        }

        return folder;
    }
}

/// <summary>A folder that is gone after the test.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("yizhan-audit-").FullName;

    public string this[string name] => System.IO.Path.Combine(Path, name);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
