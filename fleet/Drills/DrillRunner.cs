using System.Diagnostics;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Platform.Identity;
using Yizhan.Storage;

namespace Yizhan.Fleet.Drills;

/// <summary>
/// Runs a drill for somebody at the console: the <c>yizhan</c> command as a process of its own, one at a time, whose last lines are kept. It acts on processes and
/// folders of its own, and records its report at this node as it does for whoever types the command.
/// </summary>
public sealed partial class DrillRunner : IHostedService, IDisposable
{
    private const int MaxLines = 400;
    private const int MaxLineLength = 400;
    private const int MaxResultLength = 64 * 1024;

    // DICOM PS3.16 CID 400: Application Activity.
    private const string ApplicationActivity = "110100";

    // What the command needs of this node's environment. The rest may be settings of this node, and would become those of the drill's nodes.
    private static readonly string[] Passed = ["PATH", "HOME", "LANG", "TMPDIR", "DOTNET_ROOT", "LD_LIBRARY_PATH"];
    private static readonly string[] Quick = ["--quick"];
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan PatienceOfStop = TimeSpan.FromSeconds(20);

    private readonly Lock _lock = new();
    private readonly FleetOptions _options;
    private readonly LocalOperator _operators;
    private readonly IServer _server;
    private readonly IEventLog _log;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly string _site;
    private readonly string _folder;
    private readonly CancellationTokenSource _stopping = new();
    private Run? _run;

    /// <summary>Makes the runner of a node. It starts nothing by itself.</summary>
    public DrillRunner(
        IOptions<NodeOptions> node, IOptions<FleetOptions> options, LocalOperator operators, IServer server, IEventLog log, TimeProvider clock, ILogger<DrillRunner> logger)
    {
        (_options, _operators, _server, _log, _clock, _logger) = (options.Value, operators, server, log, clock, logger);
        (_site, _folder) = (node.Value.SiteId, Path.GetFullPath(node.Value.PathOf("fleet", "drill-run")));
    }

    /// <summary>What runs, or ran last since the node was started.</summary>
    public DrillDeskView View()
    {
        lock (_lock)
        {
            return new(_options.DrillCommand.Length > 0, _run?.View());
        }
    }

    /// <summary>Starts a drill, once its start is in the audit log.</summary>
    /// <returns>Null, or why it was not started.</returns>
    /// <exception cref="SpoolFullException">The log is full; nothing was started.</exception>
    public async Task<string?> StartAsync(string kind, bool quick, string who, CancellationToken cancellationToken)
    {
        Run run;
        lock (_lock)
        {
            if (_options.DrillCommand.Length == 0)
            {
                return "This node starts no drills: fleet:drillCommand does not name the yizhan command. Start it there with: yizhan drill run " + kind;
            }

            if (_run is { Ended: null } busy)
            {
                return $"The drill {busy.Kind} of {busy.Who} is running; accepted when it has ended.";
            }

            _run = run = new Run(kind, who, _clock.GetUtcNow().ToUnixTimeMilliseconds());
        }

        try
        {
            await RecordAsync(run, who, "started", 0, cancellationToken);
        }
        catch
        {
            lock (_lock)
            {
                _run = null;
            }

            throw;
        }

        run.Working = Task.Run(() => WorkAsync(run, quick), CancellationToken.None);
        return null;
    }

    /// <summary>Ends what runs; its nodes are stopped and nothing is left of it. Returns at once.</summary>
    /// <returns>False when nothing runs.</returns>
    public async Task<bool> CancelAsync(string who, CancellationToken cancellationToken)
    {
        Run run;
        lock (_lock)
        {
            if (_run is not { Ended: null } running)
            {
                return false;
            }

            run = running;
            run.Cancelled = true;
        }

        run.Stop.TrySetResult();
        try
        {
            await RecordAsync(run, who, "cancelled", 4, cancellationToken);
        }
        catch (SpoolFullException e)
        {
            NotRecorded(run.Kind, e.Message);
        }

        return true;
    }

    /// <inheritdoc/>
    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        await _stopping.CancelAsync();
        if (_run?.Working is { } working)
        {
            await working;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _stopping.Dispose();

    private async Task WorkAsync(Run run, bool quick)
    {
        var token = Path.Combine(_folder, "token");
        try
        {
            // What a run that was killed left behind.
            if (Directory.Exists(_folder))
            {
                Directory.Delete(_folder, recursive: true);
            }

            Directory.CreateDirectory(_folder);
            var life = TimeSpan.FromMinutes(_options.DrillMinutes);
            AtomicFile.Write(token, Encoding.ASCII.GetBytes(_operators.Issue(run.Who, "operator auditor", _site, life + TimeSpan.FromMinutes(10))), secret: true, overwrite: true);
            var node = _server.Features.Get<IServerAddressesFeature>()!.Addresses.First();
            int code;
            string result;
            try
            {
                (code, result) = await CallAsync(
                    run, ["drill", "run", run.Kind, "--json", "--stop-with-input", "--record", node, "--token", token, "--report", Path.Combine(_folder, "report"), .. quick ? Quick : []]);
            }
            finally
            {
                File.Delete(token);
            }

            Conclude(run, code, result);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or System.ComponentModel.Win32Exception or InvalidOperationException)
        {
            run.Say($"yizhan: {e.Message}");
            End(run, "broken", null);
        }
    }

    /// <summary>Calls the command and reads what it says until it ends. What is to end early is told by the end of its input, and killed with all that it started when that does not help.</summary>
    private async Task<(int Code, string Result)> CallAsync(Run run, string[] arguments)
    {
        var command = _options.DrillCommand;
        string[] words = command.EndsWith(".dll", StringComparison.Ordinal) ? [Dotnet(), command, .. arguments] : [command, .. arguments];
        var start = new ProcessStartInfo(words[0], words[1..])
        {
            WorkingDirectory = _folder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        var environment = Passed.Select(name => (Name: name, Value: Environment.GetEnvironmentVariable(name))).Where(v => v.Value is not null).ToArray();
        start.Environment.Clear();
        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }

        using var process = Process.Start(start) ?? throw new InvalidOperationException($"'{command}' could not be started.");
        Started(run.Kind, process.Id);
        var result = "";
        var reading = Task.WhenAll(
            EachLineAsync(process.StandardError, MaxLineLength, run.Say),
            EachLineAsync(process.StandardOutput, MaxResultLength, line => result = line));
        var exit = process.WaitForExitAsync(CancellationToken.None);
        using (var ends = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token))
        {
            await Task.WhenAny(exit, run.Stop.Task, Task.Delay(TimeSpan.FromMinutes(_options.DrillMinutes), _clock, ends.Token));
            if (!exit.IsCompleted)
            {
                process.StandardInput.Close();
                await Task.WhenAny(exit, Task.Delay(_stopping.IsCancellationRequested ? PatienceOfStop : Patience, _clock, CancellationToken.None));
            }

            if (!exit.IsCompleted)
            {
                process.Kill(entireProcessTree: true);
            }

            await exit;
            await ends.CancelAsync();
        }

        await reading;
        return (process.ExitCode, result);
    }

    private void Conclude(Run run, int code, string result)
    {
        string? report = null;
        try
        {
            using var json = JsonDocument.Parse(result);
            report = json.RootElement.TryGetProperty("run", out var id) ? id.GetString() : null;
            if (report is null && json.RootElement.TryGetProperty("error", out var error))
            {
                run.Say(error.ToString());
            }
        }
        catch (JsonException)
        {
            // It ended before it had a result; its lines say why.
        }

        End(run, code == 0 ? "passed" : report is not null ? "failed" : run.Cancelled || _stopping.IsCancellationRequested ? "cancelled" : "broken", report);
    }

    private void End(Run run, string state, string? report)
    {
        lock (_lock)
        {
            run.End(_clock.GetUtcNow().ToUnixTimeMilliseconds(), state, report);
        }

        Ended(run.Kind, state, report ?? "none");
    }

    private async Task RecordAsync(Run run, string who, string what, int outcome, CancellationToken cancellationToken)
    {
        var now = _clock.GetUtcNow().ToUnixTimeMilliseconds();
        var entity = DrillFinished.EntityOf(run.Kind);
        var record = new AuditRecord(ApplicationActivity, "E", outcome, who, null, $"drill@{_site}", entity, $"{run.Kind} {what} from the console", now);
        await _log.AppendAsync(
            [new Entry(Lane.Normal, AuditRecord.EventType, $"audit/{entity}/{run.Id}/{what}", entity, now, JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord))], cancellationToken);
    }

    /// <summary>Lines of a stream, cut at a length, whatever is sent.</summary>
    private static async Task EachLineAsync(StreamReader reader, int longest, Action<string> take)
    {
        var line = new StringBuilder();
        var piece = new char[4096];
        int length;
        while ((length = await reader.ReadAsync(piece)) > 0)
        {
            foreach (var character in piece.AsSpan(0, length))
            {
                if (character == '\n')
                {
                    take(line.ToString());
                    line.Clear();
                }
                else if (line.Length < longest && character != '\r')
                {
                    line.Append(character);
                }
            }
        }

        if (line.Length > 0)
        {
            take(line.ToString());
        }
    }

    private static string Dotnet() => Environment.ProcessPath is { } path && Path.GetFileNameWithoutExtension(path) == "dotnet" ? path : "dotnet";

    /// <summary>One run.</summary>
    private sealed class Run(string kind, string who, long startedMs)
    {
        private readonly Lock _lines = new();
        private readonly Queue<string> _kept = new();
        private long _said;
        private string _state = "running";
        private string? _report;

        public string Id { get; } = Guid.CreateVersion7().ToString();

        public string Kind => kind;

        public string Who => who;

        public long? Ended { get; private set; }

        public bool Cancelled { get; set; }

        public TaskCompletionSource Stop { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task? Working { get; set; }

        public void Say(string line)
        {
            lock (_lines)
            {
                _kept.Enqueue(line);
                _said++;
                if (_kept.Count > MaxLines)
                {
                    _kept.Dequeue();
                }
            }
        }

        public void End(long atMs, string state, string? report) => (Ended, _state, _report) = (atMs, state, report);

        public DrillRunView View()
        {
            lock (_lines)
            {
                return new(Id, kind, who, startedMs, Ended, Ended is null && Cancelled ? "ending" : _state, _report, _said - _kept.Count, [.. _kept]);
            }
        }
    }

    [LoggerMessage(9061, LogLevel.Information, "The drill {Kind} was started from the console as process {ProcessId}.")]
    private partial void Started(string kind, int processId);

    [LoggerMessage(9062, LogLevel.Information, "The drill {Kind} that was started from the console ended: {State}, report {Report}.")]
    private partial void Ended(string kind, string state, string report);

    [LoggerMessage(9063, LogLevel.Warning, "That the drill {Kind} was cancelled could not be recorded: {Reason}")]
    private partial void NotRecorded(string kind, string reason);
}
