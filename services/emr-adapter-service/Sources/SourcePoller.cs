using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.EmrAdapter.Fhir;
using Yizhan.EmrAdapter.OpenMrs;
using Yizhan.EmrAdapter.Outbox;
using Yizhan.EmrAdapter.Terms;

namespace Yizhan.EmrAdapter.Sources;

/// <summary>Asks each system for what is new, one loop for each. One that is away is asked again after a pause that doubles.</summary>
internal sealed partial class SourcePoller(
    Intake intake, EmrOutbox outbox, TermMaps terms, IOptions<EmrAdapterOptions> options, TimeProvider clock, ILogger<SourcePoller> logger) : BackgroundService
{
    private readonly ILogger _logger = logger;

    /// <inheritdoc/>
    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        Task.WhenAll(options.Value.Systems.Where(s => s.Orders && s.Driver != "hl7").Select(s => RunAsync(s, stoppingToken)));

    private async Task RunAsync(EmrSystemOptions system, CancellationToken stopping)
    {
        await Task.Yield();
        var offset = TimeSpan.FromMinutes(options.Value.UtcOffsetMinutes);
        using ISource source = system.Driver == "bahmni" ? new BahmniFeed(system, intake, terms, offset, clock, _logger) : new FhirPoller(system, intake, terms, offset, clock);
        var failures = 0;
        while (!stopping.IsCancellationRequested)
        {
            try
            {
                await source.PollAsync(stopping);
                foreach (var (kind, reference) in intake.Due(system.Name))
                {
                    await intake.TryAsync(system.Name, kind, reference, () => source.TakeAsync(reference, stopping), stopping);
                }

                failures = 0;
            }
            catch (Exception e) when (e is FhirException or IOException or SqliteException || (e is OperationCanceledException && !stopping.IsCancellationRequested))
            {
                if (failures++ == 0)
                {
                    NotRead(system.Name, e.Message);
                }
            }
            catch (OperationCanceledException)
            {
                return;
            }

            var pause = failures == 0 ? system.PollMs : Math.Max(system.PollMs, outbox.PauseMs(failures - 1));
            await Task.Delay(TimeSpan.FromMilliseconds(pause), clock, stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    [LoggerMessage(4030, LogLevel.Warning, "{System} could not be asked for orders; it is asked again: {Reason}")]
    private partial void NotRead(string system, string reason);
}
