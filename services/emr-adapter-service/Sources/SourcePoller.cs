using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
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
    private static readonly TimeSpan ShortestPause = TimeSpan.FromMilliseconds(200);

    private readonly ILogger _logger = logger;
    private readonly ConcurrentDictionary<string, SemaphoreSlim> _knocks = new();

    /// <summary>Lets a system be asked at once; false when there is no such system, or the secret is not the one that it was given.</summary>
    public bool Knock(string system, string secret)
    {
        if (!options.Value.Systems.Any(s => s.Name == system && s.NotifyUrl is not null)
            || !CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(secret), Encoding.UTF8.GetBytes(FhirSubscription.SecretOf(intake, system))))
        {
            return false;
        }

        var knock = KnockOf(system);
        lock (knock)
        {
            if (knock.CurrentCount == 0)
            {
                knock.Release();
            }
        }

        return true;
    }

    private SemaphoreSlim KnockOf(string system) => _knocks.GetOrAdd(system, _ => new SemaphoreSlim(0));

    /// <inheritdoc/>
    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        Task.WhenAll(options.Value.Systems.Where(s => s.Orders && s.Driver != "hl7").Select(s => RunAsync(s, stoppingToken)));

    private async Task RunAsync(EmrSystemOptions system, CancellationToken stopping)
    {
        await Task.Yield();
        var offset = TimeSpan.FromMinutes(options.Value.UtcOffsetMinutes);
        using ISource source = system.Driver == "bahmni" ? new BahmniFeed(system, intake, terms, offset, clock, _logger) : new FhirPoller(system, intake, terms, offset, clock, _logger);
        var knock = KnockOf(system.Name);
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
            using var waiting = CancellationTokenSource.CreateLinkedTokenSource(stopping);
            var knocked = knock.WaitAsync(waiting.Token);
            if (await Task.WhenAny(Task.Delay(TimeSpan.FromMilliseconds(pause), clock, waiting.Token), knocked) == knocked && !stopping.IsCancellationRequested)
            {
                // Many knocks together are one look.
                await Task.Delay(ShortestPause, clock, stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }

            await waiting.CancelAsync();
        }
    }

    [LoggerMessage(4030, LogLevel.Warning, "{System} could not be asked for orders; it is asked again: {Reason}")]
    private partial void NotRead(string system, string reason);
}
