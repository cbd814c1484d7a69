using System.Globalization;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.AiInfer.Clinical;
using Yizhan.AiInfer.Clinical.Dicom;
using Yizhan.AiInfer.Repository;
using Yizhan.Dicom;
using Yizhan.Samples;

namespace Yizhan.AiInfer.Tests;

/// <summary>The bundle that ships, on the CT of the samples, and what others read of its results.</summary>
public sealed class ObjectTests
{
    [Fact]
    [Trait("Clause", "S3")]
    public async Task The_bundle_that_ships_finds_the_nodules_of_a_phantom_and_dciodvfy_accepts_the_objects()
    {
        Verifier.Require();
        await using var node = await Node.StartAsync(_ => { });
        var repository = node.Services.GetRequiredService<ModelRepository>();
        var runner = await repository.LoadAsync("nodule", null, Node.Cancel);
        var bundle = repository.Bundle("nodule", runner.Version);
        Assert.False(bundle.Settings.ClinicalUse);

        const int Seed = 7, Slices = 60;
        var pixels = new short[CtStudy.Size * CtStudy.Size];
        var series = SeriesReader.Read([.. Enumerable.Range(0, Slices).Select(k => CtStudy.Slice(Seed, 0, k, Slices, pixels))], 3);
        var analysis = await Analysis.RunAsync(runner, Recipe.Parse(bundle.Inference), bundle.Settings.Clinical!, series, Node.Cancel);
        var drawn = new Phantom(Seed).Nodules;
        foreach (var nodule in drawn)
        {
            TestContext.Current.SendDiagnosticMessage(string.Create(CultureInfo.InvariantCulture, $"drawn: {4.0 / 3 * Math.PI * Math.Pow(nodule.RadiusMm, 3) / 1000:0.00} ml"));
        }

        foreach (var finding in analysis.Findings)
        {
            TestContext.Current.SendDiagnosticMessage(string.Create(CultureInfo.InvariantCulture, $"found: {finding.VolumeMl:0.00} ml, mean {finding.Mean:0}"));
        }

        // Every nodule of at least 6 mm radius is touched by a finding.
        var large = drawn.Where(n => n.RadiusMm >= 6).ToArray();
        Assert.NotEmpty(large);
        var inverse = series.Image.Affine.Inverse();
        Assert.All(large, n =>
        {
            // The phantom's x and y grow to the left and to the back, as DICOM's; the volume's to the right and to the front.
            var (i, j, k) = inverse.At(-n.X, -n.Y, n.Z);
            Assert.NotEqual(0, analysis.Map[((int)Math.Round(i) * series.Image.Size[1] + (int)Math.Round(j)) * series.Image.Size[2] + (int)Math.Round(k)]);
        });

        var producer = new Producer(bundle, series, "site-a", new DateTimeOffset(2026, 11, 23, 8, 0, 0, TimeSpan.Zero));
        var segmentation = SegmentationWriter.Write(producer, analysis)!;
        var report = ReportWriter.Write(producer, analysis, segmentation);
        await Verifier.AcceptedAsync(segmentation, node.Folder, "seg.dcm", "Segmentation");
        await Verifier.AcceptedAsync(report, node.Folder, "sr.dcm", "Comprehensive3DSR");
        await Verifier.AcceptedAsync(ReportWriter.Write(producer, analysis with { Findings = [] }, null), node.Folder, "none.dcm", "Comprehensive3DSR");

        // One picture for each slice that a finding is largest on, up to a bound; as many as there are findings when each is on its own.
        var captures = CaptureWriter.Write(producer, analysis);
        Assert.InRange(captures.Count, 1, Math.Min(CaptureWriter.MaxCaptures, analysis.Findings.Count));
        Assert.Equal(captures.Count, captures.Select(c => c.GetString(DicomTags.SOPInstanceUID)).Distinct().Count());
        Assert.Single(captures.Select(c => c.GetString(DicomTags.SeriesInstanceUID)).Distinct());
        foreach (var (i, capture) in captures.Index())
        {
            await Verifier.AcceptedAsync(capture, node.Folder, $"sc{i + 1}.dcm", "SCImage");
        }

        // Equal model and input: equal UIDs and pixels, whenever it is done again.
        var again = SegmentationWriter.Write(producer with { At = producer.At.AddHours(5) }, await Analysis.RunAsync(runner, Recipe.Parse(bundle.Inference), bundle.Settings.Clinical!, series, Node.Cancel))!;
        Assert.Equal(segmentation.GetString(DicomTags.SOPInstanceUID), again.GetString(DicomTags.SOPInstanceUID));
        Assert.Equal(segmentation.GetBytes(DicomTags.PixelData).ToArray(), again.GetBytes(DicomTags.PixelData).ToArray());
    }
}
