using Microsoft.Extensions.Options;
using Yizhan.PacsGw.Receive;

namespace Yizhan.PacsGw.Orthanc;

/// <summary>
/// Follows an Orthanc's feed of changes and takes in each new instance. The place in the feed moves once everything before it is durable
/// here, so what was stored while either of us was down is picked up; what is read twice is recognised by its content.
/// </summary>
internal sealed partial class OrthancFollower(
    IOptions<PacsGwOptions> options, GatewayDatabase database, InstanceIntake intake, TimeProvider clock, ILogger<OrthancFollower> logger)
    : BackgroundService
{
    private static readonly TimeSpan LongestWait = TimeSpan.FromMinutes(1);

    private readonly ILogger _logger = logger;

    /// <summary>Follows until it is stopped. An Orthanc that is away is asked again, ever more rarely, up to once a minute.</summary>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (options.Value.Orthanc is not { } orthanc)
        {
            return;
        }

        var pause = TimeSpan.FromSeconds(orthanc.PollSeconds);
        var wait = pause;
        using var client = new OrthancClient(orthanc.Url, orthanc.User, orthanc.PasswordFile);
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await CatchUpAsync(client, orthanc, stoppingToken);
                wait = pause;
            }
            catch (Exception e) when (e is HttpRequestException or IOException or TaskCanceledException && !stoppingToken.IsCancellationRequested)
            {
                wait = wait * 2 < LongestWait ? wait * 2 : LongestWait;
                Away(orthanc.Url, e.Message, wait.TotalSeconds);
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }

            await Task.Delay(wait, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>Takes in everything that is new, then returns.</summary>
    /// <exception cref="IOException">An instance could not be stored here; the feed is read from before it again.</exception>
    private async Task CatchUpAsync(OrthancClient client, OrthancOptions orthanc, CancellationToken cancellationToken)
    {
        var feed = $"orthanc/{await client.IdentifyAsync(cancellationToken)}";
        var position = database.Cursor(feed);
        while (true)
        {
            var page = await client.ChangesAsync(position, cancellationToken);
            var source = new IntakeSource(
                orthanc.AeTitle, options.Value.AeTitle, new Uri(orthanc.Url).Host, Guid.CreateVersion7(clock.GetUtcNow()).ToString("N"));
            var stored = 0;
            foreach (var change in page.Changes.Where(c => c.ChangeType == "NewInstance"))
            {
                stored += await TakeAsync(client, change.Id, source, cancellationToken) ? 1 : 0;
            }

            if (page.Last > position)
            {
                position = page.Last;
                database.Write(db => GatewayDatabase.MoveCursor(db, feed, position));
                if (stored > 0)
                {
                    Taken(stored, orthanc.Url, position);
                }
            }

            if (page.Done || page.Changes.Count == 0)
            {
                return;
            }
        }
    }

    /// <summary>True when the instance is new here. One that is no DICOM for us is passed over: it would stop the feed for ever.</summary>
    private async Task<bool> TakeAsync(OrthancClient client, string id, IntakeSource source, CancellationToken cancellationToken)
    {
        // What we sent there ourselves is here already; a changed copy, or one in Orthanc's own words, would come back as other content.
        if (database.Write(db => db.Command("SELECT 1 FROM posted WHERE id = $1", id).Single()) is not null
            || await client.RemoteAeTitleAsync(id, cancellationToken) == options.Value.AeTitle)
        {
            return false;
        }

        using var response = await client.FileAsync(id, cancellationToken);
        if (response is null)
        {
            Gone(id);
            return false;
        }

        await using var file = await response.Content.ReadAsStreamAsync(cancellationToken);
        var result = await Part10Intake.ReceiveAsync(file, intake, source, cancellationToken);
        return result.Outcome is IntakeOutcome.OutOfResources or IntakeOutcome.ProcessingFailure
            ? throw new IOException($"instance {id} could not be stored here: {result.Reason}")
            : result.Outcome == IntakeOutcome.Stored;
    }

    [LoggerMessage(3060, LogLevel.Information, "{Stored} new instances taken from Orthanc at {Url}, its changes are read through {Position}.")]
    private partial void Taken(int stored, string url, long position);

    [LoggerMessage(3061, LogLevel.Warning, "Orthanc at {Url} cannot be followed ({Reason}); trying again in {Seconds} s.")]
    private partial void Away(string url, string reason, double seconds);

    [LoggerMessage(3062, LogLevel.Information, "Orthanc's instance {Id} was deleted there before it was taken.")]
    private partial void Gone(string id);
}
