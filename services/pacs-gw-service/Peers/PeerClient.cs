using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.Codecs;
using Yizhan.PacsGw.Commitment;
using Yizhan.PacsGw.Query;
using Yizhan.PacsGw.Receive;
using Yizhan.PacsGw.Retrieve;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Peers;

/// <summary>What this node asks of its peers, one association for each request. Exceptions are those of the association and <see cref="DimseException"/>.</summary>
internal sealed class PeerClient(
    PeerConnector connector, InstanceIntake intake, IBlobStore blobs, Transcoder transcoder, CommitmentScp commitment, TimeProvider clock)
{
    private const int MaxContexts = 127;

    /// <summary>What archives keep instances in; all that are known, for each of 127 SOP classes, would be a longer request than most peers read.</summary>
    private static readonly string[] RetrievedSyntaxes =
    [
        DicomTransferSyntax.ExplicitVrLittleEndian.Uid, DicomTransferSyntax.ImplicitVrLittleEndian.Uid,
        .. new[] { "50", "51", "57", "70", "80", "81", "90", "91", "102", "103", "201", "202", "203" }.Select(s => "1.2.840.10008.1.2.4." + s),
        "1.2.840.10008.1.2.5",
    ];

    /// <summary>C-ECHO; the milliseconds from connecting to the answer.</summary>
    public async Task<EchoResult> EchoAsync(PeerOptions peer, CancellationToken cancellationToken)
    {
        var from = clock.GetTimestamp();
        await using var association = await connector.RequestAsync(peer, [DicomUids.Verification], [], cancellationToken);
        await new DimseScu(association).EchoAsync(cancellationToken);
        var elapsed = clock.GetElapsedTime(from).TotalMilliseconds;
        await association.ReleaseAsync(cancellationToken);
        return new EchoResult(Math.Round(elapsed, 1));
    }

    /// <summary>C-FIND; at most so many answers.</summary>
    public async Task<IReadOnlyList<DicomDataset>> FindAsync(
        PeerOptions peer, string sopClassUid, DicomDataset identifier, int limit, CancellationToken cancellationToken)
    {
        await using var association = await connector.RequestAsync(peer, [sopClassUid], [], cancellationToken);
        var found = new List<DicomDataset>();
        await foreach (var answer in new DimseScu(association).FindAsync(sopClassUid, identifier, cancellationToken))
        {
            found.Add(answer);
            if (found.Count == limit)
            {
                break;
            }
        }

        await association.ReleaseAsync(cancellationToken);
        return found;
    }

    /// <summary>C-MOVE to a destination that the peer knows.</summary>
    public async Task<TransferResult> MoveAsync(
        PeerOptions peer, DicomDataset identifier, string destination, CancellationToken cancellationToken)
    {
        var sopClass = IsPatientLevel(identifier) ? DicomUids.PatientRootMove : DicomUids.StudyRootMove;
        await using var association = await connector.RequestAsync(peer, [sopClass], [], cancellationToken);
        var result = await new DimseScu(association).MoveAsync(sopClass, identifier, destination, null, cancellationToken);
        await association.ReleaseAsync(cancellationToken);
        return Result(result);
    }

    /// <summary>C-GET into this node's archive: each instance is durable before the peer is told that it was taken.</summary>
    public async Task<TransferResult> GetAsync(PeerOptions peer, DicomDataset identifier, CancellationToken cancellationToken)
    {
        var sopClass = IsPatientLevel(identifier) ? DicomUids.PatientRootGet : DicomUids.StudyRootGet;
        var storage = await SopClassesAsync(peer, identifier, cancellationToken);
        await using var association = await connector.RequestAsync(
            peer,
            new AssociateRequest
            {
                CallingAeTitle = connector.AeTitle,
                CalledAeTitle = peer.AeTitle,
                PresentationContexts =
                [
                    new PresentationContext(1, sopClass, [DicomTransferSyntax.ExplicitVrLittleEndian.Uid, DicomTransferSyntax.ImplicitVrLittleEndian.Uid]),
                    .. storage.Select((uid, i) => new PresentationContext((byte)((2 * i) + 3), uid, RetrievedSyntaxes)),
                ],
                Roles = [.. storage.Select(uid => new RoleSelection(uid, Scu: false, Scp: true))],
            },
            cancellationToken);
        var source = new IntakeSource(peer.AeTitle, connector.AeTitle, peer.Host, Guid.CreateVersion7(clock.GetUtcNow()).ToString("N"));
        var store = new StoreScp(association, source, intake);
        var result = await new DimseScu(association).GetAsync(sopClass, identifier, store.TakeAsync, null, cancellationToken);
        await association.ReleaseAsync(cancellationToken);
        return Result(result);
    }

    /// <summary>Sends instances of the archive as they are stored, or decoded where the peer takes only that.</summary>
    /// <param name="peer">To whom.</param>
    /// <param name="instances">What.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public async Task<TransferResult> StoreAsync(PeerOptions peer, IReadOnlyList<StoredInstance> instances, CancellationToken cancellationToken)
    {
        var failed = new List<(string Uid, string Why)>();
        var outcome = await InstanceSender.SendAsync(
            connector.Sender(peer, null, null), blobs, transcoder, instances, (instance, why) => failed.Add((instance.SopInstanceUid, why)), cancellationToken);
        return new TransferResult(outcome, failed.Count, [.. failed.Select(f => f.Uid)], failed.Count == 0 ? null : failed[0].Why);
    }

    /// <summary>
    /// Asks the peer to commit instances. It may report over this association, for which we wait, or over one of its own later.
    /// </summary>
    /// <param name="peer">Whom.</param>
    /// <param name="instances">What.</param>
    /// <param name="wait">How long to wait for a report over this association.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <returns>The transaction's UID.</returns>
    public async Task<string> CommitAsync(
        PeerOptions peer, IReadOnlyList<StoredInstance> instances, TimeSpan wait, CancellationToken cancellationToken)
    {
        var transaction = DicomUids.FromGuid(Guid.CreateVersion7(clock.GetUtcNow()));
        var references = instances.GroupBy(i => i.SopClassUid, i => i.SopInstanceUid)
            .Select(g => new SopReferences(g.Key, [.. g])).ToList();
        await using var association = await connector.RequestAsync(peer, [DicomUids.StorageCommitmentPushModel], [], cancellationToken);
        await new DimseScu(association).InvokeAsync(
            id => CommandSet.ActionRequest(
                id, DicomUids.StorageCommitmentPushModel, DicomUids.StorageCommitmentPushModelInstance, CommitmentDataSet.RequestAction),
            CommitmentDataSet.Request(transaction, references),
            cancellationToken);
        using var limit = new CancellationTokenSource(wait, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, limit.Token);
        try
        {
            if (await association.ReceiveAsync(either.Token) is { Command.Field: CommandField.NEventReportRequest } message
                && await DimseScu.ReadAsync(message, cancellationToken) is { } report)
            {
                var (status, comment) = await commitment.TakeReportAsync(peer.AeTitle, report, cancellationToken);
                await association.SendAsync(message.PresentationContext.Id, message.Command.CreateResponse(status, comment), cancellationToken);
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            // It will come over an association of the peer's own.
        }

        await association.ReleaseAsync(cancellationToken);
        return transaction;
    }

    /// <summary>The identifier of keys by name; a key in a sequence is named behind the sequence and a dot.</summary>
    /// <exception cref="QueryException">A name is no attribute of PS3.6, or a value does not fit it.</exception>
    public static DicomDataset Identifier(string? level, IReadOnlyDictionary<string, string> keys)
    {
        var identifier = new DicomDataset().Set(DicomTags.SpecificCharacterSet, "ISO_IR 192");
        foreach (var (name, value) in keys)
        {
            try
            {
                Set(identifier, name.Split('.'), value);
            }
            catch (ArgumentException e)
            {
                throw new QueryException(e.Message);
            }
        }

        return level is null ? identifier : identifier.Set(DicomTags.QueryRetrieveLevel, level);
    }

    private static void Set(DicomDataset dataset, ReadOnlySpan<string> path, string value)
    {
        if (!MatchKey.TryFindTag(path[0], out var entry))
        {
            throw new QueryException($"'{path[0]}' is no attribute of PS3.6; accepted are keywords and eight hex digits.");
        }

        if (path.Length > 1)
        {
            var item = dataset.GetItems(entry.Tag) is [var known, ..] ? known : new DicomDataset().Set(DicomTags.SpecificCharacterSet, "ISO_IR 192");
            Set(item, path[1..], value);
            dataset.Set(entry.Tag, item);
        }
        else if (entry.Vr == DicomVr.SQ)
        {
            dataset.Set(DicomElement.OfItems(entry.Tag, []));
        }
        else if (value.Length == 0 || !entry.Vr.IsText())
        {
            dataset.Set(DicomElement.OfValue(entry.Tag, entry.Vr, ReadOnlyMemory<byte>.Empty));
        }
        else
        {
            dataset.Set(entry.Tag, entry.Vr, entry.Vr.IsSingleText() ? [value] : value.Split('\\'));
        }
    }

    /// <summary>What the instances are that will come: the peer's own word for it, or the classes that most archives have.</summary>
    private async Task<IReadOnlyList<string>> SopClassesAsync(PeerOptions peer, DicomDataset identifier, CancellationToken cancellationToken)
    {
        var keys = new DicomDataset().Set(DicomTags.QueryRetrieveLevel, "IMAGE");
        keys.Set(DicomElement.OfValue(DicomTags.SOPClassUID, DicomVr.UI, ReadOnlyMemory<byte>.Empty));
        foreach (var tag in (ReadOnlySpan<DicomTag>)[DicomTags.PatientID, DicomTags.StudyInstanceUID, DicomTags.SeriesInstanceUID, DicomTags.SOPInstanceUID])
        {
            keys.Set(identifier.TryGet(tag, out var element) ? element : DicomElement.OfValue(tag, DicomDictionary.GetVr(tag), ReadOnlyMemory<byte>.Empty));
        }

        var sopClasses = new HashSet<string>(StringComparer.Ordinal);
        try
        {
            foreach (var answer in await FindAsync(peer, DicomUids.StudyRootFind, keys, int.MaxValue, cancellationToken))
            {
                sopClasses.Add(answer.GetString(DicomTags.SOPClassUID) ?? "");
            }
        }
        catch (DimseException)
        {
            // It does not search at this level.
        }

        var known = sopClasses.Where(intake.Stores).ToList();
        return [.. (known.Count > 0 ? known : [.. DicomUids.StorageSopClasses.Keys.Order(StringComparer.Ordinal)]).Take(MaxContexts)];
    }

    private static bool IsPatientLevel(DicomDataset identifier) => identifier.GetString(DicomTags.QueryRetrieveLevel) == "PATIENT";

    private static TransferResult Result(RetrieveResult result) => new(
        result.Counts.Completed + result.Counts.Warning, result.Counts.Failed, result.FailedInstances,
        result.Counts.Failed == 0 ? null : $"The peer's last status is 0x{result.Status:X4}.");
}
