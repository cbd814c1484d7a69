using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Spectre.Console;
using Yizhan.Contracts;
using Yizhan.Platform.Releases;
using Yizhan.Platform.SiteFiles;
using Yizhan.Sops;

namespace Yizhan.Cli;

/// <summary><c>yizhan config</c>: a change of site files on its way to the sites.</summary>
internal static class ConfigCommand
{
    private static readonly Option<Uri> Centre = new("--centre")
    {
        Description = "Web address of the centre.",
        DefaultValueFactory = _ => new Uri("http://127.0.0.1:8080/"),
        CustomParser = NodeClient.Address,
    };

    private static readonly Option<FileInfo> Key = new("--key") { Description = "Your private key, NAME.pem (yizhan config keygen).", Required = true };

    private static readonly Option<bool> Json = new("--json") { Description = "Print one JSON object last." };

    public static Command Create() => new("config", "Makes, approves, follows and undoes configuration releases.")
    {
        Keygen(), Trust(), Release(), Show(), Diff(), Verify(), Approve(), Status(), Rollback(),
    };

    private static Command Keygen()
    {
        var name = new Argument<string>("name") { Description = "Whose key: 1 to 41 of a-z, 0-9 and '-'." };
        var folder = new Option<DirectoryInfo>("--out") { Description = "Folder for NAME.pem.", DefaultValueFactory = _ => new DirectoryInfo(".") };
        var command = new Command("keygen", """
            Makes a key for proposing and approving: NAME.pem, readable by you alone. Nothing of it leaves this machine but its public half.

            Examples:
              yizhan config keygen wang --out ~/keys
            """) { name, folder };
        command.SetAction(parsed => GuardedAsync(() =>
        {
            using var key = ReleaseKey.Create(parsed.GetValue(name)!);
            Console.WriteLine($"{key.Save(parsed.GetValue(folder)!.FullName)}\npublic: {key.Public.PublicKey}");
            return Task.FromResult(0);
        }));
        return command;
    }

    private static Command Trust()
    {
        var file = new Argument<FileInfo>("file") { Description = "The trust file; made when missing." };
        var add = new Option<string[]>("--add") { Description = "NAME.pem, or NAME=PUBLIC (as keygen prints it).", AllowMultipleArgumentsPerToken = true };
        var of = new Option<string?>("--of") { Description = "With --add: whose further keys these are, by the name of a key in the file. Keys of one person count once." };
        var revoke = new Option<string[]>("--revoke") { Description = "Name of a key that counts no longer.", AllowMultipleArgumentsPerToken = true };
        var approvals = new Option<int?>("--approvals") { Description = "How many others than the proposer must approve (2 when the file is made)." };
        var command = new Command("trust", """
            Says whose signatures count, in a file that centre and sites get once (fleet:releaseTrustPath, station:releaseTrustPath) and that
            later travels in releases (config release --trust FILE).

            Examples:
              yizhan config trust trust.json --add wang.pem li.pem zhao.pem
              yizhan config trust trust.json --revoke zhao
              yizhan config trust trust.json --add li-browser=MFkw... --of li
            """) { file, add, of, revoke, approvals };
        command.SetAction(parsed => GuardedAsync(async () =>
        {
            var path = parsed.GetValue(file)!.FullName;
            var trust = ReleaseTrust.Load(path) ?? new ReleaseTrust(0, 2, []);
            var person = parsed.GetValue(of) is not { } name ? null
                : trust.Keys.FirstOrDefault(k => k.Name == name)?.Person ?? throw new ArgumentException($"There is no key '{name}' in {path}; it has {string.Join(", ", trust.Keys.Select(k => k.Name))}.");
            var keys = trust.Keys.Concat((parsed.GetValue(add) ?? []).Select(k => PublicKey(k) with { Of = person })).ToArray();
            var gone = parsed.GetValue(revoke) ?? [];
            if (gone.Except(keys.Select(k => k.Name)).FirstOrDefault() is { } unknown)
            {
                throw new ArgumentException($"There is no key '{unknown}' in {path}; it has {string.Join(", ", keys.Select(k => k.Name))}.");
            }

            var changed = new ReleaseTrust(
                trust.Serial + 1, parsed.GetValue(approvals) ?? trust.Approvals, [.. keys.Select(k => gone.Contains(k.Name) ? k with { Revoked = true } : k)]);
            ReleaseTrust.Parse(changed.ToBytes());
            await File.WriteAllBytesAsync(path, changed.ToBytes());
            Console.WriteLine($"{path}: serial {changed.Serial}, {changed.Approvals} approvals, keys {string.Join(", ", changed.Keys.Select(k => $"{k.Name}{(k.Of is { } owner ? $" (of {owner})" : "")}{(k.Revoked ? " (revoked)" : "")}"))}");
            return 0;
        }));
        return command;
    }

    private static Command Release()
    {
        var sites = new Option<DirectoryInfo>("--sites") { Description = "Folder of the site files.", DefaultValueFactory = _ => new DirectoryInfo("sites") };
        var version = new Option<string?>("--version") { Description = "config-YY.MM.patch; by default the next one of this month." };
        var days = new Option<int>("--days") { Description = "Days until which sites may install it.", DefaultValueFactory = _ => 90 };
        var note = new Option<string>("--note") { Description = "Why it is made.", Required = true };
        var canary = new Option<string[]>("--canary") { Description = "Sites that get it first.", AllowMultipleArgumentsPerToken = true };
        var trust = new Option<FileInfo?>("--trust") { Description = "A changed trust file that goes with it." };
        var secrets = new Option<DirectoryInfo?>("--secrets") { Description = "Folder with ID.sops.yaml files that go with it." };
        var toFile = new Option<FileInfo?>("--out") { Description = "Write it to a file instead of proposing it to the centre." };
        var command = new Command("release", """
            Makes a release of all site files, signs it with your key and proposes it to the centre. Others approve it.

            Examples:
              yizhan config release --key wang.pem --note "second CT at lakeside"
              yizhan config release --key wang.pem --note "new key" --trust trust.json --canary lakeside
            """) { sites, Key, version, days, note, canary, trust, secrets, toFile, Centre, Json };
        command.SetAction((parsed, cancellationToken) => GuardedAsync(async () =>
        {
            using var key = ReleaseKey.Load(parsed.GetValue(Key)!.FullName);
            using var centre = new CentreClient(parsed.GetValue(Centre)!);
            var (read, problems) = SiteFolder.Read(SiteFolder.Files(parsed.GetValue(sites)!.FullName));
            foreach (var problem in problems)
            {
                await Console.Error.WriteLineAsync(problem.ToString());
            }

            if (problems.Count > 0 || read.Count == 0)
            {
                await Console.Error.WriteLineAsync($"yizhan: {problems.Count} faults in {parsed.GetValue(sites)}, {read.Count} good files; nothing was released.");
                return 1;
            }

            var before = parsed.GetValue(toFile) is null ? await centre.NewestAsync(cancellationToken) : null;
            var files = new Dictionary<string, byte[]>();
            foreach (var (path, site) in read)
            {
                files[$"sites/{site.SiteId}.yaml"] = await File.ReadAllBytesAsync(path, cancellationToken);
                files[$"diff/{site.SiteId}.json"] = ReleaseBundle.DiffBytes(SiteDiff.Between(SiteOf(before, site.SiteId), site));
                var encrypted = parsed.GetValue(secrets) is { } folder ? Path.Combine(folder.FullName, site.SiteId + ".sops.yaml") : "";
                if (File.Exists(encrypted))
                {
                    var text = await File.ReadAllTextAsync(encrypted, cancellationToken);
                    if (SopsFile.Recipients(text, SopsFormat.Yaml).Count == 0 || SopsFile.PlainValues(text, SopsFormat.Yaml) is [_, ..])
                    {
                        throw new ArgumentException($"'{encrypted}' is not encrypted, or not all of it (yizhan secrets check); nothing was released.");
                    }

                    files[$"secrets/{site.SiteId}.sops.yaml"] = await File.ReadAllBytesAsync(encrypted, cancellationToken);
                }
            }

            if (parsed.GetValue(trust) is { } trustFile)
            {
                files["trust.json"] = (ReleaseTrust.Load(trustFile.FullName) ?? throw new FileNotFoundException($"'{trustFile}' does not exist.")).ToBytes();
            }

            var made = Make(key, parsed.GetValue(version) ?? Next(before), parsed.GetValue(days), parsed.GetValue(note)!, parsed.GetValue(canary) ?? [], files);
            return await SendAsync(made, parsed.GetValue(toFile), centre, parsed.GetValue(Json), cancellationToken);
        }));
        return command;
    }

    private static Command Rollback()
    {
        var version = new Argument<string>("version") { Description = "The release whose content shall run again." };
        var note = new Option<string>("--note") { Description = "Why.", DefaultValueFactory = _ => "" };
        var command = new Command("rollback", """
            Makes a new release with the content of an older one, signs it and proposes it: sites only go forward, and it needs approvals
            like every other.

            Examples:
              yizhan config rollback config-26.10.3 --key wang.pem --note "CT1 lost its worklist"
            """) { version, Key, note, Centre, Json };
        command.SetAction((parsed, cancellationToken) => GuardedAsync(async () =>
        {
            using var key = ReleaseKey.Load(parsed.GetValue(Key)!.FullName);
            using var centre = new CentreClient(parsed.GetValue(Centre)!);
            var old = await centre.BundleAsync(parsed.GetValue(version)!, cancellationToken);
            var before = await centre.NewestAsync(cancellationToken);
            var files = new Dictionary<string, byte[]>();
            foreach (var site in old.Sites)
            {
                files[$"sites/{site}.yaml"] = old.SiteYaml(site)!;
                files[$"diff/{site}.json"] = ReleaseBundle.DiffBytes(SiteDiff.Between(SiteOf(before, site), SiteOf(old, site)));
            }

            var why = $"back to {old.Version}. {parsed.GetValue(note)}".TrimEnd();
            return await SendAsync(Make(key, Next(before), 90, why, old.Manifest.Canaries, files), null, centre, parsed.GetValue(Json), cancellationToken);
        }));
        return command;
    }

    private static Command Show()
    {
        var what = What();
        var command = new Command("show", """
            Shows what a release is: who made and approved it, its files and hashes.

            Examples:
              yizhan config show config-26.11.1
              yizhan config show release.tar --json
            """) { what, Centre, Json };
        command.SetAction((parsed, cancellationToken) => GuardedAsync(async () =>
        {
            var release = await GetAsync(parsed.GetValue(what)!, parsed.GetValue(Centre)!, cancellationToken);
            if (parsed.GetValue(Json))
            {
                Console.WriteLine(JsonSerializer.Serialize(new { release.Digest, signedBy = release.Signatures.Keys, release.Manifest }, CliJson.Options));
                return 0;
            }

            var m = release.Manifest;
            Console.WriteLine($"""
                {release.Version}  sha256 {release.Digest}
                proposed by {m.ProposedBy} at {Time(m.CreatedMs)}, to be installed until {Time(m.ExpiresMs)}
                signed by {string.Join(", ", release.Signatures.Keys)}
                {m.Note}
                """);
            foreach (var file in m.Files)
            {
                Console.WriteLine($"  {file.Sha256[..16]}  {file.Length,8}  {file.Path}");
            }

            return 0;
        }));
        return command;
    }

    private static Command Diff()
    {
        var what = What();
        var command = new Command("diff", """
            Shows what a release changes, site by site, as its proposer signed it.

            Examples:
              yizhan config diff config-26.11.1
            """) { what, Centre, Json };
        command.SetAction((parsed, cancellationToken) => GuardedAsync(async () =>
        {
            var release = await GetAsync(parsed.GetValue(what)!, parsed.GetValue(Centre)!, cancellationToken);
            var changes = release.Sites.ToDictionary(site => site, release.Changes);
            if (parsed.GetValue(Json))
            {
                Console.WriteLine(JsonSerializer.Serialize(changes, CliJson.Options));
                return 0;
            }

            foreach (var (site, lines) in changes)
            {
                Console.WriteLine($"{site}: {(lines.Count == 0 ? "unchanged" : "")}");
                foreach (var line in lines)
                {
                    Console.WriteLine($"  {line}");
                }
            }

            return 0;
        }));
        return command;
    }

    private static Command Verify()
    {
        var what = What();
        var trust = new Option<FileInfo>("--trust") { Description = "The trust file.", Required = true };
        var command = new Command("verify", """
            Checks a release as a site does: hashes, signatures, approvals, expiry. Exit code 1 with the reason when a site would refuse it.

            Examples:
              yizhan config verify release.tar --trust trust.json
            """) { what, trust, Centre, Json };
        command.SetAction((parsed, cancellationToken) => GuardedAsync(async () =>
        {
            var keys = ReleaseTrust.Load(parsed.GetValue(trust)!.FullName) ?? throw new FileNotFoundException($"'{parsed.GetValue(trust)}' does not exist.");
            string? refused = null;
            try
            {
                keys.Accept(await GetAsync(parsed.GetValue(what)!, parsed.GetValue(Centre)!, cancellationToken), TimeProvider.System.GetUtcNow(), null);
            }
            catch (ReleaseRefusedException e)
            {
                refused = $"{e.Reason}: {e.Message}";
            }

            Console.WriteLine(parsed.GetValue(Json) ? JsonSerializer.Serialize(new { accepted = refused is null, refused }, CliJson.Options)
                : refused is null ? "A site would take it." : $"A site would refuse it. {refused}");
            return refused is null ? 0 : 1;
        }));
        return command;
    }

    private static Command Approve()
    {
        var what = What();
        var command = new Command("approve", """
            Signs a release that somebody else proposed. With a file, the signature is added to the file.

            Examples:
              yizhan config diff config-26.11.1 && yizhan config approve config-26.11.1 --key li.pem
            """) { what, Key, Centre, Json };
        command.SetAction((parsed, cancellationToken) => GuardedAsync(async () =>
        {
            using var key = ReleaseKey.Load(parsed.GetValue(Key)!.FullName);
            using var centre = new CentreClient(parsed.GetValue(Centre)!);
            var release = await GetAsync(parsed.GetValue(what)!, parsed.GetValue(Centre)!, cancellationToken);
            if (key.Name == release.Manifest.ProposedBy)
            {
                throw new ArgumentException($"'{key.Name}' proposed {release.Version}; accepted: the key of somebody else.");
            }

            if (File.Exists(parsed.GetValue(what)))
            {
                await File.WriteAllBytesAsync(parsed.GetValue(what)!, release.With(key.Name, key.Sign(release)).ToBytes(), cancellationToken);
                Console.WriteLine($"{release.Version} is signed by {key.Name}.");
                return 0;
            }

            Print(await centre.ApproveAsync(release.Version.ToString(), new(key.Name, Convert.ToBase64String(key.Sign(release))), cancellationToken), parsed.GetValue(Json));
            return 0;
        }));
        return command;
    }

    private static Command Status()
    {
        var command = new Command("status", """
            Shows the releases at the centre and what each site runs.

            Examples:
              yizhan config status
              yizhan config status --json | tail -n 1 | jq '.releases[0].sites[] | select(.state != "applied")'
            """) { Centre, Json };
        command.SetAction((parsed, cancellationToken) => GuardedAsync(async () =>
        {
            using var centre = new CentreClient(parsed.GetValue(Centre)!);
            var releases = await centre.ListAsync(cancellationToken);
            if (parsed.GetValue(Json))
            {
                Console.WriteLine(JsonSerializer.Serialize(new { releases }, CliJson.Options));
                return 0;
            }

            if (releases.Count == 0)
            {
                Console.WriteLine("There is no release yet: yizhan config release --help");
            }

            foreach (var release in releases.Take(3))
            {
                Print(release, json: false);
            }

            return 0;
        }));
        return command;
    }

    private static Argument<string> What() => new("release") { Description = "config-YY.MM.patch at the centre, or a file." };

    private static ReleaseBundle Make(
        ReleaseKey key, string version, int days, string note, IReadOnlyList<string> canaries, Dictionary<string, byte[]> files)
    {
        var now = TimeProvider.System.GetUtcNow();
        var release = ReleaseBundle.Create(
            new(version, now.ToUnixTimeMilliseconds(), now.AddDays(days).ToUnixTimeMilliseconds(), key.Name, note, canaries, []), files);
        return release.With(key.Name, key.Sign(release));
    }

    private static async Task<int> SendAsync(ReleaseBundle release, FileInfo? file, CentreClient centre, bool json, CancellationToken cancellationToken)
    {
        if (file is not null)
        {
            await File.WriteAllBytesAsync(file.FullName, release.ToBytes(), cancellationToken);
            Console.WriteLine(json ? JsonSerializer.Serialize(new { version = release.Manifest.Version, release.Digest, file = file.FullName }, CliJson.Options)
                : $"{release.Version} is in {file}, sha256 {release.Digest}.");
            return 0;
        }

        Print(await centre.ProposeAsync(release, cancellationToken), json);
        return 0;
    }

    private static void Print(ReleaseView release, bool json)
    {
        if (json)
        {
            Console.WriteLine(JsonSerializer.Serialize(release, CliJson.Options));
            return;
        }

        var waits = release.Waits is null ? "" : $", {release.Waits}";
        Console.WriteLine($"{release.Version}: {release.State}{(release.RingPercent > 0 ? $" at {release.RingPercent} %" : "")}{waits}");
        Console.WriteLine($"  proposed by {release.ProposedBy}, approved by {release.Approvers.Count} of {release.ApprovalsNeeded} ({string.Join(", ", release.Approvers)}): {release.Note}");
        var table = new Table().Border(TableBorder.Simple).AddColumns("site", "runs", "this release", "online", "problem");
        foreach (var site in release.Sites)
        {
            table.AddRow(Markup.Escape(site.SiteId), site.Runs ?? "–", site.State, site.Online ? "yes" : "no", Markup.Escape(site.Problem ?? ""));
        }

        AnsiConsole.Write(table);
    }

    private static async Task<ReleaseBundle> GetAsync(string what, Uri address, CancellationToken cancellationToken)
    {
        if (File.Exists(what))
        {
            await using var file = File.OpenRead(what);
            return await ReleaseBundle.ReadAsync(file, cancellationToken);
        }

        using var centre = new CentreClient(address);
        return await centre.BundleAsync(what, cancellationToken);
    }

    private static SiteFile? SiteOf(ReleaseBundle? release, string site) =>
        release?.SiteYaml(site) is { } yaml ? SiteFileReader.Read(yaml, $"{release.Version}:sites/{site}.yaml").Site : null;

    private static string Next(ReleaseBundle? before)
    {
        var now = TimeProvider.System.GetUtcNow();
        var first = new ReleaseVersion(now.Year % 100, now.Month, 1);
        return (before is null || first.IsNewerThan(before.Version) ? first : before.Version with { Patch = before.Version.Patch + 1 }).ToString();
    }

    private static TrustedKey PublicKey(string text)
    {
        if (!File.Exists(text) && text.Split('=', 2) is [var name, var key])
        {
            return new(name, key);
        }

        using var read = ReleaseKey.Load(text);
        return read.Public;
    }

    private static string Time(long ms) => DateTimeOffset.FromUnixTimeMilliseconds(ms).ToString("u", CultureInfo.InvariantCulture);

    private static async Task<int> GuardedAsync(Func<Task<int>> run)
    {
        try
        {
            return await run();
        }
        catch (Exception e) when (e is ReleaseRefusedException or CentreException or SopsException or ArgumentException)
        {
            await Console.Error.WriteLineAsync($"yizhan: {e.Message}");
            return 1;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            await Console.Error.WriteLineAsync($"yizhan: {e.Message}");
            return CommandLine.Failed;
        }
    }
}
