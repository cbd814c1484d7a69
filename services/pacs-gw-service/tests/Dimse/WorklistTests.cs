using System.Net;
using System.Net.Http.Json;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;

namespace Yizhan.PacsGw.Tests.Dimse;

/// <summary>Orders come as events, are found by modalities, and are closed by what modalities do.</summary>
[Trait("Clause", "S2")]
public sealed class WorklistTests
{
    private static ProcedureScheduled Order(string id, string status = "SCHEDULED") => new(
        id, status, "A" + id, "P" + id, "HOSPITAL", "Zhang^Wei=张^伟", "19830126", "M", $"1.5.{id}", "R" + id, "胸部平扫", "", "CT-1", "CT",
        "20260301093000", "S" + id, "CT chest");

    [Fact]
    public async Task An_order_is_listed_until_its_study_or_its_procedure_step_is_done()
    {
        await using var gateway = await Gateway.StartAsync();
        foreach (var id in new[] { "1", "2", "3" })
        {
            await ScuWithDcmtk.PostAsync(gateway, "worklist", Order(id));
        }

        Assert.Equal("1 2 3", await ListedAsync(gateway));
        await ScuWithDcmtk.PostAsync(gateway, "worklist", Order("1", "CANCELLED"));
        Assert.Equal("2 3", await ListedAsync(gateway));

        await gateway.SendAsync(new TestInstance("1.5.2", "1.5.2.1", "1.5.2.1.1") { PatientId = "2" });
        Assert.Equal("3", await ListedAsync(gateway));

        await using var association = await AssociateAsync(gateway);
        var modality = new DimseScu(association);
        var step = new DicomDataset().Set(DicomTags.PerformedProcedureStepStatus, "IN PROGRESS").Set(
            DicomTags.ScheduledStepAttributesSequence,
            new DicomDataset().Set(DicomTags.StudyInstanceUID, "1.5.3").Set(DicomTags.ScheduledProcedureStepID, "S3"));
        await modality.InvokeAsync(id => CommandSet.CreateRequest(id, DicomUids.ModalityPerformedProcedureStep, "1.6.1"), step, Gateway.Cancel);
        Assert.Equal("3", await ListedAsync(gateway));
        await SetAsync(modality, "COMPLETED");
        Assert.Equal("", await ListedAsync(gateway));

        // An order that is changed after it was done stays done, and a step that has ended stays as it is.
        await ScuWithDcmtk.PostAsync(gateway, "worklist", Order("3"));
        Assert.Equal("", await ListedAsync(gateway));
        var again = await Assert.ThrowsAsync<DimseException>(() => SetAsync(modality, "DISCONTINUED"));
        Assert.Equal((ushort?)0x0110, again.Status);
        await association.ReleaseAsync(Gateway.Cancel);
        Assert.Equal(
            "IN PROGRESS COMPLETED", string.Join(' ', (await gateway.EntriesAsync(PerformedProcedureStep.EventType)).Select(e => (string)e["status"]!)));
    }

    [Fact]
    public async Task The_worklist_is_there_after_a_restart_and_dcmtk_finds_an_entry_by_its_keys()
    {
        var gateway = await Gateway.StartAsync();
        await ScuWithDcmtk.PostAsync(gateway, "worklist", Order("1"));
        await ScuWithDcmtk.PostAsync(gateway, "worklist", Order("2") with { ScheduledStationAeTitle = "MR-1", Modality = "MR" });
        gateway = await gateway.RestartAsync();
        await using (gateway)
        {
            Assert.Equal("1 2", await ListedAsync(gateway));
            Assert.Equal("1", await ListedAsync(gateway, "ScheduledProcedureStepSequence[0].Modality=CT"));
            Assert.Equal("2", await ListedAsync(gateway, "ScheduledProcedureStepSequence[0].ScheduledStationAETitle=MR*"));
            Assert.Equal("1 2", await ListedAsync(gateway, "ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate=20260228-20260302"));
            Assert.Equal("", await ListedAsync(gateway, "ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate=20260302-"));
            Assert.Equal("1", await ListedAsync(gateway, "AccessionNumber=A1"));
            Assert.Equal("1 2", await ListedAsync(gateway, "PatientName=zhang*"));
        }
    }

    [Fact]
    public async Task A_procedure_step_that_is_wrong_gets_the_status_of_the_standard()
    {
        await using var gateway = await Gateway.StartAsync();
        await using var association = await AssociateAsync(gateway);
        var modality = new DimseScu(association);
        Assert.Equal(0x0112, await StatusAsync(() => SetAsync(modality, "COMPLETED")));
        Assert.Equal(0x0106, await StatusAsync(() => CreateAsync("COMPLETED")));
        await CreateAsync("IN PROGRESS");
        Assert.Equal(0x0111, await StatusAsync(() => CreateAsync("IN PROGRESS")));
        Assert.Equal(0x0106, await StatusAsync(() => SetAsync(modality, "PERHAPS")));
        await association.ReleaseAsync(Gateway.Cancel);

        Task CreateAsync(string status) => modality.InvokeAsync(
            id => CommandSet.CreateRequest(id, DicomUids.ModalityPerformedProcedureStep, "1.6.1"),
            new DicomDataset().Set(DicomTags.PerformedProcedureStepStatus, status), Gateway.Cancel);

        static async Task<int> StatusAsync(Func<Task> act) => (await Assert.ThrowsAsync<DimseException>(act)).Status!.Value;
    }

    [Theory]
    [InlineData("id")]
    [InlineData("status")]
    [InlineData("start")]
    [InlineData("name")]
    public async Task An_order_that_cannot_be_listed_is_refused(string what)
    {
        await using var gateway = await Gateway.StartAsync();
        var order = what switch
        {
            "id" => Order("1") with { Id = "" },
            "status" => Order("1") with { Status = "MAYBE" },
            "start" => Order("1") with { ScheduledStart = "tomorrow" },
            _ => Order("1") with { PatientName = "A\\B" },
        };
        using var response = await gateway.Http.PostAsJsonAsync(new Uri("worklist", UriKind.Relative), order, Gateway.Cancel);
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
    }

    private static Task<CommandSet> SetAsync(DimseScu modality, string status) => modality.InvokeAsync(
        id => CommandSet.SetRequest(id, DicomUids.ModalityPerformedProcedureStep, "1.6.1"),
        new DicomDataset().Set(DicomTags.PerformedProcedureStepStatus, status), Gateway.Cancel);

    private static Task<Association> AssociateAsync(Gateway gateway) => Connector.RequestAsync(
        "127.0.0.1",
        gateway.DicomPort,
        new AssociateRequest
        {
            CallingAeTitle = "CT-1",
            CalledAeTitle = "YIZHAN",
            PresentationContexts = [new(1, DicomUids.ModalityPerformedProcedureStep, [DicomTransferSyntax.ImplicitVrLittleEndian.Uid])],
        },
        new AssociationOptions { MaxOperations = 1 },
        TimeProvider.System,
        Gateway.Cancel);

    /// <summary>The ids of the orders that dcmtk's findscu is told of.</summary>
    private static async Task<string> ListedAsync(Gateway gateway, params string[] keys)
    {
        var folder = Directory.CreateTempSubdirectory("yizhan-mwl-");
        try
        {
            var (exitCode, output) = await Outside.DcmtkAsync(
                "findscu",
                [
                    "-W", "-aet", "CT-1", "-aec", "YIZHAN", "-X", "-od", folder.FullName, "-k", "PatientID", "-k", "ScheduledProcedureStepSequence[0].ScheduledProcedureStepID",
                    .. keys.SelectMany(key => new[] { "-k", key }), "127.0.0.1", $"{gateway.DicomPort}",
                ]);
            Assert.True(exitCode == 0, output);
            return string.Join(' ', folder.GetFiles().Select(f => DicomFile.Parse(File.ReadAllBytes(f.FullName)).Dataset.GetString(DicomTags.PatientID)![1..]).Order(StringComparer.Ordinal));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
