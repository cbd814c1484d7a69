using System.Globalization;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Archive;

/// <summary>How far the archive's index has read the event log, durably: its database is not synced with each transaction.</summary>
internal sealed class ArchiveConsumer(ArchiveDatabase database, IEventLog log) : ILogConsumer
{
    /// <inheritdoc/>
    public string Name => PacsGwModule.Name;

    /// <summary>The cursor, after a checkpoint has synced the log that holds it; 0 when another checkpoint is under way.</summary>
    public ValueTask<long> ReadThroughAsync(CancellationToken cancellationToken)
    {
        using var db = database.OpenWriter();
        var cursor = ArchiveWriter.Cursor(db, log.Epoch);
        var busy = Convert.ToInt64(db.Scalar("PRAGMA wal_checkpoint(PASSIVE)"), CultureInfo.InvariantCulture);
        return new(busy == 0 ? cursor : 0);
    }
}
