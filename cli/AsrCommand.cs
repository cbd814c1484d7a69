using System.CommandLine;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Spectre.Console;
using Yizhan.Transcripts;

namespace Yizhan.Cli;

/// <summary><c>yizhan asr</c>: recordings to text, and how wrong a recogniser is.</summary>
internal static class AsrCommand
{
    private static readonly Option<Uri> Node = new("--node")
    {
        Description = "Web address of the node.",
        DefaultValueFactory = _ => new Uri("http://127.0.0.1:8081/"),
        CustomParser = NodeClient.Address,
    };

    private static readonly Option<bool> Json = new("--json") { Description = "The last line of the output is one JSON object.", Recursive = true };

    private static readonly Option<AlignmentCost> Cost = new("--cost")
    {
        Description = "What an error costs while texts are aligned: sclite (4 for a substitution, 3 for a gap) or unit (1 each, as jiwer).",
        DefaultValueFactory = _ => AlignmentCost.Sclite,
        CustomParser = result =>
        {
            var text = result.Tokens[0].Value;
            if (text is not ("sclite" or "unit"))
            {
                result.AddError($"--cost is '{text}'; accepted: sclite, unit.");
            }

            return text == "unit" ? AlignmentCost.Unit : AlignmentCost.Sclite;
        },
    };

    public static Command Create() => new("asr", """
        Speech to text: recordings, and the error rates of every pack.

        Examples:
          yizhan asr packs
          yizhan asr add ./mandarin-1.0
          yizhan asr transcribe visit.wav --dialect en
          yizhan asr score corrected.txt draft.txt
          yizhan asr figures --set bench/speech/recordings.tsv --audio ~/recordings
          yizhan asr lm gigatdt.5000.DMP words.arpa
        """)
    {
        Json, Packs(), Add(), Transcribe(), Score(), Figures(), LanguageModel(),
    };

    private static Command Packs()
    {
        var command = new Command("packs", """
            Lists what hears and translates at a node: dialects, licence, who signed it, and why it cannot be used.

            Examples:
              yizhan asr packs
              yizhan asr packs --json | tail -n 1 | jq '.packs[].dialects'
            """) { Node };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetRequiredValue(Node), async http =>
        {
            var packs = (await NodeClient.GetAsync(http, "nmt-asr/packs", cancellationToken)).AsArray();
            if (parsed.GetValue(Json))
            {
                Console.WriteLine(new JsonObject { ["packs"] = packs.DeepClone() }.ToJsonString(CliJson.Options));
                return 0;
            }

            var table = new Table().Border(TableBorder.Simple).AddColumns("pack", "for", "dialects", "licence", "signed by", "problem");
            foreach (var pack in packs)
            {
                table.AddRow(Cells(
                    $"{pack!["name"]} {pack["version"]}", (string)pack["task"]!, string.Join(", ", pack["dialects"]!.AsArray()), (string)pack["licence"]!,
                    (bool)pack["ships"]! ? "ships" : string.Join(", ", pack["signedBy"]!.AsArray()), (string?)pack["problem"] ?? ""));
            }

            AnsiConsole.Write(table);
            return 0;
        }));
        return command;
    }

    private static Command Add()
    {
        var pack = new Argument<string>("pack") { Description = "A pack: a folder, or a zip archive (file or https address)." };
        var digest = new Option<string?>("--sha256") { Description = "SHA-256 of the archive, 64 hex digits. An address needs one; with a folder there is none." };
        var command = new Command("add", """
            Gives a pack to the node, which checks its signature, lets it hear a second of noise, and keeps it.

            Examples:
              yizhan asr add ./mandarin-1.0
              yizhan asr add https://packs.example/mandarin-1.0.zip --sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
            """) { pack, digest, Node };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            var (path, wanted) = (parsed.GetRequiredValue(pack), parsed.GetValue(digest)?.ToLowerInvariant());
            var isAddress = path.StartsWith("https://", StringComparison.Ordinal);
            if (isAddress && wanted is null || wanted is not null && (wanted.Length != 64 || !wanted.All(char.IsAsciiHexDigitLower) || Directory.Exists(path)))
            {
                await Console.Error.WriteLineAsync("yizhan: --sha256 is 64 hex digits; an address needs it, a folder has none.");
                return CommandLine.WrongUse;
            }

            if (!isAddress && !File.Exists(path) && !Directory.Exists(path))
            {
                await Console.Error.WriteLineAsync($"yizhan: '{path}' does not exist.");
                return CommandLine.Failed;
            }

            FileStream archive;
            try
            {
                archive = isAddress ? await FetchAsync(path, cancellationToken) : Directory.Exists(path) ? ModelCommand.Zip(path) : File.OpenRead(path);
            }
            catch (Exception e) when (e is HttpRequestException or IOException)
            {
                await Console.Error.WriteLineAsync($"yizhan: '{path}' cannot be read: {e.Message}");
                return CommandLine.Failed;
            }

            await using var closed = archive;
            if (wanted is not null && Convert.ToHexStringLower(await SHA256.HashDataAsync(archive, cancellationToken)) is var found && found != wanted)
            {
                await Console.Error.WriteLineAsync($"yizhan: the archive's SHA-256 is {found}, not {wanted}; nothing was added.");
                return CommandLine.Failed;
            }

            archive.Position = 0;
            return await NodeClient.RunAsync(parsed.GetRequiredValue(Node), async http =>
            {
                var added = (string?)await NodeClient.PostAsync(http, "nmt-asr/packs", new StreamContent(archive), cancellationToken);
                Console.WriteLine(parsed.GetValue(Json) ? new JsonObject { ["added"] = added }.ToJsonString(CliJson.Options) : $"{added} is kept.");
                return 0;
            });
        });
        return command;
    }

    /// <summary>An archive from an address, in a file that is gone when it is closed.</summary>
    private static async Task<FileStream> FetchAsync(string address, CancellationToken cancellationToken)
    {
        using var http = new HttpClient();
        var file = new FileStream(Path.GetTempFileName(), FileMode.Create, FileAccess.ReadWrite, FileShare.None, 128 * 1024, FileOptions.DeleteOnClose);
        await using var body = await http.GetStreamAsync(new Uri(address), cancellationToken);
        await body.CopyToAsync(file, cancellationToken);
        file.Position = 0;
        return file;
    }

    private static Command Transcribe()
    {
        var file = new Argument<string>("file") { Description = "A recording (WAV)." };
        var pack = new Option<string?>("--pack") { Description = "Name of the pack that hears it. Default: the one that the dialect is routed to." };
        var dialect = new Option<string?>("--dialect") { Description = "What is spoken (BCP 47: en, cmn, yue …). Default: the site's first." };
        var format = new Option<string>("--format") { Description = "txt, vtt, srt or json.", DefaultValueFactory = _ => "txt" };
        format.AcceptOnlyFromAmong("txt", "vtt", "srt", "json");
        var speakers = new Option<string?>("--speakers") { Description = "channels: each channel of the recording is one speaker. Default: nobody is told apart." };
        speakers.AcceptOnlyFromAmong("channels");
        var command = new Command("transcribe", """
            Gives a recording to the node and prints what it heard. A dialect that nothing hears is refused, not guessed.

            Examples:
              yizhan asr transcribe visit.wav
              yizhan asr transcribe visit.wav --dialect en --format vtt > visit.vtt
              yizhan asr transcribe call.wav --speakers channels
              yizhan asr transcribe visit.wav --pack pocketsphinx-en-us --json | tail -n 1 | jq -r .text
            """) { file, Node, pack, dialect, format, speakers };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            var path = parsed.GetRequiredValue(file);
            if (!File.Exists(path))
            {
                await Console.Error.WriteLineAsync($"yizhan: '{path}' does not exist.");
                return CommandLine.Failed;
            }

            return await NodeClient.RunAsync(parsed.GetRequiredValue(Node), async http =>
            {
                var asked = parsed.GetValue(Json) ? "json" : parsed.GetRequiredValue(format);
                await using var audio = File.OpenRead(path);
                using var answer = await http.PostAsync(Address(parsed.GetValue(dialect), parsed.GetValue(pack), asked, parsed.GetValue(speakers)), new StreamContent(audio), cancellationToken);
                await NodeClient.ThrowIfRefusedAsync(answer, cancellationToken);
                Console.WriteLine((await answer.Content.ReadAsStringAsync(cancellationToken)).TrimEnd());
                return 0;
            });
        });
        return command;
    }

    private static Command Score()
    {
        var reference = new Argument<string>("ref") { Description = "What was said: one utterance for each line, or NIST trn ('text (id)')." };
        var hypothesis = new Argument<string>("hyp") { Description = "What was recognised, in the same form." };
        var command = new Command("score", """
            Counts the errors of a recogniser: by words, by characters, and by mixed tokens (Han character, word, number), which the alert on
            dictation is made of. Needs no node. The counts are those of NIST's sclite for the same tokens.

            Examples:
              yizhan asr score corrected.txt draft.txt
              yizhan asr score ref.trn hyp.trn --cost unit --json | tail -n 1 | jq .words.rate
            """) { reference, hypothesis, Cost };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            foreach (var path in new[] { parsed.GetRequiredValue(reference), parsed.GetRequiredValue(hypothesis) }.Where(p => !File.Exists(p)))
            {
                await Console.Error.WriteLineAsync($"yizhan: '{path}' does not exist.");
                return CommandLine.Failed;
            }

            try
            {
                var pairs = Pairs(
                    await File.ReadAllLinesAsync(parsed.GetRequiredValue(reference), cancellationToken), await File.ReadAllLinesAsync(parsed.GetRequiredValue(hypothesis), cancellationToken));
                var rates = new Rates();
                foreach (var (said, heard) in pairs)
                {
                    rates.Add(said, heard, parsed.GetRequiredValue(Cost));
                }

                if (parsed.GetValue(Json))
                {
                    Console.WriteLine(rates.ToJson().ToJsonString(CliJson.Options));
                }
                else
                {
                    var table = RateTable("utterances");
                    rates.AddTo(table, null, rates.Utterances.ToString(CultureInfo.InvariantCulture));
                    AnsiConsole.Write(table);
                }

                return 0;
            }
            catch (Exception e) when (e is InvalidDataException or ArgumentException)
            {
                await Console.Error.WriteLineAsync($"yizhan: {e.Message}");
                return CommandLine.Failed;
            }
        });
        return command;
    }

    private static Command Figures()
    {
        var sets = new Option<string[]>("--set")
        {
            Description = "A test set: a file of lines 'recording, dialect, what is said' with tabs between, or DIALECT=FOLDER with recordings and a file 'transcription' as pocketsphinx has it.",
            Required = true,
            AllowMultipleArgumentsPerToken = true,
        };
        var audio = new Option<DirectoryInfo?>("--audio") { Description = "Folder of the recordings that a file of lines names. Default: where the file is." };
        var command = new Command("figures", """
            Lets every installed pack hear every given set whose dialect it names, and prints the error rates: by words, by characters, and by
            mixed tokens with the lower end of its interval of 95 %. NIST's sclite counts all three again (Debian: sctk; it exits with 1 when one
            count differs) and, in English, what pocketsphinx's own program hears (Debian: pocketsphinx).

            Examples:
              yizhan asr figures --set bench/speech/recordings.tsv --audio ~/recordings
              yizhan asr figures --set en=~/librivox --json | tail -n 1 | jq '.rows[] | {pack, set, mixed: .mixed.rate}'
            """) { Node, sets, audio };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            var given = new List<TestSet>();
            try
            {
                given.AddRange(parsed.GetRequiredValue(sets).SelectMany(s => TestSet.Read(s, parsed.GetValue(audio)?.FullName)));
            }
            catch (Exception e) when (e is InvalidDataException or IOException)
            {
                await Console.Error.WriteLineAsync($"yizhan: {e.Message}");
                return CommandLine.Failed;
            }

            return await NodeClient.RunAsync(parsed.GetRequiredValue(Node), http => FiguresAsync(http, given, parsed.GetValue(Json), cancellationToken));
        });
        return command;
    }

    private static Command LanguageModel()
    {
        var dump = new Argument<FileInfo>("dump") { Description = "A language model as CMU's tools dumped it for Sphinx 3 (.DMP)." };
        var arpa = new Argument<FileInfo>("arpa") { Description = "Where the same goes as ARPA text; a pack has it as models/words.arpa. Never over another file." };
        var command = new Command("lm", """
            Writes the words and the pairs of words of a Sphinx dump as ARPA text, for models whose dump pocketsphinx does not read because its
            triples are damaged. Triples are left out.

            Examples:
              yizhan asr lm gigatdt.5000.DMP mandarin-open/models/words.arpa
            """) { dump, arpa };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            try
            {
                var model = SphinxModel.Read(await File.ReadAllBytesAsync(parsed.GetRequiredValue(dump).FullName, cancellationToken));
                await using var to = new StreamWriter(new FileStream(parsed.GetRequiredValue(arpa).FullName, FileMode.CreateNew));
                model.WriteArpa(to);
                Console.WriteLine(parsed.GetValue(Json)
                    ? new JsonObject { ["words"] = model.Unigrams, ["pairs"] = model.Bigrams, ["triplesLeftOut"] = model.LeftOut }.ToJsonString(CliJson.Options)
                    : $"{model.Unigrams} words and {model.Bigrams} pairs; {model.LeftOut} triples are left out.");
                return 0;
            }
            catch (Exception e) when (e is InvalidDataException or IOException or UnauthorizedAccessException)
            {
                await Console.Error.WriteLineAsync($"yizhan: '{parsed.GetRequiredValue(dump).FullName}' is not made into ARPA text: {e.Message}");
                return CommandLine.Failed;
            }
        });
        return command;
    }

    private static async Task<int> FiguresAsync(HttpClient http, IReadOnlyList<TestSet> sets, bool json, CancellationToken cancellationToken)
    {
        var (rows, table, equal) = (new JsonArray(), RateTable("pack", "set", "dialect", "recordings"), true);
        table.AddColumn("sclite");
        var packs = (await NodeClient.GetAsync(http, "nmt-asr/packs", cancellationToken)).AsArray().Where(p => (string?)p!["task"] == "asr").ToArray();
        foreach (var set in sets)
        {
            var hears = packs.Where(p => p!["dialects"]!.AsArray().Any(d => string.Equals((string?)d, set.Dialect, StringComparison.OrdinalIgnoreCase))).ToArray();
            foreach (var pack in hears)
            {
                var (name, problem) = ((string)pack!["name"]!, (string?)pack["problem"]);
                var heard = new List<string>();
                foreach (var (file, _) in problem is null ? set.Lines : [])
                {
                    await using var recording = File.OpenRead(file);
                    using var answer = await http.PostAsync(Address(set.Dialect, name, "txt"), new StreamContent(recording), cancellationToken);
                    await NodeClient.ThrowIfRefusedAsync(answer, cancellationToken);
                    heard.Add((await answer.Content.ReadAsStringAsync(cancellationToken)).Replace('\n', ' '));
                }

                await AddAsync(set, $"{name} {pack["version"]}", problem is null ? heard : null, problem);
            }

            if (hears.Length == 0)
            {
                await AddAsync(set, null, null, "no pack here hears it");
            }

            if (string.Equals(set.Dialect, "en", StringComparison.OrdinalIgnoreCase))
            {
                var (heard, problem) = await AsrReferences.HearAsync([.. set.Lines.Select(l => l.File)], cancellationToken);
                await AddAsync(set, "pocketsphinx_batch", heard, problem);
            }
        }

        if (json)
        {
            Console.WriteLine(new JsonObject { ["rows"] = rows }.ToJsonString(CliJson.Options));
        }
        else
        {
            AnsiConsole.Write(table);
        }

        return equal ? 0 : 1;

        async Task AddAsync(TestSet set, string? pack, IReadOnlyList<string>? heard, string? problem)
        {
            var row = new JsonObject { ["pack"] = pack, ["set"] = set.Name, ["dialect"] = set.Dialect, ["recordings"] = set.Lines.Count };
            rows.Add(row);
            if (heard is null)
            {
                row["problem"] = problem;
                table.AddRow(Cells(pack ?? "", set.Name, set.Dialect, problem!));
                return;
            }

            var rates = new Rates();
            var pairs = set.Lines.Select((l, i) => (l.Text, heard[i])).ToArray();
            foreach (var (said, one) in pairs)
            {
                rates.Add(said, one, AlignmentCost.Sclite);
            }

            foreach (var (key, value) in rates.ToJson())
            {
                row[key] = value!.DeepClone();
            }

            // The same tokens three times: by words a sentence of Chinese is one, so that says little there.
            var (theirs, differs) = (new JsonObject(), new List<string>());
            foreach (var (kind, tokens, ours) in new (string, Func<string, IReadOnlyList<string>>, ErrorCounts)[]
            {
                ("words", TranscriptTokens.Words, rates.Words), ("characters", TranscriptTokens.Characters, rates.Characters), ("mixed", TranscriptTokens.Mixed, rates.Mixed),
            })
            {
                if (await AsrReferences.ScoreAsync(pairs, tokens, cancellationToken) is { } counted)
                {
                    theirs[kind] = Rates.One(counted);
                    differs.AddRange(counted == ours ? [] : [$"{kind} {Rates.Percent(counted.Rate)}"]);
                }
            }

            equal &= differs.Count == 0;
            row["sclite"] = theirs.Count > 0 ? theirs : null;
            rates.AddTo(
                table, theirs.Count == 0 ? "not installed" : differs.Count == 0 ? "equal" : $"differs: {string.Join(", ", differs)}",
                pack!, set.Name, set.Dialect, set.Lines.Count.ToString(CultureInfo.InvariantCulture));
        }
    }

    /// <summary>Reference and hypothesis of each utterance; an utterance that nothing was heard in is an empty one.</summary>
    private static IEnumerable<(string, string)> Pairs(string[] reference, string[] hypothesis)
    {
        if (Trn(reference) is { } said && Trn(hypothesis) is { } heard)
        {
            return heard.Keys.FirstOrDefault(id => !said.ContainsKey(id)) is { } unknown
                ? throw new InvalidDataException($"The hypothesis has the utterance '{unknown}', which the reference does not have.")
                : said.Select(s => (s.Value, heard.GetValueOrDefault(s.Key, "")));
        }

        return reference.Length == hypothesis.Length
            ? reference.Zip(hypothesis)
            : throw new InvalidDataException($"The reference has {reference.Length} lines and the hypothesis {hypothesis.Length}; accepted: as many, or NIST trn with an (id) at the end of each line.");
    }

    private static Dictionary<string, string>? Trn(string[] lines)
    {
        var found = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var line in lines.Select(l => l.TrimEnd()).Where(l => l.Length > 0))
        {
            if (line[^1] != ')' || line.LastIndexOf('(') is not (>= 0 and var at) || !found.TryAdd(line[(at + 1)..^1], line[..at].Trim()))
            {
                return null;
            }
        }

        return found.Count == 0 ? null : found;
    }

    private static string Address(string? dialect, string? pack, string format, string? speakers = null) =>
        $"nmt-asr/transcripts?format={format}" + (dialect is null ? "" : $"&dialect={Uri.EscapeDataString(dialect)}") + (pack is null ? "" : $"&pack={Uri.EscapeDataString(pack)}") + (speakers is null ? "" : $"&speakers={speakers}");

    private static Table RateTable(params string[] first) => new Table().Border(TableBorder.Simple).AddColumns([.. first, "words", "WER", "CER", "mixed", "at least"]);

    private static string[] Cells(params string[] cells) => [.. cells.Select(Markup.Escape)];

    /// <summary>Errors over some utterances.</summary>
    private sealed class Rates
    {
        private ErrorCounts _words, _characters, _mixed;

        public int Utterances { get; private set; }

        public void Add(string said, string heard, AlignmentCost cost)
        {
            Utterances++;
            _words += Alignment.Count(TranscriptTokens.Words(said), TranscriptTokens.Words(heard), cost);
            _characters += Alignment.Count(TranscriptTokens.Characters(said), TranscriptTokens.Characters(heard), cost);
            _mixed += Alignment.Count(TranscriptTokens.Mixed(said), TranscriptTokens.Mixed(heard), cost);
        }

        public JsonObject ToJson() => new() { ["utterances"] = Utterances, ["words"] = One(_words), ["characters"] = One(_characters), ["mixed"] = One(_mixed) };

        public ErrorCounts Words => _words;

        public ErrorCounts Characters => _characters;

        public ErrorCounts Mixed => _mixed;

        public void AddTo(Table table, string? last, params string[] first) => table.AddRow(Cells([
            .. first, _words.Reference.ToString(CultureInfo.InvariantCulture), Percent(_words.Rate), Percent(_characters.Rate), Percent(_mixed.Rate), Percent(_mixed.LowerBound), .. last is null ? (string[])[] : [last]]));

        public static JsonObject One(ErrorCounts c) => new()
        {
            ["reference"] = c.Reference,
            ["correct"] = c.Correct,
            ["substitutions"] = c.Substitutions,
            ["deletions"] = c.Deletions,
            ["insertions"] = c.Insertions,
            ["rate"] = Math.Round(c.Rate, 4),
            ["lowerBound"] = Math.Round(c.LowerBound, 4),
        };

        public static string Percent(double rate) => rate.ToString("P1", CultureInfo.InvariantCulture);
    }

    /// <summary>Recordings of one dialect and what is said in them.</summary>
    private sealed record TestSet(string Name, string Dialect, IReadOnlyList<(string File, string Text)> Lines)
    {
        private const int MaxLines = 10_000;

        public static TestSet[] Read(string given, string? audio)
        {
            var at = given.IndexOf('=', StringComparison.Ordinal);
            if (at > 0 && Directory.Exists(given[(at + 1)..]))
            {
                var folder = given[(at + 1)..];
                var said = Trn([.. File.ReadLines(Path.Combine(folder, "transcription")).Take(MaxLines)])
                    ?? throw new InvalidDataException($"'transcription' in '{folder}' is not lines of 'text (recording)'.");
                return [new TestSet(Path.GetFileName(folder.TrimEnd('/')), given[..at], [.. said.Select(s => (
                    Existing(Path.Combine(folder, s.Key + ".wav")), s.Value.Replace("<s>", "", StringComparison.Ordinal).Replace("</s>", "", StringComparison.Ordinal).Trim()))])];
            }

            if (!File.Exists(given))
            {
                throw new InvalidDataException($"'{given}' is no test set; accepted: a file of lines 'recording, dialect, text' with tabs between, or DIALECT=FOLDER.");
            }

            var home = audio ?? Path.GetDirectoryName(Path.GetFullPath(given))!;
            return File.ReadLines(given).Take(MaxLines).Where(l => l.Length > 0 && l[0] != '#').Select(l => l.Split('\t'))
                .Select(p => p.Length == 3 ? p : throw new InvalidDataException($"'{given}' has a line of {p.Length} columns; accepted: 3 (recording, dialect, text)."))
                .GroupBy(p => p[1], StringComparer.OrdinalIgnoreCase)
                .Select(g => new TestSet(Path.GetFileNameWithoutExtension(given), g.Key, [.. g.Select(p => (Existing(Path.Combine(home, p[0])), p[2]))])).ToArray();
        }

        private static string Existing(string path) => File.Exists(path) ? path : throw new InvalidDataException($"The recording '{path}' does not exist.");
    }
}
