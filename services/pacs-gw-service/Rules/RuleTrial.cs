using System.Text.Json;
using Yizhan.Dicom;
using Yizhan.PacsGw.Deidentify;
using Yizhan.Platform;

namespace Yizhan.PacsGw.Rules;

/// <summary>
/// <c>test-rules</c>: what rules would do with a file, without a node and without sending anything. Values of the file are shown, so its output is
/// for whoever may see the file.
/// </summary>
public static class RuleTrial
{
    private const int MaxFileBytes = 1 << 30;

    /// <summary>Explains each rule, then each copy with the attributes that differ.</summary>
    /// <param name="arguments"><c>FILE --rules FILE [--peer AE] [--called AE] [--write FOLDER] [--json]</c>.</param>
    /// <param name="output">Where the explanation goes; with <c>--json</c> the object.</param>
    /// <param name="error">Where errors go; with <c>--json</c> the explanation.</param>
    /// <returns>Exit code: 0; 1 when the instance would be rejected or a copy could not be made; 64 to 66 for what is wrong with the arguments.</returns>
    public static int Run(IReadOnlyList<string> arguments, TextWriter output, TextWriter error)
    {
        int Fail(int code, string message)
        {
            error.WriteLine($"yizhan: {message.TrimEnd('.')}.");
            return code;
        }

        var options = new Dictionary<string, string>();
        string? path = null;
        for (var i = 0; i < arguments.Count; i++)
        {
            if (arguments[i] == "--json")
            {
                options["--json"] = "";
            }
            else if (arguments[i] is "--rules" or "--peer" or "--called" or "--write" && i + 1 < arguments.Count)
            {
                options[arguments[i]] = arguments[++i];
            }
            else if (path is null && !arguments[i].StartsWith('-'))
            {
                path = arguments[i];
            }
            else
            {
                return Fail(64, $"'{arguments[i]}' is not understood; accepted are FILE, --rules FILE, --peer AE, --called AE, --write FOLDER and --json");
            }
        }

        if (path is null || !options.TryGetValue("--rules", out var rulesPath))
        {
            return Fail(64, "a DICOM file and --rules FILE are needed");
        }

        try
        {
            if (new FileInfo(path) is var info && (!info.Exists || info.Length > MaxFileBytes))
            {
                return Fail(66, info.Exists ? $"{path} has {info.Length} bytes; at most {MaxFileBytes} are accepted" : $"the file '{path}' does not exist");
            }

            var rules = RuleFile.Read(rulesPath);
            var file = File.ReadAllBytes(path);
            return new Trial(rules, file, options.GetValueOrDefault("--peer", ""), options.GetValueOrDefault("--called", "YIZHAN"), options.GetValueOrDefault("--write"))
                .Run(options.ContainsKey("--json") ? error : output, options.ContainsKey("--json") ? output : null);
        }
        catch (Exception e) when (e is SettingException or DicomFormatException or IOException or UnauthorizedAccessException)
        {
            return Fail(65, e.Message);
        }
    }

    private sealed class Trial(RuleSet rules, byte[] file, string peer, string called, string? folder)
    {
        public int Run(TextWriter output, TextWriter? json)
        {
            var parsed = DicomFile.Parse(file);
            var decision = RuleEngine.Decide(rules, new RuleSubject(peer, called, parsed.Dataset));
            foreach (var step in decision.Steps)
            {
                output.WriteLine($"line {step.Rule.Line}, {step.Rule.Name}: {step.Mismatch ?? "applies: " + Actions(step.Rule)}");
            }

            foreach (var rule in rules.Rules.Skip(decision.Steps.Count))
            {
                output.WriteLine($"line {rule.Line}, {rule.Name}: not looked at");
            }

            output.WriteLine(decision.Rejection is { } rejection ? $"rejected: {rejection.Reject}"
                : decision.Pinned is { } pinned ? $"stored, kept from retention by '{pinned.Name}'" : "stored");
            var copies = decision.Routes.Select(route => Copy(route, decision, output)).ToList();
            if (json is not null)
            {
                json.WriteLine(JsonSerializer.Serialize(new
                {
                    rejected = decision.Rejection?.Reject,
                    pinned = decision.Pinned is not null,
                    rules = decision.Steps.Select(s => new { name = s.Rule.Name, line = s.Rule.Line, applies = s.Mismatch is null, because = s.Mismatch }),
                    copies,
                }));
            }

            return decision.Rejection is not null || copies.Exists(c => c.Problem is not null) ? 1 : 0;
        }

        private CopyShown Copy(RuledRoute route, RuleDecision decision, TextWriter output)
        {
            output.WriteLine($"copy to '{route.Destination}' by '{route.Rule.Name}':");
            try
            {
                var original = DicomFile.Parse(file);
                var made = DicomFile.Parse(file);

                // The projects' keys are the node's own; here they are of this moment.
                var maker = new CopyMaker(rules, _ => new Pseudonyms(new byte[Pseudonyms.KeyBytes], new UidFactory(null)), "YIZHAN test-rules", TimeProvider.System);
                var copy = maker.Make(decision, route.Rule, made.Dataset, made.TransferSyntax, peer);
                var differences = Differences(original.Dataset, copy.Dataset).ToList();
                foreach (var difference in differences)
                {
                    output.WriteLine($"  {difference}");
                }

                if (differences.Count == 0)
                {
                    output.WriteLine("  as it was received");
                }

                if (folder is not null)
                {
                    Directory.CreateDirectory(folder);
                    var target = Path.Combine(folder, $"{route.Destination}.dcm");
                    var bytes = new System.Buffers.ArrayBufferWriter<byte>();
                    DicomFile.Create(copy.Dataset, copy.Syntax).Write(bytes);
                    File.WriteAllBytes(target, bytes.WrittenSpan);
                    output.WriteLine($"  written to {target}");
                }

                return new CopyShown(route.Destination, route.Rule.Name, differences, null);
            }
            catch (NotDeidentifiableException e)
            {
                output.WriteLine($"  is not sent: {e.Message}");
                return new CopyShown(route.Destination, route.Rule.Name, [], e.Message);
            }
        }

        private static string Actions(Rule rule) => string.Join(", ", (string?[])
        [
            rule.Reject is null ? null : "reject",
            rule.Pin ? "pin" : null,
            rule.Coerce.Count == 0 ? null : $"coerce {rule.Coerce.Count} attributes",
            rule.Deidentify is null ? null : $"de-identify with '{rule.Deidentify}'",
            rule.Routes.Count == 0 ? null : $"route to {string.Join(", ", rule.Routes)}",
            rule.Stop ? "stop" : null,
        ] is var all ? all.OfType<string>() : []);

        private static IEnumerable<string> Differences(DicomDataset before, DicomDataset after)
        {
            foreach (var tag in before.Select(e => e.Tag).Union(after.Select(e => e.Tag)).Order())
            {
                var (was, now) = (Shown(before, tag), Shown(after, tag));
                if (was != now)
                {
                    var name = DicomDictionary.TryGet(tag, out var entry) ? entry.Keyword : "private or unknown";
                    yield return $"{tag} {name}: {was ?? "(absent)"} -> {now ?? "(removed)"}";
                }
            }
        }

        private static string? Shown(DicomDataset dataset, DicomTag tag) =>
            !dataset.TryGet(tag, out var element) ? null
            : element.Items is { } items ? $"{items.Count} items, {Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(DicomJson.ToUtf8Bytes(new DicomDataset().Set(element), Plain)))[..8]}"
            : element.ValueVr.IsText() && element.Value.Length <= 256 ? $"'{string.Join('\\', dataset.GetStrings(tag))}'"
            : $"{element.Value.Length} bytes, {Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(element.Value.Span))[..8]}";

        private static readonly DicomJsonOptions Plain = new() { BulkDataUri = e => e.Fragments is null ? null : "fragments" };
    }

    /// <summary>One copy as it is shown.</summary>
    private sealed record CopyShown(string Destination, string Rule, IReadOnlyList<string> Differences, string? Problem);
}
