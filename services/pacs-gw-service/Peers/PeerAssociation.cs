using System.Collections.Concurrent;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;
using Yizhan.PacsGw.Commitment;
using Yizhan.PacsGw.DicomWeb;
using Yizhan.PacsGw.Query;
using Yizhan.PacsGw.Receive;
using Yizhan.PacsGw.Retrieve;
using Yizhan.PacsGw.Worklist;

namespace Yizhan.PacsGw.Peers;

/// <summary>What peers may ask for, each in its folder.</summary>
internal sealed record PeerServices(
    InstanceIntake Intake, FindScp Find, RetrieveScp Retrieve, CommitmentScp Commitment, ProcedureStepScp ProcedureStep);

/// <summary>
/// One association that a peer opened: hands each request to its service, lets C-CANCEL end it, and gives each request that we make over it (C-GET,
/// N-EVENT-REPORT) its response.
/// </summary>
internal sealed partial class PeerAssociation(
    Association association, PeerOptions peer, IntakeSource source, PeerServices services, ILogger<PeerAssociation> logger)
{
    private const int MaxIdentifierBytes = 1024 * 1024;

    private readonly ILogger _logger = logger;
    private readonly StoreScp _store = new(association, source, services.Intake);
    private readonly ConcurrentDictionary<ushort, CancellationTokenSource> _running = [];
    private readonly ConcurrentDictionary<ushort, TaskCompletionSource<CommandSet>> _invoked = [];
    private int _messageId;

    /// <summary>Who asks.</summary>
    public PeerOptions Peer { get; } = peer;

    /// <summary>Who asks, and from where: for the audit.</summary>
    public Reader Agent { get; } = new(source.CallingAeTitle, source.Address);

    /// <summary>The agreed presentation contexts.</summary>
    public IEnumerable<AcceptedContext> Contexts => association.PresentationContexts.Values;

    /// <summary>Requests of our own that may be without a response at a time (PS3.7 annex D.3.3.3).</summary>
    public int InvokeWindow => association.InvokeWindow;

    /// <summary>What was negotiated about a SOP class (PS3.7 annex D.3.3.5); empty when nothing was.</summary>
    public ReadOnlyMemory<byte> Negotiated(string sopClassUid) =>
        association.Acceptance.ExtendedNegotiations.FirstOrDefault(e => e.SopClassUid == sopClassUid)?.Information ?? default;

    /// <summary>Serves until the peer releases.</summary>
    /// <exception cref="AssociationException">The association ended otherwise. What was acknowledged is durable.</exception>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            await ServiceLoop.ServeAsync(association, ServeAsync, cancellationToken);
        }
        finally
        {
            Ended(source.Id, source.CallingAeTitle, _store.Received, _store.Durable);
        }
    }

    /// <summary>Sends a response without a data set.</summary>
    public ValueTask RespondAsync(DimseMessage message, ushort status, string? comment, CancellationToken cancellationToken) =>
        RespondAsync(message, message.Command.CreateResponse(status, comment), null, cancellationToken);

    /// <summary>Sends a response.</summary>
    public ValueTask RespondAsync(DimseMessage message, CommandSet response, DicomDataset? dataSet, CancellationToken cancellationToken)
    {
        var context = message.PresentationContext;
        return dataSet is null
            ? association.SendAsync(context.Id, response, cancellationToken)
            : association.SendAsync(context.Id, response, DimseScu.Encode(context, dataSet), cancellationToken);
    }

    /// <summary>Makes a request of our own over this association and waits for its response.</summary>
    /// <param name="context">An agreed context.</param>
    /// <param name="request">Makes the request for a message ID.</param>
    /// <param name="send">Sends it.</param>
    /// <param name="cancellationToken">Stops the wait.</param>
    /// <exception cref="AssociationException">The association ended.</exception>
    public async Task<CommandSet> InvokeAsync(
        AcceptedContext context,
        Func<ushort, CommandSet> request,
        Func<Association, byte, CommandSet, CancellationToken, ValueTask> send,
        CancellationToken cancellationToken)
    {
        var command = request(NextMessageId());
        return await await BeginAsync(command.MessageId, cancel => send(association, context.Id, command, cancel), cancellationToken);
    }

    /// <summary>Makes a request of our own whose data set is a stream ready to be sent: see <see cref="Association.PrepareAsync"/>.</summary>
    /// <param name="context">An agreed context.</param>
    /// <param name="request">Makes the request for a message ID.</param>
    /// <param name="dataSet">In the context's transfer syntax.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="AssociationException">The association ended.</exception>
    public ValueTask<OutgoingMessage> PrepareAsync(
        AcceptedContext context, Func<ushort, CommandSet> request, Stream dataSet, CancellationToken cancellationToken) =>
        association.PrepareAsync(context.Id, request(NextMessageId()), dataSet, cancellationToken);

    /// <summary>Sends a request of our own that is ready, and returns once it is sent; what it returns ends with the response.</summary>
    /// <exception cref="AssociationException">The association ended.</exception>
    public Task<Task<CommandSet>> BeginAsync(OutgoingMessage request, CancellationToken cancellationToken) =>
        BeginAsync(request.Command.MessageId, cancel => association.SendAsync(request, cancel), cancellationToken);

    /// <summary>Reads the data set of a request; null after the peer was told what is wrong with it.</summary>
    public async Task<DicomDataset?> ReadAsync(DimseMessage message, CancellationToken cancellationToken)
    {
        if (message.DataSet is null)
        {
            await RespondAsync(message, DimseStatus.IdentifierDoesNotMatch, "The request has no data set.", cancellationToken);
            return null;
        }

        try
        {
            using var bytes = new MemoryStream();
            while (await message.DataSet.ReadAsync(cancellationToken) is { IsEmpty: false } piece)
            {
                if (bytes.Length + piece.Length <= MaxIdentifierBytes)
                {
                    bytes.Write(piece.Span);
                }
            }

            if (message.DataSet.BytesRead > MaxIdentifierBytes)
            {
                await RespondAsync(
                    message, DimseStatus.ResourceLimitation, $"The data set has more than {MaxIdentifierBytes} bytes.", cancellationToken);
                return null;
            }

            return DicomDataset.Parse(bytes.ToArray(), DicomTransferSyntax.Get(message.PresentationContext.TransferSyntax));
        }
        catch (DicomFormatException e)
        {
            await RespondAsync(message, DimseStatus.CannotUnderstand, e.Message, cancellationToken);
            return null;
        }
    }

    private ushort NextMessageId() => (ushort)Interlocked.Increment(ref _messageId);

    private async Task<Task<CommandSet>> BeginAsync(ushort id, Func<CancellationToken, ValueTask> send, CancellationToken cancellationToken)
    {
        var answer = new TaskCompletionSource<CommandSet>(TaskCreationOptions.RunContinuationsAsynchronously);
        _invoked[id] = answer;
        try
        {
            await send(cancellationToken);
        }
        catch
        {
            _invoked.TryRemove(id, out _);
            throw;
        }

        return AnsweredAsync();

        async Task<CommandSet> AnsweredAsync()
        {
            try
            {
                return await answer.Task.WaitAsync(cancellationToken);
            }
            finally
            {
                _invoked.TryRemove(id, out _);
            }
        }
    }

    private Task ServeAsync(DimseMessage message, CancellationToken cancellationToken)
    {
        var command = message.Command;
        if (command.IsResponse)
        {
            if (_invoked.TryGetValue(command.MessageIdBeingRespondedTo, out var answer))
            {
                answer.TrySetResult(command);
            }

            return Task.CompletedTask;
        }

        return command.Field switch
        {
            CommandField.CStoreRequest => _store.ServeAsync(message, cancellationToken),
            CommandField.CCancelRequest => CancelAsync(command),
            CommandField.CFindRequest => RunAsync(message, services.Find.ServeAsync, cancellationToken),
            CommandField.CMoveRequest => RunAsync(message, services.Retrieve.ServeMoveAsync, cancellationToken),
            CommandField.CGetRequest => RunAsync(message, services.Retrieve.ServeGetAsync, cancellationToken),
            CommandField.NActionRequest => services.Commitment.ServeActionAsync(this, message, cancellationToken),
            CommandField.NEventReportRequest => services.Commitment.ServeReportAsync(this, message, cancellationToken),
            CommandField.NCreateRequest => services.ProcedureStep.CreateAsync(this, message, cancellationToken),
            CommandField.NSetRequest => services.ProcedureStep.SetAsync(this, message, cancellationToken),
            _ => RespondAsync(message, DimseStatus.UnrecognizedOperation, "This operation is not served.", cancellationToken).AsTask(),
        };
    }

    /// <summary>PS3.7 §9.3.2.3: a C-CANCEL for what has ended means nothing.</summary>
    private Task CancelAsync(CommandSet command) =>
        _running.TryGetValue(command.MessageIdBeingRespondedTo, out var running) ? running.CancelAsync() : Task.CompletedTask;

    /// <param name="message">The request.</param>
    /// <param name="serve">Its service; its first token is cancelled by C-CANCEL, its second when the association ends.</param>
    /// <param name="cancellationToken">The association ends.</param>
    private async Task RunAsync(
        DimseMessage message, Func<PeerAssociation, DimseMessage, CancellationToken, CancellationToken, Task> serve, CancellationToken cancellationToken)
    {
        using var cancelled = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        _running[message.Command.MessageId] = cancelled;
        try
        {
            await serve(this, message, cancelled.Token, cancellationToken);
        }
        finally
        {
            _running.TryRemove(message.Command.MessageId, out _);
        }
    }

    [LoggerMessage(3010, LogLevel.Information,
        "Association {AssociationId} of {CallingAeTitle} ended: {Received} C-STORE requests, {Durable} instances durable.")]
    private partial void Ended(string associationId, string callingAeTitle, int received, int durable);
}
