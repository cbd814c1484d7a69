using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.EmrAdapter.Fhir;
using Yizhan.EmrAdapter.Hl7;
using Yizhan.EmrAdapter.Orders;
using Yizhan.EmrAdapter.Terms;
using Yizhan.Hl7v2;

namespace Yizhan.EmrAdapter;

/// <summary>What a message of an EMR would become, for whoever sets up an interface.</summary>
internal sealed class Preview(Hl7Intake intake, OrderBook orders, TermMaps terms, IOptions<EmrAdapterOptions> options)
{
    /// <summary>Reads an HL7 v2 message or a FHIR resource.</summary>
    public EmrPreview Of(byte[] message)
    {
        if (message.AsSpan().TrimStart((byte)' ').StartsWith("{"u8))
        {
            return OfFhir(message);
        }

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

    /// <summary>A ServiceRequest, a Patient, or a Bundle with both.</summary>
    private EmrPreview OfFhir(byte[] json)
    {
        var kind = "";
        try
        {
            var root = JsonNode.Parse(json) as JsonObject ?? throw new FormatException("It is no JSON object.");
            kind = FhirClient.Text(root, "resourceType") ?? "";
            var resources = kind == "Bundle" ? (root["entry"] as JsonArray ?? []).Select(e => e?["resource"]).OfType<JsonObject>().ToList() : [root];
            var patients = resources.Where(r => FhirClient.Text(r, "resourceType") == "Patient").ToDictionary(r => FhirClient.Text(r, "id") ?? "", FhirOrders.Patient);
            var unknown = new EmrPatient("?", "", "", [], "?", "", "");
            var ordered = resources.Where(r => FhirClient.Text(r, "resourceType") == "ServiceRequest" && FhirOrders.NotForUs(r) is null).Select(r => FhirOrders.Order(
                r, patients.GetValueOrDefault(FhirOrders.ReferenceId(FhirClient.Text(r["subject"] as JsonObject, "reference"), "Patient") ?? "", unknown), "preview", terms,
                TimeSpan.FromMinutes(options.Value.UtcOffsetMinutes))).ToList();
            return new EmrPreview(
                kind, "accepted", "", ordered, [.. patients.Values.Select(p => new PatientChanged("preview", "UPDATE", p, null, 0))],
                [.. ordered.Where(orders.IsUnmapped).Select(o => $"{o.CodeSystem}|{o.Code}").Distinct()]);
        }
        catch (Exception e) when (e is FormatException or JsonException or InvalidOperationException or ArgumentException)
        {
            return new EmrPreview(kind, "refused", e.Message, [], [], []);
        }
    }
}
