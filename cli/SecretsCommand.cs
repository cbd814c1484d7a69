using System.CommandLine;
using System.Diagnostics;
using System.Text;
using System.Text.Json;
using Yizhan.Platform.SiteFiles;
using Yizhan.Sops;

namespace Yizhan.Cli;

/// <summary><c>yizhan secrets</c>: files of SOPS with age recipients, so that secrets can stand in the tree beside the site files.</summary>
internal static class SecretsCommand
{
    private static readonly Option<FileInfo?> Identity = new("--identity") { Description = "File with your private age key; by default that of SOPS_AGE_KEY_FILE." };

    private static readonly Option<string[]> Recipients = new("--recipient") { Description = "age1… of who may read. Repeat for several.", AllowMultipleArgumentsPerToken = true };

    private static readonly Option<FileInfo[]> Sites = new("--site") { Description = "Site files whose secretsRecipient may read.", AllowMultipleArgumentsPerToken = true };

    public static Command Create() => new("secrets", "Encrypts, reads, changes and renders secrets: the file format of SOPS with age keys.")
    {
        Keygen(), Encrypt(), Decrypt(), Set(), Edit(), Rotate(), Check(), Render(),
    };

    private static Command Keygen()
    {
        var file = new Option<FileInfo>("--out") { Description = "File for the private key.", Required = true };
        var command = new Command("keygen", """
            Makes an age key: the private half in a file that only you can read, the public half printed. Same form as age-keygen.

            Examples:
              yizhan secrets keygen --out lakeside.age-key
            """) { file };
        command.SetAction(parsed => Guarded.Run(() =>
        {
            using var key = AgeIdentity.Generate();
            var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
            if (!OperatingSystem.IsWindows())
            {
                options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            }

            using var writer = new StreamWriter(parsed.GetValue(file)!.FullName, Encoding.ASCII, options);
            writer.Write($"# public key: {key.Recipient}\n{key.ToSecretText()}\n");
            Console.WriteLine(key.Recipient);
            return 0;
        }));
        return command;
    }

    private static Command Encrypt()
    {
        var file = TheFile();
        var regex = new Option<string?>("--encrypted-regex") { Description = "Encrypt only values below keys that match, such as ^(data|stringData)$." };
        var command = new Command("encrypt", """
            Encrypts a plain YAML, JSON or .env file in place. Values below keys that end in _unencrypted stay readable.

            Examples:
              yizhan secrets encrypt secrets/lakeside.sops.yaml --site sites/lakeside.yaml --recipient age1…
            """) { file, Recipients, Sites, regex };
        command.SetAction(parsed => Guarded.Run(() => Rewrite(parsed.GetValue(file)!, (text, format) =>
        {
            var rules = parsed.GetValue(regex) is { } pattern ? new SopsRules { EncryptedRegex = pattern } : SopsRules.Default;
            return SopsFile.Encrypt(text, format, RecipientsOf(parsed), rules, Now);
        })));
        return command;
    }

    private static Command Decrypt()
    {
        var file = TheFile();
        var command = new Command("decrypt", """
            Checks a file and prints it in plain.

            Examples:
              yizhan secrets decrypt secrets/lakeside.sops.yaml
            """) { file, Identity };
        command.SetAction(parsed => Guarded.Run(() =>
        {
            var (text, format) = Read(parsed.GetValue(file)!);
            Console.Write(SopsFile.Decrypt(text, format, Keys(parsed)));
            return 0;
        }));
        return command;
    }

    private static Command Set()
    {
        var file = TheFile();
        var path = new Argument<string>("path") { Description = "Keys from the top, joined by '.'." };
        var command = new Command("set", """
            Sets one value; it is read from standard input, so that it stands in no list of processes and no history.

            Examples:
              yizhan secrets set secrets/lakeside.sops.yaml database.password < password.txt
            """) { file, path, Identity };
        command.SetAction(parsed => Guarded.Run(() =>
        {
            var value = Console.In.ReadToEnd().TrimEnd('\n');
            return Rewrite(parsed.GetValue(file)!, (text, format) => SopsFile.Set(text, format, parsed.GetValue(path)!, value, Keys(parsed), Now));
        }));
        return command;
    }

    private static Command Edit()
    {
        var file = TheFile();
        var command = new Command("edit", """
            Opens the plain text in $EDITOR, in a folder that only you can read, and encrypts what you save.

            Examples:
              EDITOR=vi yizhan secrets edit secrets/lakeside.sops.yaml
            """) { file, Identity };
        command.SetAction(parsed => Guarded.Run(() => Rewrite(parsed.GetValue(file)!, (text, format) =>
        {
            var keys = Keys(parsed);
            // CreateTempSubdirectory gives mode 0700.
            var folder = Directory.CreateTempSubdirectory("yizhan-secrets-");
            try
            {
                var plain = Path.Combine(folder.FullName, parsed.GetValue(file)!.Name);
                File.WriteAllText(plain, SopsFile.Decrypt(text, format, keys));
                var editor = Environment.GetEnvironmentVariable("EDITOR") ?? "vi";
                using var process = Process.Start(new ProcessStartInfo("/bin/sh", ["-c", $"{editor} \"$1\"", "sh", plain]))!;
                process.WaitForExit();
                return process.ExitCode == 0
                    ? SopsFile.Update(text, File.ReadAllText(plain), format, keys, Now)
                    : throw new SopsException($"'{editor}' ended with {process.ExitCode}; nothing was changed.");
            }
            finally
            {
                folder.Delete(recursive: true);
            }
        })));
        return command;
    }

    private static Command Rotate()
    {
        var file = TheFile();
        var remove = new Option<string[]>("--remove") { Description = "age1… of who may read no longer.", AllowMultipleArgumentsPerToken = true };
        var command = new Command("rotate", """
            Encrypts everything under a new data key, for those who could read it, with some more or fewer. Who was removed has seen the values:
            change them too.

            Examples:
              yizhan secrets rotate secrets/lakeside.sops.yaml --recipient age1new… --remove age1old…
            """) { file, Identity, Recipients, Sites, remove };
        command.SetAction(parsed => Guarded.Run(() => Rewrite(parsed.GetValue(file)!, (text, format) =>
        {
            var gone = (parsed.GetValue(remove) ?? []).Select(r => AgeRecipient.Parse(r).ToString()).ToArray();
            var stay = SopsFile.Recipients(text, format).Concat(RecipientsOf(parsed)).DistinctBy(r => r.ToString()).Where(r => !gone.Contains(r.ToString())).ToArray();
            return SopsFile.Rotate(text, format, Keys(parsed), stay, Now);
        })));
        return command;
    }

    private static Command Check()
    {
        var files = new Argument<FileInfo[]>("files") { Description = "Files.", Arity = ArgumentArity.OneOrMore };
        var json = new Option<bool>("--json") { Description = "Print one JSON object last." };
        var command = new Command("check", """
            Says, without any key, who can read each file and whether a value that should be encrypted is plain; exit code 1 when one is.

            Examples:
              yizhan secrets check secrets/*.sops.yaml
            """) { files, json };
        command.SetAction(parsed => Guarded.Run(() =>
        {
            var found = parsed.GetValue(files)!.Select(file =>
            {
                var (text, format) = Read(file);
                return new { file = file.ToString(), recipients = SopsFile.Recipients(text, format).Select(r => r.ToString()).ToArray(), plain = SopsFile.PlainValues(text, format) };
            }).ToArray();
            foreach (var file in found)
            {
                Console.Error.WriteLine($"{file.file}: {(file.recipients.Length == 0 ? "not encrypted" : $"for {string.Join(", ", file.recipients)}")}");
                foreach (var path in file.plain)
                {
                    Console.Error.WriteLine($"  {path} is plain");
                }
            }

            var bad = found.Count(f => f.recipients.Length == 0 || f.plain.Count > 0);
            Console.WriteLine(parsed.GetValue(json) ? JsonSerializer.Serialize(new { files = found, bad }, CliJson.Options) : $"{found.Length - bad} files are encrypted, {bad} are not.");
            return bad == 0 ? 0 : 1;
        }));
        return command;
    }

    private static Command Render()
    {
        var file = TheFile();
        var form = new Option<string>("--as") { Description = "env (KEY=value lines) or kubernetes (a Secret manifest).", DefaultValueFactory = _ => "env" };
        form.AcceptOnlyFromAmong("env", "kubernetes");
        var name = new Option<string>("--name") { Description = "Name of the Secret.", DefaultValueFactory = _ => "yizhan-secrets" };
        var space = new Option<string>("--namespace") { Description = "Namespace of the Secret.", DefaultValueFactory = _ => "platform" };
        var command = new Command("render", """
            Prints what a deployment reads, to standard output and nowhere else: pipe it, do not keep it. database.password becomes
            DATABASE_PASSWORD.

            Examples:
              yizhan secrets render secrets/lakeside.sops.yaml --as kubernetes --namespace edge | kubectl apply -f -
            """) { file, form, name, space, Identity };
        command.SetAction(parsed => Guarded.Run(() =>
        {
            var (text, format) = Read(parsed.GetValue(file)!);
            var values = SopsFile.Values(text, format, Keys(parsed)).Select(v => (Key: EnvironmentName(v.Path), v.Value)).ToArray();
            if (values.GroupBy(v => v.Key).FirstOrDefault(g => g.Count() > 1) is { } twice)
            {
                throw new SopsException($"Two values would be called {twice.Key}; accepted: keys that differ in more than '.', '-' and case, and no lists.");
            }

            if (parsed.GetValue(form) == "env")
            {
                foreach (var (key, value) in values)
                {
                    // Single quotes: neither a shell nor compose expands what is inside.
                    Console.WriteLine($"{key}='{value.Replace("'", "'\\''", StringComparison.Ordinal)}'");
                }

                return 0;
            }

            Console.WriteLine(JsonSerializer.Serialize(new
            {
                apiVersion = "v1",
                kind = "Secret",
                metadata = new { name = parsed.GetValue(name), @namespace = parsed.GetValue(space) },
                type = "Opaque",
                data = values.ToDictionary(v => v.Key, v => Convert.ToBase64String(Encoding.UTF8.GetBytes(v.Value))),
            }, CliJson.Options));
            return 0;
        }));
        return command;
    }

    private static DateTimeOffset Now => TimeProvider.System.GetUtcNow();

    private static Argument<FileInfo> TheFile() => new("file") { Description = "A .yaml, .json or .env file." };

    private static string EnvironmentName(string path) => string.Concat(path.Select(c => char.IsAsciiLetterOrDigit(c) ? char.ToUpperInvariant(c) : '_'));

    private static AgeRecipient[] RecipientsOf(ParseResult parsed)
    {
        var ofSites = (parsed.GetValue(Sites) ?? []).Select(file =>
        {
            var (site, problems) = SiteFileReader.ReadFile(file.FullName);
            return site?.SecretsRecipient ?? throw new SopsException(problems.Count > 0 ? problems[0].ToString() : $"{file} has no secretsRecipient.");
        });
        return [.. ofSites.Concat(parsed.GetValue(Recipients) ?? []).Select(AgeRecipient.Parse)];
    }

    private static IReadOnlyList<AgeIdentity> Keys(ParseResult parsed)
    {
        var path = parsed.GetValue(Identity)?.FullName ?? Environment.GetEnvironmentVariable("SOPS_AGE_KEY_FILE")
            ?? throw new SopsException("There is no private key; accepted: --identity FILE, or SOPS_AGE_KEY_FILE.");
        return AgeIdentity.ParseFile(File.ReadAllText(path));
    }

    private static (string Text, SopsFormat Format) Read(FileInfo file) => (
        File.ReadAllText(file.FullName),
        SopsFile.FormatOf(file.Name) ?? throw new SopsException($"'{file}' has no known extension; accepted: .yaml, .yml, .json, .env."));

    /// <summary>Writes beside the file and renames, so that it is never half there.</summary>
    private static int Rewrite(FileInfo file, Func<string, SopsFormat, string> change)
    {
        var (text, format) = Read(file);
        var temporary = $"{file.FullName}.{Environment.ProcessId}.tmp";
        File.WriteAllText(temporary, change(text, format));
        File.Move(temporary, file.FullName, overwrite: true);
        Console.WriteLine($"{file} is written.");
        return 0;
    }
}
