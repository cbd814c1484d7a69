using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Yizhan.AlertBridge.Tests;

/// <summary>
/// A group's custom bot as its documentation says: HTTP 200 to everything, a code in the body; 19021 when the signature or its time is wrong, 9499 for a body
/// that it does not understand.
/// </summary>
internal sealed class FeishuSink : IAsyncDisposable
{
    public const string Secret = "a-secret-of-the-bot";
    private const string Hook = "0c1f7a3e-token";

    private readonly WebApplication _app;

    private FeishuSink(WebApplication app) => _app = app;

    public string Url => $"{_app.Urls.First()}/open-apis/bot/v2/hook/{Hook}";

    /// <summary>Texts that it took.</summary>
    public ConcurrentQueue<string> Texts { get; } = [];

    /// <summary>Answers that it gives first, as (status, body), before it does its work.</summary>
    public ConcurrentQueue<(int Status, string Body)> Trouble { get; } = [];

    public int Calls;

    public static async Task<FeishuSink> StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        var app = builder.Build();
        app.Urls.Add("http://127.0.0.1:0");
        var sink = new FeishuSink(app);
        app.MapPost("/open-apis/bot/v2/hook/{token}", sink.TakeAsync);
        await app.StartAsync();
        return sink;
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    private async Task<IResult> TakeAsync(string token, HttpRequest request)
    {
        Interlocked.Increment(ref Calls);
        if (Trouble.TryDequeue(out var trouble))
        {
            return Results.Text(trouble.Body, "application/json", statusCode: trouble.Status);
        }

        var body = JsonNode.Parse(await new StreamReader(request.Body).ReadToEndAsync())!;
        var timestamp = (string?)body["timestamp"] ?? "";
        var expected = Convert.ToBase64String(HMACSHA256.HashData(Encoding.UTF8.GetBytes(timestamp + "\n" + Secret), ReadOnlySpan<byte>.Empty));
        var age = Math.Abs(DateTimeOffset.UtcNow.ToUnixTimeSeconds() - (long.TryParse(timestamp, out var seconds) ? seconds : 0));
        if (token != Hook || (string?)body["sign"] != expected || age > 3600)
        {
            return Results.Json(new { code = 19021, msg = "sign match fail or timestamp is not within one hour from current time" });
        }

        if ((string?)body["msg_type"] != "text" || (string?)body["content"]?["text"] is not { } text)
        {
            return Results.Json(new { code = 9499, msg = "Bad Request" });
        }

        Texts.Enqueue(text);
        return Results.Json(new { code = 0, msg = "success", data = new { } });
    }
}
