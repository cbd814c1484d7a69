using System.Net;
using System.Net.Http.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Fleet.Tests;

/// <summary>The event log as an operator reads it, over HTTP from a running module.</summary>
public sealed class EventsEndpointTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-fleet-").FullName;
    private WebApplication _app = null!;
    private HttpClient _http = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _app = new ServiceHost(
            [$"--node:dataFolder={_folder}", "--web:url=http://127.0.0.1:0", "--fleet:linkPort=0", "--log:level=Error"]).Add<FleetModule>().Build();
        await _app.StartAsync(Cancel);
        _http = Operator.Client(_app);
    }

    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task Pages_follow_each_other_without_gap_and_show_where_each_fact_came_from()
    {
        var log = _app.Services.GetRequiredService<IEventLog>();
        for (var i = 1; i <= 5; i++)
        {
            await log.AppendAsync([new Entry(Lane.Urgent, "test", $"fact-{i}", "", 1000 + i, "{}"u8.ToArray())], Cancel);
        }

        var read = new List<LogEvent>();
        IReadOnlyList<LogEvent> page;
        while ((page = await PageAsync(read.Count == 0 ? 0 : read[^1].Position)).Count > 0)
        {
            Assert.InRange(page.Count, 1, 2);
            read.AddRange(page);
        }

        Assert.Equal([1L, 2, 3, 4, 5], read.Select(e => e.Sequence));
        Assert.Equal([1001L, 1002, 1003, 1004, 1005], read.Select(e => e.TimeMs));
        Assert.All(read, e => Assert.Equal(("centre", log.Epoch, "urgent", "test"), (e.Site, e.Epoch, e.Lane, e.Type)));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1001)]
    public async Task A_limit_out_of_range_is_refused_with_what_would_be_accepted(int limit)
    {
        using var answer = await _http.GetAsync($"/fleet/events?limit={limit}", Cancel);

        Assert.Equal(HttpStatusCode.BadRequest, answer.StatusCode);
        Assert.Contains($"limit is {limit}; accepted is 1 to 1000.", await answer.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
    }

    private async Task<IReadOnlyList<LogEvent>> PageAsync(long after) =>
        (await _http.GetFromJsonAsync($"/fleet/events?after={after}&limit=2", ContractsJson.Default.IReadOnlyListLogEvent, Cancel))!;
}
