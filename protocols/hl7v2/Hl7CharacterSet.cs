using System.Text;

namespace Yizhan.Hl7v2;

/// <summary>How the bytes of a message are written: MSH-18 (HL7 table 0211).</summary>
public sealed class Hl7CharacterSet
{
    // Other names than table 0211's are seen in the field; what is written is always the table's.
    private static readonly (string Name, string WebName, string[] Aliases)[] Table =
    [
        ("UNICODE UTF-8", "utf-8", ["UTF-8", "UTF8", "UNICODE", "UNICODE UTF8"]),
        ("GB 18030-2000", "gb18030", ["GB18030", "GB18030-2000", "GB 18030", "GB 18030-2005", "GB 18030-2022", "GBK", "GB2312", "GB 2312"]),
        ("ASCII", "us-ascii", ["ISO IR6", "ISO IR 6", "US-ASCII"]),
        ("8859/1", "iso-8859-1", ["ISO-8859-1", "ISO IR100", "ISO_IR 100"]),
        ("8859/2", "iso-8859-2", ["ISO-8859-2"]),
        ("8859/3", "iso-8859-3", []),
        ("8859/4", "iso-8859-4", []),
        ("8859/5", "iso-8859-5", []),
        ("8859/6", "iso-8859-6", []),
        ("8859/7", "iso-8859-7", []),
        ("8859/8", "iso-8859-8", []),
        ("8859/9", "iso-8859-9", []),
        ("8859/15", "iso-8859-15", ["ISO-8859-15"]),
        ("ISO IR87", "iso-2022-jp", ["ISO IR14"]),
        ("KS X 1001", "euc-kr", []),
        ("BIG-5", "big5", ["BIG5"]),
    ];

    private static readonly Dictionary<string, Hl7CharacterSet> ByName = Table
        .Select(row => (Set: new Hl7CharacterSet(row.Name, row.WebName), row.Aliases))
        .SelectMany(row => row.Aliases.Prepend(row.Set.Name), (row, name) => (name, row.Set))
        .ToDictionary(pair => pair.name, pair => pair.Set, StringComparer.OrdinalIgnoreCase);

    private readonly Encoding _encoding;

    private Hl7CharacterSet(string name, string webName)
    {
        Name = name;
        _encoding = (CodePagesEncodingProvider.Instance.GetEncoding(webName, EncoderFallback.ExceptionFallback, DecoderFallback.ExceptionFallback)
            ?? Encoding.GetEncoding(webName, EncoderFallback.ExceptionFallback, DecoderFallback.ExceptionFallback));
    }

    /// <summary>UTF-8, which we write where nobody asks for another.</summary>
    public static Hl7CharacterSet Utf8 => ByName["UNICODE UTF-8"];

    /// <summary>GB 18030.</summary>
    public static Hl7CharacterSet Gb18030 => ByName["GB 18030-2000"];

    /// <summary>The name for MSH-18.</summary>
    public string Name { get; }

    /// <summary>The character set of a name of table 0211.</summary>
    /// <exception cref="Hl7Exception">The name is not known.</exception>
    public static Hl7CharacterSet Named(string name) =>
        ByName.TryGetValue(name.Trim(), out var set)
            ? set
            : throw new Hl7Exception(
                Hl7Error.TableValueNotFound, $"MSH-18 names the character set '{name.Trim()}'; accepted are {string.Join(", ", Table.Select(row => row.Name))}.", "MSH-18");

    /// <summary>
    /// Finds out how a message is written. Its own MSH-18 says so, but to read that the bytes must be taken apart first, and in
    /// GB 18030 the second byte of a character may be <c>|</c> or <c>^</c>. So the message is read in the set that its header seems
    /// to name, and that is believed only if it still names it then. Without MSH-18 bytes above ASCII are UTF-8 when they are
    /// valid as such, otherwise GB 18030.
    /// </summary>
    /// <exception cref="Hl7Exception">The character set is not known and the message is not ASCII, or there is none and it cannot be found out.</exception>
    internal static Hl7CharacterSet Of(ReadOnlySpan<byte> message)
    {
        var end = message.IndexOfAny((byte)'\r', (byte)'\n');
        var header = end < 0 ? message : message[..end];
        string? declared = null;
        foreach (var set in (ReadOnlySpan<Hl7CharacterSet>)[ByName["8859/1"], Gb18030, Utf8, ByName["BIG-5"]])
        {
            if (!set.TryDecode(header, out var text) || Declared(text) is not { Length: > 0 } name)
            {
                continue;
            }

            declared ??= name;
            if (ByName.TryGetValue(name, out var named) && named.TryDecode(header, out var again) && Declared(again) == name)
            {
                return named;
            }
        }

        var isAscii = !message.ContainsAnyInRange((byte)0x80, (byte)0xFF);
        if (declared is not null)
        {
            // What is ASCII in a set that we do not know is ASCII all the same, and nothing else is written into such a message.
            return isAscii ? ByName["ASCII"] : Named(declared);
        }

        return isAscii || Utf8.TryDecode(message, out _) ? Utf8
            : Gb18030.TryDecode(message, out var characters) && Gb18030._encoding.GetBytes(characters).AsSpan().SequenceEqual(message) ? Gb18030
            : throw new Hl7Exception(Hl7Error.DataType, "The message has no MSH-18, and its bytes are neither UTF-8 nor GB 18030: name the character set in MSH-18.", "MSH-18");
    }

    /// <summary>The characters of a message.</summary>
    /// <exception cref="Hl7Exception">The bytes are not in this character set.</exception>
    internal string Decode(ReadOnlySpan<byte> bytes)
    {
        try
        {
            var text = _encoding.GetString(bytes);

            // Some bytes read as characters that are written in another way, or as nothing. Such a message could not be passed on as it came.
            return Name == "UNICODE UTF-8" || _encoding.GetBytes(text).AsSpan().SequenceEqual(bytes)
                ? text
                : throw NotIn("some bytes are not how it writes that character");
        }
        catch (DecoderFallbackException e)
        {
            throw NotIn($"the bytes at {e.Index} are not in it");
        }
    }

    /// <summary>The bytes of a message.</summary>
    /// <exception cref="Hl7Exception">A character is not in this set.</exception>
    internal byte[] Encode(string text)
    {
        try
        {
            return _encoding.GetBytes(text);
        }
        catch (EncoderFallbackException e)
        {
            throw new Hl7Exception(
                Hl7Error.DataType, $"The character U+{(e.CharUnknown != '\0' ? e.CharUnknown : char.ConvertToUtf32(e.CharUnknownHigh, e.CharUnknownLow)):X4} is not in {Name}, which MSH-18 names.", "MSH-18");
        }
    }

    private static string? Declared(string header)
    {
        if (Hl7Value.Find(header, header.Length > 3 ? header[header[0] == '\uFEFF' ? 4 : 3] : '|', 18) is not var (start, length))
        {
            return null;
        }

        // Further repetitions name sets that the text switches to by escape sequences, which are passed through.
        var field = header.AsSpan(start, length);
        var repetition = field.IndexOf(header.Length > 5 ? header[header[0] == '\uFEFF' ? 6 : 5] : '~');
        return (repetition < 0 ? field : field[..repetition]).Trim().ToString();
    }

    private Hl7Exception NotIn(string what) => new(Hl7Error.DataType, $"The message is declared as {Name} in MSH-18, but {what}.", "MSH-18");

    private bool TryDecode(ReadOnlySpan<byte> bytes, out string text)
    {
        try
        {
            text = _encoding.GetString(bytes);
            return true;
        }
        catch (DecoderFallbackException)
        {
            text = "";
            return false;
        }
    }
}
