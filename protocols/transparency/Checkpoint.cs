using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace Yizhan.Transparency;

/// <summary>What a log commits to (C2SP tlog-checkpoint): its origin, size and root. The signature is on the note that carries it.</summary>
/// <param name="Origin">Unique name of the log, one line.</param>
/// <param name="Size">Number of entries.</param>
/// <param name="Root">Root of the tree over them.</param>
public sealed record Checkpoint(string Origin, long Size, TreeHash Root)
{
    /// <summary>Reads the text of a note. Lines after the third are extensions: signed, not understood.</summary>
    public static bool TryParse(string text, [NotNullWhen(true)] out Checkpoint? checkpoint)
    {
        checkpoint = null;
        if (text.Split('\n') is not [{ Length: > 0 } origin, var number, var base64, .. var extensions, ""]
            || extensions.Any(e => e.Length == 0)
            || !long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var size)
            || size.ToString(CultureInfo.InvariantCulture) != number)
        {
            return false;
        }

        Span<byte> root = stackalloc byte[TreeHash.Size + 1];
        if (base64.Length != 44 || !Convert.TryFromBase64String(base64, root, out var length) || length != TreeHash.Size)
        {
            return false;
        }

        checkpoint = new Checkpoint(origin, size, new TreeHash(root[..length]));
        return Convert.ToBase64String(root[..length]) == base64;
    }

    /// <summary>Reads a checkpoint that a key has signed. The key's name must be the origin: a key speaks for its own log only.</summary>
    public static bool TryOpen(ReadOnlySpan<byte> note, NoteKey key, [NotNullWhen(true)] out Checkpoint? checkpoint)
    {
        checkpoint = null;
        return SignedNote.TryParse(note, out var parsed) && key.Signs(parsed)
            && TryParse(parsed.Text, out checkpoint) && checkpoint.Origin == key.Name;
    }

    /// <summary>The three lines that are signed.</summary>
    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{Origin}\n{Size}\n{Convert.ToBase64String(Root.ToArray())}\n");
}
