namespace Yizhan.Storage;

internal sealed partial class PostgresJournal
{
    /// <summary>
    /// After a restore the database may know of bytes that were on the disk that was lost, and of entries whose day's key was. What another site sent and cannot be read
    /// here is forgotten, and the mark of that site's lane set back before it, so that it is sent again; what is here is then known and not doubled. Entries of this
    /// node itself stay, for nobody else has them: who reads one is told what is missing.
    /// </summary>
    private void ForgetWhatIsNotHere()
    {
        using var transaction = _lease.Session.BeginTransaction();
        var lost = ForgetLostPieces();
        var (positions, named, back, bytes) = (new List<long>(), new Dictionary<ContentHash, long>(), new Dictionary<(long Origin, short Lane), long>(), 0L);
        using (var row = Command("SELECT position, origin, lane, sequence, sealed_by, blobs, octet_length(data) FROM entry WHERE NOT own ORDER BY position").ExecuteReader())
        {
            while (row.Read())
            {
                var packed = row.GetFieldValue<byte[]>(5);
                var blobs = EntryRow.Unpack(packed);
                if ((row.IsDBNull(4) || _segments.Keys.Knows(unchecked((ulong)row.GetInt64(4)))) && !blobs.Any(b => lost.Contains(b.Hash)))
                {
                    continue;
                }

                positions.Add(row.GetInt64(0));
                bytes += RowBytes + packed.Length + row.GetInt32(6);
                var lane = (row.GetInt64(1), row.GetInt16(2));
                back[lane] = Math.Min(back.GetValueOrDefault(lane, long.MaxValue), row.GetInt64(3) - 1);
                foreach (var blob in blobs)
                {
                    named[blob.Hash] = named.GetValueOrDefault(blob.Hash) + 1;
                }
            }
        }

        if (positions.Count > 0)
        {
            Run("DELETE FROM entry WHERE position = ANY($1)", (object)positions.ToArray());
            Run("UPDATE blob b SET names = names - x.count FROM unnest($1, $2) x (hash, count) WHERE b.hash = x.hash",
                named.Keys.Select(h => h.ToArray()).ToArray(), named.Values.ToArray());
            Run("UPDATE mark m SET sequence = least(m.sequence, x.sequence) FROM unnest($1, $2, $3) x (origin, lane, sequence) WHERE m.origin = x.origin AND m.lane = x.lane",
                back.Keys.Select(k => k.Origin).ToArray(), back.Keys.Select(k => k.Lane).ToArray(), back.Values.ToArray());
            Run("UPDATE log SET entry_bytes = greatest(0, entry_bytes - $1)", bytes);
        }

        transaction.Commit();
    }

    /// <summary>Takes pieces out of the index that are nowhere; returns the blobs that are not whole any more.</summary>
    private HashSet<ContentHash> ForgetLostPieces()
    {
        var gone = new List<(long Blob, ContentHash Hash, Extent Extent)>();
        using (var row = Command("""SELECT b.id, b.hash, e.at, e.segment, e."offset", e.length FROM extent e JOIN blob b ON b.id = e.blob""").ExecuteReader())
        {
            while (row.Read())
            {
                var extent = new Extent(row.GetInt64(2), row.GetInt64(3), row.GetInt32(4), row.GetInt32(5));
                if (!_segments.Holds(extent))
                {
                    gone.Add((row.GetInt64(0), new ContentHash(row.GetFieldValue<byte[]>(1)), extent));
                }
            }
        }

        if (gone.Count > 0)
        {
            Run("""DELETE FROM extent e USING unnest($1, $2, $3, $4) x (blob, at, segment, place) WHERE e.blob = x.blob AND e.at = x.at AND e.segment = x.segment AND e."offset" = x.place""",
                gone.Select(g => g.Blob).ToArray(), gone.Select(g => g.Extent.At).ToArray(), gone.Select(g => g.Extent.Segment).ToArray(), gone.Select(g => g.Extent.Offset).ToArray());
            Run("UPDATE blob SET complete = false WHERE id = ANY($1)", (object)gone.Select(g => g.Blob).Distinct().ToArray());
        }

        return [.. gone.Select(g => g.Hash)];
    }
}
