using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Yizhan.Drills;

namespace Yizhan.EndToEnd.Tests;

/// <summary>Two processes of ai-infer behind Debian's nginx, as docs/operations/production.md sets it up: each is stopped and started again while clients ask without a pause, and none of them is refused.</summary>
[Trait("Clause", "D3.5")]
public sealed class RollingRestartTests(ITestOutputHelper output)
{
    private const int Clients = 8;
    private const int Rounds = 1;
    private const string Secret = "secret of the test's client";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_rolling_restart_under_load_fails_no_request()
    {
        Assert.SkipUnless(File.Exists("/usr/sbin/nginx"), "nginx is not installed: apt-get install nginx");
        using var folder = new TemporaryFolder();
        var issuer = new Uri($"http://127.0.0.1:{FreePorts.Next()}");
        await using var centre = await HostProcess.StartAsync(
            [
                "centre", $"--node:dataFolder={folder.In("centre")}", $"--web:url={issuer.GetLeftPart(UriPartial.Authority)}", $"--fleet:linkPort={FreePorts.Next()}", "--pacs-gw:acceptAssociations=false",
                "--storage:freeFloorBytes=0", "--auth:clients:0:id=load", $"--auth:clients:0:secretFile={folder.Write("secret", Secret)}", "--auth:clients:0:roles:0=admin@*",
            ], issuer, folder.In("centre.log"), Cancel);
        var token = await TokenAsync(issuer);
        await using var one = new Replica(folder, "one", issuer, FreePorts.Next());
        await using var two = new Replica(folder, "two", issuer, FreePorts.Next());
        await Task.WhenAll(one.StartAsync(), two.StartAsync());
        var port = FreePorts.Next();
        await using var nginx = await NginxAsync(folder, port, one.Port, two.Port);

        using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}"), Timeout = TimeSpan.FromMinutes(5) };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        var (failed, done) = (new ConcurrentQueue<string>(), 0);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        var (small, large) = (Question("input", 64), Question("image", 256));
        var load = Enumerable.Range(0, Clients).Select(n => Task.Run(async () =>
        {
            while (!end.IsCancellationRequested)
            {
                var (model, body) = n % 2 == 0 ? ("body-part", small) : ("nodule", large);
                try
                {
                    using var answer = await http.PostAsync($"v2/models/{model}/infer", new StringContent(body, Encoding.UTF8, "application/json"), Cancel);
                    if (answer.IsSuccessStatusCode)
                    {
                        Interlocked.Increment(ref done);
                    }
                    else
                    {
                        failed.Enqueue($"{(int)answer.StatusCode} {await answer.Content.ReadAsStringAsync(Cancel)}");
                    }
                }
                catch (HttpRequestException e)
                {
                    failed.Enqueue(e.Message);
                }
            }
        }, Cancel)).ToArray();

        await Wait.UntilAsync(() => Volatile.Read(ref done) > 20);
        for (var round = 0; round < Rounds; round++)
        {
            foreach (var replica in new[] { one, two })
            {
                var before = Volatile.Read(ref done);
                await replica.StopAsync();
                Assert.Equal(0, replica.ExitCode);
                await Wait.UntilAsync(() => Volatile.Read(ref done) > before + 5);
                await replica.StartAsync();
                before = Volatile.Read(ref done);
                await Wait.UntilAsync(() => Volatile.Read(ref done) > before + 5);
            }
        }

        await end.CancelAsync();
        await Task.WhenAll(load);
        output.WriteLine($"figures: {2 * Rounds} restarts, {done} requests answered, {failed.Count} not");
        Assert.True(failed.IsEmpty, string.Join('\n', failed.Take(5)));

        // Each was told while it still answered, and said so: the balancer that asks need not find out by failing.
        Assert.True(one.SaidDraining && two.SaidDraining, "A replica that was told to stop did not say that it drains.");
    }

    private static string Question(string input, int size) => JsonSerializer.Serialize(
        new { inputs = new[] { new { name = input, shape = new[] { 1, 1, size, size }, datatype = "FP32", data = new float[size * size] } } });

    private static async Task<string> TokenAsync(Uri issuer)
    {
        using var http = new HttpClient { BaseAddress = issuer };
        using var answer = await http.PostAsync("/auth/token", new FormUrlEncodedContent([new("grant_type", "client_credentials"), new("client_id", "load"), new("client_secret", Secret)]), Cancel);
        return JsonDocument.Parse(await answer.Content.ReadAsStringAsync(Cancel)).RootElement.GetProperty("access_token").GetString()!;
    }

    private static async Task<Server> NginxAsync(TemporaryFolder folder, int port, params int[] replicas)
    {
        Directory.CreateDirectory(folder.In("nginx"));
        var configuration = folder.In("nginx", "nginx.conf");
        await File.WriteAllTextAsync(configuration, $$"""
            daemon off;
            pid {{folder.In("nginx", "pid")}};
            error_log {{folder.In("nginx", "error.log")}} info;
            {{(Environment.IsPrivilegedProcess ? "user root;" : "")}}
            events {}
            http {
              access_log off;
              client_body_temp_path {{folder.In("nginx", "body")}};
              proxy_temp_path {{folder.In("nginx", "proxy")}};
              fastcgi_temp_path {{folder.In("nginx", "fastcgi")}};
              uwsgi_temp_path {{folder.In("nginx", "uwsgi")}};
              scgi_temp_path {{folder.In("nginx", "scgi")}};
              client_max_body_size 0;
              upstream ai-infer {
                {{string.Join(' ', replicas.Select(r => $"server 127.0.0.1:{r} max_fails=1 fail_timeout=1s;"))}}
                keepalive 16;
              }
              server {
                listen 127.0.0.1:{{port}};
                location / {
                  proxy_pass http://ai-infer;
                  proxy_http_version 1.1;
                  proxy_set_header Connection "";
                  proxy_next_upstream error timeout http_503 non_idempotent;
                  proxy_read_timeout 300s;
                }
              }
            }
            """, Cancel);
        var server = new Server("/usr/sbin/nginx", ["-c", configuration, "-e", folder.In("nginx", "error.log")], folder.In("nginx.log"));
        using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}") };
        await Wait.UntilAsync(async () =>
        {
            try
            {
                using var answer = await http.GetAsync("/v2/health/live", Cancel);
                return answer.IsSuccessStatusCode;
            }
            catch (HttpRequestException)
            {
                return false;
            }
        });
        return server;
    }

    /// <summary>ai-infer as a process of its own, on the same port at each start.</summary>
    private sealed class Replica(TemporaryFolder folder, string name, Uri issuer, int port) : IAsyncDisposable
    {
        private static readonly string Program = Path.GetFullPath(
            Path.Combine(AppContext.BaseDirectory, "..", "..", "AiInfer", new DirectoryInfo(AppContext.BaseDirectory).Name, "Yizhan.AiInfer.dll"));

        private readonly HttpClient _http = new() { BaseAddress = new Uri($"http://127.0.0.1:{port}") };
        private Server? _server;

        public int Port => port;

        public int ExitCode { get; private set; } = -1;

        public bool SaidDraining { get; private set; }

        /// <summary>Starts it and returns when it is ready. It listens once both models are loaded: until then the balancer finds nobody there.</summary>
        public async Task StartAsync()
        {
            _server = new Server(
                "dotnet",
                [
                    Program, $"--node:dataFolder={folder.In(name)}", $"--web:url=http://127.0.0.1:{port}", "--web:drainSeconds=10", "--storage:freeFloorBytes=0", "--log:level=warning",
                    "--ai-infer:load:0=body-part", "--ai-infer:load:1=nodule",
                    $"--identity:issuers:0:url={issuer.GetLeftPart(UriPartial.Authority)}/auth",
                ], folder.In(name + ".log"));
            await Wait.UntilAsync(async () => await AskAsync() == HttpStatusCode.OK);
        }

        /// <summary>SIGTERM, and waits until it has ended.</summary>
        public async Task StopAsync()
        {
            _server!.Terminate();
            while (!_server.HasExited)
            {
                SaidDraining |= await AskAsync() == HttpStatusCode.ServiceUnavailable;
                await Task.Delay(20, Cancel);
            }

            ExitCode = await _server.ExitAsync();
            await _server.DisposeAsync();
            _server = null;
        }

        public async ValueTask DisposeAsync()
        {
            _http.Dispose();
            if (_server is not null)
            {
                await _server.DisposeAsync();
            }
        }

        private async Task<HttpStatusCode?> AskAsync()
        {
            try
            {
                using var answer = await _http.GetAsync("/health/ready", Cancel);
                return answer.StatusCode;
            }
            catch (HttpRequestException)
            {
                return null;
            }
        }
    }

    /// <summary>A process with its output in a file.</summary>
    private sealed class Server : IAsyncDisposable
    {
        private readonly Process _process;

        public Server(string program, string[] arguments, string log)
        {
            _process = Process.Start(new ProcessStartInfo("sh", ["-c", "exec \"$@\" >>\"$0\" 2>&1", log, program, .. arguments]))!;
        }

        public bool HasExited => _process.HasExited;

        public void Terminate() => _ = Kill(_process.Id, 15);

        public async Task<int> ExitAsync()
        {
            await _process.WaitForExitAsync(Cancel);
            return _process.ExitCode;
        }

        public async ValueTask DisposeAsync()
        {
            if (!_process.HasExited)
            {
                Terminate();
                using var patience = new CancellationTokenSource(TimeSpan.FromMinutes(2));
                await _process.WaitForExitAsync(patience.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                if (!_process.HasExited)
                {
                    _process.Kill(entireProcessTree: true);
                }
            }

            _process.Dispose();
        }

        [DllImport("libc", EntryPoint = "kill", SetLastError = true)]
        private static extern int Kill(int pid, int signal);
    }
}
