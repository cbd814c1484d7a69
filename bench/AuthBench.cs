using System.CommandLine;
using System.Diagnostics;
using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Authorization.Infrastructure;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.IdentityModel.Tokens;
using Yizhan.AiInfer;
using Yizhan.Platform;
using Yizhan.Platform.Identity;

namespace Yizhan.Bench;

/// <summary>What a token costs a request: the authentication of one request by our handler and by the framework's JwtBearer, with the same tokens and keys.</summary>
internal static class AuthBench
{
    private const string Site = "centre";

    public static Command Create()
    {
        var seconds = new Option<double>("--seconds") { Description = "Time for each figure, three times each; the median counts.", DefaultValueFactory = _ => 2 };
        var threads = new Option<int>("--threads") { Description = "Requests at a time.", DefaultValueFactory = _ => 2 };
        var json = new Option<bool>("--json") { Description = "Print one JSON object last." };
        var command = new Command("auth", """
            Checks of a token that was seen before and of tokens that are new, and decisions about a permission.

            Examples:
              yizhan bench auth
              yizhan bench auth --seconds 0.5 --threads 2 --json | tail -n 1 | jq .rows
            """) { seconds, threads, json };
        command.SetAction((parsed, cancellationToken) => RunAsync(
            TimeSpan.FromSeconds(Math.Clamp(parsed.GetValue(seconds), 0.1, 60)), Math.Clamp(parsed.GetValue(threads), 1, 64), parsed.GetValue(json), cancellationToken));
        return command;
    }

    private static async Task<int> RunAsync(TimeSpan time, int threads, bool json, CancellationToken cancellationToken)
    {
        var folder = Directory.CreateTempSubdirectory("yizhan-bench-auth-").FullName;
        try
        {
            await using var app = new ServiceHost([$"--node:dataFolder={folder}", "--web:url=http://127.0.0.1:0", "--log:level=error", "--storage:freeFloorBytes=0"]).Add<AiInferModule>().Build();
            var operators = app.Services.GetRequiredService<LocalOperator>();
            await using var framework = await FrameworkAsync(operators, cancellationToken);

            // More than either side remembers, each for another person.
            var tokens = Enumerable.Range(0, 12_000).Select(i => operators.Issue($"person-{i}", "clinician", Site, TimeSpan.FromHours(1))).ToArray();
            var rows = new List<BenchRow>
            {
                await CompareAsync("JwtBearer, one token again and again", app.Services, framework, tokens[..1], time, threads),
                await CompareAsync("JwtBearer, each token new", app.Services, framework, tokens, time, threads),
                await DecideAsync(app.Services, framework, tokens[0], time),
            };
            BenchTable.Print("auth", rows, json);
            return 0;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task<BenchRow> CompareAsync(string name, IServiceProvider ours, IServiceProvider peer, string[] tokens, TimeSpan time, int threads)
    {
        var (own, others) = (new List<double>(), new List<double>());
        for (var round = 0; round < 3; round++)
        {
            own.Add(await RateAsync(ours, tokens, time, threads));
            others.Add(await RateAsync(peer, tokens, time, threads));
        }

        return BenchRow.More($"{name}, {threads} at a time", BenchTable.Median(own), BenchTable.Median(others), "checks/s");
    }

    private static async Task<double> RateAsync(IServiceProvider services, string[] tokens, TimeSpan time, int threads)
    {
        var next = -1;
        var started = Stopwatch.GetTimestamp();
        var counts = await Task.WhenAll(Enumerable.Range(0, threads).Select(_ => Task.Run(async () =>
        {
            var count = 0L;
            while (Stopwatch.GetElapsedTime(started) < time)
            {
                var token = tokens[(uint)Interlocked.Increment(ref next) % tokens.Length];
                await using var scope = services.CreateAsyncScope();
                var context = Request(scope.ServiceProvider, token);
                var result = await context.AuthenticateAsync();
                if (!result.Succeeded)
                {
                    throw new InvalidOperationException($"A good token was refused: {result.Failure?.Message}");
                }

                count++;
            }

            return count;
        })));
        return counts.Sum() / Stopwatch.GetElapsedTime(started).TotalSeconds;
    }

    /// <summary>One decision each: a permission and a SMART interaction at a site; a role and a claim of the framework's policy.</summary>
    private static async Task<BenchRow> DecideAsync(IServiceProvider ours, IServiceProvider peer, string token, TimeSpan time)
    {
        await using var scope = ours.CreateAsyncScope();
        var principal = (await Request(scope.ServiceProvider, token).AuthenticateAsync()).Principal!;
        var caller = Caller.From(principal);
        var policy = new AuthorizationPolicyBuilder().AddRequirements(new RolesAuthorizationRequirement(["clinician"]), new ClaimsAuthorizationRequirement("sites", [Site])).Build();
        var authorization = peer.GetRequiredService<IAuthorizationService>();
        var user = new ClaimsPrincipal(new ClaimsIdentity(principal.Claims, "Bearer", "sub", "roles"));
        var (own, others) = (new List<double>(), new List<double>());
        for (var round = 0; round < 3; round++)
        {
            own.Add(Each(time, () => caller.May(Permission.ReadRecords, Site) && caller.MayInteract("Patient", 'r')));
            others.Add(await EachAsync(time, async () => (await authorization.AuthorizeAsync(user, null, policy)).Succeeded));
        }

        return BenchRow.Less("framework's authorization policy, one decision", BenchTable.Median(own), BenchTable.Median(others), "µs");
    }

    private static double Each(TimeSpan time, Func<bool> decide)
    {
        var (started, count) = (Stopwatch.GetTimestamp(), 0L);
        while (Stopwatch.GetElapsedTime(started) < time)
        {
            for (var i = 0; i < 1000; i++)
            {
                count += decide() ? 1 : throw new InvalidOperationException("A decision was no.");
            }
        }

        return Stopwatch.GetElapsedTime(started).TotalMicroseconds / count;
    }

    private static async Task<double> EachAsync(TimeSpan time, Func<Task<bool>> decide)
    {
        var (started, count) = (Stopwatch.GetTimestamp(), 0L);
        while (Stopwatch.GetElapsedTime(started) < time)
        {
            for (var i = 0; i < 1000; i++)
            {
                count += await decide() ? 1 : throw new InvalidOperationException("A decision was no.");
            }
        }

        return Stopwatch.GetElapsedTime(started).TotalMicroseconds / count;
    }

    private static DefaultHttpContext Request(IServiceProvider services, string token)
    {
        var context = new DefaultHttpContext { RequestServices = services };
        context.Request.Path = "/ai-infer/models";
        context.Request.Headers.Authorization = "Bearer " + token;
        return context;
    }

    private static async Task<ServiceProvider> FrameworkAsync(LocalOperator issuer, CancellationToken cancellationToken)
    {
        var keys = await issuer.KeysAsync(null, cancellationToken);
        var services = new ServiceCollection();
        services.AddLogging();
        services.AddAuthorization();
        services.AddAuthentication("Bearer").AddJwtBearer(bearer =>
        {
            bearer.MapInboundClaims = false;
            bearer.TokenValidationParameters = new TokenValidationParameters
            {
                ValidIssuer = issuer.Issuer,
                ValidAudience = new IdentityOptions().Audience,
                IssuerSigningKeys = keys,
                NameClaimType = "sub",
                RoleClaimType = "roles",
            };
        });
        return services.BuildServiceProvider();
    }
}
