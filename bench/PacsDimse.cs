using System.Net;
using System.Net.Sockets;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;
using Yizhan.Drills;

namespace Yizhan.Bench;

/// <summary>Query and retrieval by DIMSE. Each request opens an association of its own, as a workstation does.</summary>
internal static class PacsDimse
{
    public static IEnumerable<PacsRequest> All(IReadOnlyList<StoreInstance> ct, PacsSink sink)
    {
        var (study, series) = PacsQueries.Place(ct[0]);
        yield return Find("C-FIND 101 studies", Keys("STUDY", (DicomTags.StudyDate, PacsInstances.Day)));
        yield return Find("C-FIND by PatientID, 1 study", Keys("STUDY", (DicomTags.PatientID, "BENCH-1-50"))) with { Repetitions = 300 };
        yield return Find("C-FIND 500 instances of a series", Keys("IMAGE", (DicomTags.StudyInstanceUID, study), (DicomTags.SeriesInstanceUID, series))) with { Repetitions = 20 };
        var whole = new DicomDataset().Set(DicomTags.QueryRetrieveLevel, "STUDY").Set(DicomTags.StudyInstanceUID, study);
        yield return new("C-GET whole study", (server, cancel) => GetAsync(server, whole, ct.Count, cancel)) { IsTransfer = true, Repetitions = 5 };
        yield return new("C-MOVE whole study", (server, cancel) => MoveAsync(server, whole, ct.Count, sink, cancel)) { IsTransfer = true, Repetitions = 5 };
    }

    /// <summary>One C-FIND that has to find something.</summary>
    public static PacsRequest Find(string name, DicomDataset identifier) => new(name, async (server, cancel) =>
    {
        await using var association = await RequestAsync(server, [new PresentationContext(1, DicomUids.StudyRootFind, [DicomTransferSyntax.ExplicitVrLittleEndian.Uid])], [], cancel);
        var found = 0;
        await foreach (var _ in new DimseScu(association).FindAsync(DicomUids.StudyRootFind, identifier, cancel))
        {
            found++;
        }

        await association.ReleaseAsync(cancel);
        return found > 0 ? 0 : throw new InvalidOperationException($"{server.Name} found nothing; a figure would be worthless.");
    });

    /// <summary>C-GET; the bytes of the data sets that came.</summary>
    private static async Task<long> GetAsync(PacsServer server, DicomDataset identifier, int instances, CancellationToken cancellationToken)
    {
        await using var association = await RequestAsync(
            server,
            [
                new PresentationContext(1, DicomUids.StudyRootGet, [DicomTransferSyntax.ExplicitVrLittleEndian.Uid]),
                new PresentationContext(3, DicomUids.CtImageStorage, [DicomTransferSyntax.ExplicitVrLittleEndian.Uid]),
            ],
            [new RoleSelection(DicomUids.CtImageStorage, Scu: false, Scp: true)],
            cancellationToken);
        var bytes = 0L;
        var result = await new DimseScu(association).GetAsync(
            DicomUids.StudyRootGet,
            identifier,
            async (message, cancel) =>
            {
                bytes += await PacsSink.DrainAsync(message, cancel);
                return DimseStatus.Success;
            },
            null,
            cancellationToken);
        await association.ReleaseAsync(cancellationToken);
        return result.Counts.Completed == instances
            ? bytes
            : throw new InvalidOperationException($"{server.Name} gave {result.Counts.Completed} of {instances} instances; a figure would be worthless.");
    }

    /// <summary>C-MOVE to the sink; the bytes of the data sets that came there.</summary>
    private static async Task<long> MoveAsync(PacsServer server, DicomDataset identifier, int instances, PacsSink sink, CancellationToken cancellationToken)
    {
        await using var association = await RequestAsync(server, [new PresentationContext(1, DicomUids.StudyRootMove, [DicomTransferSyntax.ExplicitVrLittleEndian.Uid])], [], cancellationToken);
        var before = sink.Bytes;
        var result = await new DimseScu(association).MoveAsync(DicomUids.StudyRootMove, identifier, PacsServer.SinkAeTitle, null, cancellationToken);
        await association.ReleaseAsync(cancellationToken);
        return result.Counts.Completed == instances
            ? sink.Bytes - before
            : throw new InvalidOperationException($"{server.Name} moved {result.Counts.Completed} of {instances} instances; a figure would be worthless.", sink.Failure);
    }

    private static Task<Association> RequestAsync(
        PacsServer server, IReadOnlyList<PresentationContext> contexts, IReadOnlyList<RoleSelection> roles, CancellationToken cancellationToken) => Connector.RequestAsync(
        "127.0.0.1",
        server.DicomPort,
        new AssociateRequest { CallingAeTitle = Scanner.AeTitle, CalledAeTitle = server.AeTitle, PresentationContexts = contexts, Roles = roles },
        new AssociationOptions(),
        TimeProvider.System,
        cancellationToken);

    /// <summary>What a workstation's list shows, with some keys to match.</summary>
    public static DicomDataset Keys(string level, params (DicomTag Tag, string Value)[] matches)
    {
        var identifier = new DicomDataset().Set(DicomTags.QueryRetrieveLevel, level).Set(DicomTags.SpecificCharacterSet, "ISO_IR 192");
        DicomTag[] wanted = level == "STUDY"
            ? [DicomTags.StudyDate, DicomTags.StudyTime, DicomTags.AccessionNumber, DicomTags.ModalitiesInStudy, DicomTags.StudyDescription, DicomTags.PatientName,
                DicomTags.PatientID, DicomTags.PatientBirthDate, DicomTags.StudyInstanceUID, DicomTags.NumberOfStudyRelatedInstances]
            : [DicomTags.SOPClassUID, DicomTags.SOPInstanceUID, DicomTags.InstanceNumber];
        foreach (var tag in wanted)
        {
            identifier.Set(DicomElement.OfValue(tag, DicomDictionary.GetVr(tag), ReadOnlyMemory<byte>.Empty));
        }

        foreach (var (tag, value) in matches)
        {
            identifier.Set(tag, value);
        }

        return identifier;
    }
}

/// <summary>The destination of both archives' C-MOVE: takes everything, counts its bytes, keeps nothing.</summary>
internal sealed class PacsSink : IAsyncDisposable
{
    private static readonly HashSet<string> Taken = [DicomTransferSyntax.ExplicitVrLittleEndian.Uid];

    private readonly TcpListener _listener;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _accepting;
    private long _bytes;

    public PacsSink(int port)
    {
        _listener = new TcpListener(IPAddress.Loopback, port);
        _listener.Start();
        _accepting = AcceptAsync();
    }

    /// <summary>Bytes of the data sets so far.</summary>
    public long Bytes => Interlocked.Read(ref _bytes);

    /// <summary>How the last association ended; null when it was released.</summary>
    public Exception? Failure { get; private set; }

    /// <summary>Reads a data set to its end.</summary>
    public static async Task<long> DrainAsync(DimseMessage message, CancellationToken cancellationToken)
    {
        var bytes = 0L;
        while (await message.DataSet!.ReadAsync(cancellationToken) is { IsEmpty: false } piece)
        {
            bytes += piece.Length;
        }

        return bytes;
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Dispose();
        await _accepting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    /// <summary>One association after the other: the archives are measured in turn.</summary>
    private async Task AcceptAsync()
    {
        while (true)
        {
            var socket = await _listener.AcceptSocketAsync(_stop.Token);
            socket.NoDelay = true;
            var stream = new NetworkStream(socket, ownsSocket: true);
            try
            {
                await using var association = await Association.AcceptAsync(
                    Connector.CreateReader(stream),
                    stream,
                    (request, _) => new(AssociateAnswer.Accept(request, _ => Taken)),
                    new AssociationOptions { MaxPduBytes = 128 * 1024 },
                    TimeProvider.System,
                    _stop.Token);
                if (association is not null)
                {
                    await ServiceLoop.ServeAsync(association, (message, cancel) => TakeAsync(association, message, cancel), _stop.Token);
                }
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                // The C-MOVE fails then, and says so.
                Failure = e;
            }
        }
    }

    private async Task TakeAsync(Association association, DimseMessage message, CancellationToken cancellationToken)
    {
        Interlocked.Add(ref _bytes, await DrainAsync(message, cancellationToken));
        await association.SendAsync(message.PresentationContext.Id, message.Command.CreateResponse(DimseStatus.Success), cancellationToken);
    }
}
