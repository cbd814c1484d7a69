using System.Globalization;
using System.Text.Json.Nodes;
using Yizhan.Contracts;
using Yizhan.EmrAdapter.Fhir;
using Yizhan.EmrAdapter.Hl7;
using Yizhan.EmrAdapter.Terms;

namespace Yizhan.EmrAdapter.OpenMrs;

/// <summary>An encounter of bahmnicore (Bahmni 0.93) and a patient of OpenMRS REST 2.33 as what the adapter works with. Pure.</summary>
internal static class BahmniOrders
{
    /// <summary>Source of the mapping that Bahmni itself sends to a PACS.</summary>
    public const string PacsSource = "PACS Procedure Code";

    /// <summary>The radiology orders of <c>bahmnicore/bahmniencounter/{uuid}?includeAll=true</c>, what else was ordered left out.</summary>
    /// <exception cref="FormatException">Something that an order needs is missing.</exception>
    public static IReadOnlyList<ImagingOrder> Read(JsonObject encounter, EmrPatient patient, string system, TermMaps terms, TimeSpan offset)
    {
        var requester = FhirClient.Text((encounter["providers"] as JsonArray)?.FirstOrDefault() as JsonObject, "name") ?? "";
        var orders = new List<ImagingOrder>();
        foreach (var order in (encounter["orders"] as JsonArray ?? []).OfType<JsonObject>())
        {
            if (FhirClient.Text(order, "orderType") != "Radiology Order")
            {
                continue;
            }

            var uuid = FhirClient.Text(order, "uuid") ?? throw new FormatException("An order has no uuid.");
            var previous = FhirClient.Text(order, "previousOrderUuid");
            var concept = order["concept"] as JsonObject;
            var mappings = (concept?["mappings"] as JsonArray ?? []).OfType<JsonObject>().ToList();
            var mapped = mappings.FirstOrDefault(m => terms.Find(TermMaps.Procedures, FhirClient.Text(m, "source") ?? "", FhirClient.Text(m, "code") ?? "") is not null)
                ?? mappings.FirstOrDefault(m => FhirClient.Text(m, "source") == PacsSource);
            var created = Time(FhirClient.Text(order, "dateChanged")) ?? Time(FhirClient.Text(order, "dateCreated")) ?? Time(FhirClient.Text(encounter, "encounterDateTime")) ?? DateTimeOffset.UnixEpoch;
            var isVoided = order["voided"] is JsonValue voided && voided.TryGetValue<bool>(out var yes) && yes;

            // OpenMRS says "discontinue" by another order that points to the first; that one is no order of its own.
            var action = isVoided ? "CANCEL" : FhirClient.Text(order, "action") switch
            {
                "DISCONTINUE" => "CANCEL",
                "REVISE" => "REVISE",
                "RENEW" => "RENEW",
                "NEW" or null => "NEW",
                var other => throw new FormatException($"action is '{other}'; accepted are NEW, REVISE, RENEW and DISCONTINUE."),
            };
            var id = action == "CANCEL" && !isVoided ? previous ?? throw new FormatException("A DISCONTINUE order has no previousOrderUuid.") : uuid;
            var number = FhirClient.Text(order, "orderNumber") ?? uuid;
            orders.Add(new ImagingOrder(
                Hl7Orders.IdOf(system, id), system, action, created.ToUnixTimeMilliseconds(), number, "", previous is null || action == "CANCEL" ? "" : Hl7Orders.IdOf(system, previous), id, patient,
                mapped is null ? FhirClient.Text(concept, "uuid") ?? "" : FhirClient.Text(mapped, "code") ?? "",
                mapped is null ? "openmrs-concept" : TermMaps.SystemOf(FhirClient.Text(mapped, "source") ?? ""),
                FhirClient.Text(concept, "name") ?? FhirClient.Text(concept, "display") ?? FhirClient.Text(concept, "shortName") ?? "", "", "",
                created.ToOffset(offset).ToString("yyyyMMddHHmmss", CultureInfo.InvariantCulture), "", "", "",
                FhirClient.Text(order, "urgency") == "STAT" ? "S" : "R", requester.Replace('^', ' ').Replace('=', ' '), FhirClient.Text(order, "commentToFulfiller") ?? ""));
        }

        return orders;
    }

    /// <summary>A patient of <c>patient/{uuid}?v=full</c>.</summary>
    /// <exception cref="FormatException">He has no identifier.</exception>
    public static EmrPatient Patient(JsonObject patient)
    {
        var uuid = FhirClient.Text(patient, "uuid") ?? "";
        var identifiers = (patient["identifiers"] as JsonArray ?? []).OfType<JsonObject>()
            .OrderBy(i => i["preferred"] is JsonValue preferred && preferred.TryGetValue<bool>(out var yes) && yes ? 0 : 1)
            .Select(i => new EmrIdentifier(
                FhirClient.Text(i, "identifier") ?? "", FhirClient.Text(i["identifierType"] as JsonObject, "display") ?? FhirClient.Text(i["identifierType"] as JsonObject, "name") ?? "", ""))
            .Where(i => i.Value.Length > 0).ToList();
        if (identifiers.Count == 0)
        {
            throw new FormatException("The patient has no identifier.");
        }

        var person = patient["person"] as JsonObject;
        var name = person?["preferredName"] as JsonObject ?? (person?["names"] as JsonArray)?.FirstOrDefault() as JsonObject;
        var text = $"{FhirClient.Text(name, "familyName")}^{FhirClient.Text(name, "givenName")}^{FhirClient.Text(name, "middleName")}".TrimEnd('^').Replace('=', ' ').Replace('\\', ' ');
        var main = identifiers[0];
        return new EmrPatient(
            main.Value, main.Issuer, uuid, identifiers, text.Length > 0 ? text : FhirClient.Text(person, "display") ?? "",
            FhirClient.Text(person, "birthdate") is { Length: >= 10 } birth ? birth[..10].Replace("-", "", StringComparison.Ordinal) : "",
            FhirClient.Text(person, "gender") switch { "M" => "M", "F" => "F", "O" => "O", _ => "" });
    }

    /// <summary>Times of OpenMRS: <c>2015-07-09T12:50:59.000+0530</c>, an offset without colon.</summary>
    public static DateTimeOffset? Time(string? text) =>
        DateTimeOffset.TryParseExact(text, ["yyyy-MM-ddTHH:mm:ss.fffzzz", "yyyy-MM-ddTHH:mm:sszzz", "yyyy-MM-ddTHH:mm:ss.fffK"], CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time)
            ? time
            : null;
}
