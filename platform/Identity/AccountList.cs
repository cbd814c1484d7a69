using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Yizhan.Platform.Identity;

/// <summary>Somebody who may sign in at the site without the centre.</summary>
/// <param name="Name">Name to sign in with.</param>
/// <param name="PinHash"><see cref="Identity.PinHash"/> of PIN or password.</param>
/// <param name="Roles">Roles; they count at this site alone.</param>
public sealed record SiteAccount(string Name, string PinHash, IReadOnlyList<string> Roles);

/// <summary>Emergency access that somebody has looked at, at the centre.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Reviewer">Who.</param>
/// <param name="Verdict">What was found.</param>
public sealed record ReviewedAccess(string Id, string Reviewer, string Verdict);

/// <summary>What the centre sends ahead for the time without it: a list that its root has signed for one site.</summary>
/// <param name="Number">Grows with each list of a site.</param>
/// <param name="Site">The site.</param>
/// <param name="IssuedMs">When, Unix milliseconds.</param>
/// <param name="Accounts">Who may sign in, at most <see cref="MaxAccounts"/>.</param>
/// <param name="Keys">Keys of the centre's issuer (RFC 7517), so that its tokens are believed, too.</param>
/// <param name="Issuer">Name of that issuer; empty when there is none.</param>
/// <param name="Reviewed">The newest emergency accesses of the site that the centre has closed, at most <see cref="MaxReviewed"/>.</param>
public sealed record AccountList(
    long Number, string Site, long IssuedMs, IReadOnlyList<SiteAccount> Accounts, JsonElement Keys, string Issuer = "", IReadOnlyList<ReviewedAccess>? Reviewed = null)
{
    /// <summary>Type in the header of the statement.</summary>
    public const string Type = "yizhan-accounts+jws";

    /// <summary>Most accounts of a site.</summary>
    public const int MaxAccounts = 500;

    /// <summary>Most closed emergency accesses of a list.</summary>
    public const int MaxReviewed = 50;

    /// <summary>How long a list counts.</summary>
    public static readonly TimeSpan Life = TimeSpan.FromDays(30);

    /// <summary>Signs it with the key of the root.</summary>
    public string Sign(ECDsa rootKey) => CompactJws.Sign(rootKey, Type, JsonSerializer.SerializeToUtf8Bytes(this, AccountJson.Default.AccountList));

    /// <summary>Reads a list.</summary>
    /// <exception cref="InvalidDataException">The root did not sign it, or not for this site.</exception>
    public static AccountList Read(string text, X509Certificate2 root, string site)
    {
        using var key = root.GetECDsaPublicKey() ?? throw new InvalidDataException("The root has no ECDSA key.");
        var list = CompactJws.Verify(key, Type, text.Trim()) is { } payload
            ? JsonSerializer.Deserialize(payload, AccountJson.Default.AccountList)
            : throw new InvalidDataException("The list of accounts is not signed by the root of this installation.");
        return list is { Accounts.Count: <= MaxAccounts, Reviewed: null or { Count: <= MaxReviewed } } && list.Site == site
            ? list
            : throw new InvalidDataException($"The list of accounts is for '{list?.Site}' with {list?.Accounts.Count} accounts; accepted is one for {site} with up to {MaxAccounts}.");
    }
}

/// <summary>
/// A slow hash of a PIN or password: PBKDF2, as <c>pbkdf2-sha256$ROUNDS$SALT$HASH</c>, or <c>pbkdf2-sha512</c> for what the embedded issuer
/// keeps of a password.
/// </summary>
public static class PinHash
{
    private const int Rounds = 210_000;
    private const int MaxRounds = 10_000_000;
    private const string Sha256 = "pbkdf2-sha256";
    private const string Sha512 = "pbkdf2-sha512";

    /// <summary>Hashes a PIN with a new salt.</summary>
    public static string Make(string pin, int rounds = Rounds)
    {
        var salt = RandomNumberGenerator.GetBytes(16);
        return Text(Sha256, rounds, salt, Rfc2898DeriveBytes.Pbkdf2(pin, salt, rounds, HashAlgorithmName.SHA256, 32));
    }

    /// <summary>What is known of a password: PBKDF2 with HMAC-SHA-512.</summary>
    public static string OfSha512(int rounds, ReadOnlySpan<byte> salt, ReadOnlySpan<byte> derived) => Text(Sha512, rounds, salt, derived);

    /// <summary>Whether a PIN is that of a hash; false also for a hash that is none.</summary>
    public static bool Fits(string pin, string hash)
    {
        try
        {
            if (hash.Split('$') is not [(Sha256 or Sha512) and var name, var rounds, var salt, var derived]
                || !int.TryParse(rounds, out var count) || count is < 1 or > MaxRounds)
            {
                return false;
            }

            var expected = Convert.FromBase64String(derived);
            return expected.Length is >= 16 and <= 64 && CryptographicOperations.FixedTimeEquals(
                Rfc2898DeriveBytes.Pbkdf2(
                    pin, Convert.FromBase64String(salt), count, name == Sha256 ? HashAlgorithmName.SHA256 : HashAlgorithmName.SHA512, expected.Length),
                expected);
        }
        catch (FormatException)
        {
            return false;
        }
    }

    private static string Text(string name, int rounds, ReadOnlySpan<byte> salt, ReadOnlySpan<byte> derived) =>
        $"{name}${rounds}${Convert.ToBase64String(salt)}${Convert.ToBase64String(derived)}";
}

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web)]
[JsonSerializable(typeof(AccountList))]
internal sealed partial class AccountJson : JsonSerializerContext;
