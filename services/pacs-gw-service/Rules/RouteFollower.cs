using System.Text.Json;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.PacsGw.Archive;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Rules;

/// <summary>
/// Follows the event log and notes which copies the rules want of each new instance. The note and the place in the log are one transaction, so
/// each copy is owed once wherever the process ends. Begins with what arrives after the first start with rules.
/// </summary>
internal sealed partial class RouteFollower(
    RuleBook book, RouteQueue queue, IEventLog log, IBlobStore blobs, IOptions<PacsGwOptions> options, TimeProvider clock, ILogger<RouteFollower> logger)
    : BackgroundService
{
    private const int MaxBatch = 64;

    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(5);

    private readonly ILogger _logger = logger;

    /// <summary>Follows until it is stopped. A failing disk is logged and tried again: the log keeps everything meanwhile.</summary>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (book.Rules.Destinations.Count == 0)
        {
            return;
        }

        var feed = RouteQueue.FeedOf(log);
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                if (queue.Cursor(feed) is not { } position)
                {
                    position = log.LastPosition;
                    await queue.AddAsync([], feed, position, stoppingToken);
                }

                Following(book.Rules.Rules.Count, position);
                while (true)
                {
                    position = await FollowAsync(feed, position, stoppingToken);
                }
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (e is SqliteException or IOException or BlobMissingException)
            {
                Stalled(e, RetryAfter.TotalSeconds);
                await Task.Delay(RetryAfter, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private async Task<long> FollowAsync(string feed, long position, CancellationToken cancellationToken)
    {
        var entries = await log.ReadAsync(position, MaxBatch, cancellationToken);
        if (entries.Count == 0)
        {
            await log.WaitForMoreAsync(position, cancellationToken);
            return position;
        }

        var owed = new List<Delivery>();
        foreach (var entry in entries.Where(e => e.Entry.Type == InstanceStored.EventType))
        {
            owed.AddRange(await DecideAsync(entry, cancellationToken));
        }

        await queue.AddAsync(owed, feed, entries[^1].Position, cancellationToken);
        return entries[^1].Position;
    }

    /// <summary>What the event says; null when it is nonsense, which the archive's index has said already.</summary>
    private static InstanceStored? Read(LoggedEntry entry)
    {
        try
        {
            return JsonSerializer.Deserialize(entry.Entry.Data.Span, ContractsJson.Default.InstanceStored);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private async ValueTask<IEnumerable<Delivery>> DecideAsync(LoggedEntry entry, CancellationToken cancellationToken)
    {
        if (Read(entry) is not { } stored || !ContentHash.TryParse(stored.Sha256, out var hash))
        {
            return [];
        }

        await using var blob = await blobs.OpenAsync(hash, cancellationToken);
        if (blob is null)
        {
            NoBlob(stored.SopInstanceUid, entry.Position);
            return [];
        }

        DicomDataset dataset;
        try
        {
            dataset = (await InstanceHeader.ReadAsync(
                blob, DicomTransferSyntax.Get(stored.TransferSyntaxUid), options.Value.MaxHeaderBytes, cancellationToken)).Dataset;
        }
        catch (Exception e) when (e is DicomFormatException or InvalidDataException)
        {
            Undecodable(stored.SopInstanceUid, entry.Position, e.Message);
            return [];
        }

        var decision = RuleEngine.Decide(book.Rules, new RuleSubject(stored.CallingAeTitle, stored.CalledAeTitle, dataset));
        return decision.Routes.Select(route => new Delivery(
            0, route.Destination, route.Rule.Name, stored.StudyInstanceUid, stored.SeriesInstanceUid, stored.SopInstanceUid, stored.SopClassUid,
            stored.TransferSyntaxUid, stored.Sha256, stored.Length, stored.CallingAeTitle, stored.CalledAeTitle, 0));
    }

    [LoggerMessage(3070, LogLevel.Information, "{Rules} rules are applied to what arrives after position {Position}.")]
    private partial void Following(int rules, long position);

    [LoggerMessage(3071, LogLevel.Error, "Routes cannot be noted; trying again in {Seconds} s.")]
    private partial void Stalled(Exception exception, double seconds);

    [LoggerMessage(3072, LogLevel.Error, "No rule was applied to instance {SopInstanceUid}, position {Position}: its data set is not in the blob store.")]
    private partial void NoBlob(string sopInstanceUid, long position);

    [LoggerMessage(3073, LogLevel.Warning, "No rule was applied to instance {SopInstanceUid}, position {Position}: {Reason}")]
    private partial void Undecodable(string sopInstanceUid, long position, string reason);
}
