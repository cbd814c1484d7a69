using System.Diagnostics.Metrics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Options;
using Yizhan.Link;
using Yizhan.Platform;
using Yizhan.Platform.Certificates;
using Yizhan.Storage;

namespace Yizhan.Station.Certificates;

/// <summary>
/// Renews the site's certificate over the link while the old one still counts, and fetches what the centre has revoked. Without the
/// centre it waits: what was known goes on, and the metric says how long the certificate lasts.
/// </summary>
internal sealed partial class CertificateRenewal : BackgroundService
{
    private readonly LinkService _link;
    private readonly StationOptions _options;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly CertificateFiles? _files;
    private readonly Meter _meter;

    public CertificateRenewal(
        LinkService link, SiteTrust trust, IEventLog log, IOptions<StationOptions> options, TimeProvider clock, IMeterFactory meters,
        ILogger<CertificateRenewal> logger)
    {
        (_link, _options, _clock, _logger, Trust) = (link, options.Value, clock, logger, trust);
        _files = link.Files;
        _meter = meters.Create("Yizhan.Certificates");
        _meter.CreateObservableGauge<double>(
            "yizhan.certificate.remaining",
            () => _files is null ? [] : [new Measurement<double>((_files.Certificate.NotAfter.ToUniversalTime() - clock.GetUtcNow().UtcDateTime).TotalSeconds, [new("site", log.Site)])],
            "s", "How long the site's certificate lasts, by the site's clock.");
    }

    /// <summary>What is known to be revoked.</summary>
    public SiteTrust Trust { get; }

    public override void Dispose()
    {
        _meter.Dispose();
        base.Dispose();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (_link.Centre is not { } centre || _files is not { } files)
        {
            return;
        }

        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await RevocationsAsync(centre, stoppingToken);
                if (files.IsDue(_clock.GetUtcNow()))
                {
                    await RenewAsync(centre, files, stoppingToken);
                }
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (e is LinkDownException or OperationCanceledException)
            {
                // The centre is not there: there are thirty days for trying again.
            }
            catch (Exception e) when (e is LinkRefusedException or CertificateRefusedException or InvalidDataException or IOException
                or UnauthorizedAccessException or CryptographicException)
            {
                NotRenewed(e.Message);
            }

            await Task.Delay(TimeSpan.FromSeconds(_options.CertificatePollSeconds), _clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task RevocationsAsync(HttpLink centre, CancellationToken cancellationToken)
    {
        // A delta has a bound; a bounded number of them in a row catches up with all that can be.
        for (var i = 0; i <= Revocations.Most / Revocations.MostAtOnce; i++)
        {
            var delta = await centre.RevocationsAsync(Trust.Revocations.Number, cancellationToken);
            if (Trust.Revocations.Apply(delta.Statements) is var taken && taken > 0)
            {
                Learned(taken, Trust.Revocations.Number);
            }

            if (delta.Statements.Count < Revocations.MostAtOnce)
            {
                return;
            }
        }
    }

    private async Task RenewAsync(HttpLink centre, CertificateFiles files, CancellationToken cancellationToken)
    {
        var site = SitePrincipal.From(files.Certificate)
            ?? throw new CertificateRefusedException("The certificate of this node is not that of a site; whoever issued it renews it.");
        var key = SiteRequest.MakeKey();
        var answer = await centre.RenewAsync(SiteRequest.Make(site.SiteId, key), cancellationToken);
        using var root = X509Certificate2.CreateFromPem(await File.ReadAllTextAsync(_options.RootPath!, cancellationToken));
        using var certificate = Enrolment.Check(answer.Certificate, key, site.SiteId, root);
        files.Replace(answer.Certificate, key);
        Renewed(certificate.SerialNumber, certificate.NotAfter.ToUniversalTime());
    }

    [LoggerMessage(8050, LogLevel.Information, "The site has a new certificate, {Serial}, until {End:yyyy-MM-dd}; connections that are open keep the old one.")]
    private partial void Renewed(string serial, DateTime end);

    [LoggerMessage(8051, LogLevel.Warning, "The site's certificate could not be renewed, the one before goes on: {Reason}")]
    private partial void NotRenewed(string reason);

    [LoggerMessage(8052, LogLevel.Information, "{Count} certificates more are revoked; the newest statement is {Number}.")]
    private partial void Learned(int count, long number);
}

/// <summary>What this site knows of revocations, kept in <c>station/revocations.jws</c>.</summary>
internal sealed class SiteTrust(IOptions<StationOptions> options, IOptions<NodeOptions> node)
{
    private readonly Lazy<Revocations> _revocations = new(() => Revocations.Open(
        node.Value.PathOf("station", "revocations.jws"), X509Certificate2.CreateFromPem(File.ReadAllText(options.Value.RootPath!))));

    /// <summary>Signed by the root of the installation.</summary>
    public Revocations Revocations => _revocations.Value;
}
