using System.Text.Json;
using System.Threading.Channels;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Inventory.Ledger;

/// <summary>
/// Owns the ledger. It follows the event log, where batches of other sites arrive, and takes batches of this node: those are decided against a ledger that
/// has read all of the log, appended to the log, and committed; many callers share one flush. The log is the truth: what was appended when the process
/// ended before the commit is read from it at the next start.
/// </summary>
internal sealed partial class LedgerWriter(
    IEventLog log, LedgerFile file, IOptions<NodeOptions> node, IOptions<InventoryOptions> options, TimeProvider clock, ILogger<LedgerWriter> logger)
    : BackgroundService, ILogConsumer, IHealthCheck
{
    /// <summary>Calls that wait at a time; a further one waits for a place.</summary>
    private const int MaxWaiting = 1024;

    /// <summary>Movements that share a commit.</summary>
    private const int MaxTogether = 20_000;

    private const int MaxRead = 64;
    private static readonly TimeSpan Retry = TimeSpan.FromSeconds(5);

    private readonly Channel<Call> _calls = Channel.CreateBounded<Call>(MaxWaiting);
    private readonly HashSet<long> _own = [];
    private readonly string _site = node.Value.SiteId;
    private readonly ILogger _logger = logger;
    private long _readThrough;
    private long _parked;
    private volatile string? _problem;

    /// <inheritdoc/>
    public string Name => InventoryModule.Name;

    /// <summary>The position that the ledger has read.</summary>
    public long Position => Volatile.Read(ref _readThrough);

    /// <inheritdoc/>
    public ValueTask<long> ReadThroughAsync(CancellationToken cancellationToken) => new(Position);

    /// <summary>Returns when the ledger has read what is in the log now.</summary>
    public async Task CaughtUpAsync(CancellationToken cancellationToken)
    {
        var position = log.LastPosition;
        while (Position < position)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, cancellationToken);
        }
    }

    /// <summary>Records a batch of this site and returns when it would survive a power cut.</summary>
    /// <exception cref="IOException">The log failed; nothing is promised, the same batch may be sent again.</exception>
    public async Task<ApplyResult> RecordAsync(MovementBatch batch, CancellationToken cancellationToken)
    {
        var now = clock.GetUtcNow();
        if (MovementRules.ProblemOf(batch, now.AddMinutes(options.Value.FutureMinutes).ToUnixTimeMilliseconds()) is { } problem)
        {
            return new ApplyResult.Invalid(problem);
        }

        return await SubmitAsync(new Call(batch with { RecordedMs = now.ToUnixTimeMilliseconds() }, null), cancellationToken);
    }

    /// <summary>Records an item's definition at this site and returns when it would survive a power cut.</summary>
    public async Task<ApplyResult> DefineAsync(ItemDefinition item, CancellationToken cancellationToken) =>
        ItemRules.ProblemOf(item) is { } problem ? new ApplyResult.Invalid(problem) : await SubmitAsync(new Call(null, item), cancellationToken);

    /// <summary>Remembers, durably, how far somebody else on this node has read a feed.</summary>
    public Task RememberAsync(string feed, long position, CancellationToken cancellationToken) =>
        SubmitAsync(new Call(null, null, book => book.MoveCursor(feed, position)), cancellationToken);

    /// <inheritdoc/>
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) => Task.FromResult(
        _problem is { } problem ? HealthCheckResult.Unhealthy(problem)
        : Volatile.Read(ref _parked) is > 0 and var parked ? HealthCheckResult.Degraded($"{parked} batches of other sites contradict the ledger: see GET /inventory/parked.")
        : HealthCheckResult.Healthy());

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        // SQLite works on the calling thread; the host's start shall not wait for it.
        await Task.Yield();
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                using var book = file.OpenBook();
                _parked = file.CountParked();
                await FollowAsync(book, stoppingToken);
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                break;
            }
            catch (Exception e) when (e is SqliteException or IOException)
            {
                _problem = e.Message;
                Stalled(e, (int)Retry.TotalSeconds);
                await Task.Delay(Retry, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }

        _calls.Writer.Complete();
        while (_calls.Reader.TryRead(out var call))
        {
            call.Done.TrySetException(new IOException("The node is stopping; the batch was not recorded."));
        }
    }

    private async Task FollowAsync(LedgerBook book, CancellationToken cancellationToken)
    {
        _own.Clear();
        var position = book.Cursor(log.Epoch.ToString());
        Following(position);
        while (true)
        {
            Volatile.Write(ref _readThrough, position);
            var entries = await log.ReadAsync(position, MaxRead, cancellationToken);
            if (entries.Count > 0)
            {
                ApplyEntries(book, entries);
                position = entries[^1].Position;
                continue;
            }

            _problem = null;
            if (!_calls.Reader.TryPeek(out _))
            {
                using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
                await Task.WhenAny(log.WaitForMoreAsync(position, either.Token), _calls.Reader.WaitToReadAsync(either.Token).AsTask());
                await either.CancelAsync();
                cancellationToken.ThrowIfCancellationRequested();
                continue;
            }

            await RecordWaitingAsync(book);
        }
    }

    private static bool IsOurs(string type) =>
        type is MovementBatch.EventType or ItemDefinition.EventType or AssetReported.EventType or AssetDecision.EventType or SourceCollected.EventType;

    /// <summary>Takes what is of the ledger in one transaction with the cursor. What was applied when it was recorded is passed over.</summary>
    private void ApplyEntries(LedgerBook book, IReadOnlyList<LoggedEntry> entries)
    {
        var news = entries.Where(e => !_own.Remove(e.Position) && IsOurs(e.Entry.Type)).ToList();
        if (news.Count == 0)
        {
            return;
        }

        book.Begin();
        try
        {
            foreach (var entry in news)
            {
                Apply(book, entry);
            }

            book.MoveCursor(log.Epoch.ToString(), entries[^1].Position);
            book.Commit();
        }
        catch
        {
            book.Rollback();
            throw;
        }
    }

    private void Apply(LedgerBook book, LoggedEntry logged)
    {
        var (site, data) = (logged.Identity.Site, logged.Entry.Data);
        try
        {
            switch (logged.Entry.Type)
            {
                case ItemDefinition.EventType:
                    book.Define(site, EventData.Read(data.Span, ContractsJson.Default.ItemDefinition));
                    return;
                case AssetReported.EventType:
                    book.Assets.Report(site, EventData.Read(data.Span, ContractsJson.Default.AssetReported));
                    return;
                case AssetDecision.EventType:
                    book.Assets.Decide(site, EventData.Read(data.Span, ContractsJson.Default.AssetDecision));
                    return;
                case SourceCollected.EventType:
                    book.Assets.Collected(site, EventData.Read(data.Span, ContractsJson.Default.SourceCollected));
                    return;
            }

            if (book.Apply(site, EventData.Read(data.Span, ContractsJson.Default.MovementBatch)) is ApplyResult.Refused { Problem: var problem })
            {
                Park(book, logged, problem);
            }
        }
        catch (Exception e) when (e is JsonException or ArgumentException)
        {
            Park(book, logged, $"The event is not one of type {logged.Entry.Type}.");
        }
    }

    private void Park(LedgerBook book, LoggedEntry logged, string problem)
    {
        book.Park(logged.Identity.Site, logged.Entry.Id, problem, logged.Entry.Data, clock.GetUtcNow().ToUnixTimeMilliseconds());
        Interlocked.Increment(ref _parked);
        WasParked(logged.Identity.Site, logged.Entry.Id);
    }

    /// <summary>Decides the calls that wait, appends what is good to the log, and answers when both are durable.</summary>
    private async Task RecordWaitingAsync(LedgerBook book)
    {
        // Every call that was taken gets an answer, also the one on which the ledger fails.
        var taken = new List<Call>();
        var answers = new List<(Call Call, ApplyResult Result)>();
        var entries = new List<Entry>();
        var movements = 0;
        book.Begin();
        try
        {
            while (movements < MaxTogether && _calls.Reader.TryRead(out var call))
            {
                taken.Add(call);
                var (result, entry) = Decide(book, call);
                answers.Add((call, result));
                movements += call.Batch?.Movements.Count ?? 1;
                if (entry is not null)
                {
                    entries.Add(entry);
                }
            }

            if (entries.Count > 0)
            {
                var receipts = await log.AppendAsync(entries, CancellationToken.None);
                _own.UnionWith(receipts.Select(r => r.Position));
            }

            book.Commit();
        }
        catch (SpoolFullException e)
        {
            book.Rollback();
            answers = [.. answers.Select(a => a.Result is ApplyResult.Applied ? (a.Call, new ApplyResult.NoRoom(e.Message)) : a)];
        }
        catch (Exception e)
        {
            // The log may have them although the ledger has not: they are read from it before anything else is decided.
            var failed = new IOException($"The batch was not recorded: {e.Message}", e);
            taken.ForEach(call => call.Done.TrySetException(failed));
            throw;
        }

        answers.ForEach(a => a.Call.Done.TrySetResult(a.Result));
    }

    private (ApplyResult Result, Entry? Entry) Decide(LedgerBook book, Call call)
    {
        if (call.Work is { } work)
        {
            work(book);
            return (new ApplyResult.Applied(), null);
        }

        if (call.Item is { } item)
        {
            book.Define(_site, item);
            var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
            return (new ApplyResult.Applied(), new Entry(
                Lane.Normal, ItemDefinition.EventType, $"inventory/item/{Guid.CreateVersion7(clock.GetUtcNow()):N}", "inventory", now,
                JsonSerializer.SerializeToUtf8Bytes(item, ContractsJson.Default.ItemDefinition)));
        }

        var (batch, problem) = book.InBaseUnits(_site, call.Batch!);
        if (batch is null)
        {
            return (new ApplyResult.Invalid(problem!), null);
        }

        var data = JsonSerializer.SerializeToUtf8Bytes(batch, ContractsJson.Default.MovementBatch);
        if (data.Length > Entry.MaxDataBytes)
        {
            return (new ApplyResult.Invalid($"The batch is {data.Length} bytes large; accepted: up to {Entry.MaxDataBytes}. Send it in parts of different names."), null);
        }

        var result = book.Apply(_site, batch);
        return (result, result is ApplyResult.Applied
            ? new Entry(Lane.Normal, MovementBatch.EventType, $"inventory/batch/{batch.BatchId}", "inventory", batch.RecordedMs, data)
            : null);
    }

    private async Task<ApplyResult> SubmitAsync(Call call, CancellationToken cancellationToken)
    {
        try
        {
            await _calls.Writer.WriteAsync(call, cancellationToken);
        }
        catch (ChannelClosedException e)
        {
            throw new IOException("The node is stopping; the batch was not recorded.", e);
        }

        return await call.Done.Task;
    }

    private sealed record Call(MovementBatch? Batch, ItemDefinition? Item, Action<LedgerBook>? Work = null)
    {
        public TaskCompletionSource<ApplyResult> Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    [LoggerMessage(6000, LogLevel.Information, "The ledger follows the event log from position {Position}.")]
    private partial void Following(long position);

    [LoggerMessage(6001, LogLevel.Error, "The ledger could not be written. It goes on in {Seconds} s; the event log keeps everything meanwhile.")]
    private partial void Stalled(Exception exception, int seconds);

    [LoggerMessage(6002, LogLevel.Warning, "{BatchId} of {Site} contradicts the ledger and waits for a person: see GET /inventory/parked.")]
    private partial void WasParked(string site, string batchId);
}
