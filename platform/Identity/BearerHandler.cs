using System.Text.Encodings.Web;
using Microsoft.AspNetCore.Authentication;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Microsoft.Net.Http.Headers;
using Yizhan.Platform.Flows;

namespace Yizhan.Platform.Identity;

/// <summary>
/// Bearer tokens in the Authorization header (RFC 6750 §2.1); never in a query string, which ends in logs. Without one, the service that the connection's
/// certificate names is the caller, where a line of the flow list says as what.
/// </summary>
internal sealed class BearerHandler(
    IOptionsMonitor<AuthenticationSchemeOptions> options, ILoggerFactory loggers, UrlEncoder encoder, TokenValidator tokens)
    : AuthenticationHandler<AuthenticationSchemeOptions>(options, loggers, encoder)
{
    public const string SchemeName = "Bearer";

    private const string Prefix = "Bearer ";

    protected override async Task<AuthenticateResult> HandleAuthenticateAsync()
    {
        // The first part of a path is the name of the service, everywhere: in one process, and behind a gateway.
        var path = Request.Path.Value ?? "/";
        var end = path.IndexOf('/', 1);
        var service = path.Length < 2 ? "" : end < 0 ? path[1..] : path[1..end];
        var header = Request.Headers[HeaderNames.Authorization].ToString();
        if (header.Length == 0 && Context.Connection.ClientCertificate is { } certificate
            && Context.RequestServices.GetService<ServiceTls>()?.PrincipalOf(certificate, service) is { } caller)
        {
            return AuthenticateResult.Success(new AuthenticationTicket(caller, SchemeName));
        }

        if (PersonHeader.Is(header))
        {
            return Person(header, service);
        }

        if (!header.StartsWith(Prefix, StringComparison.OrdinalIgnoreCase))
        {
            return AuthenticateResult.NoResult();
        }

        try
        {
            var (principal, bearer) = await tokens.CheckAsync(header[Prefix.Length..].Trim(), service, Context.RequestAborted);
            Context.Features.Set(bearer);
            return AuthenticateResult.Success(new AuthenticationTicket(principal, SchemeName));
        }
        catch (TokenRefusedException e)
        {
            Context.Features.Set(e);
            return AuthenticateResult.Fail(e);
        }
    }

    /// <summary>A person for whom a service calls that may: the connection says which service, the header which person.</summary>
    private AuthenticateResult Person(string header, string service)
    {
        var speaker = Context.Connection.ClientCertificate is { } certificate ? Context.RequestServices.GetService<ServiceTls>()?.PrincipalOf(certificate, service) : null;
        try
        {
            return speaker is not null && Caller.From(speaker).May(Permission.SpeakForPeople, "*")
                ? AuthenticateResult.Success(new AuthenticationTicket(PersonHeader.Read(header), SchemeName))
                : throw new TokenRefusedException("Who calls may not speak for people: no line of the flow list says so ('as: people').");
        }
        catch (TokenRefusedException e)
        {
            Context.Features.Set(e);
            return AuthenticateResult.Fail(e);
        }
    }
}
