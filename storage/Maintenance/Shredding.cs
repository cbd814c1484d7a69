using System.Globalization;
using System.Text.Json;
using Yizhan.Contracts;

namespace Yizhan.Storage;

/// <summary>What was destroyed with the keys of a day, or would be.</summary>
/// <param name="Day">The day, UTC: <c>2026-05-04</c>.</param>
/// <param name="Entries">Entries that are sealed with them.</param>
/// <param name="Undelivered">Own entries among them, or with such a blob, that the centre does not have.</param>
/// <param name="Blobs">Blobs of which a piece is sealed with them, those of the site's archive included.</param>
/// <param name="Done">False: it was only looked at.</param>
/// <param name="Backups">Backups that still have the keys: what they hold of the day can be read until they are deleted.</param>
public sealed record ShredReport(string Day, long Entries, long Undelivered, long Blobs, bool Done, IReadOnlyList<string> Backups);

/// <summary>Destroys the keys of a day, and with them everything that was accepted on it: faster and surer than overwriting it.</summary>
internal sealed class Shredding(Spool spool, string? backupFolder, TimeProvider clock)
{
    private readonly KeyRing _keys = spool.Segments.Keys;

    /// <summary>What a day's keys have sealed.</summary>
    /// <exception cref="ArgumentException">The day is no date, is today, or has no key.</exception>
    public ShredReport Look(string day)
    {
        var keys = _keys.Of(Parse(day));
        var use = spool.Journal.UseOf([.. keys.Keys]);
        return new ShredReport(day, use.Entries, use.Undelivered, use.Blobs, Done: false, [.. BackupsWith(keys.Values)]);
    }

    /// <summary>Records who does it and why, then destroys the keys. Durable on return.</summary>
    /// <param name="day">The day, UTC.</param>
    /// <param name="undeliveredToo">Also when the centre does not have everything of the day.</param>
    /// <param name="by">Who decided.</param>
    /// <param name="reason">Why.</param>
    /// <param name="cancellationToken">Breaks it off before it begins.</param>
    /// <exception cref="ArgumentException">The day is no date, is today, or has no key.</exception>
    /// <exception cref="InvalidOperationException">The centre does not have everything of the day; nothing was destroyed.</exception>
    public async Task<ShredReport> RunAsync(string day, bool undeliveredToo, string by, string reason, CancellationToken cancellationToken)
    {
        var report = Look(day);
        if (report.Undelivered > 0 && !undeliveredToo)
        {
            throw new InvalidOperationException(
                $"{report.Undelivered} entries of {day} are not at the centre yet and would be lost everywhere. Wait for the link, or say that they are to be lost too.");
        }

        var nowMs = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var record = new AuditRecord(
            "110110", "D", 0, by, null, $"log@{spool.Log.Site}", $"spool/{spool.Log.Site}/day/{day}",
            string.Create(CultureInfo.InvariantCulture, $"keys destroyed, {report.Entries} entries and {report.Blobs} blobs with them: {reason}"), nowMs);
        var entry = new Entry(
            Lane.Normal, AuditRecord.EventType, $"spool/shred/{spool.Log.Epoch}/{day}/{nowMs}", record.Entity, nowMs,
            JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord));
        await spool.Log.AppendAsync([entry], cancellationToken).ConfigureAwait(false);
        await spool.ShredAsync(Parse(day), cancellationToken).ConfigureAwait(false);
        return report with { Done = true };
    }

    private DateOnly Parse(string text)
    {
        if (!DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var day))
        {
            throw new ArgumentException($"'{text}' is no day; accepted is a date like 2026-05-04, UTC.");
        }

        if (day >= DateOnly.FromDateTime(clock.GetUtcNow().UtcDateTime))
        {
            throw new ArgumentException($"{text} is not over (UTC): what is accepted now is sealed with its key.");
        }

        return _keys.Of(day).Count > 0 ? day
            : throw new ArgumentException(
                $"{text} has no key: nothing was encrypted on it, or it was shredded before. Days with keys: {string.Join(", ", _keys.Days.Where(d => !d.Shredded).TakeLast(20).Select(d => d.Day.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture)))}.");
    }

    /// <summary>The folder may be away: then nothing is known of it.</summary>
    private IEnumerable<string> BackupsWith(IEnumerable<string> files) => backupFolder is null || !Directory.Exists(backupFolder) ? []
        : Directory.EnumerateDirectories(backupFolder)
            .Where(backup => files.Any(file => File.Exists(Path.Combine(backup, Backup.KeyFolder, file))))
            .Order(StringComparer.Ordinal);
}
