using System.Globalization;
using System.Text.Json.Nodes;
using Yizhan.Contracts;
using Yizhan.EmrAdapter.Hl7;
using Yizhan.EmrAdapter.Terms;

namespace Yizhan.EmrAdapter.Fhir;

/// <summary>FHIR R4 ServiceRequest and Patient as what the adapter works with. Pure.</summary>
internal static class FhirOrders
{
    private static readonly string[] Laboratory = ["108252007", "laboratory", "LAB"];

    /// <summary>Why a ServiceRequest is none of ours; null when it is an order for imaging as far as it says.</summary>
    public static string? NotForUs(JsonObject request) =>
        Text(request, "status") is "draft" ? "a draft"
        : Text(request, "intent") is "proposal" or "plan" or "option" ? $"a {Text(request, "intent")}"
        : Codings(request["category"] as JsonArray).Any(c => Laboratory.Contains(Text(c, "code"))) ? "a laboratory order"
        : null;

    /// <summary>An order.</summary>
    /// <param name="request">The ServiceRequest.</param>
    /// <param name="patient">Its subject.</param>
    /// <param name="system">Name of the system that has it.</param>
    /// <param name="terms">Prefers the coding that a map knows.</param>
    /// <param name="offset">Offset of the worklist's times.</param>
    /// <exception cref="FormatException">Something that an order needs is missing.</exception>
    public static ImagingOrder Order(JsonObject request, EmrPatient patient, string system, TermMaps terms, TimeSpan offset)
    {
        var id = Text(request, "id") ?? throw new FormatException("A ServiceRequest has no id.");
        var updated = Time(Text(request["meta"] as JsonObject, "lastUpdated")) ?? Time(Text(request, "authoredOn")) ?? DateTimeOffset.UnixEpoch;
        var replaces = ReferenceId(request["replaces"] as JsonArray, "ServiceRequest");
        var renews = ReferenceId(request["basedOn"] as JsonArray, "ServiceRequest");
        var codings = (request["code"]?["coding"] as JsonArray ?? []).OfType<JsonObject>().ToList();
        var coding = codings.FirstOrDefault(c => terms.Find(TermMaps.Procedures, Text(c, "system") ?? "", Text(c, "code") ?? "") is not null)
            ?? codings.FirstOrDefault(c => Text(c, "system") is not null) ?? codings.FirstOrDefault();
        var text = Text(request["code"] as JsonObject, "text") ?? (coding is null ? null : Text(coding, "display")) ?? "";
        var status = Text(request, "status") ?? "active";
        var action = status switch
        {
            "revoked" or "entered-in-error" => "CANCEL",
            "completed" => "COMPLETE",
            _ when replaces is not null => "REVISE",
            _ when renews is not null => "RENEW",
            _ => "NEW",
        };
        if (coding is null && text.Length == 0 && action is not ("CANCEL" or "COMPLETE"))
        {
            throw new FormatException($"ServiceRequest/{id} has no code: it says what is to be done.");
        }

        var placer = Identifier(request, "PLAC") ?? Text(request["requisition"] as JsonObject, "value") ?? FirstIdentifier(request) ?? id;
        var start = Text(request, "occurrenceDateTime") ?? Text(request["occurrencePeriod"] as JsonObject, "start");
        return new ImagingOrder(
            Hl7Orders.IdOf(system, id), system, action, updated.ToUnixTimeMilliseconds(), placer, Identifier(request, "ACSN") ?? "",
            (replaces ?? renews) is { } previous ? Hl7Orders.IdOf(system, previous) : "", id, patient, (coding is null ? null : Text(coding, "code")) ?? "",
            TermMaps.SystemOf((coding is null ? null : Text(coding, "system")) ?? ""), text, "", "", Start(start, updated, offset), "", "", "",
            Text(request, "priority") switch { "stat" => "S", "asap" or "urgent" => "A", _ => "R" },
            Text(request["requester"] as JsonObject, "display") ?? "",
            Text((request["reasonCode"] as JsonArray)?.FirstOrDefault() as JsonObject, "text") ?? Text((request["note"] as JsonArray)?.FirstOrDefault() as JsonObject, "text") ?? "");
    }

    /// <summary>A patient.</summary>
    /// <exception cref="FormatException">He has no identifier and no id.</exception>
    public static EmrPatient Patient(JsonObject patient)
    {
        var id = Text(patient, "id") ?? "";
        var identifiers = (patient["identifier"] as JsonArray ?? []).OfType<JsonObject>()
            .Where(i => Text(i, "value") is { Length: > 0 } && Text(i, "use") != "old")
            .Select(i => new EmrIdentifier(Text(i, "value")!.Trim(), Text(i, "system") ?? "", Codings(i["type"] is JsonObject type ? [type.DeepClone()] : []).Select(c => Text(c, "code")).FirstOrDefault() ?? ""))
            .Distinct().ToList();
        if (identifiers.Count == 0)
        {
            identifiers.Add(id.Length > 0 ? new EmrIdentifier(id, "", "") : throw new FormatException("A Patient has neither an identifier nor an id."));
        }

        // A number that only the state knows is not what images should carry, when there is another.
        var main = identifiers.FirstOrDefault(i => i.Type == "MR") ?? identifiers.FirstOrDefault(i => i.Issuer != Patients.ResidentIdentity.System && i.Type is not ("NI" or "NNCHN" or "SS" or "DL" or "PPN")) ?? identifiers[0];
        return new EmrPatient(
            main.Value, main.Issuer, id, identifiers, Name(patient["name"] as JsonArray), (Text(patient, "birthDate") ?? "").Replace("-", "", StringComparison.Ordinal) is { Length: 8 } birth ? birth : "",
            Text(patient, "gender") switch { "male" => "M", "female" => "F", "other" => "O", _ => "" });
    }

    /// <summary>Reads a dateTime or instant; null when it is none.</summary>
    public static DateTimeOffset? Time(string? text) =>
        DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time) ? time : null;

    /// <summary>Id behind <c>Type/</c> in a reference, also an absolute one; null when it is another type.</summary>
    public static string? ReferenceId(string? reference, string type)
    {
        var parts = reference?.Split('/') ?? [];
        var at = Array.LastIndexOf(parts, type);
        return at >= 0 && at + 1 < parts.Length ? parts[at + 1] : null;
    }

    private static string? ReferenceId(JsonArray? references, string type) =>
        references?.OfType<JsonObject>().Select(r => ReferenceId(Text(r, "reference"), type)).FirstOrDefault(id => id is not null);

    private static string Start(string? text, DateTimeOffset otherwise, TimeSpan offset)
    {
        if (text is { Length: 10 } && DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var date))
        {
            return date.ToString("yyyyMMdd", CultureInfo.InvariantCulture);
        }

        return (Time(text) ?? otherwise).ToOffset(offset).ToString("yyyyMMddHHmmss", CultureInfo.InvariantCulture);
    }

    /// <summary>Names as DICOM PN: the alphabetic, ideographic (IDE) and phonetic (SYL) representation of ISO 21090.</summary>
    private static string Name(JsonArray? names)
    {
        string[] groups = ["", "", ""];
        foreach (var name in (names ?? []).OfType<JsonObject>().OrderBy(n => Text(n, "use") switch { "official" => 0, "usual" => 1, null => 2, _ => 3 }))
        {
            var given = (name["given"] as JsonArray ?? []).Select(g => g is JsonValue v && v.TryGetValue<string>(out var s) ? s : "").Where(g => g.Length > 0).ToList();
            var text = Text(name, "family") is { } family ? $"{family}^{given.FirstOrDefault()}^{string.Join(' ', given.Skip(1))}".TrimEnd('^') : given.Count > 0 ? "^" + string.Join(' ', given) : Text(name, "text") ?? "";
            var representation = (name["extension"] as JsonArray)?.OfType<JsonObject>().Select(e => Text(e, "valueCode")).FirstOrDefault(c => c is "ABC" or "IDE" or "SYL");
            var group = representation switch { "IDE" => 1, "SYL" => 2, _ => 0 };
            groups[group] = groups[group].Length > 0 ? groups[group] : text.Replace('=', ' ').Replace('\\', ' ').Trim();
        }

        return string.Join('=', groups).TrimEnd('=');
    }

    private static string? Identifier(JsonObject resource, string type) => (resource["identifier"] as JsonArray)?.OfType<JsonObject>()
        .Where(i => (i["type"]?["coding"] as JsonArray)?.OfType<JsonObject>().Any(c => Text(c, "code") == type) == true).Select(i => Text(i, "value")).FirstOrDefault();

    private static string? FirstIdentifier(JsonObject resource) => (resource["identifier"] as JsonArray)?.OfType<JsonObject>()
        .Where(i => (i["type"]?["coding"] as JsonArray)?.OfType<JsonObject>().Any(c => Text(c, "code") is "ACSN" or "FILL") != true).Select(i => Text(i, "value")).FirstOrDefault(v => v is not null);

    private static IEnumerable<JsonObject> Codings(JsonArray? concepts) =>
        (concepts ?? []).OfType<JsonObject>().SelectMany(c => (c["coding"] as JsonArray ?? []).OfType<JsonObject>());

    private static string? Text(JsonObject? resource, string member) => FhirClient.Text(resource, member);
}
