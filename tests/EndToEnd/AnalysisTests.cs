using Yizhan.Drills;

namespace Yizhan.EndToEnd.Tests;

/// <summary>A CT at a real site, as its own process, with dcmtk as the modality.</summary>
public sealed class AnalysisTests
{
    [Fact]
    [Trait("Clause", "S3")]
    public async Task A_ct_sent_while_the_line_is_down_comes_back_as_segmentation_and_report_and_reaches_the_centre()
    {
        using var folder = new TemporaryFolder();
        var result = await new AnalysisDrill(folder.In("nodes"), TestContext.Current.SendDiagnosticMessage).RunAsync(TestContext.Current.CancellationToken);
        Assert.True(result.LineWasDown);
        Assert.Equal(("findings", false), (result.Result?.Outcome, result.Result?.ClinicalUse));
        Assert.Equal(["CT", "OT", "SEG", "SR"], result.AtSite);
        Assert.Equal(["CT", "OT", "SEG", "SR"], result.AtCentre);
        Assert.True(result.Passed);
    }
}
