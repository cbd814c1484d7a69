using System.Text.RegularExpressions;
using Microsoft.JSInterop;
using Yizhan.Contracts;
using Yizhan.Platform.Releases;

namespace Yizhan.Console.Configuration;

/// <summary>A key that a browser keeps for the person who has signed in there.</summary>
/// <param name="Name">Its name; null when there is none.</param>
/// <param name="PublicKey">What goes into the trust list.</param>
/// <param name="Problem">Why the browser has none and can make none: <c>insecure</c>, or the name of its error; null else.</param>
public sealed record BrowserKey(string? Name = null, string? PublicKey = null, string? Problem = null)
{
    /// <summary>What two people compare before the key is trusted.</summary>
    public string Fingerprint => new TrustedKey("", PublicKey ?? "").Fingerprint;

    /// <summary>Whether its signatures count.</summary>
    public KeyStanding Standing(ReleaseTrustView trust) =>
        trust.Keys.FirstOrDefault(k => k.PublicKey == PublicKey) is { } known ? known.Name != Name ? KeyStanding.OtherName : known.Revoked ? KeyStanding.Revoked : KeyStanding.Counts
        : trust.Keys.Any(k => k.Name == Name) ? KeyStanding.OtherKey
        : KeyStanding.Unknown;
}

/// <summary>How a key stands to the trust list.</summary>
public enum KeyStanding
{
    /// <summary>It is not there.</summary>
    Unknown,

    /// <summary>Another key has its name.</summary>
    OtherKey,

    /// <summary>It is there under another name.</summary>
    OtherName,

    /// <summary>It counts no longer.</summary>
    Revoked,

    /// <summary>It counts.</summary>
    Counts,
}

/// <summary>What the browser answered to be signed.</summary>
/// <param name="Name">Name of the key.</param>
/// <param name="Signature">DER in base64.</param>
/// <param name="Problem">Why there is none; null else.</param>
internal sealed record BrowserSignature(string? Name, string? Signature, string? Problem);

/// <summary>The key in the browser of an open page (<c>release-key.js</c>). Only its public half and signatures come from there.</summary>
internal sealed partial class BrowserKeys(IJSRuntime browser) : IAsyncDisposable
{
    private IJSObjectReference? _script;

    /// <summary>The key of a person; one without a name when there is none, null when the browser does not answer.</summary>
    public Task<BrowserKey?> FindAsync(string person, CancellationToken cancellationToken) => CallAsync<BrowserKey>("find", cancellationToken, person);

    /// <summary>Makes a key; null when the browser does not answer.</summary>
    public Task<BrowserKey?> MakeAsync(string person, string name, CancellationToken cancellationToken) => CallAsync<BrowserKey>("make", cancellationToken, person, name);

    /// <summary>Deletes the key; null when the browser does not answer.</summary>
    public Task<BrowserKey?> ForgetAsync(string person, CancellationToken cancellationToken) => CallAsync<BrowserKey>("forget", cancellationToken, person);

    /// <summary>Signs the bytes of a manifest; null when the browser does not answer.</summary>
    public Task<BrowserSignature?> SignAsync(string person, ReadOnlyMemory<byte> manifest, CancellationToken cancellationToken) =>
        CallAsync<BrowserSignature>("sign", cancellationToken, person, manifest.ToArray());

    /// <summary>A name for the key of a person: that of the account, in the letters that names of keys have.</summary>
    public static string NameFor(string subject)
    {
        var name = NotOfNames().Replace(subject[(subject.LastIndexOf(':') + 1)..].ToLowerInvariant(), "-").Trim('-');
        return $"{(name.Length > 30 ? name[..30].TrimEnd('-') : name)}-browser".TrimStart('-');
    }

    /// <summary>Whether it is a name that a key may have.</summary>
    public static bool IsName(string name) => Name().IsMatch(name);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_script is { } script)
        {
            try
            {
                await script.DisposeAsync();
            }
            catch (JSDisconnectedException)
            {
                // The browser has left, and the script with it.
            }
        }
    }

    private async Task<T?> CallAsync<T>(string what, CancellationToken cancellationToken, params object[] arguments)
        where T : class
    {
        try
        {
            _script ??= await browser.InvokeAsync<IJSObjectReference>("import", cancellationToken, "/_content/Yizhan.Console/release-key.js");
            return await _script.InvokeAsync<T>(what, cancellationToken, arguments);
        }
        catch (Exception e) when (e is JSException or JSDisconnectedException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            // A line that broke in the middle: the page asks again when it has one.
            return null;
        }
    }

    [GeneratedRegex("[^a-z0-9-]+")]
    private static partial Regex NotOfNames();

    [GeneratedRegex(@"\A[a-z0-9][a-z0-9-]{0,40}\z")]
    private static partial Regex Name();
}
