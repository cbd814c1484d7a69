using System.Buffers;
using Yizhan.Dicom;

namespace Yizhan.PacsGw.Receive;

/// <summary>Takes in one Part 10 file from a stream: the header is read, the data set goes through <see cref="InstanceReception"/>.</summary>
internal static class Part10Intake
{
    private const int PieceBytes = 128 * 1024;

    /// <summary>Returns once the instance is durable or refused. The stream is read to its end, in bounded memory.</summary>
    public static async Task<IntakeResult> ReceiveAsync(
        Stream file, InstanceIntake intake, IntakeSource source, CancellationToken cancellationToken)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(PieceBytes);
        try
        {
            var start = await file.ReadAtLeastAsync(buffer.AsMemory(0, PieceBytes), PieceBytes, throwOnEndOfStream: false, cancellationToken);
            DicomFileHeader header;
            try
            {
                header = DicomFileHeader.Read(buffer.AsMemory(0, start).ToArray());
            }
            catch (DicomFormatException e)
            {
                await using var refused = intake.Begin(source, DicomTransferSyntax.ExplicitVrLittleEndian.Uid);
                return refused.Refuse(IntakeOutcome.CannotUnderstand, e.Message);
            }

            await using var reception = intake.Begin(source, header.TransferSyntax.Uid);
            await reception.WriteAsync(buffer.AsMemory((int)header.DatasetOffset, start - (int)header.DatasetOffset), cancellationToken);
            while (await file.ReadAsync(buffer.AsMemory(0, PieceBytes), cancellationToken) is > 0 and var read)
            {
                await reception.WriteAsync(buffer.AsMemory(0, read), cancellationToken);
            }

            return await reception.CompleteAsync(new Expectation(), cancellationToken);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}
