using System.Security.Claims;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using Yizhan.Platform.Flows;

namespace Yizhan.Platform.Identity;

/// <summary>
/// The node's own issuer, for people on the same machine: a token for an hour in <c>{dataFolder}/identity/operator.token</c>, mode
/// 0600, written anew long before it ends. Who can read that folder has the data anyway; nobody else believes the key, which lives
/// in memory and dies with the process.
/// </summary>
public sealed partial class LocalOperator : IHostedService, ITrustedIssuer, IDisposable
{
    private static readonly TimeSpan Life = TimeSpan.FromHours(1);
    private static readonly TimeSpan Renewal = TimeSpan.FromMinutes(20);
    private static readonly TimeSpan Borrowed = TimeSpan.FromMinutes(5);

    /// <summary>What a session says of somebody beside the subject; one value is one word or several, as <see cref="Caller"/> reads it.</summary>
    private static readonly string[] Carried = ["name", "roles", "sites", "scope", "break_glass"];

    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
    private readonly JsonWebTokenHandler _handler = new() { SetDefaultTimesOnTokenCreation = false };
    private readonly SigningCredentials _credentials;
    private readonly SecurityKey[] _keys;
    private readonly NodeOptions _node;
    private readonly string _audience;
    private readonly string _web;
    private readonly TimeProvider _clock;
    private readonly IServer _server;
    private readonly ILogger _logger;
    private readonly ServiceTls? _tls;
    private readonly Lock _gate = new();
    private ITimer? _timer;
    private (string Text, DateTimeOffset From)? _token;

    /// <summary>Makes the key of this start.</summary>
    public LocalOperator(IOptions<NodeOptions> node, IOptions<WebOptions> web, IOptions<IdentityOptions> identity, TimeProvider clock, IServer server, ILogger<LocalOperator> logger, ServiceTls? tls = null)
    {
        (_node, _web, _audience, _clock, _server, _logger, _tls) = (node.Value, web.Value.Url, identity.Value.Audience, clock, server, logger, tls);
        var key = new ECDsaSecurityKey(_key) { KeyId = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8)) };
        _keys = [key];
        _credentials = new SigningCredentials(key, SecurityAlgorithms.EcdsaSha256);
        Issuer = $"urn:yizhan:node:{_node.SiteId}";
    }

    /// <inheritdoc/>
    public string Issuer { get; }

    /// <summary>Where a node with this data folder keeps the token.</summary>
    public static string PathIn(string dataFolder) => Path.Combine(dataFolder, "identity", "operator.token");

    /// <inheritdoc/>
    public ValueTask<IReadOnlyCollection<SecurityKey>> KeysAsync(string? keyId, CancellationToken cancellationToken) => new(_keys);

    /// <summary>A token that is good for the next 40 minutes at least.</summary>
    public string Token()
    {
        lock (_gate)
        {
            var now = _clock.GetUtcNow();
            if (_token is not { } token || now - token.From >= Renewal || now < token.From)
            {
                _token = token = (Issue("local:" + Environment.UserName, "admin", "*", Life), now);
            }

            return token.Text;
        }
    }

    /// <summary>A token of this node for a purpose within it: a program of its own that asks its own services.</summary>
    /// <param name="subject">Who.</param>
    /// <param name="roles">Roles, separated by spaces.</param>
    /// <param name="sites">Sites, separated by spaces; <c>*</c> is all.</param>
    /// <param name="life">How long.</param>
    /// <param name="audience">For which service; null for all.</param>
    public string Issue(string subject, string roles, string sites, TimeSpan life, string? audience = null) =>
        Issue(subject, new() { ["roles"] = roles.Split(' '), ["sites"] = sites.Split(' '), ["node"] = Address }, life, audience);

    /// <summary>
    /// A token for five minutes with which a page asks this node's services as the person whose session it is: the services decide what
    /// that person may, and the audit log names them.
    /// </summary>
    /// <param name="who">The session; its claims are those of <see cref="Caller"/>.</param>
    /// <exception cref="ArgumentException">Nobody is signed in.</exception>
    public string IssueFor(ClaimsPrincipal who)
    {
        var (subject, claims) = ClaimsOf(who);
        return Issue(subject, claims, Borrowed, null);
    }

    /// <summary>
    /// What asks services: those of this process with a token of this node, others (https, the first part of the path is the service's name) with the
    /// certificate of this one, which then is the caller, or says for which person it calls.
    /// </summary>
    /// <param name="who">The person; null: the node asks, or the service.</param>
    public HttpMessageHandler Neighbours(Func<ClaimsPrincipal>? who = null) =>
        new NeighbourHandler(_tls, who is null ? Token : () => IssueFor(who()), who is null ? null : () => PersonHeader.Of(who()));

    internal static (string Subject, Dictionary<string, object> Claims) ClaimsOf(ClaimsPrincipal who)
    {
        if (who.Identity?.IsAuthenticated != true || who.FindFirstValue("sub") is not { Length: > 0 } subject)
        {
            throw new ArgumentException("Nobody is signed in.", nameof(who));
        }

        var claims = new Dictionary<string, object>();
        foreach (var type in Carried)
        {
            if (who.FindAll(type).Select(claim => claim.Value).ToArray() is { Length: > 0 } values)
            {
                claims[type] = values is [var only] ? only : values;
            }
        }

        // Keycloak's roles are an object in the claim's text.
        if (who.FindFirstValue("realm_access") is { } realm)
        {
            claims["realm_access"] = JsonDocument.Parse(realm).RootElement;
        }

        return (subject, claims);
    }

    private string Issue(string subject, Dictionary<string, object> claims, TimeSpan life, string? audience)
    {
        var now = _clock.GetUtcNow();
        return _handler.CreateToken(new SecurityTokenDescriptor
        {
            Issuer = Issuer,
            Audience = audience ?? _audience,
            IssuedAt = now.UtcDateTime,
            NotBefore = now.UtcDateTime,
            Expires = (now + life).UtcDateTime,
            Subject = new ClaimsIdentity([new Claim("sub", subject)]),
            Claims = claims,
            TokenType = "at+jwt",
            SigningCredentials = _credentials,
        });
    }

    /// <inheritdoc/>
    public Task StartAsync(CancellationToken cancellationToken)
    {
        // Before the node listens: who finds it healthy finds the token, too.
        Write();
        _timer = _clock.CreateTimer(_ => Renew(), null, Renewal, Renewal);
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        if (_timer is { } timer)
        {
            await timer.DisposeAsync();
        }

        if (File.Exists(TokenPath))
        {
            File.Delete(TokenPath);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _timer?.Dispose();
        _key.Dispose();
    }

    private void Renew()
    {
        try
        {
            Write();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            NotWritten(TokenPath, e.Message);
        }
    }

    private string TokenPath => PathIn(Path.GetFullPath(_node.DataFolder));

    /// <summary>Where the node listens; with port 0 that is known after the start only.</summary>
    private string Address => _server.Features.Get<IServerAddressesFeature>()?.Addresses.FirstOrDefault() ?? _web;

    private void Write() => AtomicFile.Write(TokenPath, Encoding.ASCII.GetBytes(Token()), secret: true, overwrite: true);

    [LoggerMessage(1002, LogLevel.Warning, "The operator's token {Path} could not be renewed; commands on this machine will be refused: {Problem}")]
    private partial void NotWritten(string path, string problem);
}
