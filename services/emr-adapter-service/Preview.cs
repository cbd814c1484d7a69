using Yizhan.Contracts;
using Yizhan.EmrAdapter.Hl7;
using Yizhan.EmrAdapter.Orders;
using Yizhan.Hl7v2;

namespace Yizhan.EmrAdapter;

/// <summary>What a message of an EMR would become, for whoever sets up an interface.</summary>
internal sealed class Preview(Hl7Intake intake, OrderBook orders)
{
    /// <summary>Reads an HL7 v2 message or a FHIR resource.</summary>
    public EmrPreview Of(byte[] message)
    {
        var kind = "";
        try
        {
            var hl7 = Hl7Message.Parse(message);
            kind = $"{hl7.Type}^{hl7.TriggerEvent}";
            var (ordered, patients) = intake.Read(hl7);
            return new EmrPreview(kind, "AA", "", ordered, patients, [.. ordered.Where(orders.IsUnmapped).Select(o => $"{o.CodeSystem}|{o.Code}").Distinct()]);
        }
        catch (Hl7Exception e)
        {
            return new EmrPreview(kind, e.Error is Hl7Error.UnsupportedMessageType or Hl7Error.UnsupportedEventCode ? "AR" : "AE", e.Message, [], [], []);
        }
    }
}
