using System.CommandLine;
using System.Text.Json.Nodes;
using Yizhan.Platform.Bundles;
using Yizhan.Platform.Releases;

namespace Yizhan.Cli;

/// <summary><c>yizhan model pack</c>: makes a bundle of a folder, and signs it.</summary>
internal static class ModelPackCommand
{
    public static Command Create(Option<bool> json)
    {
        var folder = new Argument<DirectoryInfo>("folder") { Description = "A folder with configs/, models/, docs/ or LICENSE in it." };
        var name = new Option<string>("--name") { Description = "Name of the bundle: 1 to 64 of a-z, 0-9, '-' and '_'.", Required = true };
        var version = new Option<string>("--version") { Description = "One to three numbers, such as 1.0.2.", Required = true };
        var key = new Option<FileInfo?>("--key") { Description = "Your private key, NAME.pem (yizhan config keygen). Default: nobody signs, and only a node that takes unsigned bundles takes it." };
        var command = new Command("pack", """
            Makes a bundle of a folder: writes manifest.json, the list of its files with their SHA-256, and with a key its signature. A bundle
            for speech has configs/speech.json (docs/speech.md); 'yizhan model add' brings either kind to a node.

            Examples:
              yizhan model pack ./mandarin-open --name mandarin-open --version 1.0.0 --key wang.pem
              yizhan model add ./mandarin-open
            """) { folder, name, version, key };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            var path = parsed.GetRequiredValue(folder).FullName;
            try
            {
                if (!Directory.Exists(path))
                {
                    await Console.Error.WriteLineAsync($"yizhan: '{path}' is no folder.");
                    return CommandLine.Failed;
                }

                using var signer = parsed.GetValue(key) is { } file ? ReleaseKey.Load(file.FullName) : null;
                var manifest = BundleManifest.Of(parsed.GetRequiredValue(name), parsed.GetRequiredValue(version), path).ToBytes();

                // What a node would refuse is refused here, before anybody carries it to a site.
                var files = BundleManifest.Parse(manifest).Files;
                await File.WriteAllBytesAsync(Path.Combine(path, BundleManifest.Path), manifest, cancellationToken);
                if (signer is not null)
                {
                    Directory.CreateDirectory(Path.Combine(path, "signatures"));
                    await File.WriteAllBytesAsync(Path.Combine(path, "signatures", signer.Name + ".sig"), signer.Sign(manifest), cancellationToken);
                }

                var made = $"{parsed.GetRequiredValue(name)} {parsed.GetRequiredValue(version)}";
                Console.WriteLine(parsed.GetValue(json)
                    ? new JsonObject { ["bundle"] = made, ["files"] = files.Count, ["signedBy"] = signer?.Name }.ToJsonString(CliJson.Options)
                    : $"{made}: {files.Count} files, signed by {signer?.Name ?? "nobody"}.");
                return 0;
            }
            catch (Exception e) when (e is BundleRefusedException or ArgumentException or IOException or UnauthorizedAccessException)
            {
                await Console.Error.WriteLineAsync($"yizhan: {e.Message}");
                return CommandLine.Failed;
            }
        });
        return command;
    }
}
