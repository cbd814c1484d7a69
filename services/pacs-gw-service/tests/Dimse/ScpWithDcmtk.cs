using System.Diagnostics;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;

namespace Yizhan.PacsGw.Tests.Dimse;

/// <summary>An archive with two studies, dcmtk's storescp as a peer that it can call, and one peer that is down.</summary>
public sealed class DimseArchive : IAsyncLifetime
{
    private Process _sink = null!;
    private DirectoryInfo _received = null!;

    internal Gateway Gateway { get; private set; } = null!;

    internal int SinkPort { get; } = FreePorts.Next();

    public async ValueTask InitializeAsync()
    {
        _received = Directory.CreateTempSubdirectory("yizhan-sink-");
        _sink = Outside.Start("storescp", "-od", _received.FullName, "+xa", $"{SinkPort}");
        Gateway = await Gateway.StartAsync(
            "--pacs-gw:peers:2:aeTitle=SINK", "--pacs-gw:peers:2:host=127.0.0.1", $"--pacs-gw:peers:2:port={SinkPort}",
            "--pacs-gw:peers:3:aeTitle=DOWN", "--pacs-gw:peers:3:host=127.0.0.1", $"--pacs-gw:peers:3:port={FreePorts.Next()}",
            "--pacs-gw:peers:4:aeTitle=ONLY-STORE", "--pacs-gw:peers:4:services:0=store", "--pacs-gw:maxFindResults=5");
        TestInstance[] instances =
        [
            new("1.1", "1.1.1", "1.1.1.1") { PatientName = "Wang^XiaoDong=王^小东", PatientId = "W1", CharacterSet = "GB18030", Date = "20260101" },
            new("1.1", "1.1.1", "1.1.1.2") { PatientName = "Wang^XiaoDong=王^小东", PatientId = "W1", CharacterSet = "GB18030", Date = "20260101", Number = 2 },
            new("1.1", "1.1.2", "1.1.2.1") { PatientName = "Wang^XiaoDong=王^小东", PatientId = "W1", CharacterSet = "GB18030", Date = "20260101", Modality = "SR" },
            new("1.2", "1.2.1", "1.2.1.1") { PatientName = "Smith^John", PatientId = "S1", Date = "20260215" },
            .. Enumerable.Range(1, 7).Select(i => new TestInstance("1.3", "1.3.1", $"1.3.1.{i}") { PatientId = "M1", Date = "20260301", Number = i }),
        ];
        Assert.All(await Gateway.SendAsync([.. instances.Select(i => i.ToSend())]), s => Assert.Equal((ushort?)0, s));
        await Outside.ListensAsync(SinkPort);
    }

    public async ValueTask DisposeAsync()
    {
        _sink.Kill();
        await _sink.WaitForExitAsync(CancellationToken.None);
        _sink.Dispose();
        _received.Delete(recursive: true);
        await Gateway.DisposeAsync();
    }

    /// <summary>SOP Instance UIDs that the sink has.</summary>
    internal IEnumerable<string> Received() => _received.GetFiles().Select(f => f.Name[(f.Name.IndexOf('.', StringComparison.Ordinal) + 1)..]);

    /// <summary>An association with it for some SOP classes, in explicit VR little endian, window 1.</summary>
    internal async Task<Association> AssociateAsync(string calling, params string[] sopClasses) => await Connector.RequestAsync(
        "127.0.0.1",
        Gateway.DicomPort,
        new AssociateRequest
        {
            CallingAeTitle = calling,
            CalledAeTitle = "YIZHAN",
            PresentationContexts =
            [
                .. sopClasses.Select((uid, i) => new PresentationContext((byte)((2 * i) + 1), uid, [DicomTransferSyntax.ExplicitVrLittleEndian.Uid])),
            ],
        },
        new AssociationOptions { MaxOperations = 1 },
        TimeProvider.System,
        Gateway.Cancel);
}

/// <summary>Each service that we provide, asked for by dcmtk's programs.</summary>
[Trait("Clause", "S2")]
public sealed class ScpWithDcmtk(DimseArchive archive) : IClassFixture<DimseArchive>
{
    private readonly Gateway _gateway = archive.Gateway;

    [Fact]
    public async Task Echo()
    {
        var (exitCode, output) = await Outside.DcmtkAsync("echoscu", "-aet", "CT-1", "-aec", "YIZHAN", "127.0.0.1", $"{_gateway.DicomPort}");
        Assert.True(exitCode == 0, output);
    }

    [Theory]
    [InlineData("-S", "STUDY", "PatientName=WANG*", "StudyInstanceUID", "1.1")]
    [InlineData("-S", "STUDY", "StudyDate=20260101-20260215", "StudyInstanceUID", "1.1 1.2")]
    [InlineData("-S", "STUDY", "StudyInstanceUID=1.2\\1.3", "StudyInstanceUID", "1.2 1.3")]
    [InlineData("-S", "STUDY", "PatientName", "StudyInstanceUID", "1.1 1.2 1.3")]
    [InlineData("-S", "STUDY", "ModalitiesInStudy=SR", "StudyInstanceUID", "1.1")]
    [InlineData("-P", "PATIENT", "PatientName", "PatientID", "M1 S1 W1")]
    [InlineData("-P", "STUDY", "PatientID=W1", "NumberOfStudyRelatedInstances", "3")]
    [InlineData("-P", "PATIENT", "PatientID=W1", "NumberOfPatientRelatedInstances", "3")]
    [InlineData("-S", "SERIES", "StudyInstanceUID=1.1", "SeriesInstanceUID", "1.1.1 1.1.2")]
    [InlineData("-S", "SERIES", "StudyInstanceUID=1.1", "NumberOfSeriesRelatedInstances", "1 2")]
    [InlineData("-S", "IMAGE", "SeriesInstanceUID=1.1.1", "SOPInstanceUID", "1.1.1.1 1.1.1.2")]
    [InlineData("-S", "IMAGE", "SOPInstanceUID=1.2.1.1", "Rows", "4")]
    public async Task Find(string model, string level, string key, string wanted, string expected)
    {
        var (answers, output) = await FindAsync(model, level, key.StartsWith(wanted, StringComparison.Ordinal) ? [key] : [key, wanted]);
        Assert.True(expected == string.Join(' ', answers.Select(a => a.GetString(Tag(wanted))).Order(StringComparer.Ordinal)), output);
        Assert.All(answers, a => Assert.Equal(level, a.GetString(DicomTags.QueryRetrieveLevel)));
    }

    [Fact]
    public async Task A_chinese_name_is_found_in_the_character_set_of_the_asker_and_answered_in_it()
    {
        var answers = new List<DicomDataset>();
        await using var association = await archive.AssociateAsync("CT-1", DicomUids.StudyRootFind);
        var identifier = new DicomDataset()
            .Set(DicomTags.SpecificCharacterSet, "GB18030")
            .Set(DicomTags.QueryRetrieveLevel, "STUDY")
            .Set(DicomTags.PatientName, "王*");
        await foreach (var answer in new DimseScu(association).FindAsync(DicomUids.StudyRootFind, identifier, Gateway.Cancel))
        {
            answers.Add(answer);
        }

        var found = Assert.Single(answers);
        Assert.Equal("GB18030", found.GetString(DicomTags.SpecificCharacterSet));
        Assert.Equal("王^小东", found.GetPersonName(DicomTags.PatientName)!.Ideographic);
        await association.ReleaseAsync(Gateway.Cancel);
    }

    [Fact]
    public async Task Find_without_a_level_or_with_a_wrong_date_is_refused_and_the_association_goes_on()
    {
        await using var association = await archive.AssociateAsync("CT-1", DicomUids.StudyRootFind, DicomUids.Verification);
        var scu = new DimseScu(association);
        Assert.Equal(0xA900, await StatusAsync(scu, new DicomDataset().Set(DicomTags.PatientID, "W1")));
        Assert.Equal(0xA900, await StatusAsync(scu, new DicomDataset().Set(DicomTags.QueryRetrieveLevel, "PATIENT")));
        Assert.Equal(0xA900, await StatusAsync(scu, new DicomDataset().Set(DicomTags.QueryRetrieveLevel, "STUDY").Set(DicomTags.StudyDate, "today")));
        await scu.EchoAsync(Gateway.Cancel);
        await association.ReleaseAsync(Gateway.Cancel);
    }

    [Fact]
    public async Task Find_that_matches_too_much_ends_with_out_of_resources_after_what_fits()
    {
        await using var association = await archive.AssociateAsync("CT-1", DicomUids.StudyRootFind);
        var found = 0;
        var failure = await Assert.ThrowsAsync<DimseException>(async () =>
        {
            await foreach (var _ in new DimseScu(association).FindAsync(
                DicomUids.StudyRootFind, new DicomDataset().Set(DicomTags.QueryRetrieveLevel, "IMAGE").Set(DicomTags.StudyInstanceUID, "1.3"), Gateway.Cancel))
            {
                found++;
            }
        });
        Assert.Equal((5, (ushort?)0xA700), (found, failure.Status));
    }

    [Fact]
    public async Task Find_ends_when_it_is_cancelled()
    {
        await using var association = await archive.AssociateAsync("CT-1", DicomUids.StudyRootFind, DicomUids.Verification);
        var scu = new DimseScu(association);
        await foreach (var _ in scu.FindAsync(DicomUids.StudyRootFind, new DicomDataset().Set(DicomTags.QueryRetrieveLevel, "STUDY"), Gateway.Cancel))
        {
            break;
        }

        await scu.EchoAsync(Gateway.Cancel);
        await association.ReleaseAsync(Gateway.Cancel);
    }

    [Theory]
    [InlineData("STUDY", "StudyInstanceUID=1.1", 3)]
    [InlineData("SERIES", "SeriesInstanceUID=1.1.1", 2)]
    [InlineData("IMAGE", "SOPInstanceUID=1.1.1.1\\1.1.2.1", 2)]
    public async Task Get(string level, string key, int expected)
    {
        var folder = Directory.CreateTempSubdirectory("yizhan-getscu-");
        try
        {
            var (exitCode, output) = await Outside.DcmtkAsync(
                "getscu", "-S", "-aet", "CT-1", "-aec", "YIZHAN", "-od", folder.FullName, "-k", $"QueryRetrieveLevel={level}", "-k", key, "127.0.0.1", $"{_gateway.DicomPort}");
            Assert.True(exitCode == 0, output);
            Assert.Equal(expected, folder.GetFiles().Length);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task Move_to_a_peer_of_the_settings()
    {
        var (exitCode, output) = await MoveAsync("SINK", "1.1");
        Assert.True(exitCode == 0, output);
        Assert.All(["1.1.1.1", "1.1.1.2", "1.1.2.1"], uid => Assert.Contains(uid, archive.Received()));
    }

    [Theory]
    [InlineData("NOBODY", 0xA801, 0)]
    [InlineData("ONLY-STORE", 0xA801, 0)]
    [InlineData("DOWN", 0xA702, 3)]
    public async Task Move_to_somebody_unknown_or_down_says_so(string destination, int status, int failed)
    {
        await using var association = await archive.AssociateAsync("CT-1", DicomUids.StudyRootMove);
        await association.SendAsync(
            1,
            CommandSet.MoveRequest(1, DicomUids.StudyRootMove, destination),
            DicomWriter.ToArray(
                new DicomDataset().Set(DicomTags.QueryRetrieveLevel, "STUDY").Set(DicomTags.StudyInstanceUID, "1.1"), DicomTransferSyntax.ExplicitVrLittleEndian),
            Gateway.Cancel);
        var message = (await association.ReceiveAsync(Gateway.Cancel))!;
        Assert.Equal(status, message.Command.Status);
        Assert.Equal(failed, message.Command.GetSubOperations().Failed);
        Assert.Equal(failed, (await DimseScu.ReadAsync(message, Gateway.Cancel))?.GetStrings(DicomTags.FailedSOPInstanceUIDList).Count ?? 0);
        await association.ReleaseAsync(Gateway.Cancel);
    }

    [Fact]
    public async Task A_peer_gets_only_the_services_of_the_settings()
    {
        await using var association = await archive.AssociateAsync(
            "ONLY-STORE", DicomUids.Verification, DicomUids.CtImageStorage, DicomUids.StudyRootFind, DicomUids.StudyRootMove, DicomUids.ModalityWorklistFind);
        Assert.Equal("1 3", string.Join(' ', association.PresentationContexts.Keys.Order()));
        await association.ReleaseAsync(Gateway.Cancel);
    }

    [Fact]
    public async Task Retrieving_is_audited()
    {
        await MoveAsync("SINK", "1.2");
        Assert.Contains(
            await _gateway.EntriesAsync(AuditRecord.EventType), r => (string)r["entity"]! == "study/1.2" && (string)r["detail"]! == "C-MOVE to SINK");
    }

    private static DicomTag Tag(string keyword) => DicomTag.Parse(keyword);

    private static async Task<int> StatusAsync(DimseScu scu, DicomDataset identifier)
    {
        var failure = await Assert.ThrowsAsync<DimseException>(async () =>
        {
            await foreach (var _ in scu.FindAsync(DicomUids.StudyRootFind, identifier, Gateway.Cancel))
            {
            }
        });
        return failure.Status!.Value;
    }

    private Task<(int ExitCode, string Output)> MoveAsync(string destination, string study) => Outside.DcmtkAsync(
        "movescu", "-S", "-aet", "CT-1", "-aec", "YIZHAN", "-aem", destination, "-k", "QueryRetrieveLevel=STUDY", "-k", $"StudyInstanceUID={study}",
        "127.0.0.1", $"{_gateway.DicomPort}");

    private async Task<(IReadOnlyList<DicomDataset> Answers, string Output)> FindAsync(string model, string level, params string[] keys)
    {
        var folder = Directory.CreateTempSubdirectory("yizhan-findscu-");
        try
        {
            var (exitCode, output) = await Outside.DcmtkAsync(
                "findscu",
                [
                    model, "-aet", "CT-1", "-aec", "YIZHAN", "-X", "-od", folder.FullName, "-k", $"QueryRetrieveLevel={level}",
                    .. keys.SelectMany(key => new[] { "-k", key }), "127.0.0.1", $"{_gateway.DicomPort}",
                ]);
            Assert.True(exitCode == 0, output);
            return ([.. folder.GetFiles().Select(f => DicomFile.Parse(File.ReadAllBytes(f.FullName)).Dataset)], output);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
