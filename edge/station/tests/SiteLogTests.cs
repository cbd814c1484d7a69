using System.Net.Http.Json;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Yizhan.Contracts;

namespace Yizhan.Station.Tests;

/// <summary>The centre sees what a site warned of, also while the line was down, within a bound, and without what an exception quotes.</summary>
[Trait("Clause", "D6.1")]
public sealed class SiteLogTests
{
    private const int PerHour = 50;

    [Fact]
    public async Task Warnings_and_errors_of_a_site_are_at_the_centre_after_an_outage_and_no_more_than_it_may_send()
    {
        await using var nodes = await TwoNodes.StartAsync(["--log:level=information", "--station:logSeconds=1", $"--station:logLinesPerHour={PerHour}"]);
        var port = nodes.Listener.EndPoint.Port;
        await TwoNodes.StopAsync(nodes.Centre);
        var logger = nodes.Edge.Services.GetRequiredService<ILoggerFactory>().CreateLogger("Test.Source");
#pragma warning disable CA1848, CA2254, CA1873 // What is tested is any logger.
        for (var i = 0; i < 3; i++)
        {
            logger.LogWarning(4711, "The pump of room {Room} stands still.", 3);
        }

        logger.LogError(4712, new InvalidOperationException("quotes Wang^XiaoDong"), "It failed.");
        logger.LogInformation(4713, "Nobody needs to know.");
        logger.LogWarning(4714, new string('x', 5000));
        await nodes.StartCentreAsync(port);
        using var http = Operator.Client(nodes.Centre, "/fleet/");
        SiteLogView view = new([], 0);
        await Wait.UntilAsync(async () => (view = await ViewAsync(http, "")).Lines.Count(l => l.Source == "Test.Source") == 3);
        var pump = Assert.Single(view.Lines, l => l.Id == 4711);
        Assert.Equal(("warning", "The pump of room 3 stands still.", 3), (pump.Level, pump.Text, pump.Count));
        Assert.Equal("It failed. (InvalidOperationException)", Assert.Single(view.Lines, l => l.Id == 4712).Text);
        Assert.Equal(SiteLogged.MaxText, Assert.Single(view.Lines, l => l.Id == 4714).Text.Length);
        Assert.All((await ViewAsync(http, "?level=error")).Lines, l => Assert.Equal("error", l.Level));
        Assert.Contains(view.Lines, l => l.Id == 8002);
        Assert.Equal(0, view.Dropped);

        var began = TimeProvider.System.GetTimestamp();
        for (var i = 0; i < 1000; i++)
        {
            logger.LogWarning(4715, "Flood {Number}", i);
        }
#pragma warning restore CA1848, CA2254, CA1873

        // Told in one piece or in several; what does not fit is told with the next line that may go. Of its own warnings meanwhile some may be among the dropped.
        long Told() => view.Dropped + view.Lines.Where(l => l.Id == 4715).Sum(l => l.Count);
        await Wait.UntilAsync(async () =>
        {
            view = await ViewAsync(http, "");
            return Told() >= 1000;
        });
        Assert.InRange(Told(), 1000L, 1020L);
        Assert.InRange(view.Lines.Count, 4, PerHour + 2 + (int)(PerHour * TimeProvider.System.GetElapsedTime(began).TotalHours));
        using var refused = await http.GetAsync($"sites/{TwoNodes.Site}/log?level=loud", TwoNodes.Cancel);
        Assert.Contains("accepted are warning, error and critical", await refused.Content.ReadAsStringAsync(TwoNodes.Cancel), StringComparison.Ordinal);
        Assert.Empty((await http.GetFromJsonAsync("sites/nowhere/log", ContractsJson.Default.SiteLogView, TwoNodes.Cancel))!.Lines);
    }

    private static async Task<SiteLogView> ViewAsync(HttpClient http, string query) =>
        (await http.GetFromJsonAsync($"sites/{TwoNodes.Site}/log{query}", ContractsJson.Default.SiteLogView, TwoNodes.Cancel))!;
}
