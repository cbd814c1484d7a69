using System.Text.Encodings.Web;
using Microsoft.AspNetCore.Authentication;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Microsoft.Net.Http.Headers;

namespace Yizhan.Platform.Identity;

/// <summary>Bearer tokens in the Authorization header (RFC 6750 §2.1); never in a query string, which ends in logs.</summary>
internal sealed class BearerHandler(
    IOptionsMonitor<AuthenticationSchemeOptions> options, ILoggerFactory loggers, UrlEncoder encoder, TokenValidator tokens)
    : AuthenticationHandler<AuthenticationSchemeOptions>(options, loggers, encoder)
{
    public const string SchemeName = "Bearer";

    private const string Prefix = "Bearer ";

    protected override async Task<AuthenticateResult> HandleAuthenticateAsync()
    {
        var header = Request.Headers[HeaderNames.Authorization].ToString();
        if (!header.StartsWith(Prefix, StringComparison.OrdinalIgnoreCase))
        {
            return AuthenticateResult.NoResult();
        }

        // The first part of a path is the name of the service, everywhere: in one process, and behind a gateway.
        var path = Request.Path.Value ?? "/";
        var end = path.IndexOf('/', 1);
        var service = path.Length < 2 ? "" : end < 0 ? path[1..] : path[1..end];
        try
        {
            var (principal, caller) = await tokens.CheckAsync(header[Prefix.Length..].Trim(), service, Context.RequestAborted);
            Context.Features.Set(caller);
            return AuthenticateResult.Success(new AuthenticationTicket(principal, SchemeName));
        }
        catch (TokenRefusedException e)
        {
            Context.Features.Set(e);
            return AuthenticateResult.Fail(e);
        }
    }
}
