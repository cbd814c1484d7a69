using System.CommandLine;
using System.Text.Json;
using NSec.Cryptography;
using Yizhan.Platform.SiteFiles;
using Yizhan.Platform.Tunnels;

namespace Yizhan.Cli;

/// <summary><c>yizhan wireguard</c>: keys on the device, both ends of the tunnel from the site files.</summary>
internal static class WireGuardCommand
{
    public static Command Create() => new("wireguard", "Keys and settings of the tunnels between sites and centre.") { Keys(), Render() };

    private static Command Keys()
    {
        var file = new Option<FileInfo>("--out") { Description = "File for the private key, mode 0600.", DefaultValueFactory = _ => new FileInfo(WireGuard.KeyPath) };
        var json = new Option<bool>("--json") { Description = "Print one JSON object last." };
        var command = new Command("keys", """
            Makes this end's private key, once, and prints the public one: it goes into the site file as network.tunnel.publicKey.
            The private key does not leave the device.

            Examples:
              yizhan wireguard keys
              yizhan wireguard keys --out centre.key --json | tail -n 1 | jq -r .publicKey
            """) { file, json };
        command.SetAction(parsed => Guarded.Run(() =>
        {
            var path = parsed.GetValue(file)!.FullName;
            var created = !File.Exists(path);
            if (created)
            {
                Make(path);
            }

            using var key = Guarded.Read(path, "a private key of WireGuard", text => Key.Import(KeyAgreementAlgorithm.X25519, Convert.FromBase64String(text.Trim()), KeyBlobFormat.RawPrivateKey));
            var publicKey = Convert.ToBase64String(key.PublicKey.Export(KeyBlobFormat.RawPublicKey));
            Console.WriteLine(parsed.GetValue(json) ? JsonSerializer.Serialize(new { publicKey, file = path, created }, CliJson.Options) : publicKey);
            return 0;
        }));
        return command;
    }

    private static Command Render()
    {
        var files = new Argument<FileInfo[]>("files") { Description = "Site files: one for a site's end, all for the centre's.", Arity = ArgumentArity.OneOrMore };
        var centre = new Option<string?>("--centre-key") { Description = "Public key of the centre: renders the end of the one site. Default: renders the centre's end." };
        var address = new Option<string>("--centre-address") { Description = "Address of the centre inside the tunnels.", DefaultValueFactory = _ => "10.66.0.1/32" };
        var port = new Option<int>("--port") { Description = "UDP port of the centre.", DefaultValueFactory = _ => 51820 };
        var keyPath = new Option<string>("--key-path") { Description = "File of the private key at this end.", DefaultValueFactory = _ => WireGuard.KeyPath };
        var command = new Command("render", """
            Prints the settings of one end for wg-quick.

            Examples:
              yizhan wireguard render sites/*.yaml > /etc/wireguard/yizhan.conf                                   # at the centre
              yizhan wireguard render sites/lakeside.yaml --centre-key "$KEY" > /etc/wireguard/yizhan.conf        # at the site
            """) { files, centre, address, port, keyPath };
        command.SetAction(parsed => Guarded.Run(() =>
        {
            var (sites, problems) = SiteFolder.Read(parsed.GetValue(files)!.Select(f => f.ToString()).ToArray());
            if (problems.Count > 0)
            {
                problems.ToList().ForEach(problem => Console.Error.WriteLine(problem));
                return 1;
            }

            if (parsed.GetValue(centre) is { } centreKey && sites.Count != 1)
            {
                throw new ArgumentException($"--centre-key renders the end of one site; there are {sites.Count} files.");
            }

            Console.Write(parsed.GetValue(centre) is { } key
                ? WireGuard.OfSite(sites.Single().Site, key, parsed.GetValue(address)!, parsed.GetValue(keyPath)!)
                : WireGuard.OfCentre(sites.Select(s => s.Site), parsed.GetValue(address)!, parsed.GetValue(port), parsed.GetValue(keyPath)!));
            return 0;
        }));
        return command;
    }

    private static void Make(string path)
    {
        using var key = Key.Create(KeyAgreementAlgorithm.X25519, new KeyCreationParameters { ExportPolicy = KeyExportPolicies.AllowPlaintextExport });
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        using var file = new StreamWriter(path, options);
        file.WriteLine(Convert.ToBase64String(key.Export(KeyBlobFormat.RawPrivateKey)));
    }
}
