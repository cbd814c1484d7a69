using Microsoft.IdentityModel.Tokens;

namespace Yizhan.Platform.Identity;

/// <summary>Somebody whose tokens this node accepts: its own for people on the machine, the embedded one, one over HTTP, the site's.</summary>
public interface ITrustedIssuer
{
    /// <summary>The <c>iss</c> of its tokens, exactly; empty while there is none.</summary>
    string Issuer { get; }

    /// <summary>Its public keys.</summary>
    /// <param name="keyId">The key that a token names; one that is not known may be worth another look. Null when the token names none.</param>
    /// <param name="cancellationToken">Ends a look over the network.</param>
    /// <exception cref="TokenRefusedException">The keys cannot be had; the message says why.</exception>
    ValueTask<IReadOnlyCollection<SecurityKey>> KeysAsync(string? keyId, CancellationToken cancellationToken);

    /// <summary>Whether a site may be named in its tokens: the key of one site says nothing about another.</summary>
    bool MaySpeakFor(string site) => true;
}

/// <summary>A token is not accepted; the message says why and what would be.</summary>
public sealed class TokenRefusedException(string message, Exception? inner = null) : Exception(message, inner);
