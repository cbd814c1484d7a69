using System.Text;

namespace Yizhan.Dicom;

/// <summary>Text with the code extension techniques of ISO 2022 as PS3.5 §6.1.2.5 allows them.</summary>
internal static class Iso2022
{
    private const byte Escape = 0x1B;

    /// <summary>
    /// Decodes values separated by backslashes. The initial state (first term in G0 and G1) holds again after each
    /// delimiter: line ends, backslash, and in PN "^" and "=".
    /// </summary>
    internal static string[] Decode(ReadOnlySpan<byte> value, Repertoire[] repertoires, DicomVr vr)
    {
        var values = new List<string>();
        var text = new StringBuilder(value.Length);
        var (g0, g1) = Initial(repertoires);
        Span<byte> scratch = stackalloc byte[3];
        while (!value.IsEmpty)
        {
            var first = value[0];
            if (first == Escape && TryDesignate(value[1..], ref g0, ref g1, out var length))
            {
                value = value[(1 + length)..];
                continue;
            }

            var size = 1;
            if (first < 0x80)
            {
                if (g0.Kind == RepertoireKind.DoubleByteG0 && first is > 0x20 and < 0x7F && value.Length > 1)
                {
                    size = 2;
                    text.Append(DecodeJis(value, g0, scratch));
                }
                else if (first == '\\' && !vr.IsSingleText())
                {
                    values.Add(text.ToString());
                    text.Clear();
                    (g0, g1) = Initial(repertoires);
                }
                else
                {
                    text.Append(g0.Kind == RepertoireKind.JisX0201 ? Romaji(first) : (char)first);
                    if (first is (byte)'\r' or (byte)'\n' or (byte)'\f' or (byte)'\t' || (vr == DicomVr.PN && first is (byte)'^' or (byte)'='))
                    {
                        (g0, g1) = Initial(repertoires);
                    }
                }
            }
            else
            {
                // A second byte below 0x80 belongs to G0: a delimiter stays one.
                size = g1?.Kind == RepertoireKind.DoubleByteG1 && value.Length > 1 && value[1] >= 0x80 ? 2 : 1;
                text.Append(g1 is null ? "\uFFFD" : g1.Encoding.GetString(value[..size]));
            }

            value = value[size..];
        }

        values.Add(text.ToString());
        return [.. values];
    }

    /// <summary>Encodes text, designating another repertoire where the current ones lack a character.</summary>
    /// <exception cref="EncoderFallbackException">None of the repertoires has a character.</exception>
    internal static byte[] Encode(string text, Repertoire[] repertoires, DicomVr vr)
    {
        var output = new List<byte>(text.Length * 2);
        var (g0, g1) = Initial(repertoires);
        foreach (var rune in text.EnumerateRunes())
        {
            var isDelimiter = rune.Value is '\\' or '\r' or '\n' or '\f' or '\t' || (vr == DicomVr.PN && rune.Value is '^' or '=');
            if (rune.IsAscii)
            {
                if (g0.Kind == RepertoireKind.DoubleByteG0)
                {
                    Designate(Repertoire.Ascii);
                }

                output.Add((byte)rune.Value);
                if (isDelimiter)
                {
                    (g0, g1) = Initial(repertoires);
                }

                continue;
            }

            var current = new[] { g1, g0 }.FirstOrDefault(r => r is not null && TryEncode(rune, r, out _))
                ?? repertoires.FirstOrDefault(r => TryEncode(rune, r, out _))
                ?? throw new EncoderFallbackException();
            if (current != g0 && current != g1)
            {
                Designate(current);
            }

            TryEncode(rune, current, out var bytes);
            output.AddRange(bytes);
        }

        // PS3.5 §6.1.2.5.3: the value ends in its initial state.
        if (g0.Kind == RepertoireKind.DoubleByteG0)
        {
            Designate(Repertoire.Ascii);
        }

        return [.. output];

        void Designate(Repertoire repertoire)
        {
            output.Add(Escape);
            output.AddRange(Encoding.ASCII.GetBytes(repertoire.Escape));
            Apply(repertoire, ref g0, ref g1);
        }
    }

    private static (Repertoire G0, Repertoire? G1) Initial(Repertoire[] repertoires)
    {
        var first = repertoires[0];
        var g0 = first.Kind == RepertoireKind.JisX0201 ? first : Repertoire.Ascii;

        // Korean and Chinese devices forget the escape before G1 characters. When the first term has no G1, bytes above
        // 7F can only be those of a later term.
        var g1 = repertoires.FirstOrDefault(r => r.Kind is RepertoireKind.SingleByte or RepertoireKind.JisX0201 or RepertoireKind.DoubleByteG1);
        return (g0, g1);
    }

    private static bool TryDesignate(ReadOnlySpan<byte> sequence, ref Repertoire g0, ref Repertoire? g1, out int length)
    {
        if (sequence.StartsWith("(J"u8) || sequence.StartsWith("$@"u8))
        {
            // Romaji of JIS X 0201 alone in G0; the older JIS C 6226, which agrees with JIS X 0208 where it matters.
            g0 = sequence[0] == '(' ? Repertoire.JisX0201 : Repertoire.JisX0208;
            length = 2;
            return true;
        }

        foreach (var repertoire in Repertoire.Designated)
        {
            length = repertoire.Escape.Length;
            if (sequence.Length >= length && Ascii.Equals(sequence[..length], repertoire.Escape))
            {
                Apply(repertoire, ref g0, ref g1);
                return true;
            }
        }

        length = 0;
        return false;
    }

    private static void Apply(Repertoire repertoire, ref Repertoire g0, ref Repertoire? g1)
    {
        if (repertoire.Kind is RepertoireKind.Ascii or RepertoireKind.DoubleByteG0)
        {
            g0 = repertoire;
        }
        else
        {
            g1 = repertoire;
        }
    }

    // EUC-JP (code page 20932) holds both: JIS X 0208 with both bytes above 7F, JIS X 0212 with only the first.
    private static string DecodeJis(ReadOnlySpan<byte> value, Repertoire repertoire, Span<byte> scratch)
    {
        scratch[0] = (byte)(value[0] | 0x80);
        scratch[1] = repertoire == Repertoire.JisX0212 ? value[1] : (byte)(value[1] | 0x80);
        return repertoire.Encoding.GetString(scratch[..2]);
    }

    private static char Romaji(byte value) => value switch { (byte)'\\' => '\u00A5', (byte)'~' => '\u203E', _ => (char)value };

    private static bool TryEncode(Rune rune, Repertoire repertoire, out byte[] bytes)
    {
        bytes = [];
        try
        {
            bytes = repertoire.StrictEncoding.GetBytes(rune.ToString());
        }
        catch (EncoderFallbackException)
        {
            return false;
        }

        switch (repertoire.Kind)
        {
            case RepertoireKind.SingleByte or RepertoireKind.JisX0201:
                return bytes is [>= 0xA0];
            case RepertoireKind.DoubleByteG1:
                return bytes is [>= 0xA1, >= 0xA1];
            case RepertoireKind.DoubleByteG0 when bytes is [>= 0xA1, _] && bytes[1] >= 0x80 == (repertoire == Repertoire.JisX0208):
                bytes = [(byte)(bytes[0] & 0x7F), (byte)(bytes[1] & 0x7F)];
                return true;
            default:
                return false;
        }
    }
}
