using System.Collections.Concurrent;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Yizhan.Inventory.Tests;

/// <summary>An HTTP server that answers what the test says, by path and query.</summary>
internal sealed class StubServer : IAsyncDisposable
{
    private readonly WebApplication _app;

    private StubServer(WebApplication app) => _app = app;

    public Uri Url => new(_app.Urls.Single());

    /// <summary>Path and query → status and body. What is not there is 404.</summary>
    public ConcurrentDictionary<string, (int Status, string Body)> Answers { get; } = [];

    public static async Task<StubServer> StartAsync()
    {
        var builder = WebApplication.CreateBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        var stub = new StubServer(builder.Build());
        stub._app.Run(async context =>
        {
            var (status, body) = stub.Answers.GetValueOrDefault(context.Request.Path + context.Request.QueryString, (404, "{}"));
            context.Response.StatusCode = status;
            context.Response.ContentType = "application/json";
            await context.Response.WriteAsync(body);
        });
        await stub._app.StartAsync(Node.Cancel);
        return stub;
    }

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
    }
}
