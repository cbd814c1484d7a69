using System.Globalization;
using Microsoft.Data.Sqlite;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Archive;

/// <summary>How far the archive's index has read the event log, durably: its database is not synced with each transaction.</summary>
internal sealed class ArchiveConsumer(ArchiveDatabase database, IEventLog log) : ILogConsumer
{
    private long _last;

    /// <inheritdoc/>
    public string Name => PacsGwModule.Name;

    /// <summary>The cursor, after a checkpoint has synced the log that holds it. What was synced before when that cannot be done now: another one is under way, the disk is full.</summary>
    public ValueTask<long> ReadThroughAsync(CancellationToken cancellationToken)
    {
        try
        {
            using var db = database.OpenWriter();
            var cursor = ArchiveWriter.Cursor(db, log.Epoch);
            var busy = Convert.ToInt64(db.Scalar("PRAGMA wal_checkpoint(PASSIVE)"), CultureInfo.InvariantCulture);
            _last = busy == 0 ? cursor : _last;
        }
        catch (SqliteException)
        {
            // As above.
        }

        return new(_last);
    }
}
