using System.Security.Cryptography;
using Yizhan.Contracts;

namespace Yizhan.Storage;

/// <summary>What a verification found.</summary>
/// <param name="Entries">Entries read.</param>
/// <param name="Blobs">Blobs read.</param>
/// <param name="Bytes">Bytes of both.</param>
/// <param name="Damaged">What is damaged or missing, at most 1000.</param>
public sealed record VerifyReport(long Entries, long Blobs, long Bytes, IReadOnlyList<Damage> Damaged)
{
    /// <summary>True when all that was read is what was written.</summary>
    public bool Ok => Damaged.Count == 0;

    /// <summary>Entries and blobs that cannot be read because the key of their day was destroyed on purpose. They are no damage.</summary>
    public long Shredded { get; init; }
}

/// <summary>Something that is not what was written.</summary>
/// <param name="Kind">entry or blob.</param>
/// <param name="Name">Of an entry: its position. Of a blob: its SHA-256.</param>
/// <param name="Position">Of an entry: its position. Of a blob: of the first entry that names it; null when none does.</param>
/// <param name="EntryId">Id of that entry; null when it cannot be read.</param>
/// <param name="Reason">What is wrong, and where.</param>
public sealed record Damage(string Kind, string Name, long? Position, string? EntryId, string Reason);

/// <summary>Reads everything that a log keeps and compares checksums and hashes. Damage is noted and the reading goes on.</summary>
internal sealed class Verifier(
    Journal journal, IEventLog log, IBlobStore blobs, Func<long, CancellationToken, ValueTask>? pace, IProgress<VerifyReport>? progress)
{
    /// <summary>Most pieces of damage that are listed.</summary>
    public const int MaxDamage = 1000;

    private const int PageEntries = 256;
    private const int PageBlobs = 1024;
    private const int BlockBytes = 1024 * 1024;

    private readonly List<Damage> _damaged = [];
    private readonly Dictionary<ContentHash, string> _badBlobs = [];
    private long _entries, _blobCount, _bytes, _shredded;

    /// <summary>Reads all blobs, then all entries.</summary>
    public async Task<VerifyReport> RunAsync(CancellationToken cancellationToken)
    {
        await BlobsAsync(cancellationToken).ConfigureAwait(false);
        await EntriesAsync(cancellationToken).ConfigureAwait(false);

        // What no entry names: an archive has pinned it.
        foreach (var (hash, reason) in _badBlobs)
        {
            Note(new Damage("blob", hash.ToString(), null, null, reason));
        }

        return Report();
    }

    private async Task BlobsAsync(CancellationToken cancellationToken)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[BlockBytes];
        ContentHash? after = null;
        while (journal.Blobs(after, PageBlobs) is { Count: > 0 } page)
        {
            foreach (var blob in page)
            {
                after = blob.Hash;
                if (await ReasonAsync(blob, hash, buffer, cancellationToken).ConfigureAwait(false) is { } reason)
                {
                    _badBlobs[blob.Hash] = reason;
                }

                _blobCount++;
            }

            progress?.Report(Report());
        }
    }

    /// <summary>Why a blob is not what it was; null when it is. One that was released meanwhile is not.</summary>
    private async Task<string?> ReasonAsync(BlobRef blob, IncrementalHash hash, byte[] buffer, CancellationToken cancellationToken)
    {
        try
        {
            await using var reader = await blobs.OpenAsync(blob.Hash, cancellationToken).ConfigureAwait(false);
            if (reader is null)
            {
                return null;
            }

            for (long at = 0; at < reader.Length;)
            {
                var read = await reader.ReadAsync(at, buffer, cancellationToken).ConfigureAwait(false);
                hash.AppendData(buffer, 0, read);
                at += read;
                await PaceAsync(read, cancellationToken).ConfigureAwait(false);
            }

            return new ContentHash(hash.GetHashAndReset()) == blob.Hash ? null : "Its bytes have another SHA-256, although each piece has the checksum that it was written with.";
        }
        catch (InvalidDataException e) when (e.InnerException is ShreddedException)
        {
            hash.GetHashAndReset();
            _shredded++;
            return null;
        }
        catch (InvalidDataException e)
        {
            hash.GetHashAndReset();
            return e.Message;
        }
    }

    private async Task EntriesAsync(CancellationToken cancellationToken)
    {
        for (var position = 0L; ;)
        {
            IReadOnlyList<LoggedEntry> page;
            try
            {
                cancellationToken.ThrowIfCancellationRequested();
                page = Read(position, PageEntries);
            }
            catch (InvalidDataException)
            {
                // One at a time, to name it and to go on behind it.
                page = One(position);
                if (page.Count == 0)
                {
                    position++;
                    continue;
                }
            }

            if (page.Count == 0)
            {
                return;
            }

            foreach (var entry in page)
            {
                await CheckAsync(entry, cancellationToken).ConfigureAwait(false);
            }

            position = page[^1].Position;
            progress?.Report(Report());
        }
    }

    /// <summary>From the disk, which is looked at here, and not from the log, which has the newest in memory.</summary>
    private IReadOnlyList<LoggedEntry> Read(long position, int maxEntries) => position >= log.LastPosition ? [] : journal.Read(position, maxEntries);

    private IReadOnlyList<LoggedEntry> One(long position)
    {
        try
        {
            return Read(position, 1);
        }
        catch (InvalidDataException e)
        {
            // Positions may have gaps: the same entry is met again until the reading is behind it.
            if (_damaged.All(d => d.Reason != e.Message))
            {
                Note(new Damage("entry", $"after position {position}", position + 1, null, e.Message));
            }

            return [];
        }
    }

    private async Task CheckAsync(LoggedEntry logged, CancellationToken cancellationToken)
    {
        _entries++;
        _shredded += logged.Entry.Type == EntryShredded.EventType ? 1 : 0;
        await PaceAsync(logged.Entry.Data.Length, cancellationToken).ConfigureAwait(false);
        foreach (var blob in logged.Entry.Blobs)
        {
            if (!_badBlobs.Remove(blob.Hash, out var reason))
            {
                if (journal.FindBlob(blob.Hash) is { Complete: true })
                {
                    continue;
                }

                // Looked for twice: the entry may have been released, and its blob with it, since it was read.
                var still = Read(logged.Position - 1, 1);
                if (still.Count == 0 || still[0].Position != logged.Position)
                {
                    continue;
                }

                reason = "It is not here.";
            }

            Note(new Damage("blob", blob.Hash.ToString(), logged.Position, logged.Entry.Id, reason));
        }
    }

    private ValueTask PaceAsync(long bytes, CancellationToken cancellationToken)
    {
        _bytes += bytes;
        cancellationToken.ThrowIfCancellationRequested();
        return pace?.Invoke(bytes, cancellationToken) ?? ValueTask.CompletedTask;
    }

    private void Note(Damage damage)
    {
        if (_damaged.Count < MaxDamage)
        {
            _damaged.Add(damage);
        }
    }

    private VerifyReport Report() => new(_entries, _blobCount, _bytes, [.. _damaged]) { Shredded = _shredded };
}
