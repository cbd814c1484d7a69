using System.Collections.Concurrent;
using System.Net;
using System.Security.Claims;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.IdentityModel.JsonWebTokens;
using Yizhan.Platform.Identity;

namespace Yizhan.Platform.Tests;

/// <summary>A running node, on a real socket.</summary>
[Collection("process")]
public sealed class ServiceHostTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-host-").FullName;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_module_answers_below_its_name_and_at_the_root_where_it_says_so()
    {
        await using var app = new ServiceHost(["--web:url=http://127.0.0.1:0", "--node:dataFolder=" + _folder]).Add<SampleModule>().Build();
        await app.StartAsync(Cancel);
        using var http = Operator.Client(app);
        Assert.Equal("pong", await http.GetStringAsync("/sample/ping", Cancel));
        Assert.Equal("root", await http.GetStringAsync("/", Cancel));
        Assert.Equal("Healthy", await http.GetStringAsync("/healthz", Cancel));
    }

    [Fact]
    public async Task The_health_check_of_a_container_is_0_while_the_node_answers_and_1_with_the_reason_after()
    {
        await using var app = new ServiceHost(["--web:url=http://127.0.0.1:0"]).Build();
        await app.StartAsync(Cancel);
        using var errors = new StringWriter();
        Assert.Equal(0, await HealthCheck.RunAsync([app.Urls.First()], errors));
        Assert.Equal(0, await HealthCheck.RunAsync([app.Urls.First() + ";https://0.0.0.0:8081"], errors));
        Assert.Empty(errors.ToString());
        await app.StopAsync(Cancel);
        Assert.Equal(1, await HealthCheck.RunAsync([app.Urls.First()], errors));
        Assert.Contains("does not answer", errors.ToString(), StringComparison.Ordinal);
        Assert.Equal(1, await HealthCheck.RunAsync(["not an address"], errors));
        Assert.Contains("'not an address' is not an address; accepted is one such as http://127.0.0.1:8080.", errors.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_a_loop_works_with_is_closed_after_the_loop_also_when_nobody_stopped_the_node()
    {
        var app = new ServiceHost(["--web:url=http://127.0.0.1:0", "--node:dataFolder=" + _folder]).With(services => services
            .AddSingleton<Ledger>().AddHostedService<Clerk>()).Build();
        await app.StartAsync(Cancel);
        var ledger = app.Services.GetRequiredService<Ledger>();
        await app.DisposeAsync();
        Assert.Equal(["written", "closed"], ledger.Events);
    }

    [Fact]
    public async Task A_page_asks_as_the_person_whose_session_it_is_and_gets_what_that_person_may()
    {
        await using var app = new ServiceHost(["--web:url=http://127.0.0.1:0", "--node:dataFolder=" + _folder]).Add<SampleModule>().Build();
        await app.StartAsync(Cancel);
        var issuer = app.Services.GetRequiredService<LocalOperator>();
        foreach (var (roles, status) in new[] { ("auditor@*", HttpStatusCode.OK), ("clinician@*", HttpStatusCode.Forbidden), ("clinician@* auditor@*", HttpStatusCode.OK) })
        {
            var token = issuer.IssueFor(new ClaimsPrincipal(new ClaimsIdentity(
                [new Claim("sub", "dr-li"), .. roles.Split(' ').Select(role => new Claim("roles", role)), new Claim("sites", "lakeside")], Session.Scheme)));
            Assert.Equal("dr-li", new JsonWebToken(token).Subject);
            using var http = new HttpClient { BaseAddress = new Uri(app.Urls.First()), DefaultRequestHeaders = { Authorization = new("Bearer", token) } };
            using var answer = await http.GetAsync("/sample/ping", Cancel);
            Assert.Equal(status, answer.StatusCode);
        }

        Assert.Throws<ArgumentException>(() => issuer.IssueFor(new ClaimsPrincipal()));
    }

    [Fact]
    public async Task What_does_not_exist_is_answered_with_a_problem_and_without_the_name_of_the_server()
    {
        await using var app = new ServiceHost(["--web:url=http://127.0.0.1:0", "--node:dataFolder=" + _folder]).Build();
        await app.StartAsync(Cancel);
        using var http = new HttpClient { BaseAddress = new Uri(app.Urls.First()) };
        using var response = await http.GetAsync("/nowhere", Cancel);
        Assert.Equal(HttpStatusCode.NotFound, response.StatusCode);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
        Assert.Empty(response.Headers.Server);
    }

    [Theory]
    [InlineData("--node:siteI=x", "yizhan: There is no setting 'node:siteI'. Did you mean 'node:siteId'?")]
    [InlineData("--web:url=http://0.0.0.0:80", "yizhan: web:url is 'http://0.0.0.0:80'; accepted is http:// on 127.0.0.1, [::1] or localhost, such as http://127.0.0.1:8080, and with service-tls behind it ;https:// on any address.")]
    [InlineData("--config=x", "yizhan: There is no setting 'config'. Known here: identity, licence, log, node, service-tls, telemetry, web.")]
    public async Task A_wrong_setting_ends_the_process_with_78_and_is_named_on_standard_error(string argument, string expected)
    {
        var standard = Console.Error;
        using var error = new StringWriter();
        Console.SetError(error);
        try
        {
            Assert.Equal(78, await ServiceHost.RunAsync(() => new ServiceHost([argument])));
        }
        finally
        {
            Console.SetError(standard);
        }

        Assert.Equal(expected, error.ToString().Trim());
    }

    [Fact]
    public async Task A_second_node_with_a_wrong_setting_keeps_the_first_from_starting()
    {
        var started = false;
        var code = await ServiceHost.RunAsync(
            () => new ServiceHost(["--web:url=http://127.0.0.1:0", "--node:dataFolder=" + _folder]).With(s => s.AddHostedService(_ => new Started(() => started = true))),
            () => new ServiceHost(["--nope:x=1"]));
        Assert.Equal(78, code);
        Assert.False(started);
    }

    private sealed class Started(Action note) : BackgroundService
    {
        public override Task StartAsync(CancellationToken cancellationToken)
        {
            note();
            return Task.CompletedTask;
        }

        protected override Task ExecuteAsync(CancellationToken stoppingToken) => Task.CompletedTask;
    }

    private sealed class Ledger : IDisposable
    {
        public ConcurrentQueue<string> Events { get; } = [];

        public void Dispose() => Events.Enqueue("closed");
    }

    /// <summary>Is in the middle of a line when it is told to end.</summary>
    private sealed class Clerk(Ledger ledger) : BackgroundService
    {
        protected override async Task ExecuteAsync(CancellationToken stoppingToken)
        {
            await Task.Delay(Timeout.Infinite, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await Task.Delay(100, CancellationToken.None);
            ledger.Events.Enqueue("written");
        }
    }
}
