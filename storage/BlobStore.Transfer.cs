using System.Security.Cryptography;

namespace Yizhan.Storage;

internal sealed partial class BlobStore
{
    private const int MaxPutBytes = 4 * 1024 * 1024;

    public async ValueTask<IReadOnlyList<ByteRange>> MissingAsync(BlobRef blob, CancellationToken cancellationToken)
    {
        Check(blob);
        var stored = Stored(blob);
        if (stored is { Complete: true })
        {
            return [];
        }

        var missing = stored?.Missing(0, blob.Length).ToArray() ?? [new ByteRange(0, blob.Length)];
        if (missing.Length > 0)
        {
            return missing;
        }

        // All bytes are here but a crash came before the hash was checked.
        return await TryFinishAsync(blob, cancellationToken) == true ? [] : [new ByteRange(0, blob.Length)];
    }

    public async ValueTask<bool> PutAsync(BlobRef blob, long offset, ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        Check(blob);
        Check(blob, offset, bytes.Length);
        _committer.ThrowIfFaulted();
        var stored = Stored(blob);
        if (stored is { Complete: true })
        {
            return true;
        }

        var whole = bytes.Length == blob.Length;
        if (whole && ContentHash.Of(bytes.Span) != blob.Hash)
        {
            throw WrongHash(blob);
        }

        var missing = whole ? [new ByteRange(0, blob.Length)] : stored?.Missing(offset, offset + bytes.Length).ToArray() ?? [new ByteRange(offset, bytes.Length)];
        if (missing.Length > 0)
        {
            var extents = Write(offset, bytes, missing);
            try
            {
                if (await _committer.RunAsync(new PutWork(this, blob, extents, whole), cancellationToken))
                {
                    return true;
                }
            }
            catch
            {
                Free(extents);
                throw;
            }
        }

        if (Stored(blob) is not { } now || (!now.Complete && now.Missing(0, blob.Length).Any()))
        {
            return false;
        }

        return await TryFinishAsync(blob, cancellationToken) ?? throw WrongHash(blob);
    }

    /// <summary>
    /// Checks the hash of a blob of which everything is here. True: it is complete. Null: the hash was wrong and the blob was thrown away.
    /// False: somebody else changed it meanwhile.
    /// </summary>
    private async Task<bool?> TryFinishAsync(BlobRef blob, CancellationToken cancellationToken)
    {
        bool right;
        await using (var reader = Open(blob.Hash, evenIncomplete: true))
        {
            right = reader is not null && await HashAsync(reader, cancellationToken) == blob.Hash;
        }

        return await _committer.RunAsync(new Work<(BlobStore, BlobRef, bool), bool?>((this, blob, right), Finish), cancellationToken);
    }

    private async Task<ContentHash?> HashAsync(SegmentBlobReader reader, CancellationToken cancellationToken)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = _segments.Buffers.Rent();
        try
        {
            for (long at = 0; at < reader.Length;)
            {
                var read = await reader.ReadAsync(at, buffer.AsMemory(0, Record.MaxPayload), cancellationToken);
                hash.AppendData(buffer, 0, read);
                at += read;
            }

            return new ContentHash(hash.GetHashAndReset());
        }
        catch (InvalidDataException)
        {
            return null;
        }
        finally
        {
            _segments.Buffers.Return(buffer);
        }
    }

    private static bool? Finish((BlobStore Store, BlobRef Blob, bool Right) call, Group group)
    {
        var (store, blob, right) = call;
        group.Blobs.TryGetValue(blob.Hash, out var change);
        var stored = store.Find(blob.Hash);
        if (change is { Complete: true } || stored is { Complete: true })
        {
            return true;
        }

        if (stored is null || change is { Dropped: true } || stored.Missing(0, blob.Length).Any())
        {
            return false;
        }

        if (change is null)
        {
            group.Blobs.Add(blob.Hash, change = new BlobChange { Length = blob.Length });
        }

        change.Complete = right;
        change.Dropped = !right;
        return right ? true : null;
    }

    /// <summary>Writes the missing ranges of the bytes given, in pieces.</summary>
    private List<Extent> Write(long offset, ReadOnlyMemory<byte> bytes, ByteRange[] missing)
    {
        var extents = new List<Extent>();
        var reserved = missing.Sum(r => r.Length + ((r.Length / Record.MaxPayload) + 1) * (Record.MaxDiskBytes - Record.MaxPayload));
        _ledger.Reserve(Lane.Bulk, reserved);
        var buffer = _segments.Buffers.Rent();
        try
        {
            foreach (var range in missing)
            {
                for (var at = range.Offset; at < range.Offset + range.Length;)
                {
                    var length = (int)Math.Min(Record.MaxPayload, range.Offset + range.Length - at);
                    bytes.Span.Slice((int)(at - offset), length).CopyTo(buffer.AsSpan(Record.HeaderBytes));
                    var (segment, place) = _segments.Write(RecordKind.Extent, buffer, length, serial: 0);
                    extents.Add(new Extent(at, segment, place, length));
                    at += length;
                }
            }

            return extents;
        }
        catch (DiskFullException)
        {
            Free(extents);
            throw new SpoolFullException(Lane.Bulk, 0);
        }
        finally
        {
            _segments.Buffers.Return(buffer);
            _ledger.Release(reserved);
        }
    }

    /// <summary>What is known of a blob; refuses another length.</summary>
    private StoredBlob? Stored(BlobRef blob)
    {
        var stored = Find(blob.Hash);
        return stored is null || stored.Length == blob.Length ? stored : throw OtherLength(blob, stored.Length);
    }

    private static void Check(BlobRef blob)
    {
        if (blob.Length < 0)
        {
            throw new ArgumentException($"A blob cannot have {blob.Length} bytes.", nameof(blob));
        }
    }

    private static void Check(BlobRef blob, long offset, int length)
    {
        var end = offset + length;
        if (offset < 0 || offset % IBlobStore.ChunkBytes != 0 || length > MaxPutBytes || end > blob.Length
            || (end != blob.Length && end % IBlobStore.ChunkBytes != 0) || (length == 0 && blob.Length > 0))
        {
            throw new ArgumentException(
                $"Bytes {offset} to {end} of a blob of {blob.Length} are not whole chunks of {IBlobStore.ChunkBytes}, at most {MaxPutBytes} at once.");
        }
    }

    private static ArgumentException OtherLength(BlobRef blob, long known) =>
        new($"Blob {blob.Hash} has {known} bytes here, not {blob.Length}.");

    private static InvalidDataException WrongHash(BlobRef blob) =>
        new($"The {blob.Length} bytes given as blob {blob.Hash} have another SHA-256; they were thrown away.");

    /// <summary>Adds pieces to a blob. Pieces that brought nothing new are freed.</summary>
    private sealed class PutWork(BlobStore store, BlobRef blob, List<Extent> extents, bool whole) : Work<bool>
    {
        public override long Bytes => 0;

        public override void Resolve(Group group)
        {
            group.Blobs.TryGetValue(blob.Hash, out var change);
            var stored = store.Find(blob.Hash);
            if ((change?.Length ?? stored?.Length ?? blob.Length) is var known && known != blob.Length)
            {
                throw new RefusedException(OtherLength(blob, known));
            }

            if (change is { Complete: true } || stored is { Complete: true })
            {
                group.Freed.AddRange(extents.Select(e => (blob.Hash, e)));
                Result = true;
                return;
            }

            if (change is null)
            {
                group.Blobs.Add(blob.Hash, change = new BlobChange { Length = blob.Length, Dropped = stored is { Shredded: true } });
            }

            if (whole)
            {
                // Hashed as given: what earlier puts brought is not needed and not verified.
                group.Freed.AddRange(change.Added.Select(e => (blob.Hash, e)));
                change.Added.Clear();
                change.Dropped = true;
                change.Complete = true;
            }

            foreach (var extent in extents)
            {
                var present = new StoredBlob(blob.Length, false, [.. (change.Dropped ? [] : stored?.Extents ?? []).Concat(change.Added).OrderBy(e => e.At)]);
                if (present.Missing(extent.At, extent.End).Any())
                {
                    change.Added.Add(extent);
                }
                else
                {
                    group.Freed.Add((blob.Hash, extent));
                }
            }

            Result = whole;
        }
    }
}
