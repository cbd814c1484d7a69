using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;

namespace Yizhan.Storage;

/// <summary>The log of a node that does not run.</summary>
public static class OfflineLog
{
    /// <summary>Reads all entries and blobs of a data folder and compares their checksums and hashes.</summary>
    /// <param name="dataFolder">The node's data folder.</param>
    /// <param name="site">Its site; null: whatever it says.</param>
    /// <param name="siteKeyFile">The site key when it is not in the data folder.</param>
    /// <param name="progress">Told what was checked so far.</param>
    /// <param name="cancellationToken">Breaks it off.</param>
    /// <exception cref="IOException">The node runs, or the folder is none.</exception>
    /// <exception cref="InvalidOperationException">It is another site's.</exception>
    /// <exception cref="InvalidDataException">It cannot be opened; the message says what is damaged.</exception>
    public static async Task<VerifyReport> VerifyAsync(
        string dataFolder, string? site, string? siteKeyFile, IProgress<VerifyReport>? progress, CancellationToken cancellationToken)
    {
        var folder = Path.Combine(dataFolder, "log");
        if (!Directory.Exists(folder))
        {
            throw new IOException($"{dataFolder} is no data folder of a node: it has no folder 'log'.");
        }

        if (Spool.StoreIn(folder) is null)
        {
            throw new IOException($"{folder} holds no log.");
        }

        await using var spool = Spool.Open(
            folder, site, new StorageOptions { Encrypt = false, SiteKeyFile = siteKeyFile }, new RealDisk(), TimeProvider.System, NullLogger.Instance);
        return await new Verifier(spool.Journal, spool.Log, spool.Blobs, null, progress).RunAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Whose log a database is.</summary>
    internal static string SiteOf(string database)
    {
        using var connection = SqliteFile.OpenReader(database);
        using var command = new SqliteCommand("SELECT site FROM log", connection);
        return command.ExecuteScalar() as string ?? throw new InvalidDataException($"{database} is no log.");
    }
}
