using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging.Abstractions;
using Yizhan.Platform;
using Yizhan.Platform.Certificates;
using Yizhan.Platform.Flows;
using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.Tests.Remote;

/// <summary>A SQLite log in a host of its own, and a client of it over TLS on real sockets, with certificates at both ends.</summary>
internal sealed class RemoteStore : StoreFixture
{
    private readonly string _site;
    private readonly EmbeddedCa _ca;
    private readonly List<RemoteStore> _others = [];
    private readonly List<string> _settings = [];
    private LogLine? _line;
    private RemoteBlobs _blobs = null!;
    private RemoteLog _log = null!;

    private RemoteStore(string site, string role, string[] settings)
    {
        _site = site;
        _settings.AddRange(settings);
        Folder = Directory.CreateTempSubdirectory("yizhan-remote-").FullName;
        _ca = EmbeddedCa.Open(In("ca"), TimeProvider.System);
        foreach (var service in new[] { "fleet", "pacs-gw", "prometheus", "console" })
        {
            _ca.IssueService("platform", service, "localhost").WriteTo(In(service + ".crt"), In(service + ".key"));
        }

        File.WriteAllText(In("flows.yaml"), $$"""
            flows:
              - {from: pacs-gw, to: fleet, port: web, as: {{role}}, why: the log}
              - {from: prometheus, to: fleet, port: web, why: figures}
              - {from: console, to: fleet, port: web, as: service, why: sites}

            """);
    }

    public string Folder { get; }

    /// <summary>The process that owns the log.</summary>
    public WebApplication Owner { get; private set; } = null!;

    /// <summary>What the owner has still to do without a word of it: the connection breaks when the work is done.</summary>
    public LostAnswers Lost => Owner.Services.GetRequiredService<LostAnswers>();

    /// <summary>The line stands between the client and the owner.</summary>
    public CutLine Between { get; } = new();

    public Uri Address => new($"https://localhost:{Between.Port}/");

    public override IEventLog Log => _log;

    public override IBlobStore Blobs => _blobs;

    public static async Task<RemoteStore> OpenAsync(string site = Site, string role = "log-keeper", params string[] settings)
    {
        var store = new RemoteStore(site, role, settings);
        await store.StartOwnerAsync();
        await store.ConnectAsync();
        return store;
    }

    /// <summary>Settings with which a service comes as another one.</summary>
    public string[] TlsOf(string service) =>
    [
        $"--service-tls:certificatePath={In(service + ".crt")}", $"--service-tls:keyPath={In(service + ".key")}", $"--service-tls:rootPath={_ca.RootFile}",
        $"--service-tls:flowsPath={In("flows.yaml")}",
    ];

    public ServiceTls Tls(string service) => new(In(service + ".crt"), In(service + ".key"), _ca.RootFile, In("flows.yaml"), [service], TimeProvider.System);

    public async Task StartOwnerAsync()
    {
        Owner = new ServiceHost(
            [
                $"--node:dataFolder={In("owner")}", $"--node:siteId={_site}", "--storage:store=sqlite", "--storage:segmentBytes=4194304", "--storage:freeFloorBytes=0",
                "--storage:canarySeconds=0", "--storage:scrubMiBPerSecond=0", "--log:level=error", "--web:url=http://127.0.0.1:0;https://127.0.0.1:0", .. TlsOf("fleet"), .. _settings,
            ]).Add<OwnerModule>().Build();
        await Owner.StartAsync(TestContext.Current.CancellationToken);
        Between.To = new Uri(Owner.Urls.Single(url => url.StartsWith("https", StringComparison.Ordinal))).Port;
    }

    public async Task StopOwnerAsync()
    {
        Between.To = 0;
        await Owner.StopAsync(CancellationToken.None);
        await Owner.DisposeAsync();
    }

    public Task<LogLine> LineAsync(string service, int patienceSeconds = 60, Action<string>? otherLog = null) => LogLine.ConnectAsync(
        Tls(service).Client("fleet"), new Uri(Address, "fleet/log/shared/"), TimeSpan.FromSeconds(patienceSeconds), otherLog ?? (_ => { }), TimeProvider.System, NullLogger.Instance,
        TestContext.Current.CancellationToken);

    public override async Task ReopenAsync(bool restored = false)
    {
        await _log.DisposeAsync();
        await StopOwnerAsync();
        if (restored)
        {
            MarkRestored();
        }

        await StartOwnerAsync();
        await ConnectAsync();
    }

    public void MarkRestored() => File.WriteAllText(Path.Combine(In("owner"), "log", Spool.RestoredMarker), "");

    public override async Task<StoreFixture> AnotherAsync(string site)
    {
        var other = await OpenAsync(site);
        _others.Add(other);
        return other;
    }

    public override async Task LimitAsync(long quotaBytes)
    {
        await _log.DisposeAsync();
        await StopOwnerAsync();
        Directory.Delete(In("owner"), recursive: true);
        _settings.Add($"--storage:quotaBytes={quotaBytes}");
        await StartOwnerAsync();
        await ConnectAsync();
    }

    public override async ValueTask DisposeAsync()
    {
        foreach (var other in _others)
        {
            await other.DisposeAsync();
        }

        if (_line is not null)
        {
            await _line.DisposeAsync();
        }

        await StopOwnerAsync();
        await Between.DisposeAsync();
        _ca.Dispose();
        Directory.Delete(Folder, recursive: true);
    }

    public string In(string name) => Path.Combine(Folder, name);

    private async Task ConnectAsync()
    {
        _line = await LineAsync("pacs-gw");
        _blobs = new RemoteBlobs(_line);
        _log = new RemoteLog(_line, _blobs);
    }

    private sealed class OwnerModule : IServiceModule
    {
        public static string Name => "fleet";

        public static void Register(IHostApplicationBuilder builder)
        {
            builder.AddEventLog(owns: true);
            builder.Services.AddSingleton<LostAnswers>();
        }

        public static void Map(IEndpointRouteBuilder routes)
        {
            var lost = routes.ServiceProvider.GetRequiredService<LostAnswers>();
            var losing = routes.MapGroup("");
            losing.AddEndpointFilter(async (context, next) =>
            {
                var answer = await next(context);
                if (!HttpMethods.IsGet(context.HttpContext.Request.Method) && lost.Take())
                {
                    context.HttpContext.Abort();
                }

                return answer;
            });
            losing.MapSharedLog();
        }
    }

    /// <summary>Answers to what changes something that never arrive.</summary>
    internal sealed class LostAnswers
    {
        private int _left;

        public int Left => Math.Max(0, Volatile.Read(ref _left));

        public void Next(int answers) => Volatile.Write(ref _left, answers);

        public bool Take() => Interlocked.Decrement(ref _left) >= 0;
    }
}
