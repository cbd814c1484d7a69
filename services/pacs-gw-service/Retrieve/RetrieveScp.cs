using System.Threading.Channels;
using Microsoft.Extensions.Options;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.Codecs;
using Yizhan.PacsGw.DicomWeb;
using Yizhan.PacsGw.Peers;
using Yizhan.PacsGw.Query;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Retrieve;

/// <summary>
/// C-MOVE and C-GET (PS3.4 §C.4.2, §C.4.3). Instances go as they are stored where the receiver takes that, else decoded or in another
/// lossless form; what it takes in no way is a failed sub-operation that is named in the last response.
/// </summary>
internal sealed partial class RetrieveScp(
    ArchiveDatabase database,
    ArchiveProgress progress,
    StoredInstances stored,
    IBlobStore blobs,
    Transcoder transcoder,
    ReadAudit audit,
    PeerDirectory peers,
    PeerConnector connector,
    IOptions<PacsGwOptions> options,
    ILogger<RetrieveScp> logger)
{
    private const int Step = 500;

    /// <summary>A C-GET response between sub-operations only says that we are alive, which the instances themselves do.</summary>
    private const int GetProgressEvery = 50;

    private readonly ILogger _logger = logger;

    /// <summary>Answers one C-MOVE-RQ.</summary>
    /// <param name="association">Where it came.</param>
    /// <param name="message">The request.</param>
    /// <param name="cancelled">Cancelled by C-CANCEL.</param>
    /// <param name="cancellationToken">The association ends.</param>
    public async Task ServeMoveAsync(
        PeerAssociation association, DimseMessage message, CancellationToken cancelled, CancellationToken cancellationToken)
    {
        if (await association.ReadAsync(message, cancellationToken) is not { } identifier)
        {
            return;
        }

        var title = message.Command.GetString(CommandElement.MoveDestination) ?? "";
        if (peers.Callable(title) is not { } destination)
        {
            UnknownDestination(association.Peer.AeTitle, title);
            await association.RespondAsync(
                message, DimseStatus.MoveDestinationUnknown, "The move destination is no peer with a host in the settings.", cancellationToken);
            return;
        }

        if (await FindAsync(association, message, identifier, $"C-MOVE to {title}", cancelled, cancellationToken) is not { } instances)
        {
            return;
        }

        var tally = new Tally(instances.Count);
        try
        {
            await SendAsync(association, message, destination, instances, tally, cancelled, cancellationToken);
        }
        catch (AssociationException e) when (!cancellationToken.IsCancellationRequested)
        {
            DestinationFailed(title, e.Message);
            tally.FailRest(instances);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            // The association to the destination is gone; what it answered counts, the rest remains.
        }

        await EndAsync(association, message, tally, cancelled.IsCancellationRequested, cancellationToken);
    }

    /// <summary>Answers one C-GET-RQ.</summary>
    /// <inheritdoc cref="ServeMoveAsync"/>
    public async Task ServeGetAsync(
        PeerAssociation association, DimseMessage message, CancellationToken cancelled, CancellationToken cancellationToken)
    {
        if (await association.ReadAsync(message, cancellationToken) is not { } identifier
            || await FindAsync(association, message, identifier, "C-GET", cancelled, cancellationToken) is not { } instances)
        {
            return;
        }

        var tally = new Tally(instances.Count);
        var contexts = association.Contexts.ToLookup(c => c.AbstractSyntax);

        // The next instance goes out while the last ones are still being answered, as far as the peer agreed to that.
        var unanswered = new Queue<Task>(association.InvokeWindow);
        using var waiting = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task<SubOperation?>? next = null;
        try
        {
            for (var i = 0; i < instances.Count; i++)
            {
                await using var store = await (next ?? PrepareGetAsync(association, contexts, instances[i], waiting.Token));

                // The first part of the next one is read while this one goes out, or its answer is waited for.
                var following = i + 1;
                next = store is { IsLong: true } && following < instances.Count
                    ? Task.Run(() => PrepareGetAsync(association, contexts, instances[following], waiting.Token), CancellationToken.None)
                    : null;
                if (unanswered.Count == association.InvokeWindow)
                {
                    await unanswered.Dequeue();
                }

                if (cancelled.IsCancellationRequested)
                {
                    break;
                }

                unanswered.Enqueue(CountAsync(instances[i], await BeginGetAsync(association, store, waiting.Token)));
            }

            await Task.WhenAll(unanswered);
        }
        catch
        {
            // No answer is worth waiting for: who called ends the association.
            await waiting.CancelAsync();
            await Task.WhenAll(unanswered).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            throw;
        }
        finally
        {
            await DropAsync(next);
        }

        await EndAsync(association, message, tally, cancelled.IsCancellationRequested, cancellationToken);

        async Task CountAsync(StoredInstance instance, Task<ushort?> answer)
        {
            var counts = tally.Count(instance.SopInstanceUid, await answer);
            if (counts.Remaining > 0 && (instances.Count - counts.Remaining) % GetProgressEvery == 0)
            {
                await association.RespondAsync(
                    message, message.Command.CreateResponse(DimseStatus.Pending).SetSubOperations(counts), null, cancellationToken);
            }
        }
    }

    /// <summary>The instances that an identifier asks for; null after the peer was told why there are none.</summary>
    private async Task<IReadOnlyList<StoredInstance>?> FindAsync(
        PeerAssociation association, DimseMessage message, DicomDataset identifier, string operation, CancellationToken cancelled, CancellationToken cancellationToken)
    {
        await progress.ReachedNowAsync(cancellationToken);
        try
        {
            var isPatientRoot = message.PresentationContext.AbstractSyntax is DicomUids.PatientRootMove or DicomUids.PatientRootGet;
            var limit = options.Value.MaxRetrievedInstances;
            var query = QueryIdentifier.ForRetrieve(identifier, isPatientRoot, limit);
            var keys = new List<long>();
            using (var search = new ArchiveSearch(database, TimeSpan.FromSeconds(options.Value.MaxSearchSeconds), cancelled))
            {
                using var rows = search.OpenInstances(query);
                while (search.Read(rows))
                {
                    keys.Add(rows.GetInt64(0));
                }
            }

            if (keys.Count > limit)
            {
                await association.RespondAsync(
                    message, DimseStatus.CannotCountMatches, $"More than {limit} instances match: ask for less at a time.", cancellationToken);
                return null;
            }

            var instances = keys.Chunk(Step).SelectMany(stored.OfKeys).ToList();
            foreach (var study in instances.Select(i => i.StudyInstanceUid).Distinct(StringComparer.Ordinal))
            {
                await audit.RecordAsync(ReadAudit.InstancesAccessed, association.Agent, $"study/{study}", operation, cancellationToken);
            }

            return instances;
        }
        catch (QueryException e)
        {
            await association.RespondAsync(message, DimseStatus.IdentifierDoesNotMatch, e.Message, cancellationToken);
            return null;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            await association.RespondAsync(message, DimseStatus.Cancel, null, cancellationToken);
            return null;
        }
    }

    private async Task SendAsync(
        PeerAssociation association,
        DimseMessage message,
        PeerOptions destination,
        IReadOnlyList<StoredInstance> instances,
        Tally tally,
        CancellationToken cancelled,
        CancellationToken cancellationToken)
    {
        // Counts grow, so only the newest is worth telling: a slow asker holds nobody up.
        var news = Channel.CreateBounded<SubOperations>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropOldest });
        var telling = TellAsync();
        try
        {
            var sender = connector.Sender(
                destination,
                answered =>
                {
                    tally.Count(answered.Instance.SopInstanceUid, answered.Status);
                    news.Writer.TryWrite(tally.Counts);
                },
                (association.Peer.AeTitle, message.Command.MessageId));
            await InstanceSender.SendAsync(
                sender,
                blobs,
                transcoder,
                instances,
                (instance, why) =>
                {
                    NotSent(instance.SopInstanceUid, destination.AeTitle, why);
                    tally.CountUnanswered(instance.SopInstanceUid);
                },
                cancelled);
        }
        finally
        {
            news.Writer.Complete();
            await telling;
        }

        async Task TellAsync()
        {
            await foreach (var counts in news.Reader.ReadAllAsync(CancellationToken.None))
            {
                if (counts.Remaining > 0)
                {
                    await association.RespondAsync(
                        message, message.Command.CreateResponse(DimseStatus.Pending).SetSubOperations(counts), null, cancellationToken);
                }
            }
        }
    }

    /// <summary>Makes one C-STORE sub-operation of a C-GET ready; null when it cannot be sent.</summary>
    private async Task<SubOperation?> PrepareGetAsync(
        PeerAssociation association, ILookup<string, AcceptedContext> contexts, StoredInstance instance, CancellationToken cancellationToken)
    {
        var context = contexts[instance.SopClassUid]
            .OrderBy(c => c.TransferSyntax == instance.TransferSyntaxUid ? 0 : c.TransferSyntax == DicomTransferSyntax.ExplicitVrLittleEndian.Uid ? 1 : 2)
            .FirstOrDefault(c => Transcoder.Can(instance.TransferSyntaxUid, c.TransferSyntax));
        if (context is null)
        {
            NotSent(instance.SopInstanceUid, association.Peer.AeTitle, $"It does not take transfer syntax {instance.TransferSyntaxUid}.");
            return null;
        }

        var dataSet = new DataSetStream(blobs, transcoder, instance, DicomTransferSyntax.Get(context.TransferSyntax));
        try
        {
            return new SubOperation(
                await association.PrepareAsync(
                    context, id => CommandSet.StoreRequest(id, instance.SopClassUid, instance.SopInstanceUid), dataSet, cancellationToken),
                dataSet);
        }
        catch (IOException e) when (e is not AssociationException)
        {
            await dataSet.DisposeAsync();
            NotSent(instance.SopInstanceUid, association.Peer.AeTitle, e.Message);
            return null;
        }
        catch
        {
            await dataSet.DisposeAsync();
            throw;
        }
    }

    /// <summary>Sends one; what it returns ends with the status of its response, or null when there is nothing to send.</summary>
    private static async Task<Task<ushort?>> BeginGetAsync(PeerAssociation association, SubOperation? store, CancellationToken cancellationToken)
    {
        return store is null ? Task.FromResult<ushort?>(null) : StatusAsync(await association.BeginAsync(store.Message, cancellationToken));

        static async Task<ushort?> StatusAsync(Task<CommandSet> answer) => (await answer).Status;
    }

    /// <summary>Gives up what was made ready and is not sent, also when that failed.</summary>
    private static async Task DropAsync(Task<SubOperation?>? ready)
    {
        if (ready is not null)
        {
            await ((Task)ready).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (ready.IsCompletedSuccessfully && await ready is { } store)
            {
                await store.DisposeAsync();
            }
        }
    }

    /// <summary>The last response (PS3.4 tables C.4-2 and C.4-3).</summary>
    private static ValueTask EndAsync(
        PeerAssociation association, DimseMessage message, Tally tally, bool cancelled, CancellationToken cancellationToken)
    {
        var counts = tally.Counts;
        var status = cancelled && counts.Remaining > 0 ? DimseStatus.Cancel
            : counts.Failed == 0 ? DimseStatus.Success
            : counts.Completed + counts.Warning == 0 ? DimseStatus.CannotPerformSubOperations
            : DimseStatus.SubOperationsFailed;
        var failed = tally.Failed;
        return association.RespondAsync(
            message,
            message.Command.CreateResponse(status).SetSubOperations(counts),
            failed.Count == 0 ? null : new DicomDataset().Set(DicomTags.FailedSOPInstanceUIDList, [.. failed]),
            cancellationToken);
    }

    /// <summary>A C-STORE that is ready to be sent, and the data set that it reads.</summary>
    private sealed record SubOperation(OutgoingMessage Message, DataSetStream DataSet) : IAsyncDisposable
    {
        public bool IsLong { get; } = Message.IsLong;

        public async ValueTask DisposeAsync()
        {
            await Message.DisposeAsync();
            await DataSet.DisposeAsync();
        }
    }

    /// <summary>Counts sub-operations. Safe for concurrent use.</summary>
    private sealed class Tally(int total)
    {
        private readonly Lock _gate = new();
        private readonly List<string> _failed = [];
        private readonly HashSet<string> _known = [];
        private SubOperations _counts = new(total, 0, 0, 0);

        public SubOperations Counts
        {
            get
            {
                lock (_gate)
                {
                    return _counts;
                }
            }
        }

        public IReadOnlyList<string> Failed
        {
            get
            {
                lock (_gate)
                {
                    return [.. _failed];
                }
            }
        }

        /// <summary>Counts one by the status of its C-STORE; null when it was not answered or not sent.</summary>
        /// <returns>The counts with it.</returns>
        public SubOperations Count(string sopInstanceUid, ushort? status)
        {
            lock (_gate)
            {
                _known.Add(sopInstanceUid);
                _counts = _counts with { Remaining = _counts.Remaining - 1 };
                if (status == DimseStatus.Success)
                {
                    _counts = _counts with { Completed = _counts.Completed + 1 };
                }
                else if (status is { } warning && DimseStatus.IsWarning(warning))
                {
                    _counts = _counts with { Warning = _counts.Warning + 1 };
                }
                else
                {
                    _counts = _counts with { Failed = _counts.Failed + 1 };
                    _failed.Add(sopInstanceUid);
                }

                return _counts;
            }
        }

        /// <summary>Counts one that failed, unless its answer was counted already.</summary>
        public void CountUnanswered(string sopInstanceUid)
        {
            lock (_gate)
            {
                if (!_known.Contains(sopInstanceUid))
                {
                    Count(sopInstanceUid, null);
                }
            }
        }

        /// <summary>Nothing more will be sent.</summary>
        public void FailRest(IEnumerable<StoredInstance> instances)
        {
            foreach (var instance in instances)
            {
                CountUnanswered(instance.SopInstanceUid);
            }
        }
    }

    [LoggerMessage(3124, LogLevel.Warning, "{Peer} asked to move instances to '{Destination}', which is no peer with a host.")]
    private partial void UnknownDestination(string peer, string destination);

    [LoggerMessage(3125, LogLevel.Warning, "Instances could not be sent to {Destination}: {Reason}")]
    private partial void DestinationFailed(string destination, string reason);

    [LoggerMessage(3126, LogLevel.Warning, "Instance {SopInstanceUid} did not arrive at {Destination}: {Reason}")]
    private partial void NotSent(string sopInstanceUid, string destination, string reason);
}
