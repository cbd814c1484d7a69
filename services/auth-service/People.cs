using System.Collections.Concurrent;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Identity;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Platform.Identity;
using Yizhan.Storage;

namespace Yizhan.Auth;

/// <summary>What became of an attempt to sign in.</summary>
internal enum SignInOutcome
{
    /// <summary>Come in.</summary>
    Welcome,

    /// <summary>Right, and the password has to be replaced first.</summary>
    MustChange,

    /// <summary>Name or password is wrong, or the account is disabled: which, is not said.</summary>
    Wrong,

    /// <summary>Too many wrong ones; later.</summary>
    Closed,
}

/// <summary>The people of this installation: their passwords, their roles, and who tries to guess them. Everything is audited.</summary>
internal sealed class People(
    IDbContextFactory<AuthDatabase> databases, IEventLog log, IOptions<AuthOptions> options, IOptions<NodeOptions> node, TimeProvider clock)
    : IDisposable
{
    /// <summary>Fewest characters of a password (NIST SP 800-63B-4 §3.1.1.2 asks for 15 where it is the only factor, 8 at the least).</summary>
    public const int MinPassword = 12;

    /// <summary>Whose password is in a file after the first start.</summary>
    private const string FirstName = "admin";

    private const int MaxPassword = 256;
    private const int MaxPeople = 10_000;

    private static readonly TimeSpan LongestClosed = TimeSpan.FromMinutes(15);

    private readonly PasswordHasher<Person> _hasher = new(Options.Create(new PasswordHasherOptions { IterationCount = options.Value.PasswordIterations }));
    private readonly ConcurrentDictionary<string, (long Minute, int Count)> _attempts = new(StringComparer.Ordinal);
    private readonly SemaphoreSlim _writer = new(1);
    private string? _nobody;

    private string FirstPasswordPath => node.Value.PathOf("auth", "first-password");

    public void Dispose() => _writer.Dispose();

    /// <summary>Makes the first admin, with a password that is good for one sign-in, in a file that only its owner reads.</summary>
    public async Task PrepareAsync(CancellationToken cancellationToken)
    {
        await using var database = await databases.CreateDbContextAsync(cancellationToken);
        await database.Database.EnsureCreatedAsync(cancellationToken);
        if (await database.People.AnyAsync(cancellationToken))
        {
            return;
        }

        var password = NewPassword();
        AtomicFile.Write(FirstPasswordPath, System.Text.Encoding.ASCII.GetBytes(password), secret: true, overwrite: true);
        database.People.Add(New(FirstName, "Admin", password, $"{Roles.Admin}@*"));
        await database.SaveChangesAsync(cancellationToken);
    }

    /// <summary>Whether one more attempt from an address is allowed now.</summary>
    public bool MayTry(string address)
    {
        var minute = clock.GetUtcNow().ToUnixTimeSeconds() / 60;
        if (_attempts.Count > 10_000)
        {
            _attempts.Clear();
        }

        return _attempts.AddOrUpdate(address, (minute, 1), (_, was) => was.Minute == minute ? (minute, was.Count + 1) : (minute, 1)).Count
            <= options.Value.AttemptsPerMinute;
    }

    /// <summary>Checks a password; takes as long for a name that there is not.</summary>
    public async Task<(SignInOutcome Outcome, Person? Person)> SignInAsync(string name, string password, string address, CancellationToken cancellationToken)
    {
        await _writer.WaitAsync(cancellationToken);
        try
        {
            await using var database = await databases.CreateDbContextAsync(cancellationToken);
            var person = Person.IsName(name) ? await database.People.FindAsync([name], cancellationToken) : null;
            var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
            if (person is null || person.Disabled)
            {
                _hasher.VerifyHashedPassword(null!, _nobody ??= _hasher.HashPassword(null!, "nobody"), password.Length <= MaxPassword ? password : "");

                // Somebody may have typed a password where the name belongs: what is no name of ours is not written down.
                await AuditAsync(person?.Name ?? "unknown", address, 4, person is null ? "no such name" : "disabled", cancellationToken);
                return (SignInOutcome.Wrong, null);
            }

            if (now < person.ClosedUntilMs)
            {
                return (SignInOutcome.Closed, null);
            }

            if (password.Length > MaxPassword || _hasher.VerifyHashedPassword(person, person.PasswordHash, password) == PasswordVerificationResult.Failed)
            {
                person.Wrong++;
                var over = person.Wrong - options.Value.WrongPasswords;
                if (over >= 0)
                {
                    var closed = TimeSpan.FromMinutes(Math.Min(Math.Pow(2, Math.Min(over, 10)), LongestClosed.TotalMinutes));
                    person.ClosedUntilMs = now + (long)closed.TotalMilliseconds;
                }

                await database.SaveChangesAsync(cancellationToken);
                await AuditAsync(name, address, over >= 0 ? 8 : 4, over >= 0 ? $"wrong password, {person.Wrong} in a row: closed" : "wrong password", cancellationToken);
                return (over >= 0 ? SignInOutcome.Closed : SignInOutcome.Wrong, null);
            }

            (person.Wrong, person.ClosedUntilMs) = (0, 0);
            await database.SaveChangesAsync(cancellationToken);
            await AuditAsync(name, address, 0, person.MustChange ? "has to change the password" : null, cancellationToken);
            return (person.MustChange ? SignInOutcome.MustChange : SignInOutcome.Welcome, person);
        }
        finally
        {
            _writer.Release();
        }
    }

    /// <summary>Replaces a password that was just checked.</summary>
    /// <returns>Null when it is done, else why not.</returns>
    public async Task<string?> ChangePasswordAsync(string name, string old, string password, CancellationToken cancellationToken)
    {
        if (password.Length is < MinPassword or > MaxPassword || password == old || password.Contains(name, StringComparison.OrdinalIgnoreCase))
        {
            return "password";
        }

        await ChangeAsync(name, person =>
        {
            person.PasswordHash = _hasher.HashPassword(person, password);
            person.MustChange = false;
        }, cancellationToken);
        if (name == FirstName)
        {
            File.Delete(FirstPasswordPath);
        }

        await AuditAsync(name, null, 0, "password changed", cancellationToken);
        return null;
    }

    /// <summary>Somebody by name; null when there is nobody, or they are disabled.</summary>
    public async Task<Person?> FindAsync(string name, CancellationToken cancellationToken)
    {
        await using var database = await databases.CreateDbContextAsync(cancellationToken);
        return await database.People.AsNoTracking().FirstOrDefaultAsync(p => p.Name == name && !p.Disabled, cancellationToken);
    }

    public async Task<IReadOnlyList<Person>> ListAsync(CancellationToken cancellationToken)
    {
        await using var database = await databases.CreateDbContextAsync(cancellationToken);
        return await database.People.AsNoTracking().OrderBy(p => p.Name).Take(MaxPeople).ToListAsync(cancellationToken);
    }

    /// <summary>Adds somebody; their first password, which they have to replace. Null when the name is taken.</summary>
    public async Task<string?> AddAsync(string name, string displayName, string roles, string by, CancellationToken cancellationToken)
    {
        var password = NewPassword();
        await _writer.WaitAsync(cancellationToken);
        try
        {
            await using var database = await databases.CreateDbContextAsync(cancellationToken);
            if (await database.People.AnyAsync(p => p.Name == name, cancellationToken) || await database.People.CountAsync(cancellationToken) >= MaxPeople)
            {
                return null;
            }

            database.People.Add(New(name, displayName, password, roles));
            await database.SaveChangesAsync(cancellationToken);
        }
        finally
        {
            _writer.Release();
        }

        await AuditChangeAsync(name, by, $"added with {roles}", cancellationToken);
        return password;
    }

    /// <summary>Changes roles; false when there is nobody of that name.</summary>
    public async Task<bool> SetRolesAsync(string name, string roles, string by, CancellationToken cancellationToken)
    {
        var done = await ChangeAsync(name, person => person.Roles = roles, cancellationToken);
        await AuditChangeAsync(name, by, $"roles {roles}", cancellationToken);
        return done;
    }

    /// <summary>Closes or opens an account; false when there is nobody of that name.</summary>
    public async Task<bool> SetDisabledAsync(string name, bool disabled, string by, CancellationToken cancellationToken)
    {
        var done = await ChangeAsync(name, person => person.Disabled = disabled, cancellationToken);
        await AuditChangeAsync(name, by, disabled ? "disabled" : "enabled", cancellationToken);
        return done;
    }

    /// <summary>Writes into the audit log of the node: a User Authentication (DCM 110114).</summary>
    public Task AuditAsync(string agent, string? address, int outcome, string? detail, CancellationToken cancellationToken) =>
        AuditAsync("110114", "E", outcome, agent, address, $"user/{agent}", detail, cancellationToken);

    private Task AuditChangeAsync(string name, string by, string detail, CancellationToken cancellationToken) =>
        AuditAsync("110137", "U", 0, by, null, $"user/{name}", detail, cancellationToken);

    private async Task AuditAsync(
        string eventId, string action, int outcome, string agent, string? address, string entity, string? detail, CancellationToken cancellationToken)
    {
        var now = clock.GetUtcNow();
        var record = new AuditRecord(eventId, action, outcome, agent, address, $"auth@{log.Site}", entity, detail, now.ToUnixTimeMilliseconds());
        await log.AppendAsync(
            [new Entry(Lane.Normal, AuditRecord.EventType, $"audit/{log.Site}/{Guid.CreateVersion7(now):N}", entity, now.ToUnixTimeMilliseconds(),
                System.Text.Json.JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord))], cancellationToken);
    }

    private async Task<bool> ChangeAsync(string name, Action<Person> change, CancellationToken cancellationToken)
    {
        await _writer.WaitAsync(cancellationToken);
        try
        {
            await using var database = await databases.CreateDbContextAsync(cancellationToken);
            if (await database.People.FindAsync([name], cancellationToken) is not { } person)
            {
                return false;
            }

            change(person);
            person.Stamp = NewPassword();
            await database.SaveChangesAsync(cancellationToken);
            return true;
        }
        finally
        {
            _writer.Release();
        }
    }

    private Person New(string name, string displayName, string password, string roles)
    {
        var person = new Person { Name = name, DisplayName = displayName, Roles = roles, MustChange = true, Stamp = NewPassword() };
        person.PasswordHash = _hasher.HashPassword(person, password);
        return person;
    }

    /// <summary>80 random bits that can be read out over a telephone.</summary>
    private static string NewPassword() => string.Join('-', Enumerable.Range(0, 4).Select(_ => RandomNumberGenerator.GetString("abcdefghjkmnpqrstuvwxyz23456789", 4)));
}
