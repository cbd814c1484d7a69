using System.Diagnostics.CodeAnalysis;
using System.Text;

namespace Yizhan.Transparency;

/// <summary>A text with signatures (C2SP signed-note): the text, an empty line, and a line <c>— name base64</c> for each signature.</summary>
/// <param name="Text">What is signed; ends with a line feed.</param>
/// <param name="Signatures">In the order of the note.</param>
public sealed record SignedNote(string Text, IReadOnlyList<NoteSignature> Signatures)
{
    /// <summary>Largest note that is read, in bytes.</summary>
    public const int MaxBytes = 64 * 1024;

    private const int MaxSignatures = 100;
    private const string SignaturePrefix = "\u2014 ";
    private static readonly UTF8Encoding StrictUtf8 = new(false, throwOnInvalidBytes: true);

    /// <summary>Reads a note. Whether its signatures are right is another question: <see cref="NoteKey.Signs"/>.</summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out SignedNote? note)
    {
        note = null;
        string all;
        try
        {
            all = bytes.Length <= MaxBytes ? StrictUtf8.GetString(bytes) : "";
        }
        catch (DecoderFallbackException)
        {
            return false;
        }

        var split = all.LastIndexOf("\n\n", StringComparison.Ordinal);
        if (split < 0 || !all.EndsWith('\n') || all.Any(c => c < ' ' && c != '\n'))
        {
            return false;
        }

        var signatures = new List<NoteSignature>();
        foreach (var line in all[(split + 2)..].TrimEnd('\n').Split('\n'))
        {
            if (signatures.Count == MaxSignatures || !NoteSignature.TryParse(line, out var signature))
            {
                return false;
            }

            signatures.Add(signature);
        }

        note = new SignedNote(all[..(split + 1)], signatures);
        return note.ToString() == all;
    }

    /// <summary>The note with one signature more.</summary>
    public SignedNote With(NoteSignature signature) => this with { Signatures = [.. Signatures, signature] };

    /// <summary>UTF-8 of <see cref="ToString"/>.</summary>
    public byte[] ToBytes() => StrictUtf8.GetBytes(ToString());

    /// <inheritdoc/>
    public override string ToString()
    {
        var all = new StringBuilder(Text).Append('\n');
        foreach (var signature in Signatures)
        {
            all.Append(signature).Append('\n');
        }

        return all.ToString();
    }

    internal static string LineOf(string name, ReadOnlySpan<byte> idAndSignature) =>
        $"{SignaturePrefix}{name} {Convert.ToBase64String(idAndSignature)}";

    internal static bool TrySplitLine(string line, out string name, out byte[] idAndSignature)
    {
        (name, idAndSignature) = ("", []);
        if (!line.StartsWith(SignaturePrefix, StringComparison.Ordinal) || line[SignaturePrefix.Length..].Split(' ') is not [var n, var base64])
        {
            return false;
        }

        var bytes = new byte[base64.Length];
        if (!Convert.TryFromBase64String(base64, bytes, out var length) || length <= sizeof(uint))
        {
            return false;
        }

        (name, idAndSignature) = (n, bytes[..length]);
        return NoteKey.IsName(name);
    }
}

/// <summary>A signature line.</summary>
/// <param name="Name">Name of the key.</param>
/// <param name="KeyId">First four bytes, big endian, of a hash of the key: tells keys of one name apart.</param>
/// <param name="Bytes">The signature.</param>
public sealed record NoteSignature(string Name, uint KeyId, ReadOnlyMemory<byte> Bytes)
{
    internal static bool TryParse(string line, [NotNullWhen(true)] out NoteSignature? signature)
    {
        signature = SignedNote.TrySplitLine(line, out var name, out var bytes)
            ? new NoteSignature(name, System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(bytes), bytes.AsMemory(sizeof(uint)))
            : null;
        return signature is not null;
    }

    /// <inheritdoc/>
    public override string ToString()
    {
        var bytes = new byte[sizeof(uint) + Bytes.Length];
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(bytes, KeyId);
        Bytes.Span.CopyTo(bytes.AsSpan(sizeof(uint)));
        return SignedNote.LineOf(Name, bytes);
    }
}
