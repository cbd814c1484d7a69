using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Serialization;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Platform.Certificates;
using Yizhan.Platform.Identity;
using Yizhan.Storage;

namespace Yizhan.Station.SignIn;

/// <summary>What became of a sign-in.</summary>
public enum SignInOutcome
{
    /// <summary>There is a token.</summary>
    SignedIn,

    /// <summary>Name or PIN is wrong; which of them is not said.</summary>
    Wrong,

    /// <summary>Too many were wrong; the account waits, also with the right one.</summary>
    Locked,

    /// <summary>The centre has sent no list of accounts, or it is too old.</summary>
    NoList,
}

/// <summary>Signs people in at a site without the centre, and gives emergency access. All of it is in the audit log before it counts.</summary>
public sealed class SiteSignIn : IDisposable
{
    /// <summary>Life of a token.</summary>
    public static readonly TimeSpan TokenLife = TimeSpan.FromMinutes(15);

    /// <summary>Longest emergency access.</summary>
    public static readonly TimeSpan LongestEmergency = TimeSpan.FromMinutes(60);

    private const int WrongBeforeLock = 5;
    private const int MaxEmergencies = 1000;
    private const int MaxVerdict = 200;

    // DICOM PS3.16 CID 400: User Authentication; Security Alert.
    private const string UserAuthentication = "110114";
    private const string SecurityAlert = "110113";

    private static readonly TimeSpan FirstLock = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan LongestLock = TimeSpan.FromHours(1);

    private readonly IEventLog _log;
    private readonly CertificateFiles? _files;
    private readonly X509Certificate2? _root;
    private readonly string _folder;
    private readonly TimeProvider _clock;
    private readonly SemaphoreSlim _gate = new(1);
    private readonly Dictionary<string, (int Wrong, DateTimeOffset Until)> _tries = new(StringComparer.Ordinal);
    private readonly List<EmergencyView> _emergencies;
    private volatile AccountList? _list;

    /// <summary>Reads what is kept.</summary>
    /// <param name="log">The site's log.</param>
    /// <param name="files">The site's certificate, whose key signs tokens; null for a site that is not enrolled: nobody signs in.</param>
    /// <param name="root">Root of the installation; null for a site that is not enrolled.</param>
    /// <param name="folder">Where list and queue are kept.</param>
    /// <param name="clock">The site's clock.</param>
    /// <exception cref="InvalidDataException">What is kept was altered.</exception>
    public SiteSignIn(IEventLog log, CertificateFiles? files, X509Certificate2? root, string folder, TimeProvider clock)
    {
        (_log, _files, _root, _folder, _clock) = (log, files, root, folder, clock);
        _list = root is not null && File.Exists(ListPath) ? AccountList.Read(File.ReadAllText(ListPath), root, log.Site) : null;
        _emergencies = File.Exists(QueuePath) ? JsonSerializer.Deserialize(File.ReadAllBytes(QueuePath), SignInJson.Default.ListEmergencyView)! : [];
    }

    /// <summary>Issuer of the site's tokens.</summary>
    public string Issuer => $"urn:yizhan:site:{_log.Site}";

    /// <summary>The site.</summary>
    public string Site => _log.Site;

    /// <summary>The list that counts now; null before the first.</summary>
    public AccountList? List => _list;

    /// <summary>Until when that list counts, Unix milliseconds UTC; null before the first.</summary>
    public long? ValidUntilMs => _list?.IssuedMs + (long)AccountList.Life.TotalMilliseconds;

    /// <summary>Emergency access that nobody has reviewed yet, the oldest first.</summary>
    public IReadOnlyList<EmergencyView> ToReview
    {
        get
        {
            lock (_emergencies)
            {
                return [.. _emergencies.Where(e => e.Reviewer is null)];
            }
        }
    }

    /// <summary>Whether a session of somebody of the list may go on: who was taken off it, or has other roles now, signs in again.</summary>
    /// <param name="name">Name of the account.</param>
    /// <param name="roles">The session's roles; null for an emergency, which has its own.</param>
    public bool MayGoOn(string name, IEnumerable<string>? roles) =>
        _list?.Accounts.FirstOrDefault(a => a.Name == name) is { } account && (roles is null || RolesHere(account.Roles).ToHashSet(StringComparer.Ordinal).SetEquals(roles));

    /// <summary>Takes the list that the centre sent; one that is older than the present one changes nothing.</summary>
    /// <returns>Whether it is a new one.</returns>
    /// <exception cref="InvalidDataException">It is not signed by the root for this site.</exception>
    public async Task<bool> TakeAsync(string text, CancellationToken cancellationToken)
    {
        var list = AccountList.Read(text, _root ?? throw new InvalidDataException("This site is not enrolled."), _log.Site);
        await _gate.WaitAsync(cancellationToken);
        try
        {
            if (_list is { } present && list.Number <= present.Number)
            {
                return false;
            }

            AtomicFile.Write(ListPath, System.Text.Encoding.ASCII.GetBytes(text), secret: true, overwrite: true);
            _list = list;
            CloseReviewed_NeedsGate(list.Reviewed ?? []);
            return true;
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>Signs somebody in.</summary>
    /// <returns>What became of it, and the token when it did.</returns>
    public async Task<(SignInOutcome Outcome, string? Token)> SignInAsync(string name, string pin, CancellationToken cancellationToken)
    {
        // One at a time: a slow hash for each of many guesses at once would take the processor from the modalities.
        await _gate.WaitAsync(cancellationToken);
        try
        {
            var now = _clock.GetUtcNow();
            if (_files is null || _list is not { } list || now - DateTimeOffset.FromUnixTimeMilliseconds(list.IssuedMs) > AccountList.Life)
            {
                return (SignInOutcome.NoList, null);
            }

            var account = list.Accounts.FirstOrDefault(a => a.Name == name);

            // Names that nobody has share one count: else they would fill the memory.
            var counted = account?.Name ?? "";
            var (wrong, until) = _tries.GetValueOrDefault(counted);
            if (now < until)
            {
                return (SignInOutcome.Locked, null);
            }

            if (account is null || !PinHash.Fits(pin, account.PinHash))
            {
                wrong++;
                var over = wrong - WrongBeforeLock;
                var wait = over < 0 ? TimeSpan.Zero : FirstLock * Math.Pow(2, Math.Min(over, 10));
                _tries[counted] = (wrong, now + (wait < LongestLock ? wait : LongestLock));
                await RecordAsync(
                    UserAuthentication, 4, account is null ? "unknown" : name, $"signin/{(account is null ? "unknown" : name)}",
                    over < 0 ? "wrong PIN" : $"wrong PIN, locked after {wrong}", cancellationToken);
                return (SignInOutcome.Wrong, null);
            }

            _tries.Remove(counted);
            await RecordAsync(UserAuthentication, 0, name, $"signin/{name}", "signed in at the site", cancellationToken);
            return (SignInOutcome.SignedIn, Token(name, account.Roles, TokenLife, null));
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>Emergency access for somebody who can sign in.</summary>
    /// <param name="name">Name of the account.</param>
    /// <param name="pin">Its PIN.</param>
    /// <param name="reason">Why, 10 to 500 characters. It goes into the audit log: no patient's name.</param>
    /// <param name="life">How long, up to <see cref="LongestEmergency"/>.</param>
    /// <param name="cancellationToken">Gives up before it is recorded.</param>
    /// <exception cref="ArgumentException">Reason or time are out of bounds.</exception>
    /// <exception cref="IOException">There is no room for one more that nobody has reviewed.</exception>
    public async Task<(SignInOutcome Outcome, string? Token)> BreakGlassAsync(
        string name, string pin, string reason, TimeSpan life, CancellationToken cancellationToken)
    {
        if (reason.Trim().Length is < 10 or > 500)
        {
            throw new ArgumentException($"A reason of 10 to 500 characters is needed; there are {reason.Trim().Length}.", nameof(reason));
        }

        if (life <= TimeSpan.Zero || life > LongestEmergency)
        {
            throw new ArgumentException($"Emergency access lasts up to {LongestEmergency.TotalMinutes} minutes, not {life.TotalMinutes}.", nameof(life));
        }

        var (outcome, _) = await SignInAsync(name, pin, cancellationToken);
        if (outcome != SignInOutcome.SignedIn)
        {
            return (outcome, null);
        }

        await _gate.WaitAsync(cancellationToken);
        try
        {
            var now = _clock.GetUtcNow();
            var access = new EmergencyView(
                Guid.CreateVersion7(now).ToString("N"), _log.Site, name, reason.Trim(), now.ToUnixTimeMilliseconds(), (now + life).ToUnixTimeMilliseconds());
            if (_emergencies.Count >= MaxEmergencies && !_emergencies.Exists(e => e.Reviewer is not null))
            {
                throw new IOException($"{MaxEmergencies} emergency accesses wait for their review; no more are given.");
            }

            var taken = new EmergencyTaken(access.Id, access.Site, access.Who, access.Reason, access.FromMs, access.UntilMs);
            await RecordAsync(
                SecurityAlert, 0, name, $"emergency/{access.Id}", $"emergency access for {life.TotalMinutes:0} min: {access.Reason}", cancellationToken,
                Fact(EmergencyTaken.EventType, "taken", access.Id, JsonSerializer.SerializeToUtf8Bytes(taken, ContractsJson.Default.EmergencyTaken)));
            Change_NeedsGate(all =>
            {
                if (all.Count >= MaxEmergencies)
                {
                    all.RemoveAt(all.FindIndex(e => e.Reviewer is not null));
                }

                all.Add(access);
            });
            return (SignInOutcome.SignedIn, Token(name, ["clinician"], life, access.Reason));
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>Closes an emergency access; nobody reviews his own.</summary>
    /// <returns>False when there is none of that id that waits.</returns>
    /// <exception cref="ArgumentException">The reviewer is who took it, or the verdict is out of bounds.</exception>
    public async Task<bool> ReviewAsync(string id, string reviewer, string verdict, CancellationToken cancellationToken)
    {
        if (verdict.Trim().Length is < 1 or > MaxVerdict)
        {
            throw new ArgumentException($"A verdict of 1 to {MaxVerdict} characters is needed; there are {verdict.Trim().Length}.", nameof(verdict));
        }

        await _gate.WaitAsync(cancellationToken);
        try
        {
            var at = _emergencies.FindIndex(e => e.Id == id && e.Reviewer is null);
            if (at < 0)
            {
                return false;
            }

            var who = _emergencies[at].Who;
            if (reviewer == who || reviewer == SubjectOf(who))
            {
                throw new ArgumentException($"{reviewer} took this access; somebody else reviews it.", nameof(reviewer));
            }

            var reviewed = new EmergencyReviewed(id, _log.Site, reviewer, verdict.Trim(), _clock.GetUtcNow().ToUnixTimeMilliseconds());
            await RecordAsync(
                SecurityAlert, 0, reviewer, $"emergency/{id}", $"reviewed: {reviewed.Verdict}", cancellationToken,
                Fact(EmergencyReviewed.EventType, "reviewed", id, JsonSerializer.SerializeToUtf8Bytes(reviewed, ContractsJson.Default.EmergencyReviewed)));
            Change_NeedsGate(all => all[at] = all[at] with { Reviewer = reviewer, Verdict = reviewed.Verdict });
            return true;
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _gate.Dispose();

    private string ListPath => Path.Combine(_folder, "accounts.jws");

    private string QueuePath => Path.Combine(_folder, "emergencies.json");

    private string Token(string name, IReadOnlyList<string> roles, TimeSpan life, string? breakGlass)
    {
        var now = _clock.GetUtcNow().ToUnixTimeSeconds();
        var claims = new Dictionary<string, object>
        {
            ["iss"] = Issuer,
            ["sub"] = SubjectOf(name),
            ["name"] = name,
            ["aud"] = "yizhan",
            ["iat"] = now,
            ["nbf"] = now,
            ["exp"] = now + (long)life.TotalSeconds,
            ["jti"] = Guid.CreateVersion7(_clock.GetUtcNow()).ToString("N"),
            ["roles"] = RolesHere(roles).ToArray(),
        };
        if (breakGlass is not null)
        {
            claims["break_glass"] = breakGlass;
        }

        using var key = _files!.Certificate.GetECDsaPrivateKey()!;
        return CompactJws.Sign(key, "at+jwt", JsonSerializer.SerializeToUtf8Bytes(claims, SignInJson.Default.DictionaryStringObject));
    }

    private IEnumerable<string> RolesHere(IEnumerable<string> roles) => roles.Select(role => $"{role.Split('@')[0]}@{_log.Site}");

    private string SubjectOf(string name) => $"{_log.Site}:{name}";

    /// <summary>What the centre has closed is closed here, too: it recorded that there.</summary>
    private void CloseReviewed_NeedsGate(IReadOnlyList<ReviewedAccess> reviewed)
    {
        var closed = reviewed.DistinctBy(r => r.Id).ToDictionary(r => r.Id, StringComparer.Ordinal);
        if (_emergencies.Exists(e => e.Reviewer is null && closed.ContainsKey(e.Id)))
        {
            Change_NeedsGate(all =>
            {
                for (var i = 0; i < all.Count; i++)
                {
                    all[i] = all[i].Reviewer is null && closed.TryGetValue(all[i].Id, out var by) ? all[i] with { Reviewer = by.Reviewer, Verdict = by.Verdict } : all[i];
                }
            });
        }
    }

    private void Change_NeedsGate(Action<List<EmergencyView>> change)
    {
        lock (_emergencies)
        {
            change(_emergencies);
            AtomicFile.Write(QueuePath, JsonSerializer.SerializeToUtf8Bytes(_emergencies, SignInJson.Default.ListEmergencyView), secret: true, overwrite: true);
        }
    }

    private async Task RecordAsync(
        string eventId, int outcome, string agent, string entity, string detail, CancellationToken cancellationToken, params Entry[] facts)
    {
        var now = _clock.GetUtcNow();
        var record = new AuditRecord(eventId, "E", outcome, agent, null, $"station@{_log.Site}", entity, detail, now.ToUnixTimeMilliseconds());
        await _log.AppendAsync(
            [
                .. facts,
                new Entry(
                    Lane.Urgent, AuditRecord.EventType, $"signin/{Guid.CreateVersion7(now):N}", entity, record.RecordedMs,
                    JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord)),
            ], cancellationToken);
    }

    private Entry Fact(string type, string what, string id, byte[] data) =>
        new(Lane.Urgent, type, $"emergency/{what}/{id}", $"emergency/{id}", _clock.GetUtcNow().ToUnixTimeMilliseconds(), data);
}

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web)]
[JsonSerializable(typeof(List<EmergencyView>))]
[JsonSerializable(typeof(Dictionary<string, object>))]
[JsonSerializable(typeof(string[]))]
[JsonSerializable(typeof(long))]
internal sealed partial class SignInJson : JsonSerializerContext;
