using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using System.Text.RegularExpressions;
using Yizhan.Platform;
using Yizhan.Platform.Certificates;
using Yizhan.Platform.Flows;
using Yizhan.Platform.Identity;

namespace Yizhan.Host.Tests;

/// <summary>Walks over every route of every module of both nodes: who has no token, another role or another site is refused.</summary>
[Trait("Clause", "S1")]
public sealed partial class RouteTests : IAsyncLifetime
{
    /// <summary>Every route that answers anybody. Whoever adds one adds it here, and says at the route what protects it.</summary>
    private static readonly string[] Open =
    [
        "GET /ai-infer/metrics", "GET /ai-infer/v2/health/live", "GET /ai-infer/v2/health/ready", "POST /audit/witness/add-checkpoint",
        "GET /audit/witness/checkpoint", "GET /audit/witness/key", "GET /auth/authorize", "POST /auth/authorize", "GET /auth/device",
        "POST /auth/device", "POST /auth/token", "POST /emr-adapter/notify/{system}", "GET /console/language/{language}", "GET /healthz", "GET /health/ready", "GET /health/live", "GET /station/updates/gate", "POST /inventory/agents/{source}",
        "GET /inventory/app/{file?}", "GET /metrics", "GET /sign-in", "POST /sign-in", "GET /sign-in/done", "GET /sign-in/emergency", "POST /sign-in/emergency", "GET /sign-in/once",
        "POST /sign-in/password", "POST /sign-out", "POST /station/emergencies", "POST /station/sign-in", "GET /station/sign-in/keys", "GET /v2/health/live", "GET /v2/health/ready",
    ];

    /// <summary>What stands for a parameter of a route: a UID, a name, a site.</summary>
    private const string AnySite = "1.2";

    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-routes-").FullName;
    private readonly List<WebApplication> _nodes = [];

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        foreach (var node in _nodes)
        {
            await node.StopAsync(CancellationToken.None);
            await node.DisposeAsync();
        }

        Directory.Delete(_folder, recursive: true);
    }

    [Theory]
    [InlineData("centre")]
    [InlineData("edge")]
    public async Task A_caller_without_a_token_with_another_role_or_of_another_site_is_refused_by_every_route(string kind)
    {
        var node = await StartAsync(kind);
        var site = kind == "centre" ? "centre" : "site-a";
        var operators = node.Services.GetRequiredService<LocalOperator>();
        using var http = new HttpClient { BaseAddress = new Uri(node.Urls.First()) };
        var (walked, open, wrong) = (0, new SortedSet<string>(StringComparer.Ordinal), new List<string>());
        foreach (var (endpoint, method, name) in RoutesOf(node))
        {
            var rule = endpoint.Metadata.LastOrDefault(m => m is AccessRule or OpenToAll);
            if (rule is OpenToAll(var reason))
            {
                Assert.NotEmpty(reason);
                open.Add(name);
                continue;
            }

            if (rule is not AccessRule needs)
            {
                wrong.Add($"{name} does not say who may call it");
                continue;
            }

            walked++;
            var path = PathOf(endpoint);
            var another = Roles.Names.First(role => (Roles.Of(role) & needs.Permission) != needs.Permission);
            var right = Roles.With(needs.Permission).First();
            foreach (var (who, token, expected) in new (string, string?, int)[]
            {
                ("nobody", null, 401),
                ("nonsense", "nonsense", 401),
                (another, operators.Issue("somebody", another, site, TimeSpan.FromMinutes(5)), 403),
                (right + " of another site", operators.Issue("somebody", right, "elsewhere", TimeSpan.FromMinutes(5)), 403),
                (right + " of no site", operators.Issue("somebody", right, "", TimeSpan.FromMinutes(5)), 403),
            })
            {
                using var answer = await SendAsync(http, method, path, token);
                if ((int)answer.StatusCode != expected || !await SaysWhatIsMissingAsync(answer, needs.Permission))
                {
                    wrong.Add($"{name} answers {who} with {(int)answer.StatusCode}");
                }
            }

            // That the right one gets in is shown where it changes nothing.
            if (method == "GET")
            {
                var at = needs.SiteParameter is null ? site : AnySite;
                using var answer = await SendAsync(http, method, path, operators.Issue("somebody", right, at, TimeSpan.FromMinutes(5)));
                if (answer.StatusCode is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden)
                {
                    wrong.Add($"{name} refuses a {right}: {(int)answer.StatusCode}");
                }

                // What not everybody may see lies in no cache that would show it without asking here, and no browser guesses what it is.
                if (answer.Headers.CacheControl is not ({ NoStore: true } or { NoCache: true })
                    || !answer.Headers.TryGetValues("X-Content-Type-Options", out var sniff) || sniff.Single() != "nosniff" || !answer.Headers.Contains("Content-Security-Policy"))
                {
                    wrong.Add($"{name} may be kept, or taken for something else: {(int)answer.StatusCode} {answer.Headers}");
                }
            }
        }

        Assert.Empty(wrong);
        Assert.True(walked >= 35, $"Only {walked} routes were walked.");
        Assert.Empty(open.Except(Open));
        TestContext.Current.SendDiagnosticMessage($"{kind}: {walked} routes refuse, {open.Count} are open: {string.Join(", ", open)}");
    }

    /// <summary>What anybody may send is in memory before anything of it is looked at; only inventories of agents are larger, of which few come in at a time.</summary>
    [Theory]
    [InlineData("centre")]
    [InlineData("edge")]
    public async Task Who_has_no_right_sends_no_more_than_a_form(string kind)
    {
        var node = await StartAsync(kind);

        // The answer comes instead of the body, not while it is being written.
        using var http = new HttpClient(new SocketsHttpHandler { Expect100ContinueTimeout = TimeSpan.FromMinutes(2) }) { BaseAddress = new Uri(node.Urls.First()) };
        var wrong = new List<string>();
        var walked = 0;
        foreach (var (endpoint, method, name) in RoutesOf(node))
        {
            if (method != "POST" || name.EndsWith("/agents/{source}", StringComparison.Ordinal) || endpoint.Metadata.LastOrDefault(m => m is AccessRule or OpenToAll) is not OpenToAll)
            {
                continue;
            }

            walked++;
            using var request = new HttpRequestMessage(HttpMethod.Post, PathOf(endpoint)) { Content = new StringContent($"name={new string('x', 1024 * 1024)}", new MediaTypeHeaderValue("application/x-www-form-urlencoded")) };
            request.Headers.ExpectContinue = true;
            using var answer = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, Cancel);

            // A route that takes JSON only refuses a form before it reads any of it.
            if (answer.StatusCode is not (HttpStatusCode.RequestEntityTooLarge or HttpStatusCode.UnsupportedMediaType))
            {
                wrong.Add($"{name} answers a form of a megabyte with {(int)answer.StatusCode}");
            }
        }

        Assert.Empty(wrong);
        Assert.True(walked >= 3, $"Only {walked} routes were walked.");
    }

    [Fact]
    public async Task A_token_for_one_service_opens_no_other()
    {
        var node = await StartAsync("centre");
        using var http = new HttpClient { BaseAddress = new Uri(node.Urls.First()) };
        var token = node.Services.GetRequiredService<LocalOperator>().Issue("somebody", "admin", "*", TimeSpan.FromMinutes(5), "yizhan/audit");
        Assert.Equal(HttpStatusCode.OK, (await SendAsync(http, "GET", "/audit/records", token)).StatusCode);
        using var refused = await SendAsync(http, "GET", "/fleet/sites", token);
        Assert.Equal(HttpStatusCode.Unauthorized, refused.StatusCode);
        Assert.Contains("The token is for yizhan/audit; accepted: yizhan, yizhan/fleet.", await refused.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
        Assert.Contains("invalid_token", refused.Headers.WwwAuthenticate.ToString(), StringComparison.Ordinal);
    }

    /// <summary>
    /// Each service apart, behind service-tls with the flow list of the installation: who calls with a certificate alone is answered as what its line says,
    /// at each route, and who has no line does not get as far as a route.
    /// </summary>
    [Theory]
    [Trait("Clause", "D3.2")]
    [InlineData("auth")]
    [InlineData("pacs-gw")]
    [InlineData("ai-infer")]
    [InlineData("nmt-asr")]
    [InlineData("emr-adapter")]
    [InlineData("inventory")]
    [InlineData("audit")]
    [InlineData("fleet")]
    [InlineData("console")]
    public async Task A_service_apart_answers_each_certificate_as_what_its_line_of_the_flow_list_says(string service)
    {
        using var ca = EmbeddedCa.Open(Path.Combine(_folder, "ca"), TimeProvider.System);
        var list = FlowList.Read(FlowsPath());
        foreach (var name in list.Flows.SelectMany(flow => new[] { flow.From, flow.To }).Append("stranger").Distinct())
        {
            ca.IssueService("platform", name, "localhost").WriteTo(Path.Combine(_folder, name + ".crt"), Path.Combine(_folder, name + ".key"));
        }

        ServiceTls Tls(string name) =>
            new(Path.Combine(_folder, name + ".crt"), Path.Combine(_folder, name + ".key"), ca.RootFile, FlowsPath(), [name], TimeProvider.System);
        var node = Apart(service,
        [
            $"--node:dataFolder={Path.Combine(_folder, service)}", "--node:siteId=centre", "--web:url=http://127.0.0.1:0;https://127.0.0.1:0", "--log:level=error",
            $"--service-tls:certificatePath={Path.Combine(_folder, service + ".crt")}", $"--service-tls:keyPath={Path.Combine(_folder, service + ".key")}",
            $"--service-tls:rootPath={ca.RootFile}", $"--service-tls:flowsPath={FlowsPath()}",
        ]).Build();
        _nodes.Add(node);
        await node.StartAsync(Cancel);
        var address = new Uri(node.Urls.Single(url => url.StartsWith("https", StringComparison.Ordinal)).Replace("127.0.0.1", "localhost", StringComparison.Ordinal));
        var callers = list.Flows.Where(flow => flow.To == service && flow.Port == FlowList.Web).ToArray();
        var (walked, wrong) = (0, new List<string>());
        foreach (var caller in callers)
        {
            var may = caller.As.Split(' ', StringSplitOptions.RemoveEmptyEntries).Aggregate(Permission.None, (all, role) => all | Roles.OfService(role));
            Assert.True(may == Permission.None || caller.From is not ("ingress" or "prometheus" or "outside" or "station"), $"{caller.From} is not one service of ours.");
            using var http = new HttpClient(Tls(caller.From).Client(service)) { BaseAddress = address };
            foreach (var (endpoint, method, name) in RoutesOf(node))
            {
                if (endpoint.Metadata.LastOrDefault(m => m is AccessRule or OpenToAll) is not AccessRule needs)
                {
                    continue;
                }

                walked++;
                var allowed = (needs.Permission & may) == needs.Permission;
                if (allowed && method != "GET")
                {
                    continue;
                }

                using var answer = await SendAsync(http, method, PathOf(endpoint), token: null);
                if (allowed == (answer.StatusCode is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden))
                {
                    wrong.Add($"{name} answers {caller.From}, which is '{caller.As}', with {(int)answer.StatusCode}");
                }
            }
        }

        Assert.Empty(wrong);
        Assert.True(walked > 0, "No route was walked.");
        foreach (var stranger in list.Flows.Select(flow => flow.From).Append("stranger").Distinct().Except(callers.Select(caller => caller.From)))
        {
            using var http = new HttpClient(Tls(stranger).Client(service)) { BaseAddress = address };
            await Assert.ThrowsAnyAsync<HttpRequestException>(() => http.GetAsync("healthz", Cancel));
        }
    }

    private static ServiceHost Apart(string service, string[] settings) => service switch
    {
        "auth" => new ServiceHost(settings).Add<Auth.AuthModule>(),
        "pacs-gw" => new ServiceHost([.. settings, "--pacs-gw:dicomPort=0"]).Add<PacsGw.PacsGwModule>(),
        "ai-infer" => new ServiceHost(settings).Add<AiInfer.AiInferModule>(),
        "nmt-asr" => new ServiceHost(settings).Add<NmtAsr.NmtAsrModule>(),
        "emr-adapter" => new ServiceHost(settings).Add<EmrAdapter.EmrAdapterModule>(),
        "inventory" => new ServiceHost(settings).Add<Inventory.InventoryModule>(),
        "audit" => new ServiceHost(settings).Add<Audit.AuditModule>(),
        "fleet" => new ServiceHost([.. settings, "--fleet:linkPort=0"]).Add<Fleet.FleetModule>(),
        _ => new ServiceHost(settings).Add<Console.ConsoleModule>(),
    };

    private static string FlowsPath()
    {
        var folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "Yizhan.slnx")))
        {
            folder = Path.GetDirectoryName(folder)!;
        }

        return Path.Combine(folder, "infra", "flows.yaml");
    }

    private async Task<WebApplication> StartAsync(string kind)
    {
        string[] settings =
        [
            $"--node:dataFolder={Path.Combine(_folder, kind)}", "--web:url=http://127.0.0.1:0", "--log:level=error", "--storage:freeFloorBytes=0",
            "--pacs-gw:dicomPort=0",
        ];
        var node = kind == "centre"
            ? Nodes.Centre([.. settings, "--fleet:linkPort=0"]).Build()
            : Nodes.Edge([.. settings, "--node:siteId=site-a"]).Build();
        _nodes.Add(node);
        await node.StartAsync(Cancel);
        return node;
    }

    /// <summary>Every route with each of its methods; the files of the pages, of which there are hundreds, count as one.</summary>
    private static IEnumerable<(RouteEndpoint Endpoint, string Method, string Name)> RoutesOf(WebApplication node) =>
        from endpoint in ((IEndpointRouteBuilder)node).DataSources.SelectMany(source => source.Endpoints).OfType<RouteEndpoint>()
        let pattern = "/" + endpoint.RoutePattern.RawText!.TrimStart('/')
        where !pattern.StartsWith("/_content/", StringComparison.Ordinal) && !IsFile().IsMatch(pattern)

            // The framework's own, before a publish, for files that are new since the build: it says nothing and so answers nobody.
            && pattern != "/{**path:file}"
        from method in endpoint.Metadata.GetMetadata<HttpMethodMetadata>()?.HttpMethods.ToArray() ?? ["GET"]
        select (endpoint, method, $"{method} {pattern}");

    private static string PathOf(RouteEndpoint endpoint) => "/" + string.Join('/', endpoint.RoutePattern.PathSegments.Select(segment =>
        string.Concat(segment.Parts.Select(part => part switch
        {
            Microsoft.AspNetCore.Routing.Patterns.RoutePatternParameterPart p => p.ParameterPolicies.Any(policy => policy.Content == "guid") ? $"{Guid.Empty}" : p.ParameterPolicies.Count > 0 ? "1" : AnySite,
            Microsoft.AspNetCore.Routing.Patterns.RoutePatternLiteralPart l => l.Content,
            Microsoft.AspNetCore.Routing.Patterns.RoutePatternSeparatorPart s => s.Content,
            _ => throw new InvalidOperationException(),
        }))));

    private static async Task<HttpResponseMessage> SendAsync(HttpClient http, string method, string path, string? token)
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), path);
        if (method is "POST" or "PUT" or "PATCH")
        {
            request.Content = new StringContent("{}", new MediaTypeHeaderValue("application/json"));
        }

        request.Headers.Authorization = token is null ? null : new AuthenticationHeaderValue("Bearer", token);
        return await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, Cancel);
    }

    private static async Task<bool> SaysWhatIsMissingAsync(HttpResponseMessage answer, Permission permission)
    {
        using var problem = JsonDocument.Parse(await answer.Content.ReadAsStringAsync(Cancel));
        return answer.Content.Headers.ContentType?.MediaType == "application/problem+json"
            && answer.Headers.WwwAuthenticate.ToString().StartsWith("Bearer", StringComparison.Ordinal)
            && problem.RootElement.GetProperty("permission").GetString() == permission.ToString();
    }

    [GeneratedRegex(@"^/[^{]*\.(css|js|svg|html|json|wasm|map|br|gz|png|woff2?)$")]
    private static partial Regex IsFile();
}
