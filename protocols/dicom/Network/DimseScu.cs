using System.Runtime.CompilerServices;

namespace Yizhan.Dicom.Network;

/// <summary>The peer answered an operation with a failure, or accepted no presentation context for it.</summary>
/// <param name="status">Its status; null when the operation could not be asked for.</param>
/// <param name="message">What was asked for and what it said.</param>
public sealed class DimseException(ushort? status, string message) : Exception(message)
{
    /// <summary>The status of the response; null when the operation could not be asked for.</summary>
    public ushort? Status { get; } = status;
}

/// <summary>How a C-GET or C-MOVE ended.</summary>
/// <param name="Status">Final status: 0x0000, a warning 0xB000, or 0xFE00 when it was cancelled.</param>
/// <param name="Counts">Sub-operations.</param>
/// <param name="FailedInstances">Failed SOP Instance UID List (0008,0058), as far as the peer told it.</param>
public sealed record RetrieveResult(ushort Status, SubOperations Counts, IReadOnlyList<string> FailedInstances);

/// <summary>
/// The service class user of every operation but C-STORE (<see cref="StoreScu"/>): one operation at a time over an association that the caller
/// opened and disposes.
/// </summary>
public sealed class DimseScu(Association association)
{
    private const int MaxResponseBytes = 16 * 1024 * 1024;

    private ushort _messageId;

    /// <summary>C-ECHO; returns when the peer has answered with success.</summary>
    /// <exception cref="DimseException">It answered with something else, or did not accept the verification SOP class.</exception>
    /// <exception cref="AssociationException">The association ended.</exception>
    public async Task EchoAsync(CancellationToken cancellationToken)
    {
        var id = ++_messageId;
        await association.SendAsync(Context(DicomUids.Verification).Id, CommandSet.EchoRequest(id), cancellationToken);
        Check(await ReceiveResponseAsync(cancellationToken), "C-ECHO");
    }

    /// <summary>C-FIND: the identifiers of the pending responses, as they come. Leaving the loop early sends a C-CANCEL.</summary>
    /// <param name="sopClassUid">Information model.</param>
    /// <param name="identifier">Keys.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="DimseException">The peer refused or failed.</exception>
    /// <exception cref="AssociationException">The association ended.</exception>
    public async IAsyncEnumerable<DicomDataset> FindAsync(
        string sopClassUid, DicomDataset identifier, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var context = Context(sopClassUid);
        var id = ++_messageId;
        await association.SendAsync(context.Id, CommandSet.FindRequest(id, sopClassUid), Encode(context, identifier), cancellationToken);
        var ended = false;
        try
        {
            while (true)
            {
                var response = await ReceiveResponseAsync(cancellationToken);
                if (!DimseStatus.IsPending(response.Command.Status))
                {
                    ended = true;
                    Check(response, "C-FIND");
                    yield break;
                }

                if (await ReadAsync(response, cancellationToken) is { } found)
                {
                    yield return found;
                }
            }
        }
        finally
        {
            if (!ended && !cancellationToken.IsCancellationRequested)
            {
                await association.SendAsync(context.Id, CommandSet.CancelRequest(id), cancellationToken);
                while (DimseStatus.IsPending((await ReceiveResponseAsync(cancellationToken)).Command.Status))
                {
                }
            }
        }
    }

    /// <summary>C-MOVE: the peer sends what matches to a third party.</summary>
    /// <param name="sopClassUid">Information model.</param>
    /// <param name="identifier">Keys.</param>
    /// <param name="destinationAeTitle">A destination that the peer knows.</param>
    /// <param name="progress">Told of each pending response; must return at once.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="DimseException">The peer refused or failed: 0xA801 for an unknown destination.</exception>
    /// <exception cref="AssociationException">The association ended.</exception>
    public async Task<RetrieveResult> MoveAsync(
        string sopClassUid, DicomDataset identifier, string destinationAeTitle, Action<SubOperations>? progress, CancellationToken cancellationToken)
    {
        var context = Context(sopClassUid);
        await association.SendAsync(
            context.Id, CommandSet.MoveRequest(++_messageId, sopClassUid, destinationAeTitle), Encode(context, identifier), cancellationToken);
        return await RetrieveAsync("C-MOVE", null, progress, cancellationToken);
    }

    /// <summary>C-GET: the peer sends what matches over this association, for whose storage classes it was given the SCU role.</summary>
    /// <param name="sopClassUid">Information model.</param>
    /// <param name="identifier">Keys.</param>
    /// <param name="store">Takes one instance and gives the status of its C-STORE response.</param>
    /// <param name="progress">Told of each pending response; must return at once.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="DimseException">The peer refused or failed.</exception>
    /// <exception cref="AssociationException">The association ended.</exception>
    public async Task<RetrieveResult> GetAsync(
        string sopClassUid,
        DicomDataset identifier,
        Func<DimseMessage, CancellationToken, Task<ushort>> store,
        Action<SubOperations>? progress,
        CancellationToken cancellationToken)
    {
        var context = Context(sopClassUid);
        await association.SendAsync(context.Id, CommandSet.GetRequest(++_messageId, sopClassUid), Encode(context, identifier), cancellationToken);
        return await RetrieveAsync("C-GET", store, progress, cancellationToken);
    }

    /// <summary>A normalized operation (N-ACTION, N-CREATE, N-SET, N-EVENT-REPORT).</summary>
    /// <param name="request">Makes the request for a message ID.</param>
    /// <param name="dataSet">Its data set; null for none.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <returns>The response; success or warning.</returns>
    /// <exception cref="DimseException">The peer answered with a failure.</exception>
    /// <exception cref="AssociationException">The association ended.</exception>
    public async Task<CommandSet> InvokeAsync(Func<ushort, CommandSet> request, DicomDataset? dataSet, CancellationToken cancellationToken)
    {
        var command = request(++_messageId);
        var context = Context(command.SopClassUid!);
        await (dataSet is null
            ? association.SendAsync(context.Id, command, cancellationToken)
            : association.SendAsync(context.Id, command, Encode(context, dataSet), cancellationToken));
        var response = await ReceiveResponseAsync(cancellationToken);
        Check(response, command.Field.ToString());
        return response.Command;
    }

    /// <summary>Reads the data set of a message; null when it has none.</summary>
    /// <exception cref="DicomFormatException">It is no data set, or more than 16 MiB.</exception>
    public static async Task<DicomDataset?> ReadAsync(DimseMessage message, CancellationToken cancellationToken)
    {
        if (message.DataSet is not { } dataSet)
        {
            return null;
        }

        using var bytes = new MemoryStream();
        while (await dataSet.ReadAsync(cancellationToken) is { IsEmpty: false } piece)
        {
            if (bytes.Length + piece.Length > MaxResponseBytes)
            {
                throw new DicomFormatException($"the data set of a {message.Command.Field} has more than {MaxResponseBytes} bytes", bytes.Length);
            }

            bytes.Write(piece.Span);
        }

        return DicomDataset.Parse(bytes.ToArray(), DicomTransferSyntax.Get(message.PresentationContext.TransferSyntax));
    }

    /// <summary>A data set in the transfer syntax of a context.</summary>
    public static ReadOnlyMemory<byte> Encode(AcceptedContext context, DicomDataset dataSet) =>
        DicomWriter.ToArray(dataSet, DicomTransferSyntax.Get(context.TransferSyntax));

    private async Task<RetrieveResult> RetrieveAsync(
        string operation, Func<DimseMessage, CancellationToken, Task<ushort>>? store, Action<SubOperations>? progress, CancellationToken cancellationToken)
    {
        while (true)
        {
            var message = await association.ReceiveAsync(cancellationToken) ?? throw Released(operation);
            var command = message.Command;
            if (!command.IsResponse)
            {
                var status = command.Field == CommandField.CStoreRequest && store is not null
                    ? await store(message, cancellationToken)
                    : DimseStatus.UnrecognizedOperation;
                await association.SendAsync(message.PresentationContext.Id, command.CreateResponse(status), cancellationToken);
            }
            else if (DimseStatus.IsPending(command.Status))
            {
                progress?.Invoke(command.GetSubOperations());
            }
            else
            {
                var failed = (await ReadAsync(message, cancellationToken))?.GetStrings(DicomTags.FailedSOPInstanceUIDList) ?? [];
                if (command.Status != DimseStatus.Cancel)
                {
                    Check(message, operation);
                }

                return new RetrieveResult(command.Status, command.GetSubOperations(), failed);
            }
        }
    }

    private async Task<DimseMessage> ReceiveResponseAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var message = await association.ReceiveAsync(cancellationToken) ?? throw Released("the operation");
            if (message.Command.IsResponse)
            {
                return message;
            }

            await association.SendAsync(
                message.PresentationContext.Id, message.Command.CreateResponse(DimseStatus.UnrecognizedOperation), cancellationToken);
        }
    }

    private static DimseException Released(string operation) => new(null, $"The peer asked for release before it had answered {operation}.");

    private static void Check(DimseMessage response, string operation)
    {
        var command = response.Command;
        if (DimseStatus.IsFailure(command.Status))
        {
            throw new DimseException(
                command.Status, $"The peer answered {operation} with status 0x{command.Status:X4}{(command.ErrorComment is { } comment ? $": {comment}" : "")}.");
        }
    }

    private AcceptedContext Context(string sopClassUid) =>
        association.PresentationContexts.Values.FirstOrDefault(c => c.AbstractSyntax == sopClassUid)
        ?? throw new DimseException(null, $"The peer did not accept SOP class {sopClassUid}.");
}
