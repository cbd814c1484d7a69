using System.Globalization;
using Microsoft.AspNetCore.Components.Server.Circuits;
using Microsoft.Extensions.Options;

namespace Yizhan.Console.Live;

/// <summary>How many pages are open: each has a connection and its state here, and a node has other work for its memory.</summary>
internal sealed class OpenPages(IOptions<ConsoleOptions> options)
{
    private int _count;

    /// <summary>Counts one page, also while its connection is lost and may come back.</summary>
    public CircuitHandler Counter => new One(this);

    /// <summary>Refuses the connection of one page more than the bound; its browser has what was drawn and says that the connection is lost.</summary>
    public async Task RefuseAsync(HttpContext context, RequestDelegate next)
    {
        // With an id it is the connection of a page that was let in.
        if (!context.Request.Query.ContainsKey("id") && Volatile.Read(ref _count) >= options.Value.MaxOpenPages)
        {
            context.Response.Headers.RetryAfter = "60";
            await TypedResults.Problem(
                string.Create(CultureInfo.InvariantCulture, $"{options.Value.MaxOpenPages} pages are open (console:maxOpenPages); close one, or try again in a minute."),
                statusCode: StatusCodes.Status503ServiceUnavailable).ExecuteAsync(context);
            return;
        }

        await next(context);
    }

    private sealed class One(OpenPages pages) : CircuitHandler
    {
        public override Task OnCircuitOpenedAsync(Circuit circuit, CancellationToken cancellationToken)
        {
            Interlocked.Increment(ref pages._count);
            return Task.CompletedTask;
        }

        public override Task OnCircuitClosedAsync(Circuit circuit, CancellationToken cancellationToken)
        {
            Interlocked.Decrement(ref pages._count);
            return Task.CompletedTask;
        }
    }
}
