using Yizhan.Console.Studies;
using Yizhan.Contracts;

namespace Yizhan.Console.Tests;

public sealed class StudyWayTests
{
    private static readonly StudyProgress Progress = new("1.2", "east", 1_000, 5_000, 9_000, 4, null);

    [Theory]
    [InlineData(0, null, StepState.Done)]
    [InlineData(3, 5_000L, StepState.Open)]
    [InlineData(3, 4_000L, StepState.Open)]
    [InlineData(3, 5_001L, StepState.Done)]
    public void A_study_is_shipped_when_its_site_keeps_nothing_as_old(long waiting, long? oldest, StepState expected)
    {
        var site = new SiteView(new SiteStatus("east", Guid.Empty, "0.1.0", 0, [new("urgent", 1, 1, 0, 1), new("bulk", waiting, 1, oldest, 1)]), 0, Online: true);
        Assert.Equal(expected, Step("shipped", Progress, site, null).State);
    }

    [Fact]
    public void At_the_site_itself_a_study_is_shipped_when_nothing_as_old_waits_and_nobody_knows_when_that_was()
    {
        var site = new SiteView(new SiteStatus("east", Guid.Empty, "0.1.0", 0, [new("bulk", 0, 0, null, 1)]), 0, Online: false);
        Assert.Equal(new Step("shipped", StepState.Done, null), Shipped(site));
        Assert.Equal(new Step("shipped", StepState.Open, null), Shipped(site with { Status = site.Status with { Lanes = [new("bulk", 3, 1, 4_000, 1)] } }));
        Assert.Equal(new Step("shipped", StepState.Unknown, null), Shipped(null));

        static Step Shipped(SiteView? site) => Assert.Single(StudyWay.Of(Progress, site, true, null), step => step.Name == "shipped");
    }

    [Fact]
    public void It_is_in_the_EMR_when_every_system_has_all_and_stopped_when_one_refused()
    {
        EmrStudyView told = new("1.2", "his", "study", "delivered", 1, 20), finding = told with { Kind = "finding", EndedMs = 30 };
        Assert.Equal(new Step("emr", StepState.Done, 30), Step("emr", Progress, null, [told, finding]));
        Assert.Equal(StepState.Open, Step("emr", Progress, null, [told, finding with { State = "waiting" }]).State);
        Assert.Equal(StepState.Stopped, Step("emr", Progress, null, [told, finding with { State = "dead" }]).State);
        Assert.Equal(StepState.Open, Step("emr", Progress, null, []).State);
        Assert.Equal(StepState.Unknown, Step("emr", Progress, null, null).State);
    }

    [Fact]
    public void What_is_not_known_is_said_to_be_unknown_and_what_is_has_its_time()
    {
        Assert.All(StudyWay.Of(null, null, false, null), step => Assert.Equal(StepState.Unknown, step.State));
        Assert.Equal([1_000, 5_000, 9_000, 9_000, 7_000, null], StudyWay.Of(Progress with { ResultMs = 7_000 }, null, false, null).Select(step => step.AtMs));
    }

    private static Step Step(string name, StudyProgress progress, SiteView? site, EmrStudyView[]? told) => Assert.Single(StudyWay.Of(progress, site, false, told), step => step.Name == name);
}
