using Yizhan.EmrAdapter.Outbox;
using Yizhan.Hl7v2;
using Yizhan.Platform.Certificates;
using Yizhan.Storage;

namespace Yizhan.EmrAdapter.Hl7;

/// <summary>Tells an HL7 v2 engine. A retransmission is the same message with the same MSH-10, by which the engine knows it.</summary>
internal sealed class Hl7Driver(EmrSystemOptions system, TimeSpan offset, IBlobStore blobs, TimeProvider clock) : IEmrDriver
{
    private readonly MllpClient _client = new(system.Host!, system.Port, system.RootFile is { } root ? CertificateTrust.FromFile(root, clock) : null);

    /// <inheritdoc/>
    public async Task<SendOutcome> SendAsync(OutboxMessage message, CancellationToken cancellationToken)
    {
        byte[] bytes;
        try
        {
            bytes = Hl7Results.ToMessage(message, system, offset, await Documents.ReadAsync(blobs, message.Content, cancellationToken)).ToBytes();
        }
        catch (Exception e) when (e is Hl7Exception or InvalidDataException)
        {
            return new SendOutcome.Refused($"It cannot be written for this system: {e.Message}");
        }

        try
        {
            var answer = await _client.SendAsync(bytes, message.ControlId, TimeSpan.FromMilliseconds(system.TimeoutMs), cancellationToken);
            return Hl7Acknowledgment.Read(answer) switch
            {
                { Code: AcknowledgmentCode.AA or AcknowledgmentCode.CA } => new SendOutcome.Delivered(),
                { Code: AcknowledgmentCode.AE or AcknowledgmentCode.CE } said => new SendOutcome.Refused($"{said.Code}: {Short(said.Text)}"),
                { } said => new SendOutcome.Failed($"{said.Code}: {Short(said.Text)}"),
                null => new SendOutcome.Failed($"The answer's MSA-1 is '{Short(answer["MSA-1"])}'; one of table 0008 was expected."),
            };
        }
        catch (MllpException e)
        {
            return e.WasSent ? new SendOutcome.Failed(e.Message) : new SendOutcome.Unreachable(e.Message);
        }
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _client.DisposeAsync();

    private static string Short(string text) => text.Length == 0 ? "no reason given" : text.Length <= 300 ? text : text[..300] + "…";
}
