using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;

namespace Yizhan.Sops;

/// <summary>Files of age (C2SP, age-encryption.org/v1) for X25519 recipients, in armor.</summary>
public static partial class Age
{
    private const string Intro = "age-encryption.org/v1\n";
    private const string Begin = "-----BEGIN AGE ENCRYPTED FILE-----\n";
    private const string End = "-----END AGE ENCRYPTED FILE-----\n";
    private const int ChunkBytes = 64 * 1024;
    private const int TagBytes = 16;
    private const int MaxHeaderBytes = 64 * 1024;

    /// <summary>Encrypts for recipients; any one of them can read it.</summary>
    public static string Encrypt(ReadOnlySpan<byte> plain, IReadOnlyList<AgeRecipient> recipients)
    {
        var fileKey = RandomNumberGenerator.GetBytes(16);
        var header = new StringBuilder(Intro);
        foreach (var recipient in recipients)
        {
            using var ephemeral = AgeIdentity.Generate();
            var share = ephemeral.Recipient.PublicKey;
            var wrap = ephemeral.Agree(recipient.PublicKey, [.. share, .. recipient.PublicKey])
                ?? throw new SopsException($"{recipient} is not a usable key.");
            header.Append("-> X25519 ").Append(Base64(share)).Append('\n').Append(Base64(Seal(wrap, new byte[12], fileKey))).Append('\n');
        }

        header.Append("---");
        var mac = HeaderMac(fileKey, header.ToString());
        header.Append(' ').Append(Base64(mac)).Append('\n');
        var nonce = RandomNumberGenerator.GetBytes(16);
        var file = new MemoryStream();
        file.Write(Encoding.ASCII.GetBytes(header.ToString()));
        file.Write(nonce);
        WriteChunks(file, PayloadKey(fileKey, nonce), plain);
        var lines = Convert.ToBase64String(file.ToArray()).Chunk(64).Select(chunk => new string(chunk));
        return $"{Begin}{string.Join('\n', lines)}\n{End}";
    }

    /// <summary>Opens an armored file with the first key that fits.</summary>
    /// <exception cref="SopsException">It is not such a file, no key fits, or it was altered.</exception>
    public static byte[] Decrypt(string armored, IReadOnlyList<AgeIdentity> identities)
    {
        var file = Unarmor(armored);
        var end = IndexOfMac(file);
        var header = Encoding.Latin1.GetString(file, 0, end);
        var match = Header().Match(header);
        if (!match.Success)
        {
            throw Wrong("its header is not that of version 1");
        }

        var fileKey = FileKey(match, identities) ?? throw new SopsException("None of the keys at hand opens this file.");
        var signed = header[..(header.LastIndexOf("---", StringComparison.Ordinal) + 3)];
        if (!CryptographicOperations.FixedTimeEquals(HeaderMac(fileKey, signed), FromBase64(match.Groups["mac"].Value, 32)))
        {
            throw Wrong("its header was altered");
        }

        if (file.Length < end + 16)
        {
            throw Wrong("it is truncated");
        }

        return ReadChunks(PayloadKey(fileKey, file.AsSpan(end, 16)), file.AsSpan(end + 16));
    }

    private static byte[]? FileKey(Match header, IReadOnlyList<AgeIdentity> identities)
    {
        for (var i = 0; i < header.Groups["type"].Captures.Count; i++)
        {
            var arguments = header.Groups["type"].Captures[i].Value.Split(' ');
            if (arguments[0] != "X25519")
            {
                continue;
            }

            var body = FromBase64(header.Groups["body"].Captures[i].Value.Replace("\n", "", StringComparison.Ordinal), 32);
            var share = arguments.Length == 2 ? FromBase64(arguments[1], 32) : throw Wrong("a stanza has the wrong number of arguments");
            foreach (var identity in identities)
            {
                var wrap = identity.Agree(share, [.. share, .. identity.Recipient.PublicKey]) ?? throw Wrong("a share is of low order");
                if (TryOpen(wrap, new byte[12], body) is { } key)
                {
                    return key;
                }
            }
        }

        return null;
    }

    private static void WriteChunks(MemoryStream file, byte[] key, ReadOnlySpan<byte> plain)
    {
        for (long counter = 0; ; counter++)
        {
            var chunk = plain[..Math.Min(ChunkBytes, plain.Length)];
            plain = plain[chunk.Length..];
            file.Write(Seal(key, ChunkNonce(counter, plain.IsEmpty), chunk));
            if (plain.IsEmpty)
            {
                return;
            }
        }
    }

    private static byte[] ReadChunks(byte[] key, ReadOnlySpan<byte> sealedChunks)
    {
        var plain = new MemoryStream();
        for (long counter = 0; ; counter++)
        {
            var chunk = sealedChunks[..Math.Min(ChunkBytes + TagBytes, sealedChunks.Length)];
            sealedChunks = sealedChunks[chunk.Length..];
            var opened = (chunk.Length >= TagBytes ? TryOpen(key, ChunkNonce(counter, sealedChunks.IsEmpty), chunk) : null) ?? throw Wrong("its content was altered or truncated");

            // An empty last chunk is for an empty file alone: anything else could be cut there unseen.
            if (opened.Length == 0 && counter > 0)
            {
                throw Wrong("its last chunk is empty");
            }

            plain.Write(opened);
            if (sealedChunks.IsEmpty)
            {
                return plain.ToArray();
            }
        }
    }

    private static byte[] ChunkNonce(long counter, bool last)
    {
        var nonce = new byte[12];
        BinaryPrimitives.WriteInt64BigEndian(nonce.AsSpan(3), counter);
        nonce[11] = (byte)(last ? 1 : 0);
        return nonce;
    }

    private static byte[] Seal(byte[] key, byte[] nonce, ReadOnlySpan<byte> plain)
    {
        var output = new byte[plain.Length + TagBytes];
        using var cipher = new ChaCha20Poly1305(key);
        cipher.Encrypt(nonce, plain, output.AsSpan(0, plain.Length), output.AsSpan(plain.Length));
        return output;
    }

    private static byte[]? TryOpen(byte[] key, byte[] nonce, ReadOnlySpan<byte> output)
    {
        var plain = new byte[output.Length - TagBytes];
        try
        {
            using var cipher = new ChaCha20Poly1305(key);
            cipher.Decrypt(nonce, output[..plain.Length], output[plain.Length..], plain);
            return plain;
        }
        catch (AuthenticationTagMismatchException)
        {
            return null;
        }
    }

    private static byte[] HeaderMac(byte[] fileKey, string header) =>
        HMACSHA256.HashData(HKDF.DeriveKey(HashAlgorithmName.SHA256, fileKey, 32, [], "header"u8.ToArray()), Encoding.Latin1.GetBytes(header));

    private static byte[] PayloadKey(byte[] fileKey, ReadOnlySpan<byte> nonce) =>
        HKDF.DeriveKey(HashAlgorithmName.SHA256, fileKey, 32, nonce.ToArray(), "payload"u8.ToArray());

    private static byte[] Unarmor(string armored)
    {
        var text = armored.Replace("\r\n", "\n", StringComparison.Ordinal).Trim() + "\n";
        if (!text.StartsWith(Begin, StringComparison.Ordinal) || !text.EndsWith(End, StringComparison.Ordinal) || text.Length < Begin.Length + End.Length)
        {
            throw Wrong("it has no armor");
        }

        var lines = text[Begin.Length..^End.Length].TrimEnd('\n').Split('\n');
        if (lines[..^1].Any(line => line.Length != 64) || lines[^1].Length is 0 or > 64)
        {
            throw Wrong("a line of its armor is too long or too short");
        }

        return FromBase64(string.Concat(lines), null, padded: true);
    }

    private static int IndexOfMac(byte[] file)
    {
        var at = file.AsSpan(0, Math.Min(file.Length, MaxHeaderBytes)).IndexOf("\n--- "u8);
        var end = at < 0 ? -1 : file.AsSpan(at + 1, Math.Min(128, file.Length - at - 1)).IndexOf((byte)'\n');
        return end < 0 ? throw Wrong("it has no header") : at + 1 + end + 1;
    }

    private static string Base64(ReadOnlySpan<byte> bytes) => Convert.ToBase64String(bytes).TrimEnd('=');

    /// <summary>Canonical base64: what encodes back to the same text.</summary>
    private static byte[] FromBase64(string text, int? length, bool padded = false)
    {
        var whole = padded ? text : text + new string('=', (4 - (text.Length % 4)) % 4);
        var bytes = new byte[whole.Length];
        return (padded || !text.Contains('=', StringComparison.Ordinal)) && Convert.TryFromBase64String(whole, bytes, out var written)
            && Convert.ToBase64String(bytes, 0, written) == whole && (length is null || written == length)
                ? bytes[..written]
                : throw Wrong("its base64 is not canonical");
    }

    private static SopsException Wrong(string what) => new($"This is not an age file that can be trusted: {what}.");

    // A body has lines of 64 characters and ends with a shorter one.
    [GeneratedRegex(@"\Aage-encryption\.org/v1\n(-> (?<type>[\x21-\x7e]+( [\x21-\x7e]+)*)\n(?<body>([A-Za-z0-9+/]{64}\n)*[A-Za-z0-9+/]{0,63}\n))+--- (?<mac>[A-Za-z0-9+/]{43})\n\z")]
    private static partial Regex Header();
}
