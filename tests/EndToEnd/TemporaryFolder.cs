namespace Yizhan.EndToEnd.Tests;

/// <summary>A folder of one test, removed at its end.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("yizhan-").FullName;

    public string In(params string[] parts) => System.IO.Path.Combine([Path, .. parts]);

    /// <summary>A file with one line, such as a secret; its path.</summary>
    public string Write(string name, string line)
    {
        File.WriteAllText(In(name), line + "\n");
        return In(name);
    }

    public void Dispose()
    {
        try
        {
            Directory.Delete(Path, recursive: true);
        }
        catch (IOException)
        {
            // A child of a node that was killed still writes there. The folder is in the run's own, which goes as a whole.
        }
    }
}
