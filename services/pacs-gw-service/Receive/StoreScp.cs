using System.Diagnostics;
using Yizhan.Dicom.Network;
using Yizhan.Platform.Telemetry;

namespace Yizhan.PacsGw.Receive;

/// <summary>
/// Answers the C-STORE requests of one association (PS3.7 §9.3.1). A response leaves after the append; with an asynchronous
/// window the next data set is read meanwhile, so that the appends of one association share a flush.
/// </summary>
internal sealed class StoreScp(Association association, IntakeSource source, InstanceIntake intake)
{
    private int _received;
    private int _durable;

    /// <summary>Requests so far.</summary>
    public int Received => _received;

    /// <summary>Those that were answered with success.</summary>
    public int Durable => _durable;

    /// <summary>Answers one C-STORE-RQ.</summary>
    public async Task ServeAsync(DimseMessage message, CancellationToken cancellationToken)
    {
        var result = await ReceiveAsync(message, cancellationToken);
        await association.SendAsync(
            message.PresentationContext.Id,
            message.Command.CreateResponse(result.Status, result.Reason.Length == 0 ? null : result.Reason),
            cancellationToken);
    }

    /// <summary>Takes the instance of one C-STORE-RQ; the status to answer with, once it is durable or refused.</summary>
    public async Task<ushort> TakeAsync(DimseMessage message, CancellationToken cancellationToken) =>
        (await ReceiveAsync(message, cancellationToken)).Status;

    private async Task<IntakeResult> ReceiveAsync(DimseMessage message, CancellationToken cancellationToken)
    {
        var began = intake.Clock.GetTimestamp();
        using var first = Interlocked.Increment(ref _received) <= Tracing.MaxPieces ? Tracing.Source.StartActivity("C-STORE", ActivityKind.Server) : null;
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
        var took = intake.Clock.GetElapsedTime(began);
        using var later = first is null && (!result.IsDurable || took > Tracing.Slow) ? Tracing.Afterwards("C-STORE", ActivityKind.Server, took, intake.Clock) : null;
        (first ?? later)?.SetTag("dicom.status", $"{result.Status:X4}");
        if (result.IsDurable)
        {
            Interlocked.Increment(ref _durable);
        }

        return result;
    }
}
