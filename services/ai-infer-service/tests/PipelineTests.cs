using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Storage;

namespace Yizhan.AiInfer.Tests;

/// <summary>A series that arrives, to its result.</summary>
public sealed class PipelineTests
{
    [Fact]
    [Trait("Clause", "S3")]
    public async Task A_series_comes_back_as_segmentation_report_event_and_audit_record()
    {
        await using var archive = await Archive.StartAsync();
        await using var node = await StartAsync(archive, 0);
        await archive.AddAsync(node, SmallSeries.Create());
        var result = await ResultAsync(node, "1.2.1");

        Assert.Equal(("findings", "block", "1"), (result.Outcome, result.Model, result.Version));
        var finding = Assert.Single(result.Findings);
        Assert.Equal((3.2, 500), (finding.VolumeMl, finding.Mean));
        Assert.True(result.Urgent);
        Assert.False(result.ClinicalUse);
        Assert.Equal("P1", result.PatientId);

        Assert.Equal([DicomUids.SegmentationStorage, "1.2.840.10008.5.1.4.1.1.88.34"], archive.Stored.Select(f => f.Dataset.GetString(DicomTags.SOPClassUID)));
        var segmentation = archive.Stored.First().Dataset;
        Assert.Equal(result.SegmentationUid, segmentation.GetString(DicomTags.SOPInstanceUID));
        Assert.Equal("1.2.1", segmentation.GetString(DicomTags.StudyInstanceUID));
        Assert.Contains("NOT FOR CLINICAL USE", segmentation.GetString(DicomTags.SeriesDescription), StringComparison.Ordinal);

        // Rows 2 to 5 and columns 2 to 5 of 8: bytes of 0b00111100, four of them in each of four frames.
        Assert.Equal(Enumerable.Range(0, 4).SelectMany(_ => (byte[])[0, 0, 60, 60, 60, 60, 0, 0]), segmentation.GetBytes(DicomTags.PixelData).ToArray());

        var observation = JsonNode.Parse(Assert.Single(result.Observations))!;
        Assert.Equal("P1", (string)observation["subject"]!["identifier"]!["value"]!);
        Assert.Equal(3.2, (double)observation["component"]![0]!["valueQuantity"]!["value"]!);
        Assert.Equal("NOT FOR CLINICAL USE", (string)observation["note"]![0]!["text"]!);

        var entries = await node.Services.GetRequiredService<IEventLog>().ReadAsync(0, 100, Node.Cancel);
        Assert.Equal(Lane.Urgent, entries.Single(e => e.Entry.Type == AnalysisFinished.EventType).Entry.Lane);
        var audit = JsonSerializer.Deserialize(entries.Single(e => e.Entry.Type == AuditRecord.EventType).Entry.Data.Span, ContractsJson.Default.AuditRecord)!;
        Assert.Contains(result.ModelDigest, audit.Detail, StringComparison.Ordinal);
        Assert.Contains(result.InputDigest!, audit.Detail, StringComparison.Ordinal);
    }

    [Theory]
    [Trait("Clause", "S3")]
    [InlineData("slice missing", "slices are missing")]
    [InlineData("one slice", "The series has 1 slice; this model needs 2")]
    [InlineData("gantry tilt", "(gantry tilt)")]
    [InlineData("orientations mixed", "slices of different orientation are mixed")]
    [InlineData("MONOCHROME1", "Photometric Interpretation is MONOCHROME1; accepted: MONOCHROME2")]
    [InlineData("RGB", "Photometric Interpretation is RGB; accepted: MONOCHROME2")]
    public async Task A_series_that_is_not_whole_or_not_plain_is_refused_with_the_reason_in_the_result(string what, string reason)
    {
        await using var archive = await Archive.StartAsync();
        await using var node = await StartAsync(archive, 0);
        var slices = SmallSeries.Create(slices: 6);
        switch (what)
        {
            case "slice missing":
                slices.RemoveAt(2);
                break;
            case "one slice":
                slices.RemoveRange(1, 5);
                break;
            case "gantry tilt":
                slices.ForEach(s => s.Set(DicomTags.ImagePositionPatient, -10.0, -20.0 + s.GetInt64(DicomTags.InstanceNumber)!.Value, s.GetInt64(DicomTags.InstanceNumber)!.Value * 2.0));
                break;
            case "orientations mixed":
                slices[4].Set(DicomTags.ImageOrientationPatient, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0);
                break;
            default:
                slices.ForEach(s => s.Set(DicomTags.PhotometricInterpretation, what).Set(DicomTags.SamplesPerPixel, what == "RGB" ? 3 : 1));
                break;
        }

        await archive.AddAsync(node, slices);
        var result = await ResultAsync(node, "1.2.1");
        Assert.Equal("refused", result.Outcome);
        Assert.Contains(reason, result.Reason, StringComparison.Ordinal);
        Assert.Empty(result.Findings);
        Assert.Empty(archive.Stored);

        // The next study is not held up by it, and the model is not blamed.
        await archive.AddAsync(node, SmallSeries.Create(study: 2));
        Assert.Equal("findings", (await ResultAsync(node, "1.2.2")).Outcome);
    }

    /// <summary>Each frame lies where the slice lies that it was found in, and names it: a segmentation one slice off is wrong by a slice's thickness.</summary>
    [Fact]
    [Trait("Clause", "S3")]
    public async Task A_frame_of_the_segmentation_lies_on_the_slice_that_it_was_found_in()
    {
        await using var archive = await Archive.StartAsync();
        await using var node = await StartAsync(archive, 0);
        var (slices, empty) = (SmallSeries.Create(), SmallSeries.Create(block: -1000));
        slices[2] = empty[2];
        await archive.AddAsync(node, slices);
        Assert.Equal(2, (await ResultAsync(node, "1.2.1")).Findings.Count);

        var frames = archive.Stored.First().Dataset.GetItems(DicomTag.Parse("5200,9230"));
        Assert.Equal([0.0, 2.0, 6.0], frames.Select(f => f.GetItems(DicomTag.Parse("0020,9113"))[0].GetDoubles(DicomTags.ImagePositionPatient)[2]).Order());

        // The larger finding is the first segment, and each frame is of the segment that lies there.
        Assert.Equal(
            [(0.0, 1L), (2.0, 1L), (6.0, 2L)],
            frames.Select(f => (f.GetItems(DicomTag.Parse("0020,9113"))[0].GetDoubles(DicomTags.ImagePositionPatient)[2], f.GetItems(DicomTag.Parse("0062,000A"))[0].GetInt64(DicomTag.Parse("0062,000B"))!.Value)).Order());
        Assert.Equal(
            ["1.2.1.1.1", "1.2.1.1.2", "1.2.1.1.4"],
            frames.Select(f => f.GetItems(DicomTag.Parse("0008,9124"))[0].GetItems(DicomTag.Parse("0008,2112"))[0].GetString(DicomTag.Parse("0008,1155"))).Order(StringComparer.Ordinal));
    }

    /// <summary>The block of 500 HU becomes 0.75: a bundle's own threshold decides whether that is something.</summary>
    [Theory]
    [Trait("Clause", "S3")]
    [InlineData("0.74", "findings")]
    [InlineData("0.76", "none")]
    public async Task The_threshold_of_the_bundle_decides(string threshold, string outcome)
    {
        await using var archive = await Archive.StartAsync();
        await using var node = await Node.StartAsync(
            models => TestBundle.Write(
                models, "block", "1", OnnxFile.Plus(0, [-1, 1, -1, -1]), SmallSeries.Settings,
                inference: SmallSeries.Inference.Replace("\"threshold\":0.5", $"\"threshold\":{threshold}", StringComparison.Ordinal)),
            "--ai-infer:rules:0:model=block", "--ai-infer:quietSeconds=0", $"--ai-infer:dicomWebUrl={archive.Url}");
        await archive.AddAsync(node, SmallSeries.Create());
        Assert.Equal(outcome, (await ResultAsync(node, "1.2.1")).Outcome);
    }

    /// <summary>Bundle, rule of the site, and whether there are pictures: the site has the last word.</summary>
    [Theory]
    [Trait("Clause", "S3")]
    [InlineData(false, null, 0)]
    [InlineData(false, true, 1)]
    [InlineData(true, null, 1)]
    [InlineData(true, false, 0)]
    public async Task Pictures_of_the_findings_are_stored_when_bundle_or_site_ask_for_them(bool bundle, bool? site, int pictures)
    {
        await using var archive = await Archive.StartAsync();
        await using var node = await Node.StartAsync(
            models => TestBundle.Write(
                models, "block", "1", OnnxFile.Plus(0, [-1, 1, -1, -1]), SmallSeries.Settings.Replace("\"minSlices\":2", bundle ? "\"minSlices\":2,\"secondaryCapture\":true" : "\"minSlices\":2", StringComparison.Ordinal),
                inference: SmallSeries.Inference),
            ["--ai-infer:rules:0:model=block", "--ai-infer:quietSeconds=0", $"--ai-infer:dicomWebUrl={archive.Url}", .. site is { } asked ? (string[])[$"--ai-infer:rules:0:secondaryCapture={asked}"] : []]);
        await archive.AddAsync(node, SmallSeries.Create());
        await ResultAsync(node, "1.2.1");
        Assert.Equal(2 + pictures, archive.Stored.Count);
        foreach (var capture in archive.Stored.Select(f => f.Dataset).Where(d => d.GetString(DicomTags.SOPClassUID) == Clinical.Dicom.CaptureWriter.SopClassUid))
        {
            // The source's 8×8 pixels, enlarged 32 times, between a line above and two below.
            Assert.Equal((256, 256 + 3 * 10), ((int)capture.GetInt64(DicomTags.Columns)!, (int)capture.GetInt64(DicomTags.Rows)!));
            Assert.Equal("1.2.1.1.1", capture.GetItems(DicomTag.Parse("0008,2112"))[0].GetString(DicomTag.Parse("0008,1155")));
            Assert.Equal("NO", capture.GetString(DicomTag.Parse("0028,0301")));

            // The block's outline is a square of 128 by 128 dots in its colour, and nothing else has it; the disclaimer's dots are above, in theirs.
            var pixels = capture.GetBytes(DicomTags.PixelData).ToArray().Chunk(3).ToArray();
            Assert.Equal(4 * 127, pixels.Count(p => p is [255, 221, 0]));
            Assert.Equal(Clinical.Dicom.Letters.Dots("NOT FOR CLINICAL USE").Select(d => (d.X + 2, d.Y + 1)).Order(),
                pixels.Index().Where(p => p.Item is [255, 96, 96]).Select(p => (p.Index % 256, p.Index / 256)).Order());
            if (File.Exists("/usr/bin/dciodvfy"))
            {
                await Verifier.AcceptedAsync(capture, node.Folder, "sc.dcm", "SCImage");
            }
        }
    }

    [Fact]
    public async Task Nothing_found_is_a_result_too()
    {
        await using var archive = await Archive.StartAsync();
        await using var node = await StartAsync(archive, 0);
        await archive.AddAsync(node, SmallSeries.Create(block: -1000));
        var result = await ResultAsync(node, "1.2.1");
        Assert.Equal(("none", null), (result.Outcome, result.SegmentationUid));
        Assert.Equal(result.ReportUid, Assert.Single(archive.Stored).Dataset.GetString(DicomTags.SOPInstanceUID));
    }

    [Fact]
    public async Task A_gateway_without_room_delays_a_result_and_loses_none()
    {
        await using var archive = await Archive.StartAsync();
        archive.IsFull = true;
        await using var node = await StartAsync(archive, 0);
        await archive.AddAsync(node, SmallSeries.Create());
        await Wait.UntilAsync(() => archive.Stored.IsEmpty && node.Services.GetRequiredService<Clinical.AnalysisDatabase>()
            .Do(c => Dapper.SqlMapper.QuerySingle<long>(c, "SELECT count(*) FROM analysis WHERE reason LIKE '%507%' AND attempts = 0")) == 1);
        Assert.Empty((await node.Http.GetFromJsonAsync("/ai-infer/results", ContractsJson.Default.IReadOnlyListAnalysisFinished, Node.Cancel))!);
        archive.IsFull = false;
        node.Services.GetRequiredService<Clinical.AnalysisDatabase>().Do(c => { Dapper.SqlMapper.Execute(c, "UPDATE analysis SET not_before_ms = 0"); });
        Assert.Equal("findings", (await ResultAsync(node, "1.2.1")).Outcome);
    }

    [Fact]
    public async Task A_series_that_was_begun_three_times_and_never_ended_is_parked()
    {
        await using var archive = await Archive.StartAsync();
        await using var node = await StartAsync(archive, 0);
        var database = node.Services.GetRequiredService<Clinical.AnalysisDatabase>();
        database.Do(c => { Dapper.SqlMapper.Execute(c, "INSERT INTO analysis (study_uid, series_uid, model, state, attempts, not_before_ms) VALUES ('9', '9.1', 'block', 'owed', 3, 0)"); });
        await Wait.UntilAsync(() => database.Do(c => Dapper.SqlMapper.QuerySingle<string>(c, "SELECT state FROM analysis")) == "parked");
        await archive.AddAsync(node, SmallSeries.Create());
        Assert.Equal("findings", (await ResultAsync(node, "1.2.1")).Outcome);
    }

    internal static Task<Node> StartAsync(Archive archive, float plus, Action<string>? more = null, params string[] settings) => Node.StartAsync(
        models =>
        {
            TestBundle.Write(models, "block", "1", OnnxFile.Plus(plus, [-1, 1, -1, -1]), SmallSeries.Settings, inference: SmallSeries.Inference);
            more?.Invoke(models);
        },
        ["--ai-infer:rules:0:model=block", "--ai-infer:quietSeconds=0", $"--ai-infer:dicomWebUrl={archive.Url}", .. settings]);

    internal static async Task<AnalysisFinished> ResultAsync(Node node, string study)
    {
        AnalysisFinished? result = null;
        await Wait.UntilAsync(async () => (result = await node.Http.GetFromJsonAsync(
            $"/ai-infer/results?study={study}", ContractsJson.Default.IReadOnlyListAnalysisFinished, Node.Cancel) is [var newest, ..] ? newest : null) is not null);
        return result!;
    }
}
