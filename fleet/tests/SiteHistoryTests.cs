using Microsoft.Extensions.Options;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Contracts;
using Yizhan.Platform;

namespace Yizhan.Fleet.Tests;

public sealed class SiteHistoryTests : IDisposable
{
    private readonly FakeTimeProvider _clock = new(new DateTimeOffset(2026, 3, 1, 0, 0, 0, TimeSpan.Zero));
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-history-").FullName;

    [Fact]
    public void A_report_a_minute_is_kept_for_a_day_one_a_quarter_of_an_hour_for_a_week_and_a_silence_is_a_gap()
    {
        using var sites = Open();
        for (var minute = 0; minute < 9 * 24 * 60; minute++)
        {
            // The site is silent for an hour of the last day.
            if (minute is < 12_800 or >= 12_860)
            {
                Report(sites, minute);
                Report(sites, -1);
            }

            _clock.Advance(TimeSpan.FromMinutes(1));
        }

        var day = sites.History("lakeside", 24);
        Assert.Equal((24 * 60) - 60 - 1, day.Count);
        Assert.DoesNotContain(day, f => f.Entries < 0);
        Assert.Equal(new SiteFigures(_clock.GetUtcNow().AddMinutes(-1).ToUnixTimeMilliseconds(), 12_959, 129_590, 5_000, 31.5), day[^1]);
        Assert.Contains(day.Zip(day.Skip(1)), pair => pair.Second.AtMs - pair.First.AtMs == 61 * 60_000);
        Assert.InRange(sites.History("lakeside", SiteRegistry.HistoryHours).Count, 1_900, 2_112);
        Assert.Empty(sites.History("elsewhere", 24));
        Assert.Single(sites.History("lakeside", 1), f => f.Entries == 12_959);
    }

    [Fact]
    public void What_waited_is_known_after_a_restart()
    {
        using (var sites = Open())
        {
            Report(sites, 7);
        }

        using var again = Open();
        Assert.Equal(7, Assert.Single(again.History("lakeside", 1)).Entries);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private SiteRegistry Open() => new(Options.Create(new NodeOptions { DataFolder = _folder }), Options.Create(new FleetOptions()), _clock);

    private void Report(SiteRegistry sites, long entries)
    {
        var now = _clock.GetUtcNow().ToUnixTimeMilliseconds();
        sites.Report(new SiteStatus("lakeside", Guid.Empty, "0.1.0", now, [new("urgent", 0, 0, null, 1), new("bulk", entries, entries * 10, now - 5_000, 1)],
            Spool: new SpoolFigures(31.5, 1, 0, 1, 1, 1, 1)));
    }
}
