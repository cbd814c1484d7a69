using System.Buffers;
using System.Text;
using Yizhan.Dicom;
using Yizhan.Hl7v2;

namespace Yizhan.EmrAdapter.Tests;

/// <summary>
/// From the order to the report: the EMR orders, the site's modality finds it in its worklist while the line and the EMR are away, sends the study, a model finds
/// something, a person reports, and the EMR, killed twice in between, has each of it once. The modality is dcmtk, the EMR medplum's FHIR server or an HL7 engine.
/// </summary>
[Trait("Clause", "S5")]
public sealed class ScenarioTests
{
    [Fact]
    public async Task From_a_fhir_order_to_the_report_each_thing_is_in_the_emr_once()
    {
        await using var emr = await FhirServer.StartAsync();
        var dicomPort = FreePorts.Next();

        // No centre anywhere: this is the outage.
        await using var site = await Node.StartSiteAsync(dicomPort, [.. emr.System(), "--emr-adapter:studyQuietMs=200"]);
        var patient = await emr.PostAsync("Patient", FhirTests.PatientJson);
        var request = await emr.PostAsync("ServiceRequest", FhirTests.Request(patient));
        await Wait.UntilAsync(async () => (await site.WorklistAsync()).Count == 1);
        await emr.KillAsync();

        var found = await FindAsync(dicomPort);
        Assert.Equal(("李^娜", "P1", "ACC1"), (found.Name, found.PatientId, found.Accession));
        await StoreAsync(dicomPort, found);
        await FhirTests.AppendAsync(site, FhirTests.Finding("F1", found.Study));
        await Wait.UntilAsync(async () => (await site.SystemAsync()) is { Waiting: >= 1, Problem: not null });

        await emr.RestartAsync();
        await Wait.UntilAsync(async () => (await emr.AllAsync("Observation")).Count == 1);
        await emr.KillAsync();
        await site.ReportAsync(Node.Report("R1", "final", "ACC1", "右侧气胸。"));
        await emr.RestartAsync();
        await Wait.UntilAsync(async () => (await site.SystemAsync()) is { Waiting: 0, Unlinked: 0, DeadLetters: 0 }
            && (await emr.AllAsync("ImagingStudy")) is [var told] && (int)told["numberOfInstances"]! == 2);

        var reports = await emr.AllAsync("DiagnosticReport");
        Assert.Equal("final preliminary", string.Join(' ', reports.Select(r => (string)r["status"]!).Order(StringComparer.Ordinal)));
        Assert.All(reports, r => Assert.Equal($"ServiceRequest/{request["id"]}", (string)r["basedOn"]![0]!["reference"]!));
        Assert.All(reports, r => Assert.Equal($"Patient/{patient["id"]}", (string)r["subject"]!["reference"]!));
        Assert.Equal("右侧气胸。", (string)reports.Single(r => (string)r["status"]! == "final")["conclusion"]!);
        Assert.Equal((1, 1, 1), ((await emr.AllAsync("Observation")).Count, (await emr.AllAsync("Device")).Count, (await emr.AllAsync("Provenance")).Count));
        var study = Assert.Single(await emr.AllAsync("ImagingStudy"));
        Assert.Equal((2, $"urn:oid:{found.Study}"), ((int)study["numberOfInstances"]!, (string)study["identifier"]![0]!["value"]!));
        Assert.Empty(await FindAllAsync(dicomPort));
    }

    [Theory]
    [InlineData("GB 18030-2000")]
    [InlineData("UNICODE UTF-8")]
    public async Task From_an_hl7_order_to_the_report_with_chinese_names(string set)
    {
        await using var emr = new MllpEngine();
        var dicomPort = FreePorts.Next();
        await using var site = await Node.StartSiteAsync(dicomPort, Node.Hl7System(emr.Port, 0, "emr", $"characterSet={set}"));
        await emr.KillAsync();
        var order = Messages.Order("ORD-284", name: "寍^丱", text: "胸部平扫", set: set);
        using (var sender = await MllpSender.ConnectAsync(site.MllpPort))
        {
            var bytes = set == "UNICODE UTF-8" ? Encoding.UTF8.GetBytes(order) : CodePagesEncodingProvider.Instance.GetEncoding("gb18030")!.GetBytes(order);
            Assert.Equal("AA", (await sender.SendAsync(bytes))["MSA-1"]);
        }

        await site.FollowedAsync();
        var found = await FindAsync(dicomPort);
        Assert.Equal(("寍^丱", "P1", "ORD-284"), (found.Name, found.PatientId, found.Accession));
        await StoreAsync(dicomPort, found);
        await FhirTests.AppendAsync(site, FhirTests.Finding("F1", found.Study));
        emr.Restart();
        await Wait.UntilAsync(() => emr.Received.Count >= 1);
        await emr.KillAsync();
        await site.ReportAsync(Node.Report("R1", "final", "ORD-284", "两肺未见异常。"));
        emr.Restart();
        await Wait.UntilAsync(async () => (await site.SystemAsync()) is { Waiting: 0, Delivered: 2 });

        var effect = emr.Received.DistinctBy(m => m.ControlId).ToList();
        Assert.Equal("P F", string.Join(' ', effect.Select(m => m["OBR-25"])));
        Assert.All(effect, m => Assert.Equal((set, "寍", "丱", "ORD-284", found.Study), (m["MSH-18"], m["PID-5.1"], m["PID-5.2"], m["OBR-2"], m["OBX-5"])));
        Assert.Equal(("36118008", "两肺未见异常。"), (Terms(effect[0]), effect[1]["OBX[2]-5"]));

        static string Terms(Hl7Message finding) => finding["OBX[2]-3.1"] == "pneumothorax" && finding["OBX[2]-5.1"] == "52101004" ? "36118008" : finding["OBX[2]-3"];
    }

    private sealed record Step(string Name, string PatientId, string Accession, string Study);

    private static async Task<Step> FindAsync(int port) => Assert.Single(await FindAllAsync(port));

    private static async Task<IReadOnlyList<Step>> FindAllAsync(int port)
    {
        var folder = Directory.CreateTempSubdirectory("yizhan-mwl-");
        try
        {
            var output = await Peers.RunAsync(
                "/usr/bin/findscu", "-W", "-aet", "CT-1", "-aec", "YIZHAN", "-X", "-od", folder.FullName, "-k", "PatientName", "-k", "PatientID", "-k", "AccessionNumber", "-k", "StudyInstanceUID",
                "-k", "ScheduledProcedureStepSequence[0].Modality=CT", "127.0.0.1", $"{port}");
            Assert.DoesNotContain("F: ", output, StringComparison.Ordinal);
            return [.. folder.GetFiles().Select(f => DicomFile.Parse(File.ReadAllBytes(f.FullName)).Dataset).Select(d => new Step(
                d.GetString(DicomTags.PatientName) ?? "", d.GetString(DicomTags.PatientID) ?? "", d.GetString(DicomTags.AccessionNumber) ?? "", d.GetString(DicomTags.StudyInstanceUID) ?? ""))];
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    /// <summary>Two instances as the modality makes them of what the worklist said.</summary>
    private static async Task StoreAsync(int port, Step step)
    {
        var folder = Directory.CreateTempSubdirectory("yizhan-study-");
        try
        {
            for (var i = 1; i <= 2; i++)
            {
                var file = new ArrayBufferWriter<byte>();
                DicomFile.Create(
                    new DicomDataset()
                        .Set(DicomTags.SpecificCharacterSet, "ISO_IR 192").Set(DicomTags.SOPClassUID, DicomUids.CtImageStorage).Set(DicomTags.SOPInstanceUID, $"1.2.7.{i}")
                        .Set(DicomTags.StudyDate, "20261101").Set(DicomTags.AccessionNumber, step.Accession).Set(DicomTags.Modality, "CT").Set(DicomTags.PatientName, step.Name)
                        .Set(DicomTags.PatientID, step.PatientId).Set(DicomTags.StudyInstanceUID, step.Study).Set(DicomTags.SeriesInstanceUID, "1.2.7").Set(DicomTags.InstanceNumber, i)
                        .Set(DicomTags.Rows, 4).Set(DicomTags.Columns, 2).Set(DicomTags.BitsAllocated, 16).Set(DicomTags.SamplesPerPixel, 1)
                        .SetBytes(DicomTags.PixelData, new byte[16], DicomVr.OW),
                    DicomTransferSyntax.ExplicitVrLittleEndian).Write(file);
                await File.WriteAllBytesAsync(Path.Combine(folder.FullName, $"{i}.dcm"), file.WrittenSpan.ToArray(), Node.Cancel);
            }

            var output = await Peers.RunAsync("/usr/bin/storescu", "-aet", "CT-1", "-aec", "YIZHAN", "+sd", "127.0.0.1", $"{port}", folder.FullName);
            Assert.DoesNotContain("F: ", output, StringComparison.Ordinal);
            Assert.DoesNotContain("E: ", output, StringComparison.Ordinal);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
