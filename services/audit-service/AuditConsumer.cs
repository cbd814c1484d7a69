using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Options;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Audit;

/// <summary>Carries the node's event log into the audit log, in order, for as long as the process runs.</summary>
internal sealed partial class AuditConsumer(
    IEventLog events, IOptions<NodeOptions> node, IOptions<AuditOptions> options, TimeProvider clock, ILogger<AuditConsumer> logger)
    : BackgroundService, IHealthCheck, ILogConsumer
{
    private readonly IEventLog _events = events;
    private readonly NodeOptions _node = node.Value;
    private readonly AuditOptions _options = options.Value;
    private readonly TimeProvider _clock = clock;
    private readonly ILogger _logger = logger;
    private volatile AuditLog? _log;
    private volatile string? _problem;
    private long _readThrough;
    private volatile string? _gap;
    private long _gaps;

    /// <summary>The log while it is open; null while it cannot be written, and <see cref="Problem"/> says why.</summary>
    public AuditLog? Log => _log;

    /// <summary>Gaps that were found since the start.</summary>
    public long Gaps => Volatile.Read(ref _gaps);

    /// <summary>Position of the event log up to which all is in the audit log.</summary>
    public long ReadThrough => Volatile.Read(ref _readThrough);

    /// <summary>Held by the one who verifies the whole log: it reads all of it.</summary>
    public SemaphoreSlim Verification { get; } = new(1, 1);

    /// <summary>Why there is no log.</summary>
    public string Problem => _problem ?? "The audit log is being opened.";

    /// <inheritdoc/>
    public string Name => "audit";

    /// <inheritdoc/>
    public ValueTask<long> ReadThroughAsync(CancellationToken cancellationToken) => new(ReadThrough);

    /// <inheritdoc/>
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.FromResult(
            _problem is { } problem ? HealthCheckResult.Unhealthy(problem)
            : _gap is { } gap ? HealthCheckResult.Degraded($"Audit records are missing: {gap}")
            : HealthCheckResult.Healthy());

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                using var log = AuditLog.Open(
                    Path.GetDirectoryName(_node.PathOf("audit", "state.json"))!, _options.KeysFolder ?? _node.PathOf("audit-keys"), _node.SiteId);
                (_log, _problem) = (log, null);
                Opened(log.Current.Checkpoint.Size, log.Key.ToString());
                await ConsumeAsync(log, stoppingToken);
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (InvalidDataException e)
            {
                // To go on could sign a second tree of one size. The event log keeps what is not in the tree until somebody has looked.
                _problem = e.Message;
                TrustBroken(e.Message);
                return;
            }
            catch (Exception e) when (e is IOException or SqliteException or UnauthorizedAccessException)
            {
                _problem = e.Message;
                NotWritten(e, _options.ReopenAfterMs);
            }
            finally
            {
                _log = null;
            }

            await Task.Delay(TimeSpan.FromMilliseconds(_options.ReopenAfterMs), _clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task ConsumeAsync(AuditLog log, CancellationToken cancellationToken)
    {
        var position = log.Cursor(_events.Epoch);
        while (true)
        {
            // What is in the tree is synced: see AuditLog.Append.
            Volatile.Write(ref _readThrough, position);
            var entries = await _events.ReadAsync(position, _options.MaxBatch, cancellationToken);
            if (entries.Count == 0)
            {
                await _events.WaitForMoreAsync(position, cancellationToken);
                continue;
            }

            var appended = log.Append(entries, _events.Epoch);
            position = entries[^1].Position;
            Committed(appended.Leaves, log.Current.Checkpoint.Size);
            foreach (var gap in appended.Gaps)
            {
                _gap = gap;
                Interlocked.Increment(ref _gaps);
                Missing(gap);
            }

            if (entries.Count < _options.MaxBatch && appended.Leaves > 0 && _options.CommitIntervalMs > 0)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(_options.CommitIntervalMs), _clock, cancellationToken);
            }
        }
    }

    [LoggerMessage(7000, LogLevel.Information, "The audit log is open with {Size} entries. Its key is {Key}.")]
    private partial void Opened(long size, string key);

    [LoggerMessage(7001, LogLevel.Debug, "{Leaves} entries were added to the audit log; it has {Size}.")]
    private partial void Committed(int leaves, long size);

    [LoggerMessage(7002, LogLevel.Critical, "The audit log is not what this node has written, and nothing is added to it: {Problem}")]
    private partial void TrustBroken(string problem);

    [LoggerMessage(7004, LogLevel.Critical, "Audit records are missing; the log has an entry that says so: {Gap}")]
    private partial void Missing(string gap);

    [LoggerMessage(7003, LogLevel.Error, "The audit log could not be written. It is opened again in {DelayMs} ms; the event log keeps the records.")]
    private partial void NotWritten(Exception exception, int delayMs);
}
