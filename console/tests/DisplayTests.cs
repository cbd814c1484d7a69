using Yizhan.Console.Language;
using Yizhan.Console.Network;
using Yizhan.Contracts;

namespace Yizhan.Console.Tests;

public sealed class DisplayTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 23, 1, 2, 3, TimeSpan.Zero);

    [Theory]
    [InlineData(0, "0 B")]
    [InlineData(999, "999 B")]
    [InlineData(1_000, "1.00 kB")]
    [InlineData(9_996, "10.0 kB")]
    [InlineData(999_499, "999 kB")]
    [InlineData(999_500, "1.00 MB")]
    [InlineData(322_000_000, "322 MB")]
    [InlineData(long.MaxValue, "9223 PB")]
    [InlineData(-5, "0 B")]
    public void A_size_has_three_digits_and_a_unit(long bytes, string expected) => Assert.Equal(expected, Display.Size(bytes));

    [Theory]
    [InlineData(45, "45 s", "45 秒")]
    [InlineData(200, "3 min 20 s", "3 分钟 20 秒")]
    [InlineData(8_040, "2 h 14 min", "2 小时 14 分钟")]
    [InlineData(86_400, "1 day", "1 天")]
    [InlineData(273_600, "3 days 4 h", "3 天 4 小时")]
    [InlineData(-5, "0 s", "0 秒")]
    public void A_wait_has_two_units(int seconds, string english, string chinese)
    {
        Assert.Equal(english, Display.Duration(TimeSpan.FromSeconds(seconds), Texts.English));
        Assert.Equal(chinese, Display.Duration(TimeSpan.FromSeconds(seconds), Texts.Chinese));
    }

    [Theory]
    [InlineData(0, "just now")]
    [InlineData(-60, "just now")]
    [InlineData(59, "59 s ago")]
    [InlineData(3_599, "59 min ago")]
    [InlineData(86_399, "23 h ago")]
    [InlineData(200_000, "2 days ago")]
    [InlineData(-600, "2026-11-23 09:12:03 +08:00")]
    public void An_age_has_one_unit_and_a_time_far_ahead_is_shown_as_it_is(int secondsAgo, string expected) =>
        Assert.Equal(expected, Display.Ago(Now.AddSeconds(-secondsAgo), Now, TimeZoneInfo.CreateCustomTimeZone("x", TimeSpan.FromHours(8), "x", "x"), Texts.English));

    [Theory]
    [InlineData("Wang^XiaoDong=王^小东", "王小东", "Wang XiaoDong")]
    [InlineData("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田太郎", "Yamada Tarou")]
    [InlineData("王^小东", "王小东", null)]
    [InlineData("Adams^John Robert Quincy^^Rev.^B.A. M.Div.", "Adams John Robert Quincy Rev. B.A. M.Div.", null)]
    [InlineData("=王^小东", "王小东", null)]
    [InlineData("^^^^", "", null)]
    [InlineData("", "", null)]
    public void A_name_is_in_reading_order(string pn, string name, string? second) => Assert.Equal((name, second), Display.Person(pn));

    [Theory]
    [InlineData("20261123", "2026-11-23")]
    [InlineData("20261340", "20261340")]
    [InlineData("", "")]
    public void A_date_that_is_none_stays(string da, string expected) => Assert.Equal(expected, Display.Date(da));

    [Fact]
    public void A_wait_does_not_depend_on_the_clock_of_the_site()
    {
        // The site's clock is a year ahead: its oldest entry waited 10 s when it reported, 5 s ago by our clock.
        var ahead = Now.AddYears(1).ToUnixTimeMilliseconds();
        var lane = new LaneStatus("bulk", 1, 10, ahead - 10_000, 90);
        var site = new SiteView(new SiteStatus("east", Guid.Empty, "1", ahead, [lane]), Now.AddSeconds(-5).ToUnixTimeMilliseconds(), true);
        Assert.Equal(TimeSpan.FromSeconds(15), Waiting.Age(site, lane, Now));
        Assert.Equal(0.1, Waiting.Fill(lane));
        Assert.Equal(1, Waiting.Fill(lane with { RoomBytes = 0 }));
    }
}
