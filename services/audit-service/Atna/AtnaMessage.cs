using System.Globalization;
using System.Xml;
using System.Xml.Linq;

namespace Yizhan.Audit.Atna;

/// <summary>
/// The XML of an audit message: DICOM PS3.15 §A.5 (attribute <c>csd-code</c>) and RFC 3881 (attribute <c>code</c>) are both read, the first is
/// written.
/// </summary>
internal static class AtnaMessage
{
    private const string StudyInstanceUid = "110180";
    private const int MaxParts = 256;
    private const int MaxLength = 1024;

    /// <summary>Reads the facts.</summary>
    /// <exception cref="FormatException">It is not an AuditMessage; says what is missing.</exception>
    public static AuditFacts Read(string xml)
    {
        var message = Parse(xml);
        var identification = Child(message, "EventIdentification") ?? throw new FormatException("EventIdentification is missing.");
        var participants = Children(message, "ActiveParticipant").ToArray();
        var source = Child(message, "AuditSourceIdentification");
        var (patients, entities) = ObjectsOf(message);
        var agents = Some(participants.SelectMany(p => new[] { Attribute(p, "UserID"), Attribute(p, "AlternativeUserID"), Attribute(p, "UserName") }));
        return new AuditFacts(
            Code(Child(identification, "EventID")) ?? throw new FormatException("EventID has no csd-code and no code."),
            Some(Children(identification, "EventTypeCode").Select(Code)),
            ActionOf(Attribute(identification, "EventActionCode")),
            OutcomeOf(Attribute(identification, "EventOutcomeIndicator")),
            TimeOf(Attribute(identification, "EventDateTime")),
            agents.Length > 0 ? agents : ["unknown"],
            Some(participants.Select(p => Attribute(p, "NetworkAccessPointID"))),
            patients,
            entities,
            Attribute(source, "AuditSourceID") is { Length: > 0 } id ? id : throw new FormatException("AuditSourceID is missing."),
            Attribute(source, "AuditEnterpriseSiteID"),
            null);
    }

    /// <summary>An AuditMessage of a record that did not come as one.</summary>
    public static string Write(AuditFacts facts, string site) => new XDocument(
        new XElement(
            "AuditMessage",
            new XElement(
                "EventIdentification",
                new XAttribute("EventActionCode", facts.Action),
                new XAttribute("EventDateTime", DateTimeOffset.FromUnixTimeMilliseconds(facts.RecordedMs).ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture)),
                new XAttribute("EventOutcomeIndicator", facts.Outcome),
                CodeElement("EventID", facts.Type, "DCM"),
                facts.Subtypes.Select(s => CodeElement("EventTypeCode", s, "DCM"))),
            facts.Agents.Select((agent, i) => new XElement(
                "ActiveParticipant",
                new XAttribute("UserID", agent),
                new XAttribute("UserIsRequestor", i == 0 ? "true" : "false"),
                i < facts.Addresses.Count ? new[] { new XAttribute("NetworkAccessPointID", facts.Addresses[i]), new XAttribute("NetworkAccessPointTypeCode", "2") } : null)),
            new XElement("AuditSourceIdentification", new XAttribute("AuditEnterpriseSiteID", facts.SourceSite ?? site), new XAttribute("AuditSourceID", facts.Source)),
            facts.Patients.Select(p => ObjectElement(p, "1", "1", CodeElement("ParticipantObjectIDTypeCode", "2", "RFC-3881"))),
            facts.Entities.Select(e => e.StartsWith("study/", StringComparison.Ordinal)
                ? ObjectElement(e["study/".Length..], "2", "3", CodeElement("ParticipantObjectIDTypeCode", StudyInstanceUid, "DCM"))
                : ObjectElement(e, "2", "4", CodeElement("ParticipantObjectIDTypeCode", "12", "RFC-3881"))))).ToString(SaveOptions.DisableFormatting);

    private static XElement CodeElement(string name, string code, string system) =>
        new(name, new XAttribute("csd-code", code), new XAttribute("codeSystemName", system), new XAttribute("originalText", code));

    private static XElement ObjectElement(string id, string type, string role, XElement idType) => new(
        "ParticipantObjectIdentification", new XAttribute("ParticipantObjectID", id), new XAttribute("ParticipantObjectTypeCode", type), new XAttribute("ParticipantObjectTypeCodeRole", role), idType);

    private static XElement Parse(string xml)
    {
        // No DTD: an entity could read a file, or grow without end.
        var settings = new XmlReaderSettings { DtdProcessing = DtdProcessing.Prohibit, XmlResolver = null };
        try
        {
            using var reader = XmlReader.Create(new StringReader(xml), settings);
            reader.MoveToContent();
            return reader.LocalName == "AuditMessage" ? (XElement)XNode.ReadFrom(reader)
                : throw new FormatException($"The root element is not AuditMessage but '{Shown(reader.LocalName)}'.");
        }
        catch (XmlException e)
        {
            throw new FormatException($"It is not XML: line {e.LineNumber}, position {e.LinePosition}.");
        }
    }

    private static (string[] Patients, string[] Entities) ObjectsOf(XElement message)
    {
        var (patients, entities) = (new List<string?>(), new List<string?>());
        foreach (var item in Children(message, "ParticipantObjectIdentification"))
        {
            var id = Attribute(item, "ParticipantObjectID");
            entities.Add(Code(Child(item, "ParticipantObjectIDTypeCode")) == StudyInstanceUid ? "study/" + id : id);
            if (Attribute(item, "ParticipantObjectTypeCode") == "1" && Attribute(item, "ParticipantObjectTypeCodeRole") == "1")
            {
                // An id with its authority (CX) is also found without it.
                patients.Add(id?.Split('^')[0]);
                patients.Add(id);
            }
        }

        return (Some(patients), Some(entities));
    }

    private static string ActionOf(string? action) =>
        action is null ? "E" : action is "C" or "R" or "U" or "D" or "E" ? action : throw new FormatException($"EventActionCode is '{Shown(action)}'; accepted: C, R, U, D, E.");

    private static int OutcomeOf(string? outcome) =>
        outcome is "0" or "4" or "8" or "12" ? int.Parse(outcome, CultureInfo.InvariantCulture)
        : throw new FormatException($"EventOutcomeIndicator is '{Shown(outcome)}'; accepted: 0, 4, 8, 12.");

    private static long TimeOf(string? time) =>
        DateTimeOffset.TryParse(time, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var parsed) && parsed.ToUnixTimeMilliseconds() >= 0
            ? parsed.ToUnixTimeMilliseconds()
            : throw new FormatException($"EventDateTime is '{Shown(time)}'; accepted: a time since 1970, such as 2026-03-01T08:00:00Z.");

    private static IEnumerable<XElement> Children(XElement parent, string name) => parent.Elements().Where(e => e.Name.LocalName == name).Take(MaxParts);

    private static XElement? Child(XElement parent, string name) => Children(parent, name).FirstOrDefault();

    private static string? Attribute(XElement? element, string name) => (string?)element?.Attribute(name);

    private static string? Code(XElement? element) => Attribute(element, "csd-code") ?? Attribute(element, "code");

    private static string[] Some(IEnumerable<string?> values) => [.. values.Where(v => v is { Length: > 0 and <= MaxLength }).Select(v => v!).Distinct().Take(MaxParts)];

    private static string Shown(string? value) => value is { Length: > 30 } ? value[..30] + "…" : value ?? "";
}
