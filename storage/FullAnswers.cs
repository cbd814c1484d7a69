using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Diagnostics;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;

namespace Yizhan.Storage;

/// <summary>
/// What every HTTP answer of a node has in common when the log has no room: 507 (RFC 4918 §11.5) with Retry-After, so that a client comes again instead of
/// giving up. Protocols with a status of their own, such as DICOM, answer before it comes to this.
/// </summary>
internal sealed class FullAnswers : IExceptionHandler, IStartupFilter
{
    private const string RetryAfterSeconds = "60";

    /// <summary>A lane was full where nobody had an answer for it.</summary>
    public async ValueTask<bool> TryHandleAsync(HttpContext httpContext, Exception exception, CancellationToken cancellationToken)
    {
        if (exception is BlobAwayException)
        {
            httpContext.Response.Headers.RetryAfter = RetryAfterSeconds;
            await TypedResults.Problem("The bytes are in an object store that does not answer; nothing is lost. Come again.", statusCode: StatusCodes.Status503ServiceUnavailable)
                .ExecuteAsync(httpContext).ConfigureAwait(false);
            return true;
        }

        if (exception is not SpoolFullException full)
        {
            return false;
        }

        await TypedResults.Problem(full.Message, statusCode: StatusCodes.Status507InsufficientStorage).ExecuteAsync(httpContext).ConfigureAwait(false);
        return true;
    }

    /// <summary>Whoever answered 507 without saying when to come again.</summary>
    public Action<IApplicationBuilder> Configure(Action<IApplicationBuilder> next) => app =>
    {
        app.Use(static (context, rest) =>
        {
            context.Response.OnStarting(static state =>
            {
                var response = ((HttpContext)state).Response;
                if (response.StatusCode == StatusCodes.Status507InsufficientStorage && response.Headers.RetryAfter.Count == 0)
                {
                    response.Headers.RetryAfter = RetryAfterSeconds;
                }

                return Task.CompletedTask;
            }, context);
            return rest(context);
        });
        next(app);
    };
}
