using System.Buffers.Text;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Platform.Certificates;
using Yizhan.Storage;

namespace Yizhan.Fleet.Enrolment;

/// <summary>What became of an enrolment.</summary>
internal enum EnrolmentOutcome
{
    /// <summary>A certificate was issued, or is given out again for the same request.</summary>
    Enrolled,

    /// <summary>There never was such a token.</summary>
    UnknownToken,

    /// <summary>Its hour is over.</summary>
    Expired,

    /// <summary>Another request has used it.</summary>
    Used,

    /// <summary>The request is not one for the token's site.</summary>
    BadRequest,
}

/// <summary>
/// Makes a device a site: hands out tokens for one use, answers requests, renews and revokes. What it issues is in the audit log
/// before it leaves the house.
/// </summary>
/// <remarks>Tokens are kept hashed in <c>fleet/enrolment.db</c>, with synchronous=FULL: a power cut does not make one new again.</remarks>
public sealed partial class EnrolmentDesk : IDisposable
{
    /// <summary>Life of a token, minutes, at most.</summary>
    public const int MaxMinutes = 60;

    // DICOM PS3.16 CID 400/403: Security Configuration.
    private const string SecurityConfiguration = "110137";

    private readonly EmbeddedCa _ca;
    private readonly IEventLog _log;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly SqliteConnection _db;
    private readonly SemaphoreSlim _gate = new(1);

    /// <summary>Opens the desk of a node.</summary>
    /// <exception cref="SqliteException">The file cannot be opened.</exception>
    public EnrolmentDesk(IOptions<NodeOptions> node, EmbeddedCa ca, IEventLog log, TimeProvider clock, ILogger<EnrolmentDesk> logger)
    {
        (_ca, _log, _clock, _logger) = (ca, log, clock, logger);
        _db = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = node.Value.PathOf("fleet", "enrolment.db") }.ToString());
        _db.Open();
        _db.Execute("""
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = FULL;
            CREATE TABLE IF NOT EXISTS token (
                hash        TEXT    PRIMARY KEY,
                site        TEXT    NOT NULL,
                expires_ms  INTEGER NOT NULL,
                request     TEXT,
                certificate TEXT
            ) STRICT;
            """);
    }

    /// <summary>Makes a token for a site.</summary>
    /// <param name="site">The site.</param>
    /// <param name="centre">Where the device will call.</param>
    /// <param name="minutes">Its life, 1 to <see cref="MaxMinutes"/>.</param>
    /// <param name="agent">Who asks for it.</param>
    /// <param name="cancellationToken">Gives up before it is recorded.</param>
    /// <exception cref="ArgumentException">The site id or the minutes are out of bounds.</exception>
    public async Task<EnrolmentToken> InviteAsync(string site, Uri centre, int minutes, string agent, CancellationToken cancellationToken)
    {
        if (minutes is < 1 or > MaxMinutes)
        {
            throw new ArgumentException($"A token lives 1 to {MaxMinutes} minutes, not {minutes}.", nameof(minutes));
        }

        var now = _clock.GetUtcNow();
        var token = new EnrolmentToken(
            new SitePrincipal(site).SiteId, centre, await File.ReadAllTextAsync(_ca.RootFile, cancellationToken),
            Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(32)), now.AddMinutes(minutes).ToUnixTimeMilliseconds());
        await RecordAsync(agent, "C", 0, site, $"enrolment token for {minutes} min", cancellationToken);
        await _gate.WaitAsync(cancellationToken);
        try
        {
            // What ended a day ago needs no answer of its own any more.
            _db.Execute("DELETE FROM token WHERE expires_ms < @old", new { old = now.AddDays(-1).ToUnixTimeMilliseconds() });
            _db.Execute("INSERT INTO token VALUES (@hash, @Site, @ExpiresMs, NULL, NULL)", new { hash = Hash(token.Token), token.Site, token.ExpiresMs });
        }
        finally
        {
            _gate.Release();
        }

        return token;
    }

    /// <summary>Answers a device. The same request again gets the same answer; another with a used token gets none.</summary>
    internal async Task<(EnrolmentOutcome Outcome, string Text)> EnrolAsync(EnrolmentRequest request, string address, CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            var hash = Hash(request.Token);
            var row = _db.QuerySingleOrDefault<Row>(
                "SELECT site AS Site, expires_ms AS ExpiresMs, request AS Request, certificate AS Certificate FROM token WHERE hash = @hash", new { hash });
            if (row is null)
            {
                return await RefusedAsync(EnrolmentOutcome.UnknownToken, "unknown", "There is no such token; accepted is one of yizhan site enrol-token.");
            }

            if (row.ExpiresMs <= _clock.GetUtcNow().ToUnixTimeMilliseconds())
            {
                return await RefusedAsync(EnrolmentOutcome.Expired, row.Site, $"The token's time is over; get another: yizhan site enrol-token {row.Site}.");
            }

            if (row.Request is { } used)
            {
                return used == Hash(request.Request)
                    ? (EnrolmentOutcome.Enrolled, row.Certificate!)
                    : await RefusedAsync(EnrolmentOutcome.Used, row.Site, "The token was used by another device. If that was not you, revoke the site.");
            }

            string certificate;
            try
            {
                certificate = _ca.SignSite(row.Site, request.Request);
            }
            catch (CertificateRefusedException e)
            {
                return await RefusedAsync(EnrolmentOutcome.BadRequest, row.Site, e.Message);
            }

            await RecordAsync(address, "E", 0, row.Site, $"enrolled: certificate {Serial(certificate)}", cancellationToken);
            _db.Execute("UPDATE token SET request = @used, certificate = @certificate WHERE hash = @hash", new { used = Hash(request.Request), certificate, hash });
            Enrolled(row.Site, Serial(certificate));
            return (EnrolmentOutcome.Enrolled, certificate);
        }
        finally
        {
            _gate.Release();
        }

        async Task<(EnrolmentOutcome, string)> RefusedAsync(EnrolmentOutcome outcome, string site, string text)
        {
            Refused(site, outcome);
            await RecordAsync(address, "E", 4, site, $"enrolment refused: {outcome}", cancellationToken);
            return (outcome, text);
        }
    }

    /// <summary>The next certificate of a site that has shown its present one.</summary>
    /// <exception cref="CertificateRefusedException">The request is not one for this site.</exception>
    public async Task<CertificateAnswer> RenewAsync(SitePrincipal site, string request, string agent, CancellationToken cancellationToken)
    {
        var certificate = _ca.SignSite(site.SiteId, request);
        await RecordAsync(agent, "U", 0, site.SiteId, $"renewed: certificate {Serial(certificate)}", cancellationToken);
        return new CertificateAnswer(certificate, []);
    }

    /// <summary>The same for a site that is away: what it asks came in a file, signed with its present key.</summary>
    /// <exception cref="CertificateRefusedException">The bundle is not that of a site of ours with a valid certificate.</exception>
    public async Task<CertificateAnswer> RenewAsync(RenewalBundle bundle, string agent, CancellationToken cancellationToken)
    {
        var chain = new X509Certificate2Collection();
        try
        {
            chain.ImportFromPem(bundle.Certificate);
            if (chain.Count is 0 or > 4)
            {
                throw new CryptographicException($"{chain.Count} certificates.");
            }

            var verdict = _ca.Trust.Check(chain[0], CertificateTrust.ClientAuth, chain);
            if (verdict != CertificateVerdict.Valid || SitePrincipal.From(chain[0])?.SiteId != bundle.Site)
            {
                throw new CertificateRefusedException(
                    $"The bundle's certificate is not a valid one of {bundle.Site}: {verdict}. After its end a site enrols again (yizhan site enrol-token).");
            }

            using var key = chain[0].GetECDsaPublicKey();
            if (key?.VerifyData(
                Encoding.UTF8.GetBytes(bundle.Request), Convert.FromBase64String(bundle.Signature), HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence) != true)
            {
                throw new CertificateRefusedException("The bundle's request is not signed with the key of its certificate.");
            }
        }
        catch (Exception e) when (e is CryptographicException or FormatException or ArgumentException)
        {
            throw new CertificateRefusedException($"The bundle cannot be read: {e.Message}", e);
        }

        var answer = await RenewAsync(new SitePrincipal(bundle.Site), bundle.Request, agent, cancellationToken);
        return answer with { Revocations = _ca.Revocations.After(0) };
    }

    /// <summary>Takes all certificates of a site back, or one.</summary>
    /// <param name="site">The site.</param>
    /// <param name="serial">Serial number of one certificate; null for all until now.</param>
    /// <param name="reason">Why.</param>
    /// <param name="agent">Who says so.</param>
    /// <param name="cancellationToken">Gives up before it is recorded.</param>
    /// <exception cref="ArgumentException">Site, serial number or reason are not such.</exception>
    public async Task<Revocation> RevokeAsync(string site, string? serial, string reason, string agent, CancellationToken cancellationToken)
    {
        _ = new SitePrincipal(site);
        if (reason.Length is 0 or > 200)
        {
            throw new ArgumentException($"A reason of 1 to 200 characters is needed; there are {reason.Length}.", nameof(reason));
        }

        if (serial is not null && (serial.Length is 0 or > 40 || !serial.All(char.IsAsciiHexDigit)))
        {
            throw new ArgumentException($"'{serial}' is not a serial number: 1 to 40 hex digits.", nameof(serial));
        }

        await RecordAsync(agent, "U", 0, site, $"revoked: {serial ?? "all certificates until now"}", cancellationToken);
        var revocation = serial is null ? _ca.RevokeSite(site, reason) : _ca.Revoke(serial, reason);
        Revoked(site, revocation.Number);
        return revocation;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _db.Dispose();
        _gate.Dispose();
    }

    private async Task RecordAsync(string agent, string action, int outcome, string site, string detail, CancellationToken cancellationToken)
    {
        var now = _clock.GetUtcNow();
        var record = new AuditRecord(
            SecurityConfiguration, action, outcome, agent, null, $"fleet@{_log.Site}", $"machine/{site}", detail, now.ToUnixTimeMilliseconds());
        await _log.AppendAsync(
            [new Entry(
                Lane.Urgent, AuditRecord.EventType, $"machine/{site}/{Guid.CreateVersion7(now):N}", record.Entity, record.RecordedMs,
                JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord))], cancellationToken);
    }

    private static string Serial(string pem)
    {
        using var certificate = X509Certificate2.CreateFromPem(pem);
        return certificate.SerialNumber;
    }

    private static string Hash(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));

    private sealed record Row(string Site, long ExpiresMs, string? Request, string? Certificate);

    [LoggerMessage(9040, LogLevel.Information, "Site {Site} is enrolled; its certificate is {Serial}.")]
    private partial void Enrolled(string site, string serial);

    [LoggerMessage(9041, LogLevel.Warning, "An enrolment of site {Site} was refused: {Outcome}.")]
    private partial void Refused(string site, EnrolmentOutcome outcome);

    [LoggerMessage(9042, LogLevel.Warning, "Certificates of site {Site} are revoked (statement {Number}).")]
    private partial void Revoked(string site, long number);
}
