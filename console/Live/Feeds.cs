using Yizhan.Contracts;
using Yizhan.Platform.Identity;

namespace Yizhan.Console.Live;

/// <summary>The feeds that all pages of this process share: one connection to each service, however many browsers are open.</summary>
internal sealed class Feeds : BackgroundService
{
    private readonly ServiceAddresses _addresses;
    private readonly Place _place;
    private readonly IHostApplicationLifetime _lifetime;
    private readonly HttpClient _http;

    public Feeds(ServiceAddresses addresses, Place place, IHostApplicationLifetime lifetime, LocalOperator operators, TimeProvider clock, ILoggerFactory loggers)
    {
        _addresses = addresses;
        _place = place;
        _lifetime = lifetime;
        _http = new HttpClient(operators.Neighbours())
        {
            // Each request has its own deadline; a stream has none.
            Timeout = Timeout.InfiniteTimeSpan,
            MaxResponseContentBufferSize = 8 * 1024 * 1024,
        };
        var logger = loggers.CreateLogger<Feeds>();
        Sites = new LiveFeed<SiteView>(place.IsSite ? FeedSources.ThisSite : FeedSources.Sites, _http, clock, logger);
        Studies = new LiveFeed<StudyView>(FeedSources.Studies, _http, clock, logger);
    }

    /// <summary>All sites at the centre, the one site at a site.</summary>
    public LiveFeed<SiteView> Sites { get; }

    public LiveFeed<StudyView> Studies { get; }

    public override void Dispose()
    {
        _http.Dispose();
        base.Dispose();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var started = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using (_lifetime.ApplicationStarted.Register(started.SetResult))
        {
            await started.Task.WaitAsync(stoppingToken);
        }

        await Task.WhenAll(Sites.RunAsync(_place.IsSite ? _addresses.Station : _addresses.Fleet, stoppingToken), Studies.RunAsync(_addresses.Pacs, stoppingToken));
    }
}
