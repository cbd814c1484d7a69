using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Yizhan.Sops;

/// <summary>Files of SOPS with age recipients.</summary>
public static class SopsFile
{
    // What SOPS puts first into a MAC over encrypted values only, so that the two kinds never agree.
    private static readonly byte[] MacOnlyEncryptedStart = SHA256.HashData("sops"u8);

    /// <summary>The format that a file's name says; null when it says none.</summary>
    public static SopsFormat? FormatOf(string path) => Path.GetExtension(path) switch
    {
        ".yaml" or ".yml" => SopsFormat.Yaml,
        ".json" => SopsFormat.Json,
        ".env" => SopsFormat.Dotenv,
        _ => null,
    };

    /// <summary>Encrypts a plain file for recipients.</summary>
    /// <exception cref="SopsException">It is encrypted already, or not of its format.</exception>
    public static string Encrypt(string text, SopsFormat format, IReadOnlyList<AgeRecipient> recipients, SopsRules rules, DateTimeOffset now)
    {
        var tree = SopsTree.Parse(text, format);
        return tree.Metadata is not null ? throw new SopsException("The file is encrypted already.")
            : Seal(tree, [.. tree.Leaves.Select(l => l.Value)], RandomNumberGenerator.GetBytes(32), recipients, rules, now, []);
    }

    /// <summary>Decrypts a file and checks its MAC.</summary>
    /// <exception cref="SopsException">No key fits, or it was altered.</exception>
    public static string Decrypt(string text, SopsFormat format, IReadOnlyList<AgeIdentity> identities)
    {
        var (tree, values, _) = Open(text, format, identities);
        return tree.Render(values, null);
    }

    /// <summary>The values of a file by their path, keys joined by '.'.</summary>
    /// <exception cref="SopsException">No key fits, or it was altered.</exception>
    public static IReadOnlyList<(string Path, string Value)> Values(string text, SopsFormat format, IReadOnlyList<AgeIdentity> identities)
    {
        var (tree, values, _) = Open(text, format, identities);
        return [.. tree.Leaves.Zip(values, (leaf, value) => (string.Join('.', leaf.Path), value.Text))];
    }

    /// <summary>Encrypts another plain text under the same data key; values that did not change keep their ciphertext.</summary>
    /// <exception cref="SopsException">No key fits, or it was altered.</exception>
    public static string Update(string text, string plain, SopsFormat format, IReadOnlyList<AgeIdentity> identities, DateTimeOffset now)
    {
        var (tree, values, dataKey) = Open(text, format, identities);
        var changed = SopsTree.Parse(plain, format);
        var known = new Dictionary<(string, SopsValue), SopsValue>();
        for (var i = 0; i < values.Count; i++)
        {
            known[(tree.Leaves[i].Aad, values[i])] = tree.Leaves[i].Value;
        }

        return Seal(changed, [.. changed.Leaves.Select(l => l.Value)], dataKey, RecipientsOf(tree), tree.Metadata!.Rules, now, known);
    }

    /// <summary>Sets one value that is there.</summary>
    /// <exception cref="SopsException">There is no such path, no key fits, or the file was altered.</exception>
    public static string Set(string text, SopsFormat format, string path, string value, IReadOnlyList<AgeIdentity> identities, DateTimeOffset now)
    {
        var (tree, values, _) = Open(text, format, identities);
        var at = tree.Leaves.ToList().FindIndex(leaf => string.Join('.', leaf.Path) == path);
        if (at < 0)
        {
            throw new SopsException($"There is no '{path}'; accepted: {string.Join(", ", tree.Leaves.Select(l => string.Join('.', l.Path)).Distinct().Take(20))}.");
        }

        var changed = values.ToArray();
        changed[at] = SopsValue.Of(value);
        return Update(text, tree.Render(changed, null), format, identities, now);
    }

    /// <summary>Encrypts everything under a new data key for these recipients: who is not among them cannot read what comes from now on.</summary>
    /// <exception cref="SopsException">No key fits, or it was altered.</exception>
    public static string Rotate(string text, SopsFormat format, IReadOnlyList<AgeIdentity> identities, IReadOnlyList<AgeRecipient> recipients, DateTimeOffset now)
    {
        var (tree, values, _) = Open(text, format, identities);
        return Seal(tree, values, RandomNumberGenerator.GetBytes(32), recipients, tree.Metadata!.Rules, now, []);
    }

    /// <summary>Who can read a file; needs no key. Empty when it is not encrypted.</summary>
    /// <exception cref="SopsException">It is not of its format.</exception>
    public static IReadOnlyList<AgeRecipient> Recipients(string text, SopsFormat format) =>
        SopsTree.Parse(text, format) is { Metadata: not null } tree ? RecipientsOf(tree) : [];

    /// <summary>Paths of values that the file's own rules would have encrypted and that are plain; needs no key. A plain file: all of them.</summary>
    /// <exception cref="SopsException">It is not of its format.</exception>
    public static IReadOnlyList<string> PlainValues(string text, SopsFormat format)
    {
        var tree = SopsTree.Parse(text, format);
        var rules = tree.Metadata?.Rules ?? SopsRules.Default;
        return [.. tree.Leaves.Where(l => rules.Encrypts(l.Path) && l.Value.Text.Length > 0 && !l.Value.IsEncrypted).Select(l => string.Join('.', l.Path))];
    }

    private static AgeRecipient[] RecipientsOf(SopsTree tree) => [.. tree.Metadata!.Recipients.Select(r => AgeRecipient.Parse(r.Recipient))];

    private static (SopsTree Tree, IReadOnlyList<SopsValue> Values, byte[] DataKey) Open(string text, SopsFormat format, IReadOnlyList<AgeIdentity> identities)
    {
        var tree = SopsTree.Parse(text, format);
        var metadata = tree.Metadata ?? throw new SopsException("The file is not encrypted: it has no block 'sops'.");
        var dataKey = DataKey(metadata, identities);
        var values = tree.Leaves.Select(leaf => metadata.Rules.Encrypts(leaf.Path) ? leaf.Value.Decrypt(dataKey, leaf.Aad) : leaf.Value).ToArray();
        var mac = new SopsValue("str", metadata.Mac).Decrypt(dataKey, metadata.LastModified).Text;
        return CryptographicOperations.FixedTimeEquals(Encoding.ASCII.GetBytes(mac), Encoding.ASCII.GetBytes(Mac(tree, values, metadata.Rules)))
            ? (tree, values, dataKey)
            : throw new SopsException("The MAC does not fit: a value was added, removed, moved or changed without a key.");
    }

    private static byte[] DataKey(SopsMetadata metadata, IReadOnlyList<AgeIdentity> identities)
    {
        var mine = identities.Select(i => i.Recipient.ToString()).ToArray();
        foreach (var (recipient, enc) in metadata.Recipients.Where(r => mine.Contains(r.Recipient)))
        {
            if (Age.Decrypt(enc, identities) is { Length: 32 } key)
            {
                return key;
            }
        }

        throw new SopsException($"None of the keys at hand can read this file; it is for {string.Join(", ", metadata.Recipients.Select(r => r.Recipient))}.");
    }

    private static string Seal(
        SopsTree tree, IReadOnlyList<SopsValue> values, byte[] dataKey, IReadOnlyList<AgeRecipient> recipients, SopsRules rules, DateTimeOffset now,
        Dictionary<(string, SopsValue), SopsValue> known)
    {
        if (recipients.Count == 0)
        {
            throw new SopsException("There is no recipient; accepted: at least one age1… key.");
        }

        var lastModified = now.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);
        var mac = SopsValue.Of(Mac(tree, values, rules)).Encrypt(dataKey, lastModified).Text;
        var wrapped = recipients.Select(recipient => (recipient.ToString(), Age.Encrypt(dataKey, [recipient]))).ToArray();
        var encrypted = tree.Leaves.Zip(values, (leaf, value) =>
            !rules.Encrypts(leaf.Path) ? value : known.TryGetValue((leaf.Aad, value), out var before) ? before : value.Encrypt(dataKey, leaf.Aad)).ToArray();
        return tree.Render(encrypted, new(wrapped, lastModified, mac, rules, SopsMetadata.FormatVersion));
    }

    private static string Mac(SopsTree tree, IReadOnlyList<SopsValue> values, SopsRules rules)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA512);
        if (rules.MacOnlyEncrypted)
        {
            hash.AppendData(MacOnlyEncryptedStart);
        }

        for (var i = 0; i < values.Count; i++)
        {
            if (!rules.MacOnlyEncrypted || rules.Encrypts(tree.Leaves[i].Path))
            {
                hash.AppendData(Encoding.UTF8.GetBytes(values[i].Text));
            }
        }

        return Convert.ToHexString(hash.GetHashAndReset());
    }
}
