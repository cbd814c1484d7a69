using Yizhan.Storage;

namespace Yizhan.PacsGw.Archive;

/// <summary>The archive's pins on blobs: one for each content that its index names.</summary>
internal sealed class ArchivePins(ArchiveDatabase archive, GatewayDatabase database, IBlobStore blobs) : IDisposable
{
    private const int Step = 500;

    private readonly SemaphoreSlim _gate = new(1, 1);

    /// <summary>Held while rows are added or pins are ended: what is pinned and not yet in the index must not look like what left it.</summary>
    public async ValueTask<IDisposable> HoldAsync(CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        return new Held(_gate);
    }

    /// <summary>
    /// Notes durably that rows with these hashes are about to go. Before the rows: a pin that outlives them for a moment is harmless, rows without a
    /// blob are not.
    /// </summary>
    public void Leaving(IEnumerable<string> hashes) => database.Write(own =>
    {
        foreach (var hash in hashes)
        {
            own.Command("INSERT OR IGNORE INTO unpin (sha256) VALUES ($1)", hash).Go();
        }
    });

    /// <summary>Ends the pins of what was noted and no row names any more; goes on where an earlier run was stopped.</summary>
    public async Task EndAsync(CancellationToken cancellationToken)
    {
        using var held = await HoldAsync(cancellationToken);
        using var reader = archive.OpenReader();
        while (database.Write(own => own.Command("SELECT sha256 FROM unpin LIMIT $1", Step).Rows(row => row.GetString(0))) is { Count: > 0 } hashes)
        {
            var gone = hashes.Where(h => reader.Command("SELECT 1 FROM instance WHERE sha256 = $1", h).Single() is null)
                .Select(h => ContentHash.TryParse(h, out var hash) ? hash : throw new InvalidDataException($"'{h}' in gateway.db is not a SHA-256."))
                .ToList();
            if (gone.Count > 0)
            {
                await blobs.UnpinAsync(gone, PacsGwModule.Name, cancellationToken);
            }

            database.Write(own =>
            {
                foreach (var hash in hashes)
                {
                    own.Command("DELETE FROM unpin WHERE sha256 = $1", hash).Go();
                }
            });
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _gate.Dispose();

    private sealed class Held(SemaphoreSlim gate) : IDisposable
    {
        public void Dispose() => gate.Release();
    }
}
