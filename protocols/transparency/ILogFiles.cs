namespace Yizhan.Transparency;

/// <summary>Where the files of a log are read from: a folder, a copy of one, or the HTTP surface of a node.</summary>
public interface ILogFiles
{
    /// <summary>Opens a file by its path below the log, with <c>/</c>; null when there is none.</summary>
    Stream? TryOpen(string path);

    /// <summary>Names in a folder below the log; empty where nothing can be listed.</summary>
    IReadOnlyList<string> Names(string folder);

    /// <summary>Paths of all files; empty where nothing can be listed.</summary>
    IEnumerable<string> Paths();
}

/// <summary>A log in a folder. Read only.</summary>
/// <param name="root">The folder.</param>
public sealed class LogFolder(string root) : ILogFiles
{
    /// <inheritdoc/>
    public Stream? TryOpen(string path)
    {
        try
        {
            // The writer may replace and delete files beside us.
            return new FileStream(Path.Combine(root, path), FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
    }

    /// <inheritdoc/>
    public IReadOnlyList<string> Names(string folder)
    {
        var directory = new DirectoryInfo(Path.Combine(root, folder));
        try
        {
            return directory.Exists ? [.. directory.EnumerateFiles().Select(f => f.Name)] : [];
        }
        catch (DirectoryNotFoundException)
        {
            return [];
        }
    }

    /// <inheritdoc/>
    public IEnumerable<string> Paths() =>
        Directory.EnumerateFiles(root, "*", SearchOption.AllDirectories).Select(f => Path.GetRelativePath(root, f).Replace('\\', '/'));
}
