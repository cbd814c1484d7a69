using System.CommandLine;
using System.Globalization;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json.Nodes;
using Spectre.Console;
using Yizhan.Contracts;
using Yizhan.Dicom;

namespace Yizhan.Cli;

/// <summary><c>yizhan dicom</c>: what a running node asks of its DICOM peers. The node is who calls: it has the AE title, the address and the certificate that peers know.</summary>
internal static class DicomCommand
{
    private const int RedirectedWidth = 500;

    private static readonly string[] PatientKeys = ["PatientID", "PatientName", "PatientBirthDate"];

    internal static readonly string[] StudyKeys =
        ["PatientID", "PatientName", "StudyDate", "ModalitiesInStudy", "StudyDescription", "NumberOfStudyRelatedInstances", "StudyInstanceUID"];

    internal static readonly string[] SeriesKeys =
        ["Modality", "SeriesNumber", "SeriesDescription", "NumberOfSeriesRelatedInstances", "StudyInstanceUID", "SeriesInstanceUID"];

    internal static readonly string[] ImageKeys = ["InstanceNumber", "SOPClassUID", "SeriesInstanceUID", "SOPInstanceUID"];

    private static readonly string[] WorklistKeys =
    [
        "PatientID", "PatientName", "AccessionNumber", "RequestedProcedureDescription", "ScheduledProcedureStepSequence.Modality",
        "ScheduledProcedureStepSequence.ScheduledStationAETitle", "ScheduledProcedureStepSequence.ScheduledProcedureStepStartDate",
        "ScheduledProcedureStepSequence.ScheduledProcedureStepStartTime", "StudyInstanceUID",
    ];

    private static readonly Argument<string> Peer = new("peer") { Description = "AE title of a peer in the node's settings (pacs-gw:peers) that has a host." };

    private static readonly Option<Uri> Node = new("--node")
    {
        Description = "Web address of the running node.",
        DefaultValueFactory = _ => new Uri("http://127.0.0.1:8081/"),
        CustomParser = NodeClient.Address,
    };

    private static readonly Option<bool> Json = new("--json") { Description = "Print one JSON object last." };

    internal static readonly Option<string[]> Key = new("--key", "-k")
    {
        Description = "KEYWORD=VALUE that must match, or KEYWORD that is wanted in the answer; eight hex digits instead of the keyword; SEQUENCE.KEYWORD in a sequence.",
    };

    private static readonly Option<string> Level = new("--level")
    {
        Description = "PATIENT, STUDY, SERIES or IMAGE.",
        DefaultValueFactory = _ => "STUDY",
    };

    private static readonly Option<int> Limit = new("--limit") { Description = "Answers at most; the query is cancelled then.", DefaultValueFactory = _ => 1000 };
    private static readonly Option<string> Study = new("--study") { Description = "Study Instance UID.", Required = true };
    private static readonly Option<string?> Series = new("--series") { Description = "Only this series." };
    private static readonly Option<string?> Instance = new("--instance") { Description = "Only this instance." };

    static DicomCommand() => Level.AcceptOnlyFromAmong("PATIENT", "STUDY", "SERIES", "IMAGE");

    public static Command Create() => new("dicom", """
        DICOM peers of a running node: reach, search, retrieve, send; and DICOMweb servers, used from here. Answers of peers are patient data and recorded as read in the audit log.

        Examples:
          yizhan dicom peers
          yizhan dicom echo PACS
          yizhan dicom find PACS -k StudyDate=20261101- -k PatientName='王*'
          yizhan dicom get PACS -k StudyInstanceUID=1.2.3
          yizhan dicom store PACS --study 1.2.3
          yizhan dicom web query https://pacs.example/dicom-web/ -k PatientID=4711
        """)
    {
        Peers(), Echo(), Find(), Worklist(), Move(), Get(), Store(), Commit(), DicomWebCommand.Create(), DicomTestRulesCommand.Create(),
    };

    private static Command Peers()
    {
        var command = new Command("peers", "The DICOM peers of the node.") { Node, Json };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetValue(Node)!, async http =>
        {
            var peers = (JsonArray)await NodeClient.GetAsync(http, "pacs-gw/peers", cancellationToken);
            Print(parsed, new JsonObject { ["peers"] = peers.DeepClone() }, () => Table(
                ["AE title", "called at", "TLS", "may", "associations"],
                peers.Select(p => (string[])
                [
                    $"{p!["aeTitle"]}", p["host"] is null ? "never" : $"{p["host"]}:{p["port"]}", (bool)p["tls"]! ? "yes" : "no",
                    p["services"]!.AsArray() is { Count: > 0 } services ? string.Join(", ", services) : "everything", $"{p["associations"]}",
                ])));
            return 0;
        }));
        return command;
    }

    private static Command Echo()
    {
        var command = new Command("echo", """
            C-ECHO: whether a peer answers, and how fast.

            Examples:
              yizhan dicom echo PACS
              yizhan dicom echo PACS --node http://10.0.0.7:8081/ --json
            """) { Peer, Node, Json };
        command.SetAction((parsed, cancellationToken) => AskAsync(parsed, "echo", null, answer =>
        {
            Print(parsed, (JsonObject)answer, () => Console.WriteLine(
                string.Create(CultureInfo.InvariantCulture, $"{parsed.GetValue(Peer)} answers after {answer["milliseconds"]!.GetValue<double>():0.#} ms.")));
            return 0;
        }, cancellationToken));
        return command;
    }

    private static Command Find()
    {
        var command = new Command("find", """
            C-FIND of patients, studies, series or instances of a peer.

            Examples:
              yizhan dicom find PACS -k PatientID=4711
              yizhan dicom find PACS --level SERIES -k StudyInstanceUID=1.2.3 -k Modality
              yizhan dicom find PACS -k StudyDate=20261101-20261130 --json | tail -n 1 | jq '.answers[]["0020000D"].Value[0]'
            """) { Peer, Level, Key, Limit, Node, Json };
        command.SetAction((parsed, cancellationToken) =>
        {
            var level = parsed.GetValue(Level)!;
            return FindAsync(parsed, "find", level, level switch { "PATIENT" => PatientKeys, "SERIES" => SeriesKeys, "IMAGE" => ImageKeys, _ => StudyKeys }, cancellationToken);
        });
        return command;
    }

    private static Command Worklist()
    {
        var command = new Command("worklist", """
            C-FIND of a peer's modality worklist.

            Examples:
              yizhan dicom worklist RIS -k ScheduledProcedureStepSequence.ScheduledProcedureStepStartDate=20261123
              yizhan dicom worklist RIS -k ScheduledProcedureStepSequence.Modality=CT --json
            """) { Peer, Key, Limit, Node, Json };
        command.SetAction((parsed, cancellationToken) => FindAsync(parsed, "worklist", null, WorklistKeys, cancellationToken));
        return command;
    }

    private static Command Move()
    {
        var to = new Option<string?>("--to") { Description = "AE title that the peer sends to, and knows; this node when not given." };
        var command = new Command("move", """
            C-MOVE: a peer sends what matches to this node, or to somebody else.

            Examples:
              yizhan dicom move PACS -k StudyInstanceUID=1.2.3
              yizhan dicom move PACS -k StudyInstanceUID=1.2.3 --to WORKSTATION
              yizhan dicom move PACS --level SERIES -k StudyInstanceUID=1.2.3 -k SeriesInstanceUID=1.2.3.1 --json
            """) { Peer, Level, Key, to, Node, Json };
        command.SetAction((parsed, cancellationToken) => AskAsync(
            parsed, "move", () => Body(parsed, parsed.GetValue(Level), [], parsed.GetValue(to)), answer => Transferred(parsed, answer), cancellationToken));
        return command;
    }

    private static Command Get()
    {
        var command = new Command("get", """
            C-GET: fetches what matches into the archive of the node.

            Examples:
              yizhan dicom get PACS -k StudyInstanceUID=1.2.3
              yizhan dicom get PACS --level IMAGE -k StudyInstanceUID=1.2.3 -k SeriesInstanceUID=1.2.3.1 -k SOPInstanceUID=1.2.3.1.1
            """) { Peer, Level, Key, Node, Json };
        command.SetAction((parsed, cancellationToken) => AskAsync(
            parsed, "get", () => Body(parsed, parsed.GetValue(Level), [], null), answer => Transferred(parsed, answer), cancellationToken));
        return command;
    }

    private static Command Store()
    {
        var command = new Command("store", """
            C-STORE: sends what the node's archive has to a peer, decoded where the peer takes only that.

            Examples:
              yizhan dicom store PACS --study 1.2.3
              yizhan dicom store PACS --study 1.2.3 --series 1.2.3.1 --json
            """) { Peer, Study, Series, Instance, Node, Json };
        command.SetAction((parsed, cancellationToken) => AskAsync(
            parsed, "store", () => Own(parsed), answer => Transferred(parsed, answer), cancellationToken));
        return command;
    }

    private static Command Commit()
    {
        var command = new Command("commit", """
            Storage commitment: asks a peer whether it keeps what the node's archive has. A peer may answer later; the node keeps the answer.

            Examples:
              yizhan dicom commit PACS --study 1.2.3
              yizhan dicom commit PACS --study 1.2.3 --json | tail -n 1 | jq .result
            """) { Peer, Study, Series, Instance, Node, Json };
        command.SetAction((parsed, cancellationToken) => AskAsync(parsed, "commit", () => Own(parsed), answer =>
        {
            var failed = answer["result"]?["failed"]?.AsArray().Count ?? 0;
            Print(parsed, (JsonObject)answer, () => Console.WriteLine(
                answer["result"] is not { } result ? $"{parsed.GetValue(Peer)} has taken the request {answer["transactionUid"]} and has not reported yet."
                : $"{parsed.GetValue(Peer)} keeps {result["committed"]!.AsArray().Count} instances and {failed} not."));
            return failed == 0 ? 0 : 1;
        }, cancellationToken));
        return command;
    }

    private static Task<int> FindAsync(ParseResult parsed, string operation, string? level, string[] wanted, CancellationToken cancellationToken) =>
        AskAsync(parsed, operation, () => Body(parsed, level, wanted, null), answer =>
        {
            PrintAnswers(parsed.GetValue(Json), (JsonArray)answer, [.. wanted.Union(Keys(parsed).Keys, StringComparer.Ordinal)]);
            return 0;
        }, cancellationToken);

    /// <summary>Data sets in the DICOM JSON model, as JSON or as a table of some of their attributes.</summary>
    internal static void PrintAnswers(bool json, JsonArray answers, string[] columns)
    {
        if (json)
        {
            Console.WriteLine(new JsonObject { ["answers"] = answers.DeepClone() }.ToJsonString());
            return;
        }

        var found = DicomJson.ReadArray(Encoding.UTF8.GetBytes(answers.ToJsonString()));
        Table([.. columns.Select(c => c.Split('.')[^1])], found.Select(d => columns.Select(c => Text(d, c.Split('.'))).ToArray()));
        Console.WriteLine($"{found.Count} found.");
    }

    /// <summary>Posts to <c>/pacs-gw/peers/PEER/…</c>. Wrong use is a key that has no form of one.</summary>
    private static async Task<int> AskAsync(
        ParseResult parsed, string operation, Func<HttpContent>? body, Func<JsonNode, int> show, CancellationToken cancellationToken)
    {
        HttpContent? content;
        try
        {
            content = body?.Invoke();
        }
        catch (FormatException e)
        {
            await Console.Error.WriteLineAsync($"yizhan: {e.Message}");
            return CommandLine.WrongUse;
        }

        using (content)
        {
            return await NodeClient.RunAsync(parsed.GetValue(Node)!, async http => show((await NodeClient.PostAsync(
                http, $"pacs-gw/peers/{Uri.EscapeDataString(parsed.GetValue(Peer)!)}/{operation}", content, cancellationToken))!));
        }
    }

    private static JsonContent Body(ParseResult parsed, string? level, string[] wanted, string? destination)
    {
        var keys = Keys(parsed);
        foreach (var keyword in wanted)
        {
            keys.TryAdd(keyword, "");
        }

        return JsonContent.Create(new PeerQuery(level, keys, destination, wanted.Length > 0 ? parsed.GetValue(Limit) : null), ContractsJson.Default.PeerQuery);
    }

    private static JsonContent Own(ParseResult parsed) => JsonContent.Create(
        new PeerStudy(parsed.GetValue(Study)!, parsed.GetValue(Series), parsed.GetValue(Instance)), ContractsJson.Default.PeerStudy);

    internal static Dictionary<string, string> Keys(ParseResult parsed)
    {
        var keys = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var key in parsed.GetValue(Key) ?? [])
        {
            var (name, value) = key.Split('=', 2) is [var before, var after] ? (before, after) : (key, "");
            if (name.Length == 0 || !keys.TryAdd(name, value))
            {
                throw new FormatException($"--key '{key}' {(name.Length == 0 ? "has no name" : "is given twice")}; accepted are PatientID=4711 to match and PatientID to be shown.");
            }
        }

        return keys;
    }

    private static int Transferred(ParseResult parsed, JsonNode answer)
    {
        Print(parsed, (JsonObject)answer, () =>
        {
            Console.WriteLine($"{answer["completed"]} instances transferred, {answer["failed"]} failed. {answer["message"]}".TrimEnd());
            foreach (var uid in answer["failedInstances"]!.AsArray())
            {
                Console.WriteLine($"failed {uid}");
            }
        });
        return (int)answer["failed"]! == 0 ? 0 : 1;
    }

    /// <summary>The values of an attribute as text, empty when there are none.</summary>
    private static string Text(DicomDataset dataset, ReadOnlySpan<string> path)
    {
        if (!DicomDictionary.TryGetTag(path[0], out var tag)
            && !(uint.TryParse(path[0], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var number) && (tag = new DicomTag(number)) != default))
        {
            return "";
        }

        return path.Length > 1
            ? dataset.GetItems(tag) is [var first, ..] ? Text(first, path[1..]) : ""
            : string.Join('\\', dataset.GetStrings(tag) is { Count: > 0 } texts ? texts : dataset.GetDoubles(tag).Select(d => d.ToString(CultureInfo.InvariantCulture)));
    }

    private static void Table(IEnumerable<string> columns, IEnumerable<string[]> rows)
    {
        if (Console.IsOutputRedirected)
        {
            // A UID that is cut in two finds nothing.
            AnsiConsole.Profile.Width = RedirectedWidth;
        }

        var table = new Table().Border(TableBorder.Simple).AddColumns([.. columns]);
        foreach (var row in rows)
        {
            table.AddRow([.. row.Select(Markup.Escape)]);
        }

        AnsiConsole.Write(table);
    }

    private static void Print(ParseResult parsed, JsonObject value, Action text)
    {
        if (parsed.GetValue(Json))
        {
            Console.WriteLine(value.ToJsonString());
        }
        else
        {
            text();
        }
    }
}
