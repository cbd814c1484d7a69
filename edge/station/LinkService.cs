using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Platform.Certificates;
using Yizhan.Platform.Licences;
using Yizhan.Station.Certificates;
using Yizhan.Station.Configuration;
using Yizhan.Storage;

namespace Yizhan.Station;

/// <summary>The body of <c>GET /station/spool</c>.</summary>
/// <param name="SiteId">The site.</param>
/// <param name="Epoch">Epoch of its log.</param>
/// <param name="Centre">Address of the centre; null when none is configured.</param>
/// <param name="Link">State of the link.</param>
/// <param name="WindowBytes">Bytes that may be under way now: what the line carries in the target time.</param>
/// <param name="BytesSent">Bytes of bodies that the centre answered since the process began, after compression.</param>
/// <param name="Lanes">What waits, urgent first.</param>
/// <param name="Figures">How the spool does.</param>
/// <param name="Quarantine">What cannot be delivered.</param>
internal sealed record SpoolView(
    string SiteId,
    Guid Epoch,
    Uri? Centre,
    LinkState Link,
    long WindowBytes,
    long BytesSent,
    IReadOnlyList<SpoolLane> Lanes,
    SpoolFigures Figures,
    IReadOnlyList<Quarantined> Quarantine);

/// <summary>A lane of the spool.</summary>
/// <param name="Status">What waits.</param>
/// <param name="Delivered">Highest sequence that the centre confirmed.</param>
/// <param name="CentreHas">Highest sequence that the centre has now; lower than <paramref name="Delivered"/> while a restored centre gets the rest again.</param>
/// <param name="Released">Highest sequence that is no longer kept.</param>
/// <param name="Error">Why it makes no progress; null while it does.</param>
internal sealed record SpoolLane(LaneStatus Status, long Delivered, long CentreHas, long Released, string? Error);

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web)]
[JsonSerializable(typeof(SpoolView))]
[JsonSerializable(typeof(IReadOnlyList<SpoolEntry>))]
[JsonSerializable(typeof(Decision))]
[JsonSerializable(typeof(Replayed))]
internal sealed partial class StationJson : JsonSerializerContext;

/// <summary>Runs the shipper for the life of the process.</summary>
internal sealed partial class LinkService : BackgroundService
{
    private readonly IEventLog _log;
    private readonly Quarantine _quarantine;
    private readonly SpoolMetrics _metrics;
    private readonly StationOptions _options;
    private readonly ILogger _logger;
    private readonly TimeProvider _clock;
    private readonly SiteConfiguration _configuration;
    private readonly ServiceHealthWatch _health;
    private readonly LicenceGate _licences;
    private readonly string _contactPath;
    private readonly long _startedMs;
    private readonly HttpLink? _link;
    private readonly Shipper? _shipper;

    public LinkService(
        IEventLog log, IBlobStore blobs, Quarantine quarantine, Retention retention, SpoolMetrics metrics, SiteConfiguration configuration, ServiceHealthWatch health,
        SiteTrust trust, LicenceGate licences, IOptions<StationOptions> options, IOptions<NodeOptions> node, TimeProvider clock, ILoggerFactory loggers)
    {
        (_log, _quarantine, _metrics, _options, _clock) = (log, quarantine, metrics, options.Value, clock);
        (_configuration, _health, _licences, _startedMs) = (configuration, health, licences, clock.GetUtcNow().ToUnixTimeMilliseconds());
        _contactPath = node.Value.PathOf("station", "last-contact");
        _logger = loggers.CreateLogger<LinkService>();
        if (_options.CentreUrl is not null)
        {
            _link = new HttpLink(_options, clock, trust.Revocations);
            _shipper = new Shipper(log, blobs, _link, quarantine, _options, clock, Random.Shared, loggers.CreateLogger<Shipper>())
            {
                Heard = retention.Note,
                Configuration = configuration.Status,
                Figures = metrics.Figures,
                Services = health.Last,
                CertificateExpiresMs = () => new DateTimeOffset(_link.Files.Certificate.NotAfter).ToUnixTimeMilliseconds(),
                Licence = () => StatusOf(licences.View()),
                LastContactMs = File.Exists(_contactPath) && long.TryParse(File.ReadAllText(_contactPath), CultureInfo.InvariantCulture, out var at) ? at : 0,
                Changed = KeepContact,
            };
        }
    }

    /// <summary>The line to the centre; null when none is configured.</summary>
    public HttpLink? Centre => _link;

    /// <summary>The site's certificate; null without a centre.</summary>
    public CertificateFiles? Files => _link?.Files;

    /// <summary>The spool and the link as they are now.</summary>
    public SpoolView View() => new(
        _log.Site, _log.Epoch, _options.CentreUrl,
        _shipper?.State ?? new LinkState("off", 0, null),
        _shipper?.WindowBytes ?? 0,
        _link?.BytesSent ?? 0,
        [.. Enum.GetValues<Lane>().Select(lane => new SpoolLane(
            LaneStatuses.Of(_log, lane), _log.Delivered(lane), _shipper?.MarkOf(lane) ?? 0, _log.Released(lane), _shipper?.ErrorOf(lane)))],
        _metrics.Figures(),
        _quarantine.Items(_log.Epoch));

    /// <summary>This site in the shape in which the centre lists all.</summary>
    public SiteView AsSite()
    {
        var nowMs = _clock.GetUtcNow().ToUnixTimeMilliseconds();
        var status = _shipper?.Status() ?? new SiteStatus(
            _log.Site, _log.Epoch, Shipper.Version, nowMs, [.. Enum.GetValues<Lane>().Select(lane => LaneStatuses.Of(_log, lane))], _configuration.Status(), _metrics.Figures(), _health.Last(), null,
            StatusOf(_licences.View()));
        var link = _shipper?.State ?? new LinkState("off", _startedMs, null);
        return new SiteView(status, _shipper?.LastContactMs ?? 0, link.State == "up", null, nowMs, new SiteLink(link.State, _startedMs, link.State == "up" ? null : link.Error));
    }

    private static LicenceStatus? StatusOf(LicenceView view) => view.State == LicenceState.None
        ? null
        : new LicenceStatus(view.State.ToString().ToLowerInvariant(), view.Licence?.Expires * 1000);

    /// <summary>Begins again after an operator changed what is sent.</summary>
    public void StartOver() => _shipper?.StartOver();

    public override void Dispose()
    {
        _link?.Dispose();
        base.Dispose();
    }

    protected override Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (_shipper is null)
        {
            NoCentre();
            return Task.CompletedTask;
        }

        return ShipAsync(_shipper, stoppingToken);
    }

    private async Task ShipAsync(Shipper shipper, CancellationToken stoppingToken)
    {
        await shipper.RunAsync(stoppingToken);
        if (shipper.State.State == "up")
        {
            KeepContact(up: false);
        }
    }

    /// <summary>Since when the line is gone outlives a restart. While it is there nothing is kept, so that a node that is killed does not tell of an outage long ago.</summary>
    private void KeepContact(bool up)
    {
        try
        {
            if (up)
            {
                File.Delete(_contactPath);
            }
            else
            {
                AtomicFile.Write(_contactPath, Encoding.ASCII.GetBytes(_shipper!.LastContactMs.ToString(CultureInfo.InvariantCulture)), secret: false, overwrite: true);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            NotKept(_contactPath, e.Message);
        }
    }

    [LoggerMessage(8020, LogLevel.Warning, "There is no station:centreUrl: this site keeps everything and sends nothing.")]
    private partial void NoCentre();

    [LoggerMessage(8021, LogLevel.Warning, "When the centre last answered is not kept in {Path}, and not known after a restart: {Reason}")]
    private partial void NotKept(string path, string reason);
}
