using System.Security.Cryptography;
using System.Text.Json;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Link;
using Yizhan.Platform;
using Yizhan.Platform.Releases;
using Yizhan.Platform.SiteFiles;
using Yizhan.Station.Updates;
using Yizhan.Storage;

namespace Yizhan.Station.Configuration;

/// <summary>
/// Asks the centre for the release of this site, checks it, installs it beside the good one and restarts the node. What is wrong with a
/// release is said, reported and audited; it never stops the node. Without the centre everything stays as it is.
/// </summary>
internal sealed partial class ConfigurationService(
    SiteConfiguration configuration, LinkService link, IEventLog log, NodeRestart restart, HealthCheckService health,
    IHostApplicationLifetime lifetime, IdleGate gate, IOptions<StationOptions> options, TimeProvider clock, ILogger<ConfigurationService> logger) : BackgroundService
{
    private readonly ILogger _logger = logger;
    private readonly ConfigurationSlots _slots = configuration.Slots;
    private readonly StationOptions _options = options.Value;
    private string? _saidToWait;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var started = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using (lifetime.ApplicationStarted.Register(started.SetResult))
        {
            await started.Task.WaitAsync(stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        var since = clock.GetTimestamp();
        while (!stoppingToken.IsCancellationRequested && !restart.Requested)
        {
            try
            {
                SeedTrust();
                await ConfirmAsync(clock.GetElapsedTime(since), stoppingToken);
                await LogStepsAsync(stoppingToken);
                await AskAsync(stoppingToken);
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (e is LinkDownException or LinkRefusedException or OperationCanceledException)
            {
                // The centre is not there or has no answer: what runs, runs on, and it is asked again.
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or ReleaseRefusedException)
            {
                NotKept(e.Message);
            }

            await Task.Delay(TimeSpan.FromSeconds(_options.ConfigurationPollSeconds), clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private void SeedTrust()
    {
        if (_options.ReleaseTrustPath is { } path && _slots.Trust is null && ReleaseTrust.Load(path) is { } trust)
        {
            _slots.Seed(trust);
        }
    }

    /// <summary>What runs is good once the node is healthy; when it does not become so in time, the start counts as failed.</summary>
    private async Task ConfirmAsync(TimeSpan up, CancellationToken cancellationToken)
    {
        if (!_slots.IsOnTrial || configuration.Runs != _slots.State.Active)
        {
            return;
        }

        var report = await health.CheckHealthAsync(cancellationToken);
        if (report.Status != HealthStatus.Unhealthy)
        {
            _slots.Confirm(clock.GetUtcNow());
            Applied(configuration.Runs!.Version);
        }
        else if (up > TimeSpan.FromSeconds(_options.ConfigurationTrialSeconds))
        {
            NotHealthy(configuration.Runs!.Version, string.Join(", ", report.Entries.Where(e => e.Value.Status == HealthStatus.Unhealthy).Select(e => e.Key)));
            restart.Request();
        }
    }

    private async Task LogStepsAsync(CancellationToken cancellationToken)
    {
        var steps = _slots.State.Steps;
        if (steps.Count == 0)
        {
            return;
        }

        var agent = $"station@{log.Site}";
        await log.AppendAsync(
            [.. steps.Select(step =>
            {
                var record = ReleaseAudit.Record(step, agent, agent);
                return new Entry(
                    Lane.Normal, AuditRecord.EventType, ReleaseAudit.IdOf(step, agent, log.Site), record.Entity, step.AtMs,
                    JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord));
            })], cancellationToken);
        _slots.Drop(steps);
    }

    private async Task AskAsync(CancellationToken cancellationToken)
    {
        var state = _slots.State;
        if (link.Centre is not { } centre || state.Active != configuration.Runs)
        {
            return;
        }

        if (_slots.Trust is not { } trust)
        {
            NoTrust();
            return;
        }

        if (await centre.ReleaseAsync(configuration.Runs?.Digest, state.Refused?.Digest, cancellationToken) is not { } bytes)
        {
            return;
        }

        var (version, digest) = ("unknown", Convert.ToHexStringLower(SHA256.HashData(bytes)));
        try
        {
            var release = ReleaseBundle.Read(bytes);
            (version, digest) = (release.Version.ToString(), release.Digest);
            Check(release, trust, state.Newest);
            if (digest == state.Refused?.Digest || !MayRestart(version))
            {
                return;
            }

            _slots.Install(release, clock.GetUtcNow());
            Installed(version);
            restart.Request();
        }
        catch (ReleaseRefusedException e)
        {
            _slots.Refuse(version, digest, e.Message, clock.GetUtcNow());
            Refused(version, e.Reason, e.Message);
            await LogStepsAsync(cancellationToken);
        }
    }

    /// <summary>A configuration restarts the node, so it waits like an update; it is asked for again with the next poll.</summary>
    private bool MayRestart(string version)
    {
        var view = gate.Ask();
        if (!view.Open && _saidToWait != version)
        {
            _saidToWait = version;
            Waits(version, string.Join(' ', view.Reasons));
        }

        return view.Open;
    }

    private void Check(ReleaseBundle release, ReleaseTrust trust, Slot? newest)
    {
        (ReleaseVersion, string)? floor = newest is not null && ReleaseVersion.TryParse(newest.Version, out var version) ? (version, newest.Digest) : null;
        trust.Accept(release, clock.GetUtcNow(), floor);
        var yaml = release.SiteYaml(log.Site) ?? throw new ReleaseRefusedException(ReleaseRefusal.NotForThisSite, $"{release.Version} has no sites/{log.Site}.yaml.");
        var (site, problems) = SiteFileReader.Read(yaml, $"sites/{log.Site}.yaml");
        if (problems.Count > 0 || site!.SiteId != log.Site)
        {
            throw new ReleaseRefusedException(ReleaseRefusal.InvalidSite, problems.Count > 0 ? problems[0].ToString() : $"The file of {log.Site} says siteId {site!.SiteId}.");
        }
    }

    [LoggerMessage(8040, LogLevel.Information, "{Version} is installed; the node restarts with it.")]
    private partial void Installed(string version);

    [LoggerMessage(8041, LogLevel.Information, "{Version} is the last known good configuration now.")]
    private partial void Applied(string version);

    [LoggerMessage(8046, LogLevel.Information, "{Version} waits until the site is idle: {Reasons}")]
    private partial void Waits(string version, string reasons);

    [LoggerMessage(8042, LogLevel.Warning, "{Version} was not taken ({Reason}): {Message} What ran before runs on.")]
    private partial void Refused(string version, ReleaseRefusal reason, string message);

    [LoggerMessage(8043, LogLevel.Error, "With {Version} the node is not healthy ({Checks}); it starts again.")]
    private partial void NotHealthy(string version, string checks);

    [LoggerMessage(8045, LogLevel.Debug, "There is no trust file: this site takes no configuration from the centre (station:releaseTrustPath).")]
    private partial void NoTrust();

    [LoggerMessage(8044, LogLevel.Error, "The configuration could not be kept: {Reason}")]
    private partial void NotKept(string reason);
}
