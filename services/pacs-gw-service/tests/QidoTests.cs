using System.Net;
using System.Text.Json.Nodes;
using Yizhan.Contracts;
using Yizhan.Dicom;

namespace Yizhan.PacsGw.Tests;

/// <summary>Four studies that are searched in many ways.</summary>
public sealed class SearchedArchive : IAsyncLifetime
{
    internal Gateway Gateway { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        Gateway = await Gateway.StartAsync();
        TestInstance[] instances =
        [
            new("1.1", "1.1.1", "1.1.1.1") { PatientName = "Wang^XiaoDong=王^小东", PatientId = "W[1]", CharacterSet = "GB18030", Date = "20260101" },
            new("1.1", "1.1.1", "1.1.1.2") { PatientName = "Wang^XiaoDong=王^小东", PatientId = "W[1]", CharacterSet = "GB18030", Date = "20260101", Number = 2 },
            new("1.1", "1.1.2", "1.1.2.1") { PatientName = "Wang^XiaoDong=王^小东", PatientId = "W[1]", CharacterSet = "GB18030", Date = "20260101", Modality = "SR" },
            new("1.2", "1.2.1", "1.2.1.1") { PatientName = "张^三", PatientId = "Z1", CharacterSet = "GBK", Date = "20260215", Time = "0930" },
            new("1.3", "1.3.1", "1.3.1.1") { PatientName = "李^四", PatientId = "L1", Date = "", Modality = "MR", Change = d => d.Set(DicomTags.InstitutionName, "县医院") },
            new("1.4", "1.4.1", "1.4.1.1") { PatientName = "Smith^John^^Dr", PatientId = "S1", Date = "20261231", Modality = "US", Change = WithReferences },
        ];
        Assert.All(await Gateway.SendAsync([.. instances.Select(i => i.ToSend())]), s => Assert.Equal((ushort?)0, s));
        await Gateway.IndexedAsync();
    }

    public ValueTask DisposeAsync() => Gateway.DisposeAsync();

    private static void WithReferences(DicomDataset dataset) => dataset
        .Set(DicomTags.AcquisitionDateTime, "20261231103000.25")
        .Set(
            DicomTags.ReferencedImageSequence,
            new DicomDataset().Set(DicomTags.ReferencedSOPClassUID, "1.5").Set(DicomTags.ReferencedSOPInstanceUID, "1.6"),
            new DicomDataset().Set(DicomTags.ReferencedSOPClassUID, "1.7").Set(DicomTags.ReferencedSOPInstanceUID, "1.8"));
}

public sealed class QidoTests(SearchedArchive archive) : IClassFixture<SearchedArchive>
{
    private readonly Gateway _gateway = archive.Gateway;

    [Theory]
    [InlineData("", "1.1 1.2 1.3 1.4")]
    [InlineData("StudyInstanceUID=1.1,1.3", "1.1 1.3")]
    [InlineData("0020000D=1.2", "1.2")]
    [InlineData("PatientID=Z1", "1.2")]
    [InlineData("PatientID=z1", "")]
    [InlineData("PatientID=*1", "1.2 1.3 1.4")]
    [InlineData("PatientID=W[1]", "1.1")]
    [InlineData("PatientID=W[*", "1.1")]
    [InlineData("PatientID=?1", "1.2 1.3 1.4")]
    [InlineData("PatientID=", "1.1 1.2 1.3 1.4")]
    [InlineData("PatientName=wang^xiaodong", "1.1")]
    [InlineData("PatientName=王*", "1.1")]
    [InlineData("PatientName=王^小东", "1.1")]
    [InlineData("PatientName=WANG*=王*", "1.1")]
    [InlineData("PatientName=WANG*=李*", "")]
    [InlineData("PatientName=张^三", "1.2")]
    [InlineData("PatientName=李*", "1.3")]
    [InlineData("PatientName=*四", "1.3")]
    [InlineData("PatientName=smith^john^^dr^", "1.4")]
    [InlineData("PatientName=Ｓｍｉｔｈ*", "1.4")]
    [InlineData("PatientName=smith", "")]
    [InlineData("StudyDate=20260101", "1.1")]
    [InlineData("StudyDate=20260101-20260301", "1.1 1.2")]
    [InlineData("StudyDate=20260215-", "1.2 1.4")]
    [InlineData("StudyDate=-20260215", "1.1 1.2")]
    [InlineData("StudyTime=09", "1.2")]
    [InlineData("StudyTime=1015-1016", "1.1 1.3 1.4")]
    [InlineData("StudyTime=101530.2", "1.1 1.3 1.4")]
    [InlineData("StudyTime=101530.3", "")]
    [InlineData("StudyTime=-0930", "1.2")]
    [InlineData("AccessionNumber=AZ1", "1.2")]
    [InlineData("ModalitiesInStudy=SR", "1.1")]
    [InlineData("ModalitiesInStudy=M*", "1.3")]
    [InlineData("PatientName=%27%20OR%201=1%20--", "")]
    [InlineData("PatientName=smíth^jöhn^^dr", "1.4")]
    [InlineData("PatientID=Z1%5CL1", "1.2 1.3")]
    [InlineData("ModalitiesInStudy=SR%5CUS", "1.1 1.4")]
    [InlineData("SOPClassesInStudy=1.2.840.10008.5.1.4.1.1.2&PatientID=Z1", "1.2")]
    [InlineData("SOPClassesInStudy=1.2.840.10008.5.1.4.1.1.4", "")]
    [InlineData("PatientName=xiaodong&fuzzymatching=true", "1.1")]
    [InlineData("PatientName=wang xiao dong&fuzzymatching=true", "1.1")]
    [InlineData("PatientName=xiaodongwang&fuzzymatching=true", "1.1")]
    [InlineData("PatientName=王小东&fuzzymatching=true", "1.1")]
    [InlineData("PatientName=小东&fuzzymatching=true", "1.1")]
    [InlineData("PatientName=dr jöh&fuzzymatching=true", "1.4")]
    [InlineData("PatientName=wang john&fuzzymatching=true", "")]
    [InlineData("PatientName=ohn&fuzzymatching=true", "")]
    [InlineData("StudyDate=20260101-20260215&StudyTime=1000-0900", "1.1")]
    [InlineData("StudyDate=20260101-20260215&StudyTime=1000-0930", "1.1 1.2")]
    [InlineData("StudyDate=20260101-20260215&StudyTime=1000-09", "1.1 1.2")]
    [InlineData("StudyDate=2026.01.01-2026.02.15", "1.1 1.2")]
    public async Task Studies_are_found_by(string query, string expected)
    {
        var found = await _gateway.QueryAsync($"studies?{query}");
        Assert.Equal(expected, string.Join(' ', found.Select(s => (string)s!["0020000D"]!["Value"]![0]!).Order(StringComparer.Ordinal)));
    }

    [Fact]
    public async Task A_study_says_what_is_in_it_and_where_to_get_it()
    {
        var study = (await _gateway.QueryAsync("studies?StudyInstanceUID=1.1")).Single()!.AsObject();
        Assert.Equal("CT SR", string.Join(' ', study["00080061"]!["Value"]!.AsArray().Select(v => (string)v!)));
        Assert.Equal(2, (int)study["00201206"]!["Value"]![0]!);
        Assert.Equal(3, (int)study["00201208"]!["Value"]![0]!);
        Assert.Equal("ONLINE", (string)study["00080056"]!["Value"]![0]!);
        Assert.Equal("ISO_IR 192", (string)study["00080005"]!["Value"]![0]!);
        Assert.Equal("王^小东", (string)study["00100010"]!["Value"]![0]!["Ideographic"]!);
        Assert.EndsWith("/pacs-gw/dicom-web/studies/1.1", (string)study["00081190"]!["Value"]![0]!, StringComparison.Ordinal);
        Assert.Equal(study.Select(p => p.Key).Order(StringComparer.Ordinal), study.Select(p => p.Key));
    }

    [Theory]
    [InlineData("studies/1.1/series", "1.1.1 1.1.2")]
    [InlineData("studies/1.1/series?Modality=SR", "1.1.2")]
    [InlineData("series?Modality=US", "1.4.1")]
    [InlineData("series?InstitutionName=县*&StudyInstanceUID=1.3", "1.3.1")]
    [InlineData("series?PatientName=王*", "1.1.1 1.1.2")]
    public async Task Series_are_found_by(string path, string expected) =>
        Assert.Equal(expected, string.Join(' ', (await _gateway.QueryAsync(path)).Select(s => (string)s!["0020000E"]!["Value"]![0]!)));

    [Theory]
    [InlineData("studies/1.1/instances", "1.1.1.1 1.1.1.2 1.1.2.1")]
    [InlineData("studies/1.1/series/1.1.1/instances", "1.1.1.1 1.1.1.2")]
    [InlineData("studies/1.1/series/1.1.1/instances?InstanceNumber=02", "1.1.1.2")]
    [InlineData("studies/1.1/series/1.1.1/instances?Rows=4", "1.1.1.1 1.1.1.2")]
    [InlineData("studies/1.1/series/1.1.1/instances?Rows=5", "")]
    [InlineData("instances?SOPInstanceUID=1.4.1.1,1.2.1.1", "1.4.1.1 1.2.1.1")]
    [InlineData("studies/1.2/series/1.1.1/instances", "")]
    [InlineData("studies/1.4/instances?AcquisitionDateTime=20261231", "1.4.1.1")]
    [InlineData("studies/1.4/instances?AcquisitionDateTime=2026123110-20261231110000.5%2B0800", "1.4.1.1")]
    [InlineData("studies/1.4/instances?AcquisitionDateTime=-20261230", "")]
    [InlineData("studies/1.4/instances?ReferencedImageSequence.ReferencedSOPClassUID=1.5&ReferencedImageSequence.ReferencedSOPInstanceUID=1.6", "1.4.1.1")]
    [InlineData("studies/1.4/instances?ReferencedImageSequence.ReferencedSOPClassUID=1.5&ReferencedImageSequence.ReferencedSOPInstanceUID=1.8", "")]
    public async Task Instances_are_found_by(string path, string expected) =>
        Assert.Equal(expected, string.Join(' ', (await _gateway.QueryAsync(path)).Select(s => (string)s!["00080018"]!["Value"]![0]!)));

    [Fact]
    public async Task Below_a_study_its_attributes_are_not_repeated_and_elsewhere_they_are()
    {
        Assert.Null((await _gateway.QueryAsync("studies/1.2/series")).Single()!["00100020"]);
        Assert.NotNull((await _gateway.QueryAsync("series?StudyInstanceUID=1.2")).Single()!["00100020"]);
        Assert.Null((await _gateway.QueryAsync("studies/1.3/instances")).Single()!["00080080"]);
        Assert.NotNull((await _gateway.QueryAsync("studies/1.3/instances?includefield=all")).Single()!["00080080"]);
        Assert.NotNull((await _gateway.QueryAsync("studies/1.3/series?includefield=InstitutionName")).Single()!["00080080"]);
    }

    [Fact]
    public async Task A_limit_is_kept_and_says_that_there_is_more()
    {
        using var first = await _gateway.GetAsync("studies?limit=3");
        Assert.Equal(3, JsonNode.Parse(await first.Content.ReadAsStringAsync(Gateway.Cancel))!.AsArray().Count);
        Assert.Contains("299", first.Headers.GetValues("Warning").Single(), StringComparison.Ordinal);
        using var rest = await _gateway.GetAsync("studies?limit=3&offset=3");
        Assert.Single(JsonNode.Parse(await rest.Content.ReadAsStringAsync(Gateway.Cancel))!.AsArray());
        Assert.False(rest.Headers.Contains("Warning"));
    }

    [Theory]
    [InlineData("studies?NoSuchAttribute=1")]
    [InlineData("studies?Modality=CT")]
    [InlineData("studies?StudyDate=2026")]
    [InlineData("studies?StudyTime=25:00-x")]
    [InlineData("studies?StudyInstanceUID=1.2;DROP")]
    [InlineData("studies?limit=-1")]
    [InlineData("studies?limit=x")]
    [InlineData("studies?includefield=nothing")]
    [InlineData("studies?PatientID=1&PatientID=2")]
    [InlineData("studies?PixelData=1")]
    [InlineData("studies?PatientName=^&fuzzymatching=true")]
    [InlineData("studies/1.1/instances?AcquisitionDateTime=noon")]
    [InlineData("instances?Rows=4")]
    [InlineData("studies/1.1/instances?Rows=many")]
    [InlineData("studies/..%2f..%2fetc/series")]
    [InlineData("studies/1.1/series/abc/instances")]
    public async Task What_cannot_be_searched_for_is_refused_with_the_reason(string path)
    {
        using var response = await _gateway.GetAsync(path);
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
    }

    [Fact]
    public async Task A_search_is_audited_without_its_values()
    {
        await using var gateway = await Gateway.StartAsync();
        await gateway.QueryAsync("studies?PatientName=王*&StudyDate=20260101-");
        await gateway.QueryAsync("studies?PatientName=张*&StudyDate=20260101-");
        var record = Assert.Single(await gateway.EntriesAsync(AuditRecord.EventType), r => (string)r["eventId"]! == "110112");
        Assert.Equal("by PatientName StudyDate", (string)record["detail"]!);
        Assert.DoesNotContain("王", record.ToJsonString(new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }), StringComparison.Ordinal);
    }
}
