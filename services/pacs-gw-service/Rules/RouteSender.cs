using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.Codecs;
using Yizhan.PacsGw.Deidentify;
using Yizhan.PacsGw.Orthanc;
using Yizhan.PacsGw.Peers;
using Yizhan.PacsGw.Retrieve;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Rules;

/// <summary>
/// Sends the copies that are owed, one loop for each destination. A destination that is away is asked again, ever more rarely, up to every five
/// minutes, and keeps its queue; a copy that it refuses is tried a few times and then waits for a person.
/// </summary>
internal sealed partial class RouteSender(
    RuleBook book,
    RouteQueue queue,
    IBlobStore blobs,
    Transcoder transcoder,
    PeerDirectory peers,
    PeerConnector connector,
    GatewayMetrics metrics,
    IOptions<PacsGwOptions> options,
    TimeProvider clock,
    ILogger<RouteSender> logger) : BackgroundService
{
    /// <summary>Copies of one association.</summary>
    private const int MaxBatch = 64;

    /// <summary>Bytes of one association's copies, of which changed ones are in memory; a single larger copy goes alone.</summary>
    private const long MaxBatchBytes = 64 * 1024 * 1024;

    private static readonly TimeSpan FirstWait = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestWait = TimeSpan.FromMinutes(5);

    private readonly ILogger _logger = logger;
    private readonly ConcurrentDictionary<string, (long SinceMs, string Reason)> _away = new();

    /// <summary>The destinations as an operator sees them.</summary>
    public IReadOnlyList<DestinationView> View() =>
    [
        .. book.Rules.Destinations.Values.Select(d =>
        {
            var (waiting, delivered, failed, oldest) = queue.Count(d.Name);
            var away = _away.TryGetValue(d.Name, out var why) ? why : ((long, string)?)null;
            return new DestinationView(
                d.Name, d.Url ?? (PeerOf(d) is { } peer ? $"{peer.AeTitle}@{peer.Host}:{peer.Port}" : $"{d.AeTitle}@{d.Host}:{d.Port}"), waiting, delivered, failed, oldest, away?.Item1, away?.Item2);
        }),
    ];

    /// <summary>Sends until it is stopped.</summary>
    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        Task.WhenAll(book.Rules.Destinations.Values.Select(d => ServeAsync(d, stoppingToken)));

    private async Task ServeAsync(Destination destination, CancellationToken cancellationToken)
    {
        await Task.Yield();
        var wait = FirstWait;
        while (!cancellationToken.IsCancellationRequested)
        {
            try
            {
                var next = queue.Next;
                var batch = queue.Waiting(destination.Name, MaxBatch, MaxBatchBytes);
                if (batch.Count == 0)
                {
                    await next.WaitAsync(cancellationToken);
                    continue;
                }

                var from = clock.GetTimestamp();
                var progress = await SendAsync(destination, batch, cancellationToken);
                metrics.Stage("send", clock.GetElapsedTime(from));
                if (_away.TryRemove(destination.Name, out _))
                {
                    Back(destination.Name);
                }

                if (progress)
                {
                    wait = FirstWait;
                    continue;
                }
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (e is AssociationException or IOException or SocketException or HttpRequestException or TaskCanceledException or SqliteException or InvalidDataException)
            {
                _away.TryAdd(destination.Name, (clock.GetUtcNow().ToUnixTimeMilliseconds(), e.Message));
                Away(destination.Name, e.Message, wait.TotalSeconds);
            }

            await Task.Delay(wait, clock, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            wait = wait * 2 < LongestWait ? wait * 2 : LongestWait;
        }
    }

    /// <summary>Sends a batch. True when at least one copy came to its end, delivered or given to a person.</summary>
    private async Task<bool> SendAsync(Destination destination, IReadOnlyList<Delivery> batch, CancellationToken cancellationToken)
    {
        var copies = new List<OpenCopy>();
        try
        {
            foreach (var delivery in batch)
            {
                if (await OpenAsync(delivery, cancellationToken) is { } copy)
                {
                    copies.Add(copy);
                }
            }

            var ended = batch.Count - copies.Count;
            return (copies.Count == 0 ? 0
                : destination.Kind switch
                {
                    DestinationKind.Orthanc => await PostAsync(destination, copies, cancellationToken),
                    DestinationKind.DicomWeb => await StowAsync(destination, copies, cancellationToken),
                    _ => await StoreAsync(destination, copies, cancellationToken),
                }) + ended > 0;
        }
        finally
        {
            foreach (var copy in copies)
            {
                await copy.DisposeAsync();
            }
        }
    }

    /// <summary>What is sent for a delivery; null when it cannot be made, which a person is told.</summary>
    private async Task<OpenCopy?> OpenAsync(Delivery delivery, CancellationToken cancellationToken)
    {
        if (book.Rules.Rules.FirstOrDefault(r => r.Name == delivery.Rule) is not { } rule)
        {
            Refuse(delivery, "its rule is no longer in the rules file", final: true);
            return null;
        }

        _ = ContentHash.TryParse(delivery.Sha256, out var hash);
        if (await blobs.OpenAsync(hash, cancellationToken) is not { } blob)
        {
            Refuse(delivery, "its data set is not in the blob store", final: true);
            return null;
        }

        var made = false;
        try
        {
            var syntax = DicomTransferSyntax.Get(delivery.TransferSyntaxUid);
            var header = await InstanceHeader.ReadAsync(blob, syntax, options.Value.MaxHeaderBytes, cancellationToken);
            var decision = RuleEngine.Decide(book.Rules, new RuleSubject(delivery.CallingAeTitle, delivery.CalledAeTitle, header.Dataset));
            if (!CopyMaker.Changes(decision, rule))
            {
                made = true;
                return new OpenCopy(delivery, delivery.SopClassUid, delivery.SopInstanceUid, OrthancClient.IdOf(header.Dataset), syntax, blob, default);
            }

            if (blob.Length > options.Value.MaxChangedBytes)
            {
                Refuse(delivery, $"it has {blob.Length} bytes and copies of at most {options.Value.MaxChangedBytes} are changed (pacs-gw:maxChangedBytes)", final: true);
                return null;
            }

            byte[] bytes;
            if (syntax.IsEncapsulated && rule.Deidentify is { } profile && book.Rules.Profiles[profile].Blank.Count > 0
                && Transcoder.Can(syntax.Uid, DicomTransferSyntax.ExplicitVrLittleEndian.Uid))
            {
                // Parts of an image can be blanked when its pixels are there one by one.
                bytes = await DecodeAsync(delivery, hash, cancellationToken);
                syntax = DicomTransferSyntax.ExplicitVrLittleEndian;
            }
            else
            {
                bytes = new byte[blob.Length];
                await new BlobStream(blob).ReadExactlyAsync(bytes, cancellationToken);
            }

            var copy = book.Copies.Make(decision, rule, DicomDataset.Parse(bytes, syntax), syntax, delivery.CallingAeTitle);
            return new OpenCopy(
                delivery, copy.SopClassUid, copy.SopInstanceUid, OrthancClient.IdOf(copy.Dataset), syntax, null, DicomWriter.ToArray(copy.Dataset, syntax));
        }
        catch (Exception e) when (e is NotDeidentifiableException or CodecException or DicomFormatException or InvalidDataException or ArgumentException)
        {
            Refuse(delivery, e.Message, final: true);
            return null;
        }
        finally
        {
            if (!made)
            {
                await blob.DisposeAsync();
            }
        }
    }

    /// <summary>A data set with its pixels decoded, in explicit VR little endian.</summary>
    /// <exception cref="InvalidDataException">It becomes larger than what may be changed.</exception>
    private async Task<byte[]> DecodeAsync(Delivery delivery, ContentHash hash, CancellationToken cancellationToken)
    {
        await using var decoded = transcoder.OpenRead(OpenCopy.Stored(delivery, hash), DicomTransferSyntax.ExplicitVrLittleEndian.Uid, cancellationToken);
        var bytes = new MemoryStream();
        var buffer = new byte[128 * 1024];
        while (await decoded.ReadAsync(buffer, cancellationToken) is > 0 and var read)
        {
            if (bytes.Length + read > options.Value.MaxChangedBytes)
            {
                throw new InvalidDataException($"it has more than {options.Value.MaxChangedBytes} bytes once it is decoded (pacs-gw:maxChangedBytes)");
            }

            bytes.Write(buffer, 0, read);
        }

        return bytes.ToArray();
    }

    /// <summary>The peer of the settings that a destination is; null when the rules say its address themselves.</summary>
    private PeerOptions? PeerOf(Destination destination) => destination is { Url: null, Host: null } ? peers.Callable(destination.AeTitle!) : null;

    /// <summary>Sends over one association, and over a second what the destination takes only decoded; how many came to an end.</summary>
    private async Task<int> StoreAsync(Destination destination, List<OpenCopy> copies, CancellationToken cancellationToken)
    {
        var scu = PeerOf(destination) is { } peer
            ? connector.Sender(peer, null, null)
            : new StoreScu(
                (request, cancel) => Connector.RequestAsync(destination.Host!, destination.Port, request, new AssociationOptions(), clock, cancel),
                options.Value.AeTitle,
                destination.AeTitle!);
        var results = (await scu.SendAsync(
            [.. copies.Select(c => new StoreInstance(c.SopClassUid, c.SopInstanceUid, c.Syntax.Uid, c.Open))], cancellationToken)).ToArray();
        foreach (var syntax in InstanceSender.Uncompressed)
        {
            var refused = Enumerable.Range(0, copies.Count).Where(i => results[i].Outcome == StoreOutcome.NotAccepted && copies[i].CanBe(syntax)).ToList();
            if (refused.Count > 0)
            {
                var decoded = await scu.SendAsync(
                    [.. refused.Select(i => new StoreInstance(copies[i].SopClassUid, copies[i].SopInstanceUid, syntax.Uid, () => copies[i].OpenDecoded(blobs, transcoder, syntax)))],
                    cancellationToken);
                for (var i = 0; i < refused.Count; i++)
                {
                    results[refused[i]] = decoded[i];
                }
            }
        }

        var ended = 0;
        string? broken = null;
        foreach (var (copy, result) in copies.Zip(results))
        {
            if (result.IsStored)
            {
                await DeliveredAsync(copy.Delivery, cancellationToken);
                ended++;
            }
            else if (result.Outcome is StoreOutcome.Unknown or StoreOutcome.NotSent)
            {
                broken = result.Message;
            }
            else if (result.Status is { } status && (status & 0xFF00) == DimseStatus.OutOfResources)
            {
                broken = $"it has no room ({status:X4})";
            }
            else
            {
                var final = result.Outcome == StoreOutcome.NotAccepted;
                Refuse(copy.Delivery, result.Status is { } code ? $"refused with status {code:X4}: {result.Message}" : result.Message ?? $"{result.Outcome}", final);
                ended += final ? 1 : 0;
            }
        }

        // The next batch would run into the same: wait before it, as for a destination that is away.
        return broken is null || ended == copies.Count ? ended : throw new IOException(broken);
    }

    /// <summary>Stores one after another by REST; how many came to an end.</summary>
    private async Task<int> PostAsync(Destination destination, List<OpenCopy> copies, CancellationToken cancellationToken)
    {
        using var client = new OrthancClient(destination.Url!, destination.User, destination.PasswordFile);
        var ended = 0;
        foreach (var copy in copies)
        {
            try
            {
                // Before it is there: whoever follows that Orthanc must know that it is ours.
                queue.Posting(copy.OrthancId);
                await client.StoreAsync(stream => copy.WriteFileAsync(stream, options.Value.AeTitle, cancellationToken), cancellationToken);
                await DeliveredAsync(copy.Delivery, cancellationToken);
                ended++;
            }
            catch (HttpRequestException e) when (e.StatusCode is HttpStatusCode.BadRequest or HttpStatusCode.UnsupportedMediaType)
            {
                Refuse(copy.Delivery, e.Message, final: false);
            }
        }

        return ended;
    }

    /// <summary>Stores by STOW-RS; how many came to an end.</summary>
    private async Task<int> StowAsync(Destination destination, List<OpenCopy> copies, CancellationToken cancellationToken)
    {
        // The answer names instances, so one request has each only once; another copy of the same waits for the next.
        copies = [.. copies.DistinctBy(c => c.SopInstanceUid)];
        foreach (var copy in copies)
        {
            // Before it is there: an Orthanc that takes by STOW-RS may be one that we follow.
            queue.Posting(copy.OrthancId);
        }

        using var sender = new StowSender(destination, options.Value.AeTitle);
        var ended = 0;
        string? broken = null;
        foreach (var result in await sender.SendAsync(copies, (copy, syntax) => copy.OpenDecoded(blobs, transcoder, syntax), cancellationToken))
        {
            switch (result.Outcome)
            {
                case StowOutcome.Stored:
                    await DeliveredAsync(result.Copy.Delivery, cancellationToken);
                    ended++;
                    break;
                case StowOutcome.Refused:
                    Refuse(result.Copy.Delivery, result.Reason, final: false);
                    break;
                default:
                    broken = result.Reason;
                    break;
            }
        }

        // The next batch would run into the same: wait before it, as for a destination that is away.
        return broken is null || ended == copies.Count ? ended : throw new IOException(broken);
    }

    private async ValueTask DeliveredAsync(Delivery delivery, CancellationToken cancellationToken)
    {
        await queue.DeliveredAsync(delivery, cancellationToken);
        metrics.Copy(delivery.Destination, "delivered");
    }

    private void Refuse(Delivery delivery, string reason, bool final)
    {
        queue.Refused(delivery, reason, final);
        metrics.Copy(delivery.Destination, "refused");
        Refused(delivery.SopInstanceUid, delivery.Destination, delivery.Rule, reason);
    }

    [LoggerMessage(3074, LogLevel.Warning, "Destination '{Destination}' cannot be reached ({Reason}); trying again in {Seconds} s.")]
    private partial void Away(string destination, string reason, double seconds);

    [LoggerMessage(3075, LogLevel.Information, "Destination '{Destination}' is back.")]
    private partial void Back(string destination);

    [LoggerMessage(3076, LogLevel.Warning, "The copy of instance {SopInstanceUid} for '{Destination}' (rule '{Rule}') was not delivered: {Reason}")]
    private partial void Refused(string sopInstanceUid, string destination, string rule, string reason);
}
