using System.Globalization;
using Yizhan.Contracts;
using Yizhan.EmrAdapter.Outbox;
using Yizhan.EmrAdapter.Terms;
using Yizhan.Hl7v2;

namespace Yizhan.EmrAdapter.Hl7;

/// <summary>Results as ORU^R01, notes as MDM^T02, orders as OMI^O23 or, below version 2.5, as ORM^O01 with ZDS. The same fact is the same message, byte for byte.</summary>
internal static class Hl7Results
{
    /// <summary>The message.</summary>
    /// <param name="message">What to say.</param>
    /// <param name="system">How the system wants it.</param>
    /// <param name="offset">Offset of our times.</param>
    /// <param name="pdf">The document of a report; null when there is none.</param>
    /// <exception cref="Hl7Exception">A character is not in the system's character set.</exception>
    public static Hl7Message ToMessage(OutboxMessage message, EmrSystemOptions system, TimeSpan offset, byte[]? pdf)
    {
        var content = message.Content;
        var time = DateTimeOffset.FromUnixTimeMilliseconds(content.Report?.IssuedMs ?? content.Analysis?.TimeMs ?? content.Order?.OrderedMs ?? 0).ToOffset(offset);
        string[] type = content.Kind switch
        {
            "report" or "finding" => ["ORU", "R01", "ORU_R01"],
            "note" => ["MDM", "T02", "MDM_T02"],
            _ => string.CompareOrdinal(system.Version, "2.5") >= 0 ? ["OMI", "O23", "OMI_O23"] : ["ORM", "O01"],
        };
        var builder = new Hl7Builder(type, message.ControlId, time, system.Version, Hl7CharacterSet.Named(system.CharacterSet));
        builder.Set(3, "YIZHAN").Set(4, content.Site);
        if (content.Kind == "note")
        {
            builder.Segment("EVN").Set(1, "T02").Set(2, Hl7Time.Format(time));
        }

        Pid(builder, content.Patient!);
        switch (content)
        {
            case { Report: { } report } when content.Kind == "note":
                builder.Segment("PV1").Set(2, "N");
                builder.Segment("TXA").Set(1, "1").Set(2, "PN").Set(3, "TX").Set(4, Hl7Time.Format(time)).Set(9, "", report.Author).Set(12, report.ReportId)
                    .Set(17, report.Status is "preliminary" ? "PA" : "AU");
                Lines(builder, report.Text, 1, ["11506-3", "Progress note", "LN"], "F");
                break;
            case { Report: { } report }:
                var status = report.Status switch { "preliminary" => "P", "final" => "F", _ => "C" };
                Order(builder, content, status, time, report.Author);
                Study(builder, content.StudyInstanceUid);
                var next = Lines(builder, report.Text, 2, ["18748-4", "Diagnostic imaging study", "LN"], status);
                if (pdf is not null)
                {
                    builder.Segment("OBX").Set(1, $"{next}").Set(2, "ED").Set(3, "18748-4", "Diagnostic imaging study", "LN").Set(5, "", "application", "pdf", "Base64", Convert.ToBase64String(pdf)).Set(11, status);
                }

                break;
            case { Analysis: { } analysis }:
                Order(builder, content, "P", time, "");
                Study(builder, content.StudyInstanceUid);
                var number = 2;
                foreach (var finding in analysis.Findings)
                {
                    // OBX-4 keeps what belongs to one finding together.
                    builder.Segment("OBX").Set(1, $"{number++}").Set(2, "CWE").Set(3, finding.Code, finding.Label, finding.CodeSystem == TermMaps.Snomed ? "SCT" : "99YIZHAN").Set(4, $"{finding.Number}")
                        .Set(5, "52101004", "Present", "SCT").Set(8, finding.Urgent ? "AA" : "A").Set(11, "P").Set(14, Hl7Time.Format(time)).Set(17, analysis.Model, analysis.Version);
                    builder.Segment("OBX").Set(1, $"{number++}").Set(2, "NM").Set(3, "118565006", "Volume", "SCT").Set(4, $"{finding.Number}")
                        .Set(5, finding.VolumeMl.ToString("0.####", CultureInfo.InvariantCulture)).Set(6, "mL", "milliliter", "UCUM").Set(11, "P");
                }

                Lines(builder, AnalysisText.Of(analysis), number, ["18748-4", "Diagnostic imaging study", "LN"], "P");
                break;
            case { Step: { } step }:
                Step(builder, step, content, time, system);
                break;
        }

        return builder.Build();
    }

    private static void Pid(Hl7Builder builder, EmrPatient patient)
    {
        builder.Segment("PID").Set(1, "1");
        foreach (var identifier in patient.Identifiers.OrderBy(i => i.Value == patient.PatientId && i.Issuer == patient.Issuer ? 0 : 1))
        {
            builder.Repeat(3, identifier.Value, "", "", identifier.Issuer, identifier.Type);
        }

        var groups = patient.Name.Split('=');
        for (var i = 0; i < groups.Length; i++)
        {
            var name = groups[i].Split('^');
            if (groups[i].Length > 0)
            {
                builder.Repeat(5, Part(0), Part(1), Part(2), Part(4), Part(3), "", "L", groups.Length > 1 ? "AIP"[Math.Min(i, 2)].ToString() : "");
            }

            string Part(int n) => n < name.Length ? name[n] : "";
        }

        builder.Set(7, patient.BirthDate).Set(8, patient.Sex);
    }

    private static void Order(Hl7Builder builder, Outgoing content, string status, DateTimeOffset time, string author)
    {
        var order = content.Order;
        var placer = order?.PlacerOrderNumber ?? "";
        builder.Segment("ORC").Set(1, "RE").Set(2, placer).Set(3, content.AccessionNumber);
        builder.Segment("OBR").Set(1, "1").Set(2, placer).Set(3, content.AccessionNumber)
            .Set(4, order is { Code.Length: > 0 } ? [order.Code, order.CodeText, Name(order.CodeSystem)] : ["18748-4", "Diagnostic imaging study", "LN"])
            .Set(7, Hl7Time.Format(time)).Set(18, content.AccessionNumber).Set(22, Hl7Time.Format(time)).Set(25, status).Set(32, author.Length > 0 ? [author] : []);
    }

    private static void Study(Hl7Builder builder, string studyUid) =>
        builder.Segment("OBX").Set(1, "1").Set(2, "ST").Set(3, "113014", "DICOM Study", "DCM").Set(5, studyUid).Set(11, "O");

    private static int Lines(Hl7Builder builder, string text, int first, string[] code, string status)
    {
        foreach (var line in text.ReplaceLineEndings("\n").Split('\n'))
        {
            builder.Segment("OBX").Set(1, $"{first++}").Set(2, "TX").Set(3, code).Set(5, line).Set(11, status);
        }

        return first;
    }

    private static void Step(Hl7Builder builder, ProcedureScheduled step, Outgoing content, DateTimeOffset time, EmrSystemOptions system)
    {
        var (control, status) = step.Status switch { "CANCELLED" => ("CA", "CA"), "COMPLETED" => ("SC", "CM"), _ => ("NW", "SC") };
        var placer = content.Order?.PlacerOrderNumber is { Length: > 0 } number ? number : step.Id;
        var isOmi = string.CompareOrdinal(system.Version, "2.5") >= 0;
        builder.Segment("PV1").Set(2, "N");
        builder.Segment("ORC").Set(1, control).Set(2, placer).Set(3, step.AccessionNumber).Set(5, status).Set(9, Hl7Time.Format(time));
        if (isOmi)
        {
            builder.Segment("TQ1").Set(1, "1").Set(7, step.ScheduledStart).Set(9, content.Order?.Priority ?? "R");
        }

        builder.Segment("OBR").Set(1, "1").Set(2, placer).Set(3, step.AccessionNumber)
            .Set(4, content.Order?.Code is { Length: > 0 } code ? [code, step.RequestedProcedureDescription, Name(content.Order.CodeSystem)] : ["", step.RequestedProcedureDescription])
            .Set(18, step.AccessionNumber).Set(24, step.Modality).Set(36, step.ScheduledStart);
        if (isOmi)
        {
            builder.Segment("IPC").Set(1, step.AccessionNumber).Set(2, step.RequestedProcedureId).Set(3, step.StudyInstanceUid)
                .Set(4, step.ScheduledProcedureStepId.Length > 0 ? step.ScheduledProcedureStepId : step.RequestedProcedureId).Set(5, step.Modality).Set(9, step.ScheduledStationAeTitle);
        }
        else
        {
            builder.Segment("ZDS").Set(1, step.StudyInstanceUid, "", "Application", "DICOM");
        }
    }

    private static string Name(string system) => system switch { "http://loinc.org" => "LN", "http://snomed.info/sct" => "SCT", "http://hl7.org/fhir/sid/icd-10" => "I10", "" => "L", _ => system.Length <= 20 ? system : "L" };
}
