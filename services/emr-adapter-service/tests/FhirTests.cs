using System.Text.Json.Nodes;
using Hl7.Fhir.Serialization;
using Yizhan.Contracts;
using Yizhan.EmrAdapter.Fhir;
using Yizhan.EmrAdapter.Outbox;
using Yizhan.EmrAdapter.Terms;
using Yizhan.Storage;

namespace Yizhan.EmrAdapter.Tests;

/// <summary>A FHIR R4 server (medplum's) as EMR: orders from it, results to it.</summary>
[Trait("Clause", "S5")]
public sealed class FhirTests
{
    internal const string PatientJson = """
        {"resourceType":"Patient","identifier":[{"type":{"coding":[{"code":"MR"}]},"system":"urn:oid:2.16.156.10011.1.12","value":"P1"},{"system":"urn:oid:2.16.156.10011.1.3","value":"11010519491231002X"}],
         "name":[{"use":"official","family":"李","given":["娜"]}],"gender":"female","birthDate":"1949-12-31"}
        """;

    [Fact]
    public async Task Orders_are_fetched_changed_and_cancelled_and_a_killed_server_loses_none()
    {
        await using var server = await FhirServer.StartAsync();
        await using var node = await Node.StartAsync(server.System());
        var patient = await server.PostAsync("Patient", PatientJson);
        var request = await server.PostAsync("ServiceRequest", Request(patient));
        await Wait.UntilAsync(async () => (await node.WorklistAsync()).Count == 1);
        var step = (await node.WorklistAsync()).Single();
        Assert.Equal(("李^娜", "P1", "CT", "ACC1", "19491231", "F", "20261101093000"), (step.PatientName, step.PatientId, step.Modality, step.AccessionNumber, step.PatientBirthDate, step.PatientSex, step.ScheduledStart));

        await server.KillAsync();
        await server.RestartAsync();
        request["status"] = "revoked";
        await server.PutAsync("ServiceRequest", request);
        await Wait.UntilAsync(async () => (await node.WorklistAsync()).Count == 0);

        // What was read again because of the overlap was known.
        Assert.Equal(2, (await node.OrdersAsync()).Count);
    }

    [Fact]
    public async Task An_order_for_an_unknown_patient_waits_for_him_and_stops_nobody()
    {
        await using var server = await FhirServer.StartAsync();
        await using var node = await Node.StartAsync(server.System());
        await server.PostAsync("ServiceRequest", Request(new JsonObject { ["id"] = "nobody-yet" }, "ACC9"));
        var patient = await server.PostAsync("Patient", PatientJson);
        await server.PostAsync("ServiceRequest", Request(patient));
        await Wait.UntilAsync(async () => (await node.WorklistAsync()).Count == 1);
        Assert.Equal(1L, node.Service<EmrDatabase>().Read(db => db.Command("SELECT count(*) FROM refused WHERE reason LIKE '%not known%'").Single()));
        var late = JsonNode.Parse(PatientJson)!.AsObject();
        late["id"] = "nobody-yet";
        late["identifier"]![0]!["value"] = "P9";
        late["identifier"]!.AsArray().RemoveAt(1);
        await server.PutAsync("Patient", late);
        await Wait.UntilAsync(async () => (await node.WorklistAsync()).Any(s => s.AccessionNumber == "ACC9"));

        // After the order is in the log, not before.
        await Wait.UntilAsync(() => node.Service<EmrDatabase>().Read(db => db.Command("SELECT count(*) FROM refused").Single()) is 0L);
    }

    [Fact]
    public async Task A_report_is_one_resource_through_all_its_versions_and_a_finding_has_its_device_and_provenance()
    {
        await using var server = await FhirServer.StartAsync();
        var node = await Node.StartAsync(server.System());
        var patient = await server.PostAsync("Patient", PatientJson);
        var request = await server.PostAsync("ServiceRequest", Request(patient));
        await Wait.UntilAsync(async () => (await node.WorklistAsync()).Count == 1);
        var study = (await node.WorklistAsync()).Single().StudyInstanceUid;

        await AppendAsync(node, Finding("F1", study));
        await node.ReportAsync(Node.Report("R1", "preliminary", "ACC1", "初步报告"));
        await server.KillAsync();
        await node.ReportAsync(Node.Report("R1", "final", "ACC1", "双肺未见异常。", 1_790_000_001_000));
        await server.RestartAsync();
        await node.ReportAsync(new ReportIssued("N1", "NOTE", "final", "", "", "P1", "Progress note", "患者一般情况好。", "Dr Li", 1_790_000_002_000));
        await Wait.UntilAsync(async () => (await node.SystemAsync()) is { Delivered: 4, Waiting: 0 });

        var reports = await server.AllAsync("DiagnosticReport");
        var report = reports.Single(r => r["identifier"]!.AsArray().Any(i => (string?)i!["value"] == "R1"));
        Assert.Equal(2, reports.Count);
        Assert.Equal(("final", "双肺未见异常。", $"ServiceRequest/{request["id"]}"), ((string)report["status"]!, (string)report["conclusion"]!, (string)report["basedOn"]![0]!["reference"]!));
        Assert.Equal($"urn:oid:{study}", (string)report["imagingStudy"]![0]!["identifier"]!["value"]!);
        var observation = Assert.Single(await server.AllAsync("Observation"));
        var device = Assert.Single(await server.AllAsync("Device"));
        var provenance = Assert.Single(await server.AllAsync("Provenance"));
        Assert.Equal(("36118008", $"Device/{device["id"]}"), ((string)observation["code"]!["coding"]![0]!["code"]!, (string)observation["device"]!["reference"]!));
        Assert.Equal([.. reports.Where(r => (string)r["status"]! == "preliminary").Select(r => $"DiagnosticReport/{r["id"]}"), $"Observation/{observation["id"]}"], provenance["target"]!.AsArray().Select(t => (string)t!["reference"]!));
        Assert.Single(await server.AllAsync("DocumentReference"));

        // A retransmission after a lost answer: our memory of what the server calls it is gone, too.
        node.Service<EmrDatabase>().Write(db =>
        {
            db.Command("DELETE FROM remote").Go();
            db.Command("DELETE FROM outbox").Go();
            EmrDatabase.MoveCursor(db, $"log/{node.Log.Epoch:N}", "0");
            db.Command("UPDATE system SET since = 0").Go();
        });
        node = await node.RestartAsync(server.System());
        await using (node)
        {
            await AppendAsync(node, Finding("F2", study));
            await Wait.UntilAsync(async () => (await node.SystemAsync()) is { Delivered: 5, Waiting: 0 });
            reports = await server.AllAsync("DiagnosticReport");
            Assert.Equal((3, 1, 2, 2), (reports.Count, (await server.AllAsync("Device")).Count, (await server.AllAsync("Provenance")).Count, (await server.AllAsync("Observation")).Count));
            Assert.Single(await server.AllAsync("DocumentReference"));
            Assert.Equal("final", (string)reports.Single(r => r["identifier"]!.AsArray().Any(i => (string?)i!["value"] == "R1"))["status"]!);
        }
    }

    [Fact]
    public async Task A_dictated_note_and_its_recording_reach_a_server_that_was_away_once_and_linked()
    {
        await using var server = await FhirServer.StartAsync();
        await using var node = await Node.StartAsync(server.System());
        var patient = await server.PostAsync("Patient", PatientJson);
        await server.PostAsync("ServiceRequest", Request(patient));
        await Wait.UntilAsync(async () => (await node.WorklistAsync()).Count == 1);

        // The server is away while the clinician dictates.
        await server.KillAsync();
        var audio = new byte[48_044];
        new Random(1).NextBytes(audio);
        await using var writer = node.Service<IBlobStore>().Begin(Lane.Bulk);
        await writer.WriteAsync(audio, Node.Cancel);
        var blob = await writer.CompleteAsync(Node.Cancel);
        var recorded = new DictationRecorded("dictation-0001", "P1", blob.Hash.ToString(), 1500, "en", "pocketsphinx-en-us 5", 1, 9, 1_790_000_002_000);
        await node.ReportAsync(new ReportIssued("dictation-0001", "NOTE", "final", "", "", "P1", "Progress note", "No chest pain.", "Dr Li", 1_790_000_002_000));
        await node.Log.AppendAsync(
            [new Entry(Lane.Bulk, DictationRecorded.EventType, "asr/dictation/site-a/0001", "dictation-0001", 1_790_000_002_000, System.Text.Json.JsonSerializer.SerializeToUtf8Bytes(recorded, ContractsJson.Default.DictationRecorded)) { Blobs = [blob] }],
            Node.Cancel);
        await Wait.UntilAsync(async () => (await node.SystemAsync()) is { Waiting: 2, Problem: not null });
        await server.RestartAsync();
        await Wait.UntilAsync(async () => (await node.SystemAsync()) is { Delivered: 2, Waiting: 0 });

        var documents = await server.AllAsync("DocumentReference");
        Assert.Equal(2, documents.Count);
        var note = documents.Single(d => d["relatesTo"] is null);
        var recording = documents.Single(d => d["relatesTo"] is not null);
        Assert.Equal(("appends", $"DocumentReference/{note["id"]}"), ((string)recording["relatesTo"]![0]!["code"]!, (string)recording["relatesTo"]![0]!["target"]!["reference"]!));
        Assert.Equal($"Patient/{patient["id"]}", (string)recording["subject"]!["reference"]!);
        Assert.Equal(audio, Convert.FromBase64String((string)recording["content"]![0]!["attachment"]!["data"]!));
    }

    [Fact]
    public void Every_resource_that_we_make_is_what_firely_reads_strictly()
    {
        var patient = new EmrPatient("P1", "urn:x", "p", [new EmrIdentifier("P1", "urn:x", "MR")], "Li^Na", "19491231", "F");
        var order = new ImagingOrder("emr/1", "emr", "NEW", 1, "PL1", "ACC1", "", "1", patient, "24627-2", "http://loinc.org", "CT Chest", "", "", "20261101", "", "", "", "R", "", "");
        var content = new Outgoing("report", "f", "R1", "s", patient, order) { StudyInstanceUid = "1.2.3", AccessionNumber = "ACC1", Report = Node.Report("R1", "amended", "ACC1"), Analysis = Finding("F1", "1.2.3"), Recording = new DictationRecorded("R1", "P1", "ab", 1, "en", "p 1", 0, 1, 1_790_000_000_000), Study = new StudySummary("CT", "20261101120000", ["1.2.3.1"], 3) };
        var message = new OutboxMessage(1, "emr", "f", "ABC", "P1", 0, null, content);
        JsonObject[] made =
        [
            FhirResults.ImagingStudy(message, "Patient/p", "ServiceRequest/1"), FhirResults.DiagnosticReport(message, "Patient/p", "ServiceRequest/1", [1, 2, 3]),
            FhirResults.FindingReport(message, "Patient/p", null, ["Observation/1"]), FhirResults.Observation(message, 0, "Patient/p", null, "Device/1", new TermMaps(Microsoft.Extensions.Options.Options.Create(new EmrAdapterOptions()))),
            FhirResults.Device(content.Analysis!), FhirResults.Provenance(content.Analysis!, ["DiagnosticReport/1", "Observation/1"], "Device/1"), FhirResults.DocumentReference(message, "Patient/p", [1]),
            FhirResults.Recording(message, "Patient/p", "DocumentReference/1", [1]),
        ];
        var reader = new FhirJsonDeserializer(new DeserializerSettings().UsingMode(DeserializationMode.Strict));
        Assert.All(made, resource => Assert.Equal((string)resource["resourceType"]!, reader.DeserializeResource(resource.ToJsonString()).TypeName));

        // The strict reader is one: a member that FHIR does not have is refused.
        made[0]["nonsense"] = 1;
        Assert.ThrowsAny<Exception>(() => reader.DeserializeResource(made[0].ToJsonString()));
    }

    [Fact]
    public async Task Every_order_and_patient_of_the_corpus_is_read_or_refused_with_the_reason()
    {
        await using var node = await Node.StartAsync();
        var read = 0;
        foreach (var file in Directory.GetFiles(Corpus.Path("fhir-r4")).Concat(Directory.GetFiles(Corpus.Path("openmrs-fhir2"))).Concat(Directory.GetFiles(Corpus.Path("fhir-bundles"))).Order(StringComparer.Ordinal))
        {
            var preview = node.Service<Preview>().Of(await File.ReadAllBytesAsync(file, Node.Cancel));
            Assert.True(preview.Answer == "accepted" || preview.Reason.Length > 0, file);
            read += preview.Orders.Count + preview.Patients.Count;
        }

        Assert.True(read >= 15, $"{read} orders and patients");
    }

    internal static string Request(JsonObject patient, string accession = "ACC1") => $$$"""
        {"resourceType":"ServiceRequest","status":"active","intent":"order","priority":"stat","subject":{"reference":"Patient/{{{patient["id"]}}}"},"occurrenceDateTime":"2026-11-01T01:30:00Z",
         "identifier":[{"type":{"coding":[{"code":"ACSN"}]},"value":"{{{accession}}}"}],"code":{"coding":[{"system":"http://loinc.org","code":"24627-2","display":"CT Chest"}]}}
        """;

    /// <summary>What ai-infer appends; with a code of the model's own, which a map translates.</summary>
    internal static AnalysisFinished Finding(string id, string study) => new(
        study, "1.2.7", null, "chest-triage", "1.4.0", new string('a', 64), new string('b', 64), "findings", null, [new AnalysisFinding(1, "Pneumothorax", 12.5, -900, "pneumothorax", "", true)],
        null, id, false, true,
        [
            """
            {"resourceType":"Observation","identifier":[{"system":"urn:ietf:rfc:3986","value":"urn:oid:2.25.9"}],"status":"preliminary",
             "category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"imaging"}]}],"code":{"coding":[{"code":"pneumothorax","display":"Pneumothorax"}]},
             "subject":{"type":"Patient","identifier":{"value":"P1"}},"effectiveDateTime":"2026-11-01T01:30:00Z","device":{"display":"chest-triage 1.4.0"},
             "valueCodeableConcept":{"coding":[{"system":"http://snomed.info/sct","code":"52101004","display":"Present"}]},
             "interpretation":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation","code":"AA","display":"Critical abnormal"}]}],
             "derivedFrom":[{"type":"ImagingStudy","identifier":{"system":"urn:dicom:uid","value":"urn:oid:1.2.3"}}],"note":[{"text":"NOT FOR CLINICAL USE"}],
             "component":[{"code":{"coding":[{"system":"http://snomed.info/sct","code":"118565006","display":"Volume"}]},"valueQuantity":{"value":12.5,"unit":"mL","system":"http://unitsofmeasure.org","code":"mL"}}]}
            """,
        ],
        1_790_000_000_000);

    internal static async Task AppendAsync(Node node, AnalysisFinished analysis) => await node.Log.AppendAsync(
        [
            new Entry(Lane.Urgent, AnalysisFinished.EventType, $"analysis:{analysis.ReportUid}", analysis.StudyInstanceUid, analysis.TimeMs,
                System.Text.Json.JsonSerializer.SerializeToUtf8Bytes(analysis, ContractsJson.Default.AnalysisFinished)),
        ],
        Node.Cancel);
}
