using System.Text.Json;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Storage;

namespace Yizhan.Station.Logs;

/// <summary>Gives the warnings and errors of this node to the spool, in its lowest lane and within a number of lines an hour. A lane that is full, or a line that is down, costs lines and nothing else.</summary>
internal sealed class SiteLogSender(SiteLogLines lines, IEventLog log, IOptions<StationOptions> options, TimeProvider clock) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var (pause, perHour) = (TimeSpan.FromSeconds(options.Value.LogSeconds), options.Value.LogLinesPerHour);
        var (budget, filled) = ((double)perHour, clock.GetTimestamp());
        while (!stoppingToken.IsCancellationRequested)
        {
            await Task.Delay(pause, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (stoppingToken.IsCancellationRequested)
            {
                return;
            }

            budget = Math.Min(perHour, budget + (perHour * clock.GetElapsedTime(filled).TotalHours));
            filled = clock.GetTimestamp();
            var said = lines.Take((int)budget);
            if (said.Lines.Count == 0)
            {
                // Said with the next lines that may go.
                lines.Drop(said.Dropped);
                continue;
            }

            budget -= said.Lines.Count;
            var now = clock.GetUtcNow();
            var entry = new Entry(
                Lane.Telemetry, SiteLogged.EventType, $"site-log/{log.Site}/{Guid.CreateVersion7(now):N}", "", now.ToUnixTimeMilliseconds(),
                JsonSerializer.SerializeToUtf8Bytes(said, ContractsJson.Default.SiteLogged));
            try
            {
                await log.AppendAsync([entry], stoppingToken);
            }
            catch (Exception e) when (e is IOException or OperationCanceledException)
            {
                // No word about it: it would be the next line.
                lines.Drop(said.Dropped + said.Lines.Sum(line => line.Count));
            }
        }
    }
}
