namespace Yizhan.Transparency;

/// <summary>Reads the tiles of a log. Safe beside the writer: what a published size covers is never changed, only widened.</summary>
internal sealed class TreeReader(ILogFiles files)
{
    private readonly ILogFiles _files = files;

    public TreeReader(string folder)
        : this(new LogFolder(folder))
    {
    }

    /// <summary>A tile of exactly this width; cut from a wider one when only that is left. Null when there is none.</summary>
    public ReadOnlyMemory<byte>? TryRead(TileAddress tile)
    {
        // The writer deletes a partial tile after it has written a wider one, so what is gone now is found wider on the next look.
        for (var attempt = 0; attempt < 3; attempt++)
        {
            foreach (var address in Candidates(tile))
            {
                if (TryReadFile(address) is { } bytes)
                {
                    return Cut(bytes, tile);
                }
            }
        }

        return null;
    }

    /// <summary>The bytes of an entry.</summary>
    /// <exception cref="InvalidDataException">Its tile is missing or damaged.</exception>
    public ReadOnlyMemory<byte> Entry(long index, long size)
    {
        var tile = Covering(TileAddress.Entries, index, size);
        var entries = EntryBundle.Split(Read(tile), tile.Width, out _);
        return entries[(int)(index % TileAddress.FullWidth)];
    }

    /// <summary>Entries in order, read one tile at a time. Those of tiles that are gone are left out.</summary>
    /// <exception cref="InvalidDataException">A tile is damaged.</exception>
    public IEnumerable<(long Index, ReadOnlyMemory<byte> Entry)> Entries(long from, long size)
    {
        for (var index = from; index < size;)
        {
            var tile = Covering(TileAddress.Entries, index, size);
            if (TryRead(tile) is not { } bundle)
            {
                index = (tile.Number + 1) * TileAddress.FullWidth;
                continue;
            }

            foreach (var entry in EntryBundle.Split(bundle, tile.Width, out _).Skip((int)(index % TileAddress.FullWidth)))
            {
                yield return (index, entry);
                index++;
            }
        }
    }

    /// <summary>Proofs out of the tiles that a tree of this size has. The tiles read are kept until the value is dropped.</summary>
    public MerkleProofs Proofs(long size)
    {
        var tiles = new Dictionary<TileAddress, TreeHash[]>();
        return new MerkleProofs((level, index) =>
        {
            var (tileLevel, height) = Math.DivRem(level, 8);
            var first = index << height;
            var tile = Covering(tileLevel, first, size);
            if (!tiles.TryGetValue(tile, out var hashes))
            {
                tiles[tile] = hashes = Hashes(Read(tile).Span);
            }

            return Merkle.RootOf(hashes.AsSpan((int)(first % TileAddress.FullWidth), 1 << height));
        });
    }

    /// <summary>A tile that must be there.</summary>
    /// <exception cref="InvalidDataException">It is not, or not whole.</exception>
    public ReadOnlyMemory<byte> Read(TileAddress tile) =>
        TryRead(tile) ?? throw new InvalidDataException($"'{tile}' of the audit tree is missing or cut off. Run: yizhan audit verify");

    public static TreeHash[] Hashes(ReadOnlySpan<byte> tile)
    {
        var hashes = new TreeHash[tile.Length / TreeHash.Size];
        for (var i = 0; i < hashes.Length; i++)
        {
            hashes[i] = new TreeHash(tile.Slice(i * TreeHash.Size, TreeHash.Size));
        }

        return hashes;
    }

    /// <summary>The tile of a level that has this hash or entry in a tree of this size.</summary>
    public static TileAddress Covering(int level, long index, long size)
    {
        var edge = TileAddress.RightEdge(level, size);
        var number = index / TileAddress.FullWidth;
        return number == edge.Number ? edge : new TileAddress(level, number, TileAddress.FullWidth);
    }

    private IEnumerable<TileAddress> Candidates(TileAddress tile)
    {
        yield return tile;
        if (tile.IsFull)
        {
            yield break;
        }

        foreach (var width in PartialWidths(tile).Where(w => w > tile.Width))
        {
            yield return tile with { Width = width };
        }

        yield return tile.Full;
    }

    /// <summary>Widths of a tile's partial files, the widest first.</summary>
    public IReadOnlyList<int> PartialWidths(TileAddress tile) =>
        [.. _files.Names($"{tile.Full}.p").Select(name => int.TryParse(name, out var w) ? w : 0).Where(w => w > 0).OrderDescending()];

    /// <summary>Exactly this file; null when it is not there.</summary>
    public byte[]? TryReadFile(TileAddress tile) => TryReadFile(tile.ToString(), TileAddress.FullWidth * (2 + EntryBundle.MaxEntryBytes));

    /// <summary>Exactly this file, as far as <paramref name="maxBytes"/>; null when it is not there.</summary>
    public byte[]? TryReadFile(string path, int maxBytes)
    {
        using var stream = _files.TryOpen(path);
        if (stream is null)
        {
            return null;
        }

        var buffer = new byte[stream.CanSeek ? (int)Math.Min(stream.Length, maxBytes) : 64 * 1024];
        var length = 0;
        while (true)
        {
            var read = stream.ReadAtLeast(buffer.AsSpan(length), buffer.Length - length, throwOnEndOfStream: false);
            length += read;
            if (length < buffer.Length || stream.CanSeek || length >= maxBytes)
            {
                return buffer[..length];
            }

            Array.Resize(ref buffer, Math.Min(buffer.Length * 4, maxBytes));
        }
    }

    /// <summary>Opens exactly this file; null when it is not there.</summary>
    public Stream? TryOpen(string path) => _files.TryOpen(path);

    private static ReadOnlyMemory<byte>? Cut(byte[] bytes, TileAddress tile)
    {
        var length = tile.Width * TreeHash.Size;
        var isWhole = tile.Level == TileAddress.Entries
            ? EntryBundle.Split(bytes, tile.Width, out length).Count == tile.Width
            : bytes.Length >= length;

        // A bare null would become an empty memory here, by way of a null array.
        return isWhole ? bytes.AsMemory(0, length) : default(ReadOnlyMemory<byte>?);
    }
}
