using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace Yizhan.Transparency;

/// <summary>
/// What is left of entries whose time is over: their bytes are gone, their hashes stay in the tree, and the log's key has signed which
/// and why. Their inclusion proofs stay valid for whoever kept a copy.
/// </summary>
/// <param name="Origin">The log.</param>
/// <param name="First">First entry; a multiple of 256.</param>
/// <param name="End">First entry after them; a multiple of 256.</param>
/// <param name="Root">Root of the tree over these entries alone.</param>
/// <param name="Unix">When, Unix seconds.</param>
/// <param name="Reason">One line for people.</param>
public sealed record Tombstone(string Origin, long First, long End, TreeHash Root, long Unix, string Reason)
{
    /// <summary>Folder of the tombstones, below the log.</summary>
    public const string Folder = "tombstone";

    private const string Mark = " tombstone";

    /// <summary>Path below the log.</summary>
    public string Path => string.Create(CultureInfo.InvariantCulture, $"{Folder}/{First}-{End}");

    /// <summary>Reads a tombstone that this key has signed.</summary>
    public static bool TryOpen(ReadOnlySpan<byte> note, NoteKey key, [NotNullWhen(true)] out Tombstone? tombstone)
    {
        tombstone = null;
        if (!SignedNote.TryParse(note, out var parsed) || !key.Signs(parsed)
            || parsed.Text.Split('\n') is not [var title, var first, var end, var root, var unix, var reason, ""]
            || title != key.Name + Mark || !TreeHash.TryParseBase64(root, out var hash)
            || !long.TryParse(first, NumberStyles.None, CultureInfo.InvariantCulture, out var from)
            || !long.TryParse(end, NumberStyles.None, CultureInfo.InvariantCulture, out var to)
            || !long.TryParse(unix, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds))
        {
            return false;
        }

        tombstone = new Tombstone(key.Name, from, to, hash, seconds, reason);
        return tombstone.ToString() == parsed.Text && from < to && from % TileAddress.FullWidth == 0 && to % TileAddress.FullWidth == 0;
    }

    /// <summary>The lines that are signed. The first is no origin, so a tombstone never passes for a checkpoint.</summary>
    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{Origin}{Mark}\n{First}\n{End}\n{Root.ToBase64()}\n{Unix}\n{Reason}\n");
}
