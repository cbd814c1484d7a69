using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Yizhan.AlertBridge.Tests;

/// <summary>A ticket.</summary>
internal sealed record Ticket(string Key, JsonNode Fields)
{
    public bool Done { get; set; }

    public List<string> Comments { get; } = [];
}

/// <summary>As much of Jira Data Center's REST API 2 as a ticket of ours needs, with its answers and its refusals.</summary>
internal sealed partial class JiraSink : IAsyncDisposable
{
    public const string Token = "a-personal-access-token";

    private readonly WebApplication _app;
    private readonly Lock _lock = new();
    private readonly List<Ticket> _tickets = [];

    private JiraSink(WebApplication app) => _app = app;

    public string Url => _app.Urls.First();

    /// <summary>Those that there are now: a test looks while the bridge makes more.</summary>
    public IReadOnlyList<Ticket> Tickets
    {
        get
        {
            lock (_lock)
            {
                return [.. _tickets];
            }
        }
    }

    /// <summary>Answers that it gives first, as (status, body).</summary>
    public ConcurrentQueue<(int Status, string Body)> Trouble { get; } = [];

    /// <summary>True: it makes the ticket and its answer is lost.</summary>
    public bool LosesAnswerOfCreate { get; set; }

    public int Calls;

    public string CloseName { get; set; } = "Done";

    public static async Task<JiraSink> StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        var app = builder.Build();
        app.Urls.Add("http://127.0.0.1:0");
        var sink = new JiraSink(app);
        app.Use(sink.GuardAsync);
        app.MapPost("/rest/api/2/search", sink.Search);
        app.MapPost("/rest/api/2/issue", sink.Create);
        app.MapPut("/rest/api/2/issue/{key}", sink.Update);
        app.MapPost("/rest/api/2/issue/{key}/comment", sink.Comment);
        app.MapGet("/rest/api/2/issue/{key}/transitions", (string key) => Results.Json(new { transitions = new[] { new { id = "11", name = "Start" }, new { id = "31", name = sink.CloseName } } }));
        app.MapPost("/rest/api/2/issue/{key}/transitions", sink.Close);
        await app.StartAsync();
        return sink;
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    private async Task GuardAsync(HttpContext context, RequestDelegate next)
    {
        Interlocked.Increment(ref Calls);
        if (Trouble.TryDequeue(out var trouble))
        {
            context.Response.StatusCode = trouble.Status;
            await context.Response.WriteAsync(trouble.Body);
        }
        else if (context.Request.Headers.Authorization != $"Bearer {Token}")
        {
            context.Response.StatusCode = 401;
        }
        else
        {
            await next(context);
        }
    }

    private IResult Search(JsonNode body)
    {
        var jql = (string)body["jql"]!;
        var match = Jql().Match(jql);
        if (!match.Success)
        {
            return Results.Json(new { errorMessages = new[] { $"The query is not understood: {jql}" } }, statusCode: 400);
        }

        lock (_lock)
        {
            var found = _tickets.FindAll(t => !t.Done && t.Fields["labels"]!.AsArray().Any(l => (string)l! == match.Groups[1].Value));
            return Results.Json(new { total = found.Count, issues = found.ConvertAll(t => new { key = t.Key }) });
        }
    }

    private IResult Create(JsonNode body)
    {
        var fields = body["fields"]!;
        if ((string?)fields["project"]?["key"] != "OPS" || (string?)fields["issuetype"]?["name"] != "Task" || ((string?)fields["summary"] ?? "").Length is 0 or > 255)
        {
            return Results.Json(new { errors = new { summary = "project, issuetype and a summary of at most 255 characters are required" } }, statusCode: 400);
        }

        lock (_lock)
        {
            var ticket = new Ticket($"OPS-{_tickets.Count + 1}", fields.DeepClone());
            _tickets.Add(ticket);
            if (LosesAnswerOfCreate)
            {
                LosesAnswerOfCreate = false;
                return Results.StatusCode(504);
            }

            return Results.Json(new { id = "1", key = ticket.Key, self = "x" }, statusCode: 201);
        }
    }

    private IResult Update(string key, JsonNode body)
    {
        lock (_lock)
        {
            foreach (var (name, value) in body["fields"]!.AsObject())
            {
                Find(key).Fields[name] = value!.DeepClone();
            }
        }

        return Results.NoContent();
    }

    private IResult Comment(string key, JsonNode body)
    {
        lock (_lock)
        {
            Find(key).Comments.Add((string)body["body"]!);
        }

        return Results.Json(new { id = "1" }, statusCode: 201);
    }

    private IResult Close(string key, JsonNode body)
    {
        lock (_lock)
        {
            Find(key).Done = (string?)body["transition"]?["id"] == "31";
        }

        return Results.NoContent();
    }

    private Ticket Find(string key) => _tickets.Find(t => t.Key == key) ?? throw new InvalidOperationException($"There is no ticket {key}.");

    [GeneratedRegex("^project = \"OPS\" and labels = \"([A-Za-z0-9-]+)\" and statusCategory != Done order by created asc$")]
    private static partial Regex Jql();
}
