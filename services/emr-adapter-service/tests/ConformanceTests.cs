using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Yizhan.Contracts;
using Yizhan.EmrAdapter.Fhir;
using Yizhan.EmrAdapter.Hl7;
using Yizhan.EmrAdapter.Outbox;
using Yizhan.EmrAdapter.Terms;
using Yizhan.Hl7v2;

namespace Yizhan.EmrAdapter.Tests;

/// <summary>docs/conformance/hl7v2.md and fhir.md say what the code does.</summary>
[Trait("Clause", "S5")]
public sealed partial class ConformanceTests
{
    /// <summary>HL7 table 0119, as of v2.8.2.</summary>
    private const string OrderControls =
        "AF CA CH CN CP CR DC DE DF DR FU HD HR LI MC NA NR NW OC OD OE OF OH OK OP OR PA PR PY RC RD RE RF RL RO RP RQ RR RU SC SN SQ SR SS UA UC UD UF UH UM UN UR UX XO XR XX";

    [Fact]
    public void The_messages_and_events_of_the_page_are_those_that_are_taken()
    {
        var page = Page("hl7v2.md");
        Assert.Equal(Hl7Intake.Types, Rows(Section(page, "Messages taken")).Select(r => r[0]).Where(c => Message().IsMatch(c)));
        var events = Rows(page).Where(r => r[0].StartsWith('A') && r[0].Split(' ').All(e => Event().IsMatch(e))).SelectMany(r => r[0].Split(' ')).ToHashSet();
        for (var number = 1; number <= 62; number++)
        {
            var trigger = $"A{number:00}";
            Assert.True(events.Contains(trigger) == IsTaken(Messages.Adt(trigger, "P1", retired: "P2")), trigger);
        }
    }

    [Fact]
    public void The_order_controls_of_the_page_have_the_effect_that_it_says()
    {
        var effects = Rows(Page("hl7v2.md")).Where(r => r[0] is "NEW" or "REVISE" or "RENEW" or "CANCEL" or "COMPLETE")
            .SelectMany(r => r[1].Split(' ').Select(c => (Control: c, Effect: r[0]))).ToDictionary(p => p.Control, p => p.Effect);
        Assert.Equal(5, effects.Values.Distinct().Count());
        foreach (var (control, effect) in effects)
        {
            var parts = control.Split('/');
            var message = Messages.Order("O1", parts[0]).Replace("|O1||||||", $"|O1|||{(parts.Length > 1 ? parts[1] : "")}|||", StringComparison.Ordinal);
            Assert.Equal((control, effect), (control, Hl7Orders.Read(Hl7Message.Parse(message), "HIS", TimeSpan.Zero, 0).Single().Action));
        }

        Assert.All(OrderControls.Split(' ').Where(c => !effects.ContainsKey(c)), control => Assert.False(IsTaken(Messages.Order("O1", control)), control));
    }

    [Fact]
    public void The_character_sets_of_the_page_are_read()
    {
        var sets = Section(Page("hl7v2.md"), "Character sets");
        Assert.All((string[])["ASCII", "UNICODE UTF-8", "GB 18030-2000", "8859/1", "8859/9", "8859/15", "ISO IR87", "KS X 1001", "BIG-5"], set =>
        {
            Assert.Contains(set, sets.ReplaceLineEndings(" "), StringComparison.Ordinal);
            Assert.Equal(set, Hl7CharacterSet.Named(set).Name);
        });
    }

    [Fact]
    public void The_messages_of_the_page_are_those_that_are_sent()
    {
        var patient = new EmrPatient("P1", "H", "", [new EmrIdentifier("P1", "H", "MR")], "Li^Na", "19491231", "F");
        Outgoing Of(string kind) => new(kind, "f", "R1", "s", patient, null)
        {
            Report = kind is "report" or "note" ? Node.Report("R1", "final", "A1") : null,
            Analysis = kind == "finding" ? FhirTests.Finding("F1", "1.2.3") : null,
            Step = kind == "order" ? new ProcedureScheduled("1", "SCHEDULED", "A1", "P1", "H", "Li^Na", "", "", "1.2.3", "A1", "CT", "", "", "CT", "20261101", "1", "CT") : null,
        };
        string Sent(string kind, string version) => Hl7Results.ToMessage(
            new OutboxMessage(1, "x", "f", "ID", "P1", 0, null, Of(kind)), new EmrSystemOptions { Version = version }, TimeSpan.Zero, null) is var m ? $"{m.Type}^{m.TriggerEvent}" : "";
        var sent = new[] { Sent("report", "2.5.1"), Sent("finding", "2.5.1"), Sent("note", "2.5.1"), Sent("order", "2.5.1"), Sent("order", "2.3.1") };
        Assert.Equal(sent.Distinct().Order(), Rows(Section(Page("hl7v2.md"), "Messages sent")).Select(r => r[0]).Where(c => Message().IsMatch(c)).Order());
    }

    [Fact]
    public void The_resources_of_the_page_have_the_elements_that_it_names()
    {
        var patient = new EmrPatient("P1", "urn:x", "p", [new EmrIdentifier("P1", "urn:x", "MR")], "Li^Na", "19491231", "F");
        var order = new ImagingOrder("emr/1", "emr", "NEW", 1, "PL1", "ACC1", "", "1", patient, "24627-2", "http://loinc.org", "CT Chest", "", "", "20261101", "", "", "", "R", "", "");
        var content = new Outgoing("report", "f", "R1", "s", patient, order)
        {
            StudyInstanceUid = "1.2.3",
            AccessionNumber = "ACC1",
            Report = Node.Report("R1", "final", "ACC1"),
            Analysis = FhirTests.Finding("F1", "1.2.3"),
            Study = new StudySummary("CT", "20261101120000", ["1.2.3.1"], 3),
        };
        var message = new OutboxMessage(1, "emr", "f", "ABC", "P1", 0, null, content);
        var terms = new TermMaps(Microsoft.Extensions.Options.Options.Create(new EmrAdapterOptions()));
        JsonObject[] made =
        [
            FhirResults.ImagingStudy(message, "Patient/p", "ServiceRequest/1"), FhirResults.DiagnosticReport(message, "Patient/p", "ServiceRequest/1", [1]),
            FhirResults.FindingReport(message, "Patient/p", "ServiceRequest/1", ["Observation/1"]), FhirResults.Observation(message, 0, "Patient/p", "ServiceRequest/1", "Device/1", terms),
            FhirResults.Device(content.Analysis!), FhirResults.Provenance(content.Analysis!, ["DiagnosticReport/1", "Observation/1"], "Device/1"), FhirResults.DocumentReference(message, "Patient/p", [1]),
        ];
        var written = made.GroupBy(r => (string)r["resourceType"]!).ToDictionary(
            g => g.Key, g => string.Join(' ', g.SelectMany(r => r.Select(m => m.Key)).Where(m => m != "resourceType").Distinct().Order(StringComparer.Ordinal)));
        var documented = Rows(Section(Page("fhir.md"), "Written")).Where(r => r[0] != "resource").ToDictionary(r => r[0], r => string.Join(' ', r[1].Split(' ').Order(StringComparer.Ordinal)));
        Assert.Equal(written.OrderBy(p => p.Key, StringComparer.Ordinal), documented.OrderBy(p => p.Key, StringComparer.Ordinal));
    }

    private static bool IsTaken(string message)
    {
        try
        {
            var parsed = Hl7Message.Parse(message);
            _ = parsed.Type == "ADT" ? Hl7Patients.Read(parsed, "HIS", TimeSpan.Zero, 0).Action : Hl7Orders.Read(parsed, "HIS", TimeSpan.Zero, 0)[0].Action;
            return true;
        }
        catch (Hl7Exception)
        {
            return false;
        }
    }

    private static string Page(string name)
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(directory.FullName, "global.json")))
        {
            directory = directory.Parent ?? throw new DirectoryNotFoundException("No global.json above the test.");
        }

        return File.ReadAllText(Path.Combine(directory.FullName, "docs/conformance", name));
    }

    private static string Section(string page, string title)
    {
        var start = page.IndexOf($"\n## {title}", StringComparison.Ordinal);
        var end = page.IndexOf("\n## ", start + 4, StringComparison.Ordinal);
        return end < 0 ? page[start..] : page[start..end];
    }

    private static IEnumerable<string[]> Rows(string page) =>
        page.Split('\n').Where(l => l.StartsWith("| ", StringComparison.Ordinal)).Select(l => l.Trim('|', ' ').Split('|').Select(c => c.Trim()).ToArray());

    [GeneratedRegex("^[A-Z]{3}\\^[A-Z][0-9x]{2}$")]
    private static partial Regex Message();

    [GeneratedRegex("^A[0-9]{2}$")]
    private static partial Regex Event();
}
