using System.Text.Json;
using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Platform.Releases;
using Yizhan.Platform.SiteFiles;
using Yizhan.Storage;

namespace Yizhan.Fleet.Releases;

/// <summary>Releases at the centre: proposed, approved, offered ring by ring. Kept in <c>fleet/releases.db</c>.</summary>
/// <remarks>
/// A step and the change that it is about are one transaction here; the step reaches the event log afterwards, from here, as often as
/// it takes, and its id makes that once.
/// </remarks>
public sealed partial class ReleaseCentre : BackgroundService
{
    private const long DayMs = 24L * 3600 * 1000;
    private const int MaxDays = 366;

    private readonly Lock _lock = new();
    private readonly SqliteConnection _db;
    private readonly SiteRegistry _sites;
    private readonly IEventLog _log;
    private readonly FleetOptions _options;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly string _trustPath;
    private readonly string _agent;
    private volatile TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Stored? _current;

    /// <summary>Opens the releases of a node.</summary>
    /// <exception cref="SqliteException">The file cannot be opened.</exception>
    public ReleaseCentre(
        IOptions<NodeOptions> node, IOptions<FleetOptions> options, SiteRegistry sites, IEventLog log, TimeProvider clock, ILogger<ReleaseCentre> logger)
    {
        (_options, _sites, _log, _clock, _logger) = (options.Value, sites, log, clock, logger);
        _agent = $"fleet@{node.Value.SiteId}";
        _trustPath = _options.ReleaseTrustPath ?? node.Value.PathOf("fleet", "releases", "trust.json");
        _db = SqliteFile.OpenWriter(node.Value.PathOf("fleet", "releases.db"), """
            CREATE TABLE release (
                number   INTEGER PRIMARY KEY,
                version  TEXT    NOT NULL UNIQUE,
                digest   TEXT    NOT NULL,
                bundle   BLOB    NOT NULL,
                ring     INTEGER NOT NULL,
                ring_ms  INTEGER NOT NULL,
                stopped  TEXT
            ) STRICT;
            CREATE TABLE step (
                id     TEXT    PRIMARY KEY,
                record TEXT    NOT NULL,
                logged INTEGER NOT NULL
            ) STRICT;
            """);
        _current = Load("WHERE ring > 0 ORDER BY number DESC LIMIT 1").FirstOrDefault();
        sites.Wanted = Wanted;
    }

    /// <summary>Takes a proposed release, or more signatures of one that is here.</summary>
    /// <exception cref="ReleaseRefusedException">It is not acceptable; the message says why.</exception>
    public ReleaseView Propose(ReleaseBundle release)
    {
        lock (_lock)
        {
            var trust = Trust();
            trust.ApproversOf(release);
            if (Find_NeedsLock(release.Version) is { } known)
            {
                return known.Bundle.Digest == release.Digest
                    ? Add_NeedsLock(trust, known, release.Signatures)
                    : throw new ReleaseRefusedException(ReleaseRefusal.Older, $"There is another {release.Version} already; accepted: a higher version.");
            }

            CheckContent(release);
            using var transaction = _db.BeginTransaction();
            _db.Execute(
                "INSERT INTO release (number, version, digest, bundle, ring, ring_ms) VALUES (@number, @version, @digest, @bundle, 0, 0)",
                new { number = Number(release.Version), version = release.Version.ToString(), digest = release.Digest, bundle = release.ToBytes() }, transaction);
            Step(release, "proposed", release.Manifest.ProposedBy, "", $"{release.Sites.Count} sites: {release.Manifest.Note}", transaction);
            transaction.Commit();
            return Add_NeedsLock(trust, new Stored(release, 0, 0, null), release.Signatures);
        }
    }

    /// <summary>Adds an approval; with the last one that is needed, the first ring begins.</summary>
    /// <returns>Null when there is no such release.</returns>
    /// <exception cref="ReleaseRefusedException">The signature does not count.</exception>
    public ReleaseView? Approve(ReleaseVersion version, string keyName, byte[] signature)
    {
        lock (_lock)
        {
            if (Find_NeedsLock(version) is not { } known)
            {
                return null;
            }

            var trust = Trust();
            var (person, proposer) = (trust.PersonOf(keyName), trust.PersonOf(known.Bundle.Manifest.ProposedBy));
            return person != proposer
                ? Add_NeedsLock(trust, known, new Dictionary<string, byte[]> { [keyName] = signature })
                : throw new ReleaseRefusedException(ReleaseRefusal.OwnProposal, $"'{keyName}' is a key of '{proposer}', who proposed {version}; accepted: the key of somebody else.");
        }
    }

    /// <summary>Whose signatures count; null when nobody's do.</summary>
    /// <exception cref="ReleaseRefusedException">The trust file is none.</exception>
    public ReleaseTrust? WhoCounts() => ReleaseTrust.Load(_trustPath);

    /// <summary>All releases, the newest first.</summary>
    public IReadOnlyList<ReleaseView> List()
    {
        lock (_lock)
        {
            var reports = _sites.Sites().ToDictionary(s => s.Status.SiteId, StringComparer.Ordinal);
            return [.. Load("ORDER BY number DESC LIMIT 50").Select(stored => View(stored, reports))];
        }
    }

    /// <summary>A release by version; null when there is none.</summary>
    public ReleaseBundle? Find(ReleaseVersion version)
    {
        lock (_lock)
        {
            return Find_NeedsLock(version)?.Bundle;
        }
    }

    /// <summary>What a site should install now; null when it runs that, has refused it, or is not in the ring.</summary>
    /// <param name="site">The site.</param>
    /// <param name="running">Digest of what it runs.</param>
    /// <param name="refused">Digest of what it does not take.</param>
    public ReleaseBundle? Offer(string site, string? running, string? refused)
    {
        lock (_lock)
        {
            if (_current is not { Stopped: null } current || current.Bundle.Digest == running || current.Bundle.Digest == refused
                || !current.Members.Contains(site))
            {
                return null;
            }

            using var transaction = _db.BeginTransaction();
            Step(current.Bundle, "offered", _agent, site, $"to {site}", transaction);
            transaction.Commit();
            Wake();
            return current.Bundle.Slice(site);
        }
    }

    /// <summary>The version that a site should run; null when none.</summary>
    private string? Wanted(string site)
    {
        lock (_lock)
        {
            return _current is { Stopped: null } current && current.Members.Contains(site) ? current.Bundle.Version.ToString() : null;
        }
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        base.Dispose();
        _db.Dispose();
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            var changed = _changed;
            try
            {
                Turn();
                await LogStepsAsync(stoppingToken);
            }
            catch (IOException e)
            {
                NotLogged(e.Message);
            }

            await changed.Task.WaitAsync(TimeSpan.FromSeconds(1), _clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>Looks once whether the next ring may begin.</summary>
    internal void Turn()
    {
        var reports = _sites.Sites().ToDictionary(s => s.Status.SiteId, StringComparer.Ordinal);
        lock (_lock)
        {
            if (_current is not { Stopped: null } current)
            {
                return;
            }

            var (verdict, why) = Judge(current, reports);
            var next = Array.Find(Rings.Percents, percent => percent > current.Ring);
            if (verdict == RingVerdict.Stop)
            {
                Move_NeedsLock(new(current.Bundle, current.Ring, current.RingMs, why), "stopped", why!);
            }
            else if (verdict == RingVerdict.Promote && next > 0)
            {
                Move_NeedsLock(new(current.Bundle, next, NowMs(), null), "promoted", $"to {next} % of the sites");
            }
        }
    }

    private (RingVerdict Verdict, string? Why) Judge(Stored stored, IReadOnlyDictionary<string, SiteView> reports) => Rings.Judge(
        stored.Members, reports, stored.Bundle.Digest, NowMs() - stored.RingMs >= _options.RingSoakSeconds * 1000L);

    private ReleaseView Add_NeedsLock(ReleaseTrust trust, Stored stored, IReadOnlyDictionary<string, byte[]> signatures)
    {
        var release = stored.Bundle;
        var added = new List<string>();
        foreach (var (name, signature) in signatures)
        {
            trust.Check(release, name, signature);
            if (trust.PersonOf(name) != trust.PersonOf(release.Manifest.ProposedBy) && (!release.Signatures.ContainsKey(name) || stored.Ring == 0))
            {
                added.Add(name);
            }

            release = release.With(name, signature);
        }

        using (var transaction = _db.BeginTransaction())
        {
            _db.Execute("UPDATE release SET bundle = @bundle WHERE version = @version", new { bundle = release.ToBytes(), version = release.Version.ToString() }, transaction);
            foreach (var name in added)
            {
                Step(release, "approved", name, "", $"by {name}", transaction);
            }

            transaction.Commit();
        }

        stored = new(release, stored.Ring, stored.RingMs, stored.Stopped);
        var approvers = trust.ApproversOf(release);
        if (stored.Ring == 0 && approvers.Count >= trust.Approvals)
        {
            trust.Accept(release, _clock.GetUtcNow(), _current is { } before ? (before.Bundle.Version, before.Bundle.Digest) : null);
            if (release.NewTrust is { } brought)
            {
                File.WriteAllBytes(_trustPath + ".new", brought.ToBytes());
                File.Move(_trustPath + ".new", _trustPath, overwrite: true);
            }

            stored = Move_NeedsLock(
                new(release, Rings.Percents[0], NowMs(), null), "signed", $"proposed by {release.Manifest.ProposedBy}, approved by {string.Join(", ", approvers)}");
        }
        else if (_current is { } current && current.Bundle.Digest == release.Digest)
        {
            _current = stored;
        }

        Wake();
        return View(stored, _sites.Sites().ToDictionary(s => s.Status.SiteId, StringComparer.Ordinal));
    }

    /// <summary>Lets the loop put new steps into the event log now.</summary>
    private void Wake() => Interlocked.Exchange(ref _changed, new(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();

    private Stored Move_NeedsLock(Stored stored, string step, string detail)
    {
        using var transaction = _db.BeginTransaction();
        _db.Execute(
            "UPDATE release SET ring = @Ring, ring_ms = @RingMs, stopped = @Stopped WHERE version = @version",
            new { stored.Ring, stored.RingMs, stored.Stopped, version = stored.Bundle.Version.ToString() }, transaction);
        Step(stored.Bundle, step, _agent, step == "promoted" ? $"{stored.Ring}" : "", detail, transaction);
        transaction.Commit();
        _current = stored;
        Moved(stored.Bundle.Version.ToString(), step, detail);
        return stored;
    }

    private void CheckContent(ReleaseBundle release)
    {
        if (!release.IsWhole)
        {
            throw new ReleaseRefusedException(ReleaseRefusal.Malformed, $"{release.Version} lacks files of its manifest.");
        }

        var now = NowMs();
        if (release.Manifest.ExpiresMs < now || release.Manifest.ExpiresMs > now + (MaxDays * DayMs))
        {
            throw new ReleaseRefusedException(ReleaseRefusal.Expired, $"{release.Version} expires in {(release.Manifest.ExpiresMs - now) / DayMs} days; accepted: within 0 to {MaxDays}.");
        }

        if (_current is { } current && !release.Version.IsNewerThan(current.Bundle.Version))
        {
            throw new ReleaseRefusedException(ReleaseRefusal.Older, $"{release.Version} is not newer than {current.Bundle.Version}, which is signed; accepted: a higher version.");
        }

        foreach (var site in release.Sites)
        {
            var (file, problems) = SiteFileReader.Read(release.SiteYaml(site)!, $"sites/{site}.yaml");
            if (problems.Count > 0 || file!.SiteId != site)
            {
                throw new ReleaseRefusedException(ReleaseRefusal.InvalidSite, problems.Count > 0 ? problems[0].ToString() : $"sites/{site}.yaml is of '{file!.SiteId}'.");
            }
        }

        if (release.Manifest.Canaries.Except(release.Sites).FirstOrDefault() is { } stranger)
        {
            throw new ReleaseRefusedException(ReleaseRefusal.InvalidSite, $"The canary '{stranger}' is no site of {release.Version}.");
        }
    }

    private ReleaseTrust Trust() => ReleaseTrust.Load(_trustPath) ?? throw new ReleaseRefusedException(
        ReleaseRefusal.NoTrust, $"There is no trust file '{_trustPath}'. Make one with 'yizhan config trust' and name it by fleet:releaseTrustPath.");

    private Stored? Find_NeedsLock(ReleaseVersion version) => Load($"WHERE number = {Number(version)}").FirstOrDefault();

    private List<Stored> Load(string where) =>
        [.. _db.Query<(byte[] Bundle, long Ring, long RingMs, string? Stopped)>($"SELECT bundle, ring, ring_ms, stopped FROM release {where}")
            .Select(row => new Stored(ReleaseBundle.Read(row.Bundle), (int)row.Ring, row.RingMs, row.Stopped))];

    private ReleaseView View(Stored stored, IReadOnlyDictionary<string, SiteView> reports)
    {
        var release = stored.Bundle;
        var sites = release.Sites.Select(site => SiteOf(release, site, stored.Members.Contains(site), reports.GetValueOrDefault(site))).ToArray();
        var replaced = _current is { } current && stored.Ring > 0 && current.Bundle.Version.IsNewerThan(release.Version);
        var state = stored.Ring == 0 ? "proposed" : stored.Stopped is not null ? "stopped" : replaced ? "replaced"
            : sites.All(s => s.State == "applied") ? "complete" : "rolling out";
        var waits = stored.Stopped ?? (state == "rolling out" ? Judge(stored, reports).Why : null);
        var trust = ReleaseTrust.Load(_trustPath);
        var approvers = (trust ?? new ReleaseTrust(0, 0, [])).Others(release);
        return new(
            release.Version.ToString(), release.Digest, state, release.Manifest.ProposedBy, approvers, trust?.Approvals ?? 0, stored.Ring, waits,
            release.Manifest.CreatedMs, release.Manifest.ExpiresMs, release.Manifest.Note, sites);
    }

    private static ReleaseSite SiteOf(ReleaseBundle release, string site, bool offered, SiteView? report)
    {
        var configuration = report?.Status.Configuration;
        var refused = configuration?.RefusedDigest == release.Digest;
        var state = refused ? "refused"
            : configuration?.Digest == release.Digest ? (configuration.OnTrial ? "on trial" : "applied")
            : offered ? "offered" : "waiting";
        return new(site, configuration?.Version, state, report?.Online ?? false, refused ? configuration!.Problem : null);
    }

    private void Step(ReleaseBundle release, string step, string agent, string site, string detail, SqliteTransaction transaction)
    {
        var entry = new ConfigurationStep(step, release.Version.ToString(), release.Digest, detail, NowMs());
        var record = JsonSerializer.Serialize(ReleaseAudit.Record(entry, agent, _agent), ContractsJson.Default.AuditRecord);
        _db.Execute("INSERT OR IGNORE INTO step VALUES (@id, @record, 0)", new { id = ReleaseAudit.IdOf(entry with { AtMs = 0 }, agent, site), record }, transaction);
    }

    private async Task LogStepsAsync(CancellationToken cancellationToken)
    {
        List<(string Id, string Record)> steps;
        lock (_lock)
        {
            steps = [.. _db.Query<(string, string)>("SELECT id, record FROM step WHERE logged = 0 ORDER BY rowid LIMIT 100")];
        }

        if (steps.Count == 0)
        {
            return;
        }

        var entries = steps.ConvertAll(step =>
        {
            var record = JsonSerializer.Deserialize(step.Record, ContractsJson.Default.AuditRecord)!;
            return new Entry(Lane.Normal, AuditRecord.EventType, step.Id, record.Entity, record.RecordedMs, System.Text.Encoding.UTF8.GetBytes(step.Record));
        });
        await _log.AppendAsync(entries, cancellationToken);
        lock (_lock)
        {
            _db.Execute("UPDATE step SET logged = 1 WHERE id IN @ids", new { ids = steps.Select(s => s.Id) });
        }
    }

    private long NowMs() => _clock.GetUtcNow().ToUnixTimeMilliseconds();

    private static long Number(ReleaseVersion version) => (((version.Year * 100L) + version.Month) * 1_000_000) + version.Patch;

    private sealed class Stored(ReleaseBundle bundle, int ring, long ringMs, string? stopped)
    {
        public ReleaseBundle Bundle => bundle;

        public int Ring => ring;

        public long RingMs => ringMs;

        public string? Stopped => stopped;

        /// <summary>Sites to which it is offered now.</summary>
        public IReadOnlyList<string> Members { get; } = ring == 0 ? [] : Rings.Members(bundle.Sites, bundle.Manifest.Canaries, ring);
    }

    [LoggerMessage(9030, LogLevel.Information, "{Version} is {Step}: {Detail}.")]
    private partial void Moved(string version, string step, string detail);

    [LoggerMessage(9031, LogLevel.Error, "Steps of releases could not be put into the event log; they are kept: {Reason}")]
    private partial void NotLogged(string reason);
}
