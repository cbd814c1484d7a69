using System.Net;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Auth.Tests;

/// <summary>A node with the issuer on a free port, in a folder of its own, with a clock that stands still.</summary>
internal sealed partial class Node : IAsyncDisposable
{
    private readonly string _folder;
    private readonly WebApplication _app;

    private Node(string folder, WebApplication app, FakeTimeProvider clock)
    {
        (_folder, _app, Clock) = (folder, app, clock);
        Web = new Uri(app.Urls.Single());
        Http = Operator.Client(app, inner: new HttpClientHandler { AllowAutoRedirect = false, UseCookies = false });
    }

    public FakeTimeProvider Clock { get; }

    public Uri Web { get; }

    /// <summary>As the operator of the node.</summary>
    public HttpClient Http { get; }

    public string FirstPasswordPath => Path.Combine(_folder, "auth", "first-password");

    public static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public T Service<T>() where T : notnull => _app.Services.GetRequiredService<T>();

    public static async Task<Node> StartAsync(params string[] settings)
    {
        var folder = Directory.CreateTempSubdirectory("yizhan-auth-").FullName;
        var clock = new FakeTimeProvider(DateTimeOffset.UtcNow);
        var secret = Path.Combine(folder, "secret");
        await File.WriteAllTextAsync(secret, Secret + "\n", Cancel);
        var app = new ServiceHost(
            [
                $"--node:dataFolder={folder}", "--web:url=http://127.0.0.1:0", "--log:level=error", "--storage:freeFloorBytes=0", "--auth:passwordIterations=10000",
                "--auth:clients:0:id=emr-adapter", $"--auth:clients:0:secretFile={secret}", "--auth:clients:0:roles:0=service@lakeside",
                "--auth:clients:1:id=viewer", "--auth:clients:1:redirectUris:0=http://127.0.0.1:9/callback", .. settings,
            ]).Add<AuthModule>().With(services => services.AddSingleton<TimeProvider>(clock)).Build();
        await app.StartAsync(Cancel);
        return new Node(folder, app, clock);
    }

    public static string Secret => "a secret of the test";

    /// <summary>A browser: cookies, no redirects followed.</summary>
    public HttpClient Browser(string language = "en")
    {
        var http = new HttpClient(new HttpClientHandler { AllowAutoRedirect = false, CookieContainer = new CookieContainer(), UseProxy = false }) { BaseAddress = Web };
        http.DefaultRequestHeaders.AcceptLanguage.ParseAdd(language);
        http.DefaultRequestHeaders.Accept.ParseAdd("text/html");
        return http;
    }

    /// <summary>Opens a page and sends its form with these fields.</summary>
    public static async Task<HttpResponseMessage> SubmitAsync(HttpClient browser, string page, string action, params (string Name, string Value)[] fields)
    {
        var html = await (await browser.GetAsync(page, Cancel)).Content.ReadAsStringAsync(Cancel);
        var form = FieldOf().Matches(html).ToDictionary(m => m.Groups[1].Value, m => WebUtility.HtmlDecode(m.Groups[2].Value));
        foreach (var (name, value) in fields)
        {
            form[name] = value;
        }

        return await browser.PostAsync(action, new FormUrlEncodedContent(form), Cancel);
    }

    /// <summary>Adds somebody and gives them a password of their own, as they would do it; a browser that they are signed in with.</summary>
    public async Task<HttpClient> PersonAsync(string name, string password, params string[] roles)
    {
        var people = Service<People>();
        var first = await people.AddAsync(name, "", string.Join(' ', roles), "test", Cancel);
        Assert.Null(await people.ChangePasswordAsync(name, first!, password, Cancel));
        var browser = Browser();
        using var answer = await SubmitAsync(browser, "/sign-in?back=/ok", "/sign-in", ("name", name), ("password", password));
        Assert.Equal("/ok", answer.Headers.Location?.OriginalString);
        return browser;
    }

    public async Task<(HttpStatusCode Status, JsonNode Answer)> TokenAsync(params (string Name, string Value)[] fields)
    {
        using var http = new HttpClient { BaseAddress = Web };
        using var answer = await http.PostAsync("/auth/token", new FormUrlEncodedContent(fields.Select(f => KeyValuePair.Create(f.Name, f.Value))), Cancel);
        return (answer.StatusCode, JsonNode.Parse(await answer.Content.ReadAsStringAsync(Cancel))!);
    }

    /// <summary>What is in the log about sign-ins, oldest first.</summary>
    public async Task<IReadOnlyList<AuditRecord>> AuditAsync() =>
        [.. (await Service<IEventLog>().ReadAsync(0, 1000, Cancel)).Where(e => e.Entry.Type == AuditRecord.EventType)
            .Select(e => System.Text.Json.JsonSerializer.Deserialize(e.Entry.Data.Span, ContractsJson.Default.AuditRecord)!)];

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [GeneratedRegex("""<input[^>]*?name="([^"]+)"[^>]*?value="([^"]*)""")]
    private static partial Regex FieldOf();
}
