using System.Collections.Concurrent;
using System.Text.Json;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.Peers;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Commitment;

/// <summary>
/// Tells peers which instances are kept: those that the archive has, of which each is durable. A peer with a host is called; one without is told over an
/// association that it has open. What cannot be delivered is tried again, ever more slowly, also after a restart, until it is given up.
/// </summary>
internal sealed partial class CommitmentReporter(
    ArchiveDatabase database,
    ArchiveChanges changes,
    IEventLog log,
    PeerDirectory peers,
    PeerConnector connector,
    OpenAssociations open,
    IOptions<PacsGwOptions> options,
    TimeProvider clock,
    ILogger<CommitmentReporter> logger) : BackgroundService
{
    private const int MaxPending = 1000;

    private static readonly TimeSpan FirstRetry = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LastRetry = TimeSpan.FromMinutes(5);
    private static readonly RoleSelection[] AsProvider = [new(DicomUids.StorageCommitmentPushModel, Scu: false, Scp: true)];

    private readonly ILogger _logger = logger;
    private readonly ConcurrentDictionary<(string, string), (int Attempts, DateTimeOffset Due)> _retries = [];
    private readonly ConcurrentDictionary<(string, string), byte> _ended = [];

    /// <summary>Reports until it is stopped.</summary>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            var next = changes.Next;
            var pending = Pending();
            Forget(pending);
            var now = clock.GetUtcNow();
            var due = pending.Where(p => !_ended.ContainsKey(Key(p)) && (!_retries.TryGetValue(Key(p), out var r) || r.Due <= now));
            try
            {
                await Task.WhenAll(due.GroupBy(p => p.PeerAeTitle).Select(group => ReportAsync(group, stoppingToken)));
                var sleep = _retries.Values.Select(r => r.Due - clock.GetUtcNow()).DefaultIfEmpty(LastRetry).Min();
                await next.WaitAsync(sleep > FirstRetry ? sleep : FirstRetry, clock, stoppingToken);
            }
            catch (TimeoutException)
            {
                // A retry is due.
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
        }
    }

    private static (string Peer, string Transaction) Key(CommitmentRequested request) => (request.PeerAeTitle, request.TransactionUid);

    private List<CommitmentRequested> Pending()
    {
        using var db = database.OpenReader();
        using var select = db.Command($"SELECT event FROM commitment ORDER BY position LIMIT {MaxPending}");
        using var row = select.ExecuteReader();
        var pending = new List<CommitmentRequested>();
        while (row.Read())
        {
            pending.Add(JsonSerializer.Deserialize(row.GetString(0), ContractsJson.Default.CommitmentRequested)!);
        }

        return pending;
    }

    /// <summary>What the index no longer has needs no remembering.</summary>
    private void Forget(List<CommitmentRequested> pending)
    {
        var known = pending.Select(Key).ToHashSet();
        foreach (var key in _retries.Keys.Where(k => !known.Contains(k)))
        {
            _retries.TryRemove(key, out _);
        }

        foreach (var key in _ended.Keys.Where(k => !known.Contains(k)))
        {
            _ended.TryRemove(key, out _);
        }
    }

    /// <summary>All that is due for one peer, one after the other.</summary>
    private async Task ReportAsync(IEnumerable<CommitmentRequested> due, CancellationToken cancellationToken)
    {
        foreach (var request in due)
        {
            var (committed, failed) = Judge(request);
            try
            {
                await DeliverAsync(request, committed, failed, cancellationToken);
                await EndAsync(request, committed, failed, delivered: true, cancellationToken);
                Reported(request.TransactionUid, request.PeerAeTitle, Count(committed), Count(failed));
            }
            catch (Exception e) when (e is AssociationException or DimseException or InvalidOperationException)
            {
                await RetryAsync(request, committed, failed, e.Message, cancellationToken);
            }
        }
    }

    private async Task RetryAsync(
        CommitmentRequested request, List<SopReferences> committed, List<SopReferences> failed, string reason, CancellationToken cancellationToken)
    {
        var key = Key(request);
        var attempts = _retries.TryGetValue(key, out var r) ? r.Attempts + 1 : 1;
        if (attempts >= options.Value.MaxCommitmentAttempts)
        {
            await EndAsync(request, committed, failed, delivered: false, cancellationToken);
            GivenUp(request.TransactionUid, request.PeerAeTitle, attempts, reason);
            return;
        }

        var wait = TimeSpan.FromSeconds(Math.Min(LastRetry.TotalSeconds, FirstRetry.TotalSeconds * Math.Pow(2, Math.Min(attempts - 1, 20))));
        _retries[key] = (attempts, clock.GetUtcNow() + wait);
        NotReported(request.TransactionUid, request.PeerAeTitle, attempts, (int)wait.TotalSeconds, reason);
    }

    /// <summary>What of a request the archive has: indexed instances of that class whose bytes are durable.</summary>
    private (List<SopReferences> Committed, List<SopReferences> Failed) Judge(CommitmentRequested request)
    {
        var (committed, failed) = (new List<SopReferences>(), new List<SopReferences>());
        using var db = database.OpenReader();
        foreach (var references in request.References)
        {
            var here = new HashSet<string>(StringComparer.Ordinal);
            using var select = db.Command(
                "SELECT sop_uid FROM instance WHERE sop_uid IN (SELECT value FROM json_each($1)) AND sop_class = $2",
                JsonSerializer.Serialize(references.SopInstanceUids, PacsGwJson.Default.IReadOnlyListString), references.SopClassUid);
            using var row = select.ExecuteReader();
            while (row.Read())
            {
                here.Add(row.GetString(0));
            }

            Add(committed, references, here.Contains);
            Add(failed, references, uid => !here.Contains(uid));
        }

        return (committed, failed);

        static void Add(List<SopReferences> to, SopReferences references, Func<string, bool> wanted)
        {
            if (references.SopInstanceUids.Where(wanted).ToList() is { Count: > 0 } some)
            {
                to.Add(references with { SopInstanceUids = some });
            }
        }
    }

    private async Task DeliverAsync(
        CommitmentRequested request, List<SopReferences> committed, List<SopReferences> failed, CancellationToken cancellationToken)
    {
        var report = CommitmentDataSet.Report(request.TransactionUid, connector.AeTitle, committed, failed);
        var eventType = failed.Count == 0 ? CommitmentDataSet.Successful : CommitmentDataSet.FailuresExist;
        CommandSet Command(ushort id) => CommandSet.EventReportRequest(
            id, DicomUids.StorageCommitmentPushModel, DicomUids.StorageCommitmentPushModelInstance, eventType);

        if (peers.Callable(request.PeerAeTitle) is { } peer)
        {
            await using var association = await connector.RequestAsync(
                peer, [DicomUids.StorageCommitmentPushModel], AsProvider, cancellationToken);
            await new DimseScu(association).InvokeAsync(Command, report, cancellationToken);
            await association.ReleaseAsync(cancellationToken);
            return;
        }

        var own = open.Find(request.PeerAeTitle, DicomUids.StorageCommitmentPushModel)
            ?? throw new InvalidOperationException("The peer has no host in the settings and no association open.");
        var context = own.Contexts.First(c => c.AbstractSyntax == DicomUids.StorageCommitmentPushModel);
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(options.Value.IdleSeconds), clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, limit.Token);
        try
        {
            var response = await own.InvokeAsync(
                context, Command, (to, contextId, command, cancel) => to.SendAsync(contextId, command, DimseScu.Encode(context, report), cancel), either.Token);
            if (DimseStatus.IsFailure(response.Status))
            {
                throw new DimseException(response.Status, $"The peer answered N-EVENT-REPORT with status 0x{response.Status:X4}.");
            }
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new InvalidOperationException($"The peer did not answer in {options.Value.IdleSeconds} s.", e);
        }
    }

    private async Task EndAsync(
        CommitmentRequested request, List<SopReferences> committed, List<SopReferences> failed, bool delivered, CancellationToken cancellationToken)
    {
        var reported = new CommitmentReported(request.PeerAeTitle, request.TransactionUid, Count(committed), Count(failed), delivered);
        await log.AppendAsync(
            [
                new Entry(
                    Lane.Normal, CommitmentReported.EventType, $"commitment-reported/{log.Site}/{request.PeerAeTitle}/{request.TransactionUid}",
                    request.TransactionUid, clock.GetUtcNow().ToUnixTimeMilliseconds(),
                    JsonSerializer.SerializeToUtf8Bytes(reported, ContractsJson.Default.CommitmentReported)),
            ],
            cancellationToken);

        // Until the indexer has seen that event the request still looks open.
        _ended[Key(request)] = 0;
        _retries.TryRemove(Key(request), out _);
    }

    private static int Count(List<SopReferences> references) => references.Sum(r => r.SopInstanceUids.Count);

    [LoggerMessage(3120, LogLevel.Information, "Storage commitment {TransactionUid} was reported to {Peer}: {Committed} kept, {Failed} not.")]
    private partial void Reported(string transactionUid, string peer, int committed, int failed);

    [LoggerMessage(3121, LogLevel.Warning, "Storage commitment {TransactionUid} could not be reported to {Peer} (attempt {Attempt}), again in {Seconds} s: {Reason}")]
    private partial void NotReported(string transactionUid, string peer, int attempt, int seconds, string reason);

    [LoggerMessage(3122, LogLevel.Error, "Storage commitment {TransactionUid} was given up for {Peer} after {Attempts} attempts: {Reason}")]
    private partial void GivenUp(string transactionUid, string peer, int attempts, string reason);
}
