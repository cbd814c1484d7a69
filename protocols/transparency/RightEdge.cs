namespace Yizhan.Transparency;

/// <summary>The unfinished tiles at the right of a tree: all that is needed to append to it and to know its root.</summary>
internal sealed class RightEdge
{
    /// <summary>Eight levels of tiles hold 2^64 entries.</summary>
    public const int Levels = 8;

    private readonly List<TreeHash>[] _rows = [.. Enumerable.Range(0, Levels).Select(_ => new List<TreeHash>(TileAddress.FullWidth))];

    /// <summary>Number of leaves.</summary>
    public long Size { get; private set; }

    /// <summary>The hashes of the unfinished tile of a level, from the left.</summary>
    public IReadOnlyList<TreeHash> Row(int level) => _rows[level];

    /// <summary>
    /// Reads the edge of a stored tree. Only tiles of exactly this size will do: a writer that was killed leaves them, so where
    /// there are only wider ones, the checkpoint was put back to an older one.
    /// </summary>
    /// <exception cref="InvalidDataException">A tile is missing or has another length.</exception>
    public static RightEdge Read(TreeReader reader, long size)
    {
        var edge = new RightEdge { Size = size };
        for (var level = 0; level < Levels; level++)
        {
            if (TileAddress.RightEdge(level, size) is { Width: > 0 } tile)
            {
                edge._rows[level].AddRange(
                    reader.TryReadFile(tile) is { } bytes && bytes.Length == tile.Width * TreeHash.Size
                        ? TreeReader.Hashes(bytes)
                        : throw new InvalidDataException($"'{tile}', which the audit checkpoint of {size} entries needs, is missing or damaged. Run: yizhan audit verify"));
            }
        }

        return edge;
    }

    /// <summary>Adds a leaf.</summary>
    /// <param name="leaf">Its hash.</param>
    /// <param name="onFull">Takes each tile that became full, the lowest first.</param>
    public void Add(TreeHash leaf, Action<TileAddress, IReadOnlyList<TreeHash>> onFull)
    {
        Size++;
        var hash = leaf;
        for (var level = 0; level < Levels; level++)
        {
            var row = _rows[level];
            row.Add(hash);
            if (row.Count < TileAddress.FullWidth)
            {
                return;
            }

            var number = (Size >> (8 * (level + 1))) - 1;
            onFull(new TileAddress(level, number, TileAddress.FullWidth), row);
            hash = Merkle.RootOf([.. row]);
            row.Clear();
        }
    }

    /// <summary>Root of the whole tree.</summary>
    public TreeHash Root()
    {
        TreeHash? ragged = null;
        foreach (var row in _rows)
        {
            TreeHash[] nodes = ragged is { } last ? [.. row, last] : [.. row];
            if (nodes.Length > 0)
            {
                ragged = Merkle.RootOf(nodes);
            }
        }

        return ragged ?? Merkle.EmptyRoot;
    }

    public RightEdge Copy()
    {
        var copy = new RightEdge { Size = Size };
        for (var level = 0; level < Levels; level++)
        {
            copy._rows[level].AddRange(_rows[level]);
        }

        return copy;
    }
}
