using System.Diagnostics.Metrics;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Platform;

namespace Yizhan.Storage;

/// <summary>
/// Files in the node's folder that nobody reads and nobody has a reason to change, first and last in the alphabet. Somebody who encrypts or deletes what is there
/// touches them too; then the node says so, to the centre as well, and makes no backup any more that would push a good one out.
/// </summary>
/// <remarks>Each begins with the hash of its rest, so that it is known after a restart too. Who knows this format can forge it: it is a trip wire, no lock.</remarks>
internal sealed partial class Canaries : BackgroundService, IHealthCheck
{
    // DICOM PS3.16 CID 400: Security Alert.
    private const string SecurityAlert = "110113";
    private const string Begin = "yizhan-canary-1 ";
    private const int RestBytes = 4096;

    // Written in this order: where the last one is there, all of them were.
    private static readonly string[] Files = ["zzz-canary/patients.sql", "zzz-canary/x-rays.zip", "000-canary/backup.docx", "000-canary/accounts.xlsx"];

    private readonly string _dataFolder;
    private readonly LogMaintenance _maintenance;
    private readonly IEventLog _log;
    private readonly TimeSpan _period;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly Meter _meter;
    private volatile string[] _changed = [];

    public Canaries(
        IOptions<NodeOptions> node, IOptions<StorageOptions> options, LogMaintenance maintenance, IEventLog log, TimeProvider clock, IMeterFactory meters, ILogger<Canaries> logger)
    {
        (_dataFolder, _maintenance, _log, _clock, _logger) = (node.Value.DataFolder, maintenance, log, clock, logger);
        _period = TimeSpan.FromSeconds(options.Value.CanarySeconds);
        _meter = meters.Create("Yizhan.Storage.Canaries");
        _meter.CreateObservableGauge("yizhan.canary.changed", () => new Measurement<int>(_changed.Length, new KeyValuePair<string, object?>("site", _log.Site)), "{file}", "Canary files that somebody has changed or removed.");
    }

    /// <summary>Canaries that are not what they were, by path below the node's folder; empty when all is well.</summary>
    public IReadOnlyList<string> Changed => _changed;

    /// <inheritdoc/>
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) => Task.FromResult(
        _changed is [] ? HealthCheckResult.Healthy() : HealthCheckResult.Unhealthy(Reason(_changed)));

    /// <inheritdoc/>
    public override void Dispose()
    {
        base.Dispose();
        _meter.Dispose();
    }

    /// <summary>Writes what is missing of a node that has none yet.</summary>
    internal void Lay()
    {
        if (File.Exists(Path.Combine(_dataFolder, Files[^1])))
        {
            return;
        }

        foreach (var file in Files)
        {
            var rest = RandomNumberGenerator.GetBytes(RestBytes);
            var path = Path.Combine(_dataFolder, file);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            DurableFile.Write(path, [.. Encoding.ASCII.GetBytes($"{Begin}{Convert.ToHexStringLower(SHA256.HashData(rest))}\n"), .. rest]);
        }
    }

    /// <summary>Looks at each once. What was changed stays an alarm until the node is started on a folder that is right.</summary>
    /// <returns>True when there is more to say than before.</returns>
    internal bool Look()
    {
        var wrong = Files.Where(file => !IsWhole(file)).Concat(Strangers()).Union(_changed, StringComparer.Ordinal).Order(StringComparer.Ordinal).ToArray();
        if (wrong.Length <= _changed.Length)
        {
            return false;
        }

        _changed = wrong;
        _maintenance.Alarm = Reason(wrong);
        Touched(string.Join(", ", wrong));
        return true;
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (_period == TimeSpan.Zero)
        {
            return;
        }

        try
        {
            Lay();
            using var timer = new PeriodicTimer(_period, _clock);
            do
            {
                if (Look())
                {
                    await RecordAsync(stoppingToken);
                }
            }
            while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            NotLaid(e);
        }
    }

    /// <summary>In lane urgent, so that it leaves a site that is being encrypted before anything else does.</summary>
    private async Task RecordAsync(CancellationToken cancellationToken)
    {
        var now = _clock.GetUtcNow().ToUnixTimeMilliseconds();
        var record = new AuditRecord(SecurityAlert, "E", 12, $"storage@{_log.Site}", null, $"storage@{_log.Site}", $"node/{_log.Site}", Reason(_changed), now);
        try
        {
            await _log.AppendAsync(
                [new Entry(Lane.Urgent, AuditRecord.EventType, $"audit/canary/{_log.Epoch:N}/{now}", record.Entity, now, JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord))],
                cancellationToken);
        }
        catch (Exception e) when (e is IOException or SpoolFullException)
        {
            NotRecorded(e);
        }
    }

    private bool IsWhole(string file)
    {
        try
        {
            var bytes = File.ReadAllBytes(Path.Combine(_dataFolder, file)).AsSpan();
            var head = Begin.Length + 64;
            return bytes.Length == head + 1 + RestBytes
                && Encoding.ASCII.GetString(bytes[..head]) == Begin + Convert.ToHexStringLower(SHA256.HashData(bytes[(head + 1)..]));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>What lies beside them: a file that was renamed, a note of who wants money.</summary>
    private IEnumerable<string> Strangers()
    {
        foreach (var folder in Files.Select(file => Path.GetDirectoryName(file)!).Distinct())
        {
            var path = Path.Combine(_dataFolder, folder);
            foreach (var name in Directory.Exists(path) ? Directory.GetFileSystemEntries(path).Select(Path.GetFileName) : [])
            {
                // One of our own that a cut left half written is written over by the next start.
                if (!Files.Contains($"{folder}/{name}") && !name!.EndsWith(".tmp", StringComparison.Ordinal))
                {
                    yield return $"{folder}/{name}";
                }
            }
        }
    }

    private static string Reason(string[] changed) =>
        $"{changed.Length} canary files were changed or removed ({changed[0]}): somebody may be encrypting this node. No backup is made any more; see the runbook CanaryChanged.";

    [LoggerMessage(112, LogLevel.Critical, "Canary files were changed or removed: {Files}. Somebody may be encrypting this node; no backup is made any more.")]
    private partial void Touched(string files);

    [LoggerMessage(114, LogLevel.Error, "That the canary files were changed cannot be recorded in the audit log.")]
    private partial void NotRecorded(Exception exception);

    [LoggerMessage(113, LogLevel.Error, "The canary files cannot be written or looked at; nobody watches for ransomware.")]
    private partial void NotLaid(Exception exception);
}
