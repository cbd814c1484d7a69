using Yizhan.Dicom.Network;

namespace Yizhan.PacsGw.Receive;

/// <summary>
/// Answers the C-STORE requests of one association (PS3.7 §9.3.1). A response leaves after the append; with an asynchronous
/// window the next data set is read meanwhile, so that the appends of one association share a flush.
/// </summary>
internal sealed partial class StoreScp(Association association, IntakeSource source, InstanceIntake intake, ILogger<StoreScp> logger)
{
    private readonly ILogger _logger = logger;
    private int _received;
    private int _durable;

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
            Ended(source.Id, source.CallingAeTitle, _received, _durable);
        }
    }

    private Task ServeAsync(DimseMessage message, CancellationToken cancellationToken) => message.Command.Field switch
    {
        CommandField.CStoreRequest => StoreAsync(message, cancellationToken),
        CommandField.CCancelRequest => Task.CompletedTask,
        _ => RespondAsync(message, DimseStatus.UnrecognizedOperation, "Only C-ECHO and C-STORE are served.", cancellationToken),
    };

    private async Task StoreAsync(DimseMessage message, CancellationToken cancellationToken)
    {
        Interlocked.Increment(ref _received);
        var command = message.Command;
        await using var reception = intake.Begin(source, message.PresentationContext.TransferSyntax);
        if (message.DataSet is { } dataSet)
        {
            while (await dataSet.ReadAsync(cancellationToken) is { IsEmpty: false } piece)
            {
                await reception.WriteAsync(piece, cancellationToken);
            }
        }

        var result = message.DataSet is null ? reception.Refuse(IntakeOutcome.CannotUnderstand, "The C-STORE-RQ has no data set.")
            : command.SopClassUid != message.PresentationContext.AbstractSyntax
                ? reception.Refuse(IntakeOutcome.DoesNotMatch, "The SOP class of the C-STORE-RQ is not that of its presentation context.")
                : await reception.CompleteAsync(new Expectation(command.SopClassUid, command.SopInstanceUid ?? ""), cancellationToken);
        if (result.IsDurable)
        {
            Interlocked.Increment(ref _durable);
        }

        await RespondAsync(message, result.Status, result.Reason, cancellationToken);
    }

    private Task RespondAsync(DimseMessage message, ushort status, string comment, CancellationToken cancellationToken) =>
        association.SendAsync(
            message.PresentationContext.Id,
            message.Command.CreateResponse(status, comment.Length == 0 ? null : comment),
            cancellationToken).AsTask();

    [LoggerMessage(3010, LogLevel.Information,
        "Association {AssociationId} of {CallingAeTitle} ended: {Received} C-STORE requests, {Durable} instances durable.")]
    private partial void Ended(string associationId, string callingAeTitle, int received, int durable);
}
