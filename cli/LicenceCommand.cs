using System.CommandLine;
using System.Security.Cryptography;
using System.Text.Json;
using Yizhan.Platform.Licences;

namespace Yizhan.Cli;

/// <summary><c>yizhan licence</c>: licences are signed offline and checked anywhere.</summary>
internal static class LicenceCommand
{
    public static Command Create() => new("licence", "Signs, checks and shows licences. None is needed for storage, query and export.") { Keygen(), Fingerprint(), Issue(), Verify(), Show() };

    private static Command Keygen()
    {
        var key = new Argument<FileInfo>("key") { Description = "File for the private key, mode 0600; the public one gets .pub." };
        var command = new Command("keygen", """
            Makes the key pair that licences are signed with. The private key stays with whoever sells; the public one goes to the sites
            as licence/licence-key.pem in the node's data folder.

            Examples:
              yizhan licence keygen licence.pem
            """) { key };
        command.SetAction(parsed => Guarded.Run(() =>
        {
            var path = parsed.GetValue(key)!.FullName;
            using var pair = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
            if (!OperatingSystem.IsWindows())
            {
                options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            }

            using (var file = new StreamWriter(path, options))
            {
                file.WriteLine(pair.ExportPkcs8PrivateKeyPem());
            }

            File.WriteAllText(path + ".pub", pair.ExportSubjectPublicKeyInfoPem() + "\n");
            Console.WriteLine($"{path} signs, {path}.pub checks.");
            return 0;
        }));
        return command;
    }

    private static Command Fingerprint()
    {
        var command = new Command("fingerprint", """
            Prints the fingerprint of this machine, for yizhan licence issue --hardware.

            Examples:
              yizhan licence fingerprint
            """);
        command.SetAction(_ => Guarded.Run(() =>
        {
            Console.WriteLine(HardwareFingerprint.Of());
            return 0;
        }));
        return command;
    }

    private static Command Issue()
    {
        var site = new Argument<string>("siteId") { Description = "The site." };
        var key = new Option<FileInfo>("--key") { Description = "Private key of yizhan licence keygen.", Required = true };
        var features = new Option<string[]>("--feature") { Description = "What it allows, such as ai.ct-ich or ai.*. Repeat.", AllowMultipleArgumentsPerToken = true, Required = true };
        var hardware = new Option<string?>("--hardware") { Description = "Fingerprint of the one machine. Default: any of the site." };
        var days = new Option<int>("--days") { Description = "Life in days.", DefaultValueFactory = _ => 365 };
        var grace = new Option<int>("--grace-days") { Description = "Days after its end on which it still counts, 0 to 90.", DefaultValueFactory = _ => 14 };
        var sequence = new Option<long>("--sequence") { Description = "Higher than that of every licence of the site before.", Required = true };
        var id = new Option<string?>("--id") { Description = "Its name. Default: SITE-SEQUENCE." };
        var file = new Option<FileInfo?>("--out") { Description = "File. Default: print it." };
        var json = Json();
        var command = new Command("issue", """
            Signs a licence, offline.

            Examples:
              yizhan licence issue lakeside --key licence.pem --feature ai.ct-ich asr.* --sequence 3 --out licence.jws
            """) { site, key, features, hardware, days, grace, sequence, id, file, json };
        command.SetAction(parsed => Guarded.Run(() =>
        {
            var now = TimeProvider.System.GetUtcNow();
            var licence = new Licence(
                parsed.GetValue(id) ?? $"{parsed.GetValue(site)}-{parsed.GetValue(sequence)}", parsed.GetValue(site)!, parsed.GetValue(hardware), now.ToUnixTimeSeconds(),
                now.AddDays(parsed.GetValue(days)).ToUnixTimeSeconds(), parsed.GetValue(grace), parsed.GetValue(features)!, parsed.GetValue(sequence));
            using var signer = Guarded.Key(parsed.GetValue(key)!);
            var text = licence.Sign(signer);
            if (parsed.GetValue(file) is { } target)
            {
                File.WriteAllText(target.FullName, text + "\n");
            }

            if (parsed.GetValue(json))
            {
                Console.WriteLine(JsonSerializer.Serialize(new { licence, statement = text }, CliJson.Options));
            }
            else
            {
                Console.WriteLine(parsed.GetValue(file) is { } written ? $"{written.FullName}: {Say(licence)}" : text);
            }

            return 0;
        }));
        return command;
    }

    private static Command Verify()
    {
        var file = new Argument<FileInfo>("licence") { Description = "The licence." };
        var key = new Option<FileInfo>("--key") { Description = "Public key.", Required = true };
        var site = new Option<string?>("--site") { Description = "Site for which it must be." };
        var hardware = new Option<string?>("--hardware") { Description = "Fingerprint for which it must be; 'here' for this machine." };
        var json = Json();
        var command = new Command("verify", """
            Checks a licence: exit code 0 when it counts now, 1 when not, with the reason.

            Examples:
              yizhan licence verify licence.jws --key licence.pem.pub --site lakeside --hardware here
            """) { file, key, site, hardware, json };
        command.SetAction(parsed => Guarded.Run(() =>
        {
            using var signer = Guarded.Key(parsed.GetValue(key)!);
            var licence = Licence.Read(File.ReadAllText(parsed.GetValue(file)!.FullName), signer);
            var now = TimeProvider.System.GetUtcNow().ToUnixTimeSeconds();
            var machine = parsed.GetValue(hardware) is "here" ? HardwareFingerprint.Of() : parsed.GetValue(hardware);
            var state = licence is null ? LicenceState.Forged
                : parsed.GetValue(site) is { } wanted && licence.Site != wanted ? LicenceState.OtherSite
                : machine is not null && licence.Hardware is { } bound && bound != machine ? LicenceState.OtherHardware
                : now < licence.NotBefore ? LicenceState.NotYet
                : now < licence.Expires ? LicenceState.Active
                : now < licence.Expires + (licence.GraceDays * 86_400L) ? LicenceState.Grace
                : LicenceState.Lapsed;
            var counts = state is LicenceState.Active or LicenceState.Grace;
            Console.WriteLine(parsed.GetValue(json)
                ? JsonSerializer.Serialize(new { counts, state = state.ToString(), licence }, CliJson.Options)
                : $"{state}{(licence is null ? "" : $": {Say(licence)}")}");
            return counts ? 0 : 1;
        }));
        return command;
    }

    private static Command Show()
    {
        var file = new Argument<FileInfo>("licence") { Description = "The licence." };
        var json = Json();
        var command = new Command("show", """
            Prints what a licence says, without checking who signed it.

            Examples:
              yizhan licence show licence.jws
            """) { file, json };
        command.SetAction(parsed => Guarded.Run(() =>
        {
            var licence = Guarded.Read(parsed.GetValue(file)!.FullName, "a licence: three parts with dots between them", text => text.Trim().Split('.') is [_, var payload, _]
                ? JsonSerializer.Deserialize(System.Buffers.Text.Base64Url.DecodeFromChars(payload), LicenceJson.Default.Licence)
                : null);
            Console.WriteLine(parsed.GetValue(json) ? JsonSerializer.Serialize(new { licence, checkedBy = (string?)null }, CliJson.Options) : $"{Say(licence)} (not checked)");
            return 0;
        }));
        return command;
    }

    private static string Say(Licence licence) =>
        $"{licence.Id} for {licence.Site}{(licence.Hardware is null ? "" : " on one machine")}: {string.Join(", ", licence.Features)}, until "
        + $"{DateTimeOffset.FromUnixTimeSeconds(licence.Expires):yyyy-MM-dd} and {licence.GraceDays} days of grace, sequence {licence.Sequence}.";

    private static Option<bool> Json() => new("--json") { Description = "Print one JSON object last." };
}
