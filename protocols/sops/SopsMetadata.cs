using System.Text.RegularExpressions;

namespace Yizhan.Sops;

/// <summary>The block <c>sops</c> of a file.</summary>
/// <param name="Recipients">The data key, wrapped for each recipient.</param>
/// <param name="LastModified">RFC 3339, as it stands in the file: the MAC is bound to it.</param>
/// <param name="Mac">The encrypted MAC.</param>
/// <param name="Rules">What is encrypted.</param>
/// <param name="Version">Of the SOPS that wrote it.</param>
internal sealed record SopsMetadata(
    IReadOnlyList<(string Recipient, string Enc)> Recipients, string LastModified, string Mac, SopsRules Rules, string Version)
{
    /// <summary>Version of the format that we write.</summary>
    public const string FormatVersion = "3.9.0";
}

/// <summary>Which values of a file are encrypted; at most one rule, and by default all but those of a key that ends in <c>_unencrypted</c>.</summary>
public sealed record SopsRules
{
    /// <summary>The default of SOPS.</summary>
    public static SopsRules Default { get; } = new() { UnencryptedSuffix = "_unencrypted" };

    /// <summary>Values below a key with this ending stay readable.</summary>
    public string? UnencryptedSuffix { get; init; }

    /// <summary>Only values below a key with this ending are encrypted.</summary>
    public string? EncryptedSuffix { get; init; }

    /// <summary>Only values below a key that matches are encrypted, such as <c>^(data|stringData)$</c>.</summary>
    public string? EncryptedRegex { get; init; }

    /// <summary>Values below a key that matches stay readable.</summary>
    public string? UnencryptedRegex { get; init; }

    /// <summary>True: the MAC covers encrypted values only.</summary>
    public bool MacOnlyEncrypted { get; init; }

    internal bool Encrypts(IReadOnlyList<string> path) =>
        EncryptedRegex is not null ? path.Any(key => Matches(key, EncryptedRegex))
        : UnencryptedRegex is not null ? !path.Any(key => Matches(key, UnencryptedRegex))
        : EncryptedSuffix is not null ? path.Any(key => key.EndsWith(EncryptedSuffix, StringComparison.Ordinal))
        : UnencryptedSuffix is null || !path.Any(key => key.EndsWith(UnencryptedSuffix, StringComparison.Ordinal));

    private static bool Matches(string key, string pattern)
    {
        try
        {
            return Regex.IsMatch(key, pattern, RegexOptions.CultureInvariant, TimeSpan.FromSeconds(1));
        }
        catch (ArgumentException e)
        {
            throw new SopsException($"The rule '{pattern}' is not a regular expression.", e);
        }
    }
}
