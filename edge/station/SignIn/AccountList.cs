using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Serialization;
using Yizhan.Platform;

namespace Yizhan.Station.SignIn;

/// <summary>Somebody who may sign in at the site without the centre.</summary>
/// <param name="Name">Name to sign in with.</param>
/// <param name="PinHash"><see cref="SignIn.PinHash"/> of PIN or password.</param>
/// <param name="Roles">Roles; they count at this site alone.</param>
public sealed record SiteAccount(string Name, string PinHash, IReadOnlyList<string> Roles);

/// <summary>What the centre sends ahead for the time without it: a list that its root has signed for one site.</summary>
/// <param name="Number">Grows with each list of a site.</param>
/// <param name="Site">The site.</param>
/// <param name="IssuedMs">When, Unix milliseconds.</param>
/// <param name="Accounts">Who may sign in, at most <see cref="MaxAccounts"/>.</param>
/// <param name="Keys">Keys of the centre's issuer (RFC 7517), so that its tokens are believed, too.</param>
public sealed record AccountList(long Number, string Site, long IssuedMs, IReadOnlyList<SiteAccount> Accounts, JsonElement Keys)
{
    /// <summary>Type in the header of the statement.</summary>
    public const string Type = "yizhan-accounts+jws";

    /// <summary>Most accounts of a site.</summary>
    public const int MaxAccounts = 500;

    /// <summary>How long a list counts.</summary>
    public static readonly TimeSpan Life = TimeSpan.FromDays(30);

    /// <summary>Signs it with the key of the root.</summary>
    public string Sign(ECDsa rootKey) => CompactJws.Sign(rootKey, Type, JsonSerializer.SerializeToUtf8Bytes(this, SignInJson.Default.AccountList));

    /// <summary>Reads a list.</summary>
    /// <exception cref="InvalidDataException">The root did not sign it, or not for this site.</exception>
    public static AccountList Read(string text, X509Certificate2 root, string site)
    {
        using var key = root.GetECDsaPublicKey() ?? throw new InvalidDataException("The root has no ECDSA key.");
        var list = CompactJws.Verify(key, Type, text.Trim()) is { } payload
            ? JsonSerializer.Deserialize(payload, SignInJson.Default.AccountList)
            : throw new InvalidDataException("The list of accounts is not signed by the root of this installation.");
        return list is { Accounts.Count: <= MaxAccounts } && list.Site == site
            ? list
            : throw new InvalidDataException($"The list of accounts is for '{list?.Site}' with {list?.Accounts.Count} accounts; accepted is one for {site} with up to {MaxAccounts}.");
    }
}

/// <summary>A slow hash of a PIN or password: PBKDF2 with HMAC-SHA-256, as <c>pbkdf2-sha256$ROUNDS$SALT$HASH</c>.</summary>
public static class PinHash
{
    private const int Rounds = 210_000;
    private const string Name = "pbkdf2-sha256";

    /// <summary>Hashes a PIN with a new salt.</summary>
    public static string Make(string pin, int rounds = Rounds)
    {
        var salt = RandomNumberGenerator.GetBytes(16);
        return $"{Name}${rounds}${Convert.ToBase64String(salt)}${Convert.ToBase64String(Derive(pin, salt, rounds))}";
    }

    /// <summary>Whether a PIN is that of a hash; false also for a hash that is none.</summary>
    public static bool Fits(string pin, string hash)
    {
        try
        {
            return hash.Split('$') is [Name, var rounds, var salt, var derived] && int.TryParse(rounds, out var count) && count is >= 1 and <= 10_000_000
                && CryptographicOperations.FixedTimeEquals(Derive(pin, Convert.FromBase64String(salt), count), Convert.FromBase64String(derived));
        }
        catch (FormatException)
        {
            return false;
        }
    }

    private static byte[] Derive(string pin, byte[] salt, int rounds) => Rfc2898DeriveBytes.Pbkdf2(pin, salt, rounds, HashAlgorithmName.SHA256, 32);
}

/// <summary>Emergency access that was taken.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Who">Who took it.</param>
/// <param name="Reason">Why.</param>
/// <param name="FromMs">Begin, Unix milliseconds.</param>
/// <param name="UntilMs">End.</param>
/// <param name="Reviewer">Who has looked at it; null while nobody has.</param>
/// <param name="Verdict">What the reviewer found; null while nobody has looked.</param>
public sealed record EmergencyAccess(string Id, string Who, string Reason, long FromMs, long UntilMs, string? Reviewer = null, string? Verdict = null);

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web)]
[JsonSerializable(typeof(AccountList))]
[JsonSerializable(typeof(List<EmergencyAccess>))]
[JsonSerializable(typeof(Dictionary<string, object>))]
[JsonSerializable(typeof(string[]))]
[JsonSerializable(typeof(long))]
internal sealed partial class SignInJson : JsonSerializerContext;
