using System.Net;
using System.Net.Http.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Fleet.Tests;

/// <summary>Drills that somebody starts from the console, with a shell script in the place of the command.</summary>
[Trait("Clause", "D8.3")]
public sealed class DrillRunnerTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-drill-run-").FullName;
    private WebApplication? _app;
    private HttpClient? _http;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private string Marker => Path.Combine(_folder, "marker");

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task A_node_that_names_no_command_starts_none_and_one_whose_command_is_not_there_does_not_start()
    {
        await StartAsync(null);
        Assert.False((await ViewAsync()).Allowed);
        Assert.Contains("fleet:drillCommand does not name the yizhan command", await PostAsync("outage", HttpStatusCode.Conflict), StringComparison.Ordinal);
        Assert.Null((await ViewAsync()).Run);
        await StopAsync();

        var wrong = await Assert.ThrowsAnyAsync<Exception>(() => StartNodeAsync("yizhan"));
        Assert.Contains("fleet:drillCommand is 'yizhan'; accepted is the whole path", wrong.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Its_lines_come_while_it_runs_and_its_result_and_who_started_it_are_kept()
    {
        await StartAsync($$"""
            echo "$@" >&2
            env | cut -d= -f1 | grep -vcE '^(PATH|HOME|LANG|TMPDIR|DOTNET_ROOT|LD_LIBRARY_PATH|PWD|OLDPWD|SHLVL|_)$' >&2
            stat -c %a "$9" >&2
            while [ ! -e {{Marker}} ]; do sleep 0.05; done
            echo '{"run":"outage-7-run","passed":true}'
            """);
        Assert.Contains("kind is 'earthquake'; accepted: outage,", await PostAsync("earthquake", HttpStatusCode.BadRequest), StringComparison.Ordinal);
        await PostAsync("outage", HttpStatusCode.Accepted);
        var running = await UntilAsync(run => run.Lines.Count == 3);
        Assert.Equal(("outage", "running"), (running.Kind, running.State));
        Assert.Null(running.EndedMs);
        Assert.StartsWith("drill run outage --json --stop-with-input --record http://127.0.0.1:", running.Lines[0], StringComparison.Ordinal);
        Assert.Equal(["0", "600"], running.Lines.Skip(1));
        await File.WriteAllTextAsync(Marker, "", Cancel);
        var ended = await UntilAsync(run => run.EndedMs is not null);
        Assert.Equal(("passed", "outage-7-run"), (ended.State, ended.ReportId));
        var records = await _app!.Services.GetRequiredService<IEventLog>().ReadAsync(0, 10, Cancel);
        Assert.Equal("drill/outage", Assert.Single(records).Entry.Key);
        Assert.Contains("outage started from the console", System.Text.Encoding.UTF8.GetString(records[0].Entry.Data.Span), StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(_folder, "data", "fleet", "drill-run", "token")));
    }

    [Fact]
    public async Task One_runs_at_a_time_and_whoever_may_start_one_ends_it()
    {
        await StartAsync($"cat >/dev/null; echo stopped >&2; touch {Marker}; exit 130");
        Assert.Equal(HttpStatusCode.Conflict, (await _http!.DeleteAsync("/fleet/drills/current", Cancel)).StatusCode);
        await PostAsync("outage", HttpStatusCode.Accepted);
        Assert.Contains("is running; accepted when it has ended", await PostAsync("ransomware", HttpStatusCode.Conflict), StringComparison.Ordinal);
        Assert.False(File.Exists(Marker));
        Assert.Equal(HttpStatusCode.Accepted, (await _http!.DeleteAsync("/fleet/drills/current", Cancel)).StatusCode);
        var ended = await UntilAsync(run => run.EndedMs is not null);
        Assert.Equal("cancelled", ended.State);
        Assert.Null(ended.ReportId);
        Assert.Equal(["stopped"], ended.Lines);
        await PostAsync("ransomware", HttpStatusCode.Accepted);
        Assert.Equal("ransomware", (await ViewAsync()).Run!.Kind);
    }

    [Fact]
    public async Task It_ends_with_the_node()
    {
        await StartAsync($"cat >/dev/null; touch {Marker}");
        await PostAsync("outage", HttpStatusCode.Accepted);
        await StopAsync();
        Assert.True(File.Exists(Marker));
    }

    [Fact]
    public async Task What_it_says_is_bounded_and_what_ends_without_a_report_is_broken()
    {
        await StartAsync("head -c 3000000 /dev/zero | tr '\\0' x >&2; echo >&2; i=0; while [ $i -lt 1000 ]; do echo $i; i=$((i+1)); done >&2; exit 3");
        await PostAsync("outage", HttpStatusCode.Accepted);
        var ended = await UntilAsync(run => run.EndedMs is not null);
        Assert.Equal(("broken", 601L, 400), (ended.State, ended.FirstLine, ended.Lines.Count));
        Assert.Equal("999", ended.Lines[^1]);
        Assert.All(ended.Lines, line => Assert.InRange(line.Length, 0, 400));
    }

    private async Task StartAsync(string? script)
    {
        var command = Path.Combine(_folder, "command");
        if (script is not null)
        {
            await File.WriteAllTextAsync(command, "#!/bin/sh\n" + script + "\n", Cancel);
            File.SetUnixFileMode(command, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }

        await StartNodeAsync(script is null ? "" : command);
        _http = Operator.Client(_app!);
    }

    private async Task StartNodeAsync(string command)
    {
        _app = new ServiceHost([$"--node:dataFolder={_folder}/data", "--web:url=http://127.0.0.1:0", "--fleet:linkPort=0", "--log:level=Error", $"--fleet:drillCommand={command}"]).Add<FleetModule>().Build();
        await _app.StartAsync(Cancel);
    }

    private async Task StopAsync()
    {
        _http?.Dispose();
        if (_app is { } app)
        {
            _app = null;
            await app.StopAsync(CancellationToken.None);
            await app.DisposeAsync();
        }
    }

    private async Task<string> PostAsync(string kind, HttpStatusCode expected)
    {
        using var answer = await _http!.PostAsJsonAsync("/fleet/drills/current", new DrillStart(kind), ContractsJson.Default.DrillStart, Cancel);
        var text = await answer.Content.ReadAsStringAsync(Cancel);
        Assert.True(expected == answer.StatusCode, $"{answer.StatusCode} {text}");
        return text;
    }

    private async Task<DrillDeskView> ViewAsync() => (await _http!.GetFromJsonAsync("/fleet/drills/current", ContractsJson.Default.DrillDeskView, Cancel))!;

    private async Task<DrillRunView> UntilAsync(Func<DrillRunView, bool> holds)
    {
        while (true)
        {
            if ((await ViewAsync()).Run is { } run && holds(run))
            {
                return run;
            }

            await Task.Delay(5, Cancel);
        }
    }
}
