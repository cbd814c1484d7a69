namespace Yizhan.Storage;

/// <summary>
/// A data folder whose entries are in PostgreSQL says so: a file with a number that the database has too. So no folder of another log is opened over a
/// database, and no empty database over a folder that holds blobs.
/// </summary>
internal sealed class PostgresFolder(string folder)
{
    private readonly string _path = PathIn(folder);

    /// <summary>The number; null when the folder is new.</summary>
    public Guid? Id => File.Exists(_path) ? Guid.Parse(File.ReadAllText(_path)) : null;

    /// <summary>True when the folder holds segment files.</summary>
    public bool HasBlobs => Directory.EnumerateFiles(Path.Combine(folder, "segments"), "*.seg").Any();

    /// <summary>True when the entries of a folder are in PostgreSQL.</summary>
    public static bool Is(string folder) => File.Exists(PathIn(folder));

    /// <summary>Durable on return.</summary>
    public void Write(Guid id) => DurableFile.Write(_path, System.Text.Encoding.ASCII.GetBytes(id.ToString()));

    private static string PathIn(string folder) => Path.Combine(folder, "postgres.id");
}
