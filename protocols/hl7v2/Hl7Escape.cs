using System.Globalization;
using System.Text;

namespace Yizhan.Hl7v2;

/// <summary>Escape sequences in text (HL7 v2.5.1 §2.7).</summary>
internal static class Hl7Escape
{
    /// <summary>
    /// Resolves <c>\F\ \S\ \T\ \R\ \E\ \P\ \Xhh\ \.br\</c>. A sequence that is not one of these, and an escape character that
    /// stands alone, stay as they are: a report must not be refused for a backslash in a path.
    /// </summary>
    internal static string Decode(ReadOnlyMemory<char> raw, Hl7Delimiters delimiters)
    {
        var text = raw.Span;
        if (delimiters.Escape == '\0' || !text.Contains(delimiters.Escape))
        {
            return text.ToString();
        }

        var decoded = new StringBuilder(text.Length);
        while (text.IndexOf(delimiters.Escape) is >= 0 and var start && text[(start + 1)..].IndexOf(delimiters.Escape) is >= 0 and var length)
        {
            decoded.Append(text[..start]);
            if (TryResolve(text.Slice(start + 1, length), delimiters, decoded))
            {
                text = text[(start + length + 2)..];
            }
            else
            {
                // What closed nothing may open the next sequence.
                decoded.Append(text.Slice(start, length + 1));
                text = text[(start + length + 1)..];
            }
        }

        return decoded.Append(text).ToString();
    }

    /// <summary>Escapes what would be read as a delimiter, and what would end a segment.</summary>
    internal static string Encode(string text, Hl7Delimiters delimiters)
    {
        var encoded = new StringBuilder(text.Length);
        foreach (var c in text)
        {
            var code = c switch
            {
                _ when c == delimiters.Field => "F",
                _ when c == delimiters.Component => "S",
                _ when c == delimiters.Subcomponent => "T",
                _ when c == delimiters.Repetition => "R",
                _ when c == delimiters.Escape => "E",
                _ when c == delimiters.Truncation => "P",
                '\r' => "X0D",
                '\n' => "X0A",
                < ' ' and not '\t' => $"X{(int)c:X2}",
                _ => null,
            };
            if (code is null || c == '\0')
            {
                encoded.Append(c == '\0' ? throw Unwritable(c) : c);
            }
            else if (delimiters.Escape == '\0')
            {
                throw Unwritable(c);
            }
            else
            {
                encoded.Append(delimiters.Escape).Append(code).Append(delimiters.Escape);
            }
        }

        return encoded.ToString();

        static Hl7Exception Unwritable(char c) =>
            new(Hl7Error.DataType, $"The character U+{(int)c:X4} cannot be written in a message whose MSH-2 has no escape character.");
    }

    private static bool TryResolve(ReadOnlySpan<char> sequence, Hl7Delimiters delimiters, StringBuilder decoded)
    {
        switch (sequence)
        {
            case "F":
                decoded.Append(delimiters.Field);
                return true;
            case "S":
                decoded.Append(delimiters.Component);
                return true;
            case "T" when delimiters.Subcomponent != '\0':
                decoded.Append(delimiters.Subcomponent);
                return true;
            case "R" when delimiters.Repetition != '\0':
                decoded.Append(delimiters.Repetition);
                return true;
            case "E":
                decoded.Append(delimiters.Escape);
                return true;
            case "P" when delimiters.Truncation != '\0':
                decoded.Append(delimiters.Truncation);
                return true;
            case ".br":
                decoded.Append('\n');
                return true;
            case ['X', .. var hex] when hex.Length is > 0 and <= 256 && hex.Length % 2 == 0:
                return TryHex(hex, decoded);
            default:
                return false;
        }
    }

    // Only ASCII: what a byte above means would depend on the character set of whoever wrote the escape.
    private static bool TryHex(ReadOnlySpan<char> hex, StringBuilder decoded)
    {
        Span<char> characters = stackalloc char[hex.Length / 2];
        for (var i = 0; i < characters.Length; i++)
        {
            if (!byte.TryParse(hex.Slice(2 * i, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value) || value > 0x7F)
            {
                return false;
            }

            characters[i] = (char)value;
        }

        decoded.Append(characters);
        return true;
    }
}
