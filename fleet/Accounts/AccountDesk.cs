using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text.Json;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Link;
using Yizhan.Platform.Certificates;
using Yizhan.Platform.Flows;
using Yizhan.Platform.Identity;

namespace Yizhan.Fleet.Accounts;

/// <summary>
/// Who may sign in at a site without the centre: asks the auth service, adds what was reviewed, and signs it with the root for that site. A list
/// that says the same is given out again for a day, so that a site writes its file once a day and not once a minute.
/// </summary>
public sealed class AccountDesk : IDisposable
{
    private static readonly TimeSpan Fresh = TimeSpan.FromDays(1);

    private readonly EmbeddedCa _ca;
    private readonly EmergencyBook _emergencies;
    private readonly LocalOperator _operators;
    private readonly IServer _server;
    private readonly FleetOptions _options;
    private readonly string _audience;
    private readonly TimeProvider _clock;
    private readonly HttpClient _http;
    private readonly bool _byCertificate;
    private readonly ConcurrentDictionary<string, (string Digest, AccountList List, string Text)> _lists = new(StringComparer.Ordinal);

    /// <summary>A desk of the centre.</summary>
    public AccountDesk(
        EmbeddedCa ca, EmergencyBook emergencies, LocalOperator operators, IServer server, IOptions<FleetOptions> options, IOptions<IdentityOptions> identity,
        TimeProvider clock, ServiceTls? tls = null)
    {
        (_ca, _emergencies, _operators, _server, _options, _audience, _clock) = (ca, emergencies, operators, server, options.Value, identity.Value.Audience, clock);
        // The node itself is asked on its loopback, without TLS.
        var apart = _options.AuthUrl.Length > 0 ? tls?.Client("auth") : null;
        _byCertificate = apart is not null && _options.AuthTokenFile is null;
        _http = new HttpClient(apart ?? new SocketsHttpHandler { UseProxy = false, UseCookies = false, AllowAutoRedirect = false })
        {
            Timeout = TimeSpan.FromSeconds(10),
            MaxResponseContentBufferSize = 1024 * 1024,
        };
    }

    /// <summary>The signed list of a site; null when the newest that there is has the number <paramref name="after"/>, or there is no issuer.</summary>
    /// <exception cref="LinkRefusedException">The auth service does not answer: the site keeps what it has and asks again.</exception>
    public async Task<string?> ListAsync(string site, long after, CancellationToken cancellationToken)
    {
        if (await AskAsync(site, cancellationToken) is not { } directory)
        {
            return null;
        }

        var reviewed = _emergencies.Reviewed(site, AccountList.MaxReviewed).Select(e => new ReviewedAccess(e.Id, e.Reviewer!, e.Verdict!)).ToArray();
        var now = _clock.GetUtcNow();
        var list = new AccountList(
            0, site, now.ToUnixTimeMilliseconds(),
            [.. directory.Accounts.Take(AccountList.MaxAccounts).Select(a => new SiteAccount(a.Name, a.PasswordHash, a.Roles))], directory.Keys, directory.Issuer, reviewed);
        var digest = DigestOf(list);
        if (!_lists.TryGetValue(site, out var known) || known.Digest != digest
            || now - DateTimeOffset.FromUnixTimeMilliseconds(known.List.IssuedMs) is var age && (age > Fresh || age < TimeSpan.Zero))
        {
            // By the time, so that a centre that starts anew does not begin at one; and past what the site has, should our clock be behind.
            var number = Math.Max(now.ToUnixTimeMilliseconds(), Math.Max(after, known.List?.Number ?? 0) + 1);
            list = list with { Number = number };
            known = (digest, list, _ca.SignWith(list.Sign));
            _lists[site] = known;
        }

        return known.List.Number > after ? known.Text : null;
    }

    /// <inheritdoc/>
    public void Dispose() => _http.Dispose();

    private async Task<SiteDirectory?> AskAsync(string site, CancellationToken cancellationToken)
    {
        var address = _options.AuthUrl.Length > 0 ? _options.AuthUrl : _server.Features.Get<IServerAddressesFeature>()!.Addresses.First();
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(new Uri(address.TrimEnd('/') + "/"), $"auth/sites/{site}/accounts"));

        // The flow list says what this service is at that one; a token of this node would count for nothing there.
        var token = _options.AuthTokenFile is { } file
            ? OperatorTokenHandler.Read(file)
            : _byCertificate ? null
            : _operators.Issue("service:fleet", "directory", "*", TimeSpan.FromMinutes(1), $"{_audience}/auth");
        request.Headers.Authorization = token is null ? null : new AuthenticationHeaderValue("Bearer", token);
        try
        {
            using var answer = await _http.SendAsync(request, cancellationToken);
            if (answer.StatusCode == HttpStatusCode.NotFound)
            {
                // No embedded issuer here: people sign in at another one, which has no accounts for sites.
                return null;
            }

            answer.EnsureSuccessStatusCode();
            return await answer.Content.ReadFromJsonAsync(ContractsJson.Default.SiteDirectory, cancellationToken);
        }
        catch (Exception e) when (e is HttpRequestException or JsonException or IOException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            throw new LinkRefusedException(new LinkProblem(503, "The auth service does not answer.", e.Message, RetryAfterSeconds: 60));
        }
    }

    private static string DigestOf(AccountList list) => Convert.ToHexStringLower(SHA256.HashData(JsonSerializer.SerializeToUtf8Bytes(
        new SiteDirectory(list.Issuer, list.Keys, [.. list.Accounts.Select(a => new DirectoryAccount(a.Name, a.PinHash, a.Roles))]), ContractsJson.Default.SiteDirectory)))
        + string.Join(',', list.Reviewed!.Select(r => r.Id));
}
