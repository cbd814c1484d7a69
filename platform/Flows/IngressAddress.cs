using System.Net;
using Microsoft.AspNetCore.Builder;

namespace Yizhan.Platform.Flows;

/// <summary>
/// Who called, where the ingress of the installation stands in front: attempts are counted by address and audit records name it, and all people would be one. The header
/// counts on a connection with the certificate of the ingress alone, and of it what the ingress wrote itself, which is the last.
/// </summary>
internal static class IngressAddress
{
    /// <summary>Its name in the flow list.</summary>
    private const string Ingress = "ingress";

    public static void UseIngressAddress(this WebApplication app) => app.Use((context, next) =>
    {
        if (context.Connection.ClientCertificate is { } certificate && ServiceTls.ServiceOf(certificate) == Ingress
            && IPAddress.TryParse(context.Request.Headers["X-Forwarded-For"].ToString().Split(',')[^1].Trim(), out var address))
        {
            context.Connection.RemoteIpAddress = address;
        }

        return next(context);
    });
}
