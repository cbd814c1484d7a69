using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace Yizhan.Transparency;

/// <summary>Place of a tile in the layout of C2SP tlog-tiles: <c>tile/&lt;L&gt;/&lt;N&gt;[.p/&lt;W&gt;]</c>, or <c>tile/entries/…</c>.</summary>
/// <param name="Level">0 to 7: hashes of that level; -1: the entries themselves.</param>
/// <param name="Number">0 for the first tile of the level.</param>
/// <param name="Width">Hashes or entries in it: 256 when full.</param>
internal readonly record struct TileAddress(int Level, long Number, int Width)
{
    public const int FullWidth = 256;
    public const int Entries = -1;
    private const int HighestLevel = 7;

    public bool IsFull => Width == FullWidth;

    /// <summary>The same tile when it is complete.</summary>
    public TileAddress Full => this with { Width = FullWidth };

    /// <summary>The tile of a level that ends at the right edge of a tree with <paramref name="size"/> leaves; its width may be 0.</summary>
    public static TileAddress RightEdge(int level, long size)
    {
        var hashes = size >> (8 * Math.Max(level, 0));
        return new TileAddress(level, hashes / FullWidth, (int)(hashes % FullWidth));
    }

    /// <summary>True when a tree of this size has it.</summary>
    public bool IsWithin(long size)
    {
        var edge = RightEdge(Level, size);
        return Number < edge.Number || (Number == edge.Number && Width <= edge.Width);
    }

    /// <summary>Relative path, with <c>/</c>. Groups of three digits; all but the last start with <c>x</c> so that none is another's folder.</summary>
    public override string ToString()
    {
        var name = $"{Number % 1000:D3}";
        for (var rest = Number / 1000; rest > 0; rest /= 1000)
        {
            name = $"x{rest % 1000:D3}/{name}";
        }

        return $"tile/{(Level == Entries ? "entries" : Level)}/{name}{(IsFull ? "" : $".p/{Width}")}";
    }

    /// <summary>Reads a path as <see cref="ToString"/> writes it and in no other spelling.</summary>
    public static bool TryParse([NotNullWhen(true)] string? path, out TileAddress address)
    {
        address = default;
        if (path is not { Length: < 64 } || path.Split('/') is not ["tile", var level, .. { Length: > 0 } rest])
        {
            return false;
        }

        var width = FullWidth;
        var digits = rest.AsSpan();
        if (rest is [.., var last, var partial] && last.EndsWith(".p", StringComparison.Ordinal))
        {
            rest[^2] = last[..^2];
            digits = rest.AsSpan()[..^1];
            if (!int.TryParse(partial, NumberStyles.None, CultureInfo.InvariantCulture, out width))
            {
                return false;
            }
        }

        long number = 0;
        foreach (var group in digits)
        {
            if (!int.TryParse(group.TrimStart('x'), NumberStyles.None, CultureInfo.InvariantCulture, out var value) || number > 1L << 40)
            {
                return false;
            }

            number = (number * 1000) + value;
        }

        var l = Entries;
        if (level != "entries" && !int.TryParse(level, NumberStyles.None, CultureInfo.InvariantCulture, out l))
        {
            return false;
        }

        address = new TileAddress(l, number, width);
        return l <= HighestLevel && width is > 0 and <= FullWidth && address.ToString() == path;
    }
}
