using System.CommandLine;
using System.Globalization;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Nodes;
using Spectre.Console;
using Yizhan.Storage;

namespace Yizhan.Cli;

/// <summary><c>yizhan spool</c>: what a site keeps and sends, and what an operator does about what cannot be sent.</summary>
internal static class SpoolCommand
{
    private static readonly Option<Uri> Node = new("--node")
    {
        Description = "Web address of the running node.",
        DefaultValueFactory = _ => new Uri("http://127.0.0.1:8081/"),
        CustomParser = NodeClient.Address,
    };

    private static readonly Option<string> Module = new("--module") { Description = "station at a site, fleet at a centre.", DefaultValueFactory = _ => "station" };
    private static readonly Option<bool> Json = new("--json") { Description = "Print one JSON object last." };
    private static readonly Argument<string> LaneName = new("lane") { Description = "urgent, normal, bulk or telemetry." };
    private static readonly Argument<long> Sequence = new("sequence") { Description = "Number of the entry in its lane." };
    private static readonly Option<string> By = new("--by") { Description = "Who decides; goes into the audit log.", Required = true };
    private static readonly Option<string> Reason = new("--reason") { Description = "Why; goes into the audit log.", Required = true };

    public static Command Create()
    {
        var command = new Command("spool", """
            Looks into the spool of a site and repairs what cannot be sent.

            Examples:
              yizhan spool ls
              yizhan spool show bulk 17 --node http://127.0.0.1:8081/
              yizhan spool replay normal 4 --by "M. Keller" --reason "the centre knows this type now"
              yizhan spool discard bulk 17 --by "M. Keller" --reason "a phantom, not a patient"
              yizhan spool quarantine normal 9 --by "M. Keller" --reason "it holds up the lane"
              yizhan spool new-epoch
              yizhan spool verify
              yizhan spool verify --data /var/lib/yizhan --site lakeside
              yizhan spool shred --day 2026-05-04 --by "M. Keller" --reason "retention is over" --yes
            """)
        {
            Ls(), Show(), Decide("replay", "Sends an entry out of quarantine again, and those that wait for it."),
            Decide("discard", "Gives up an entry in quarantine, for ever; what waited for it is sent."),
            Decide("quarantine", "Puts an entry aside that is not delivered yet."), Verify(), NewEpoch(), Shred(),
        };
        return command;
    }

    private static Command Ls()
    {
        var lane = new Option<string?>("--lane") { Description = "List the entries of this lane instead of the lanes." };
        var after = new Option<long>("--after") { Description = "List entries after this sequence." };
        var command = new Command("ls", "Lanes, link and quarantine; with --lane the entries that are kept of it.") { Node, Json, lane, after };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetValue(Node)!, async http =>
        {
            var json = parsed.GetValue(Json);
            if (parsed.GetValue(lane) is { } name)
            {
                var path = string.Create(CultureInfo.InvariantCulture, $"station/spool/{name}?after={parsed.GetValue(after)}");
                var entries = (JsonArray)await NodeClient.GetAsync(http, path, cancellationToken);
                Print(json, new JsonObject { ["entries"] = entries.DeepClone() }, () => Entries(entries));
                return 0;
            }

            var spool = (JsonObject)await NodeClient.GetAsync(http, "station/spool", cancellationToken);
            Print(json, spool, () => Lanes(spool));
            return 0;
        }));
        return command;
    }

    private static Command Show()
    {
        var data = new Option<bool>("--data") { Description = "Show what the entry says. This is recorded in the audit log." };
        var by = new Option<string>("--by") { Description = "Who looks, for the audit log.", DefaultValueFactory = _ => Environment.UserName };
        var command = new Command("show", "One entry.") { LaneName, Sequence, Node, Json, data, by };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetValue(Node)!, async http =>
        {
            var entry = (JsonObject)await NodeClient.GetAsync(
                http, $"{PathOf(parsed)}?data={(parsed.GetValue(data) ? "true" : "false")}&by={Uri.EscapeDataString(parsed.GetValue(by)!)}", cancellationToken);
            Print(parsed.GetValue(Json), entry, () => Console.WriteLine(entry.ToJsonString(new JsonSerializerOptions { WriteIndented = true })));
            return 0;
        }));
        return command;
    }

    private static Command Decide(string verb, string description)
    {
        var command = new Command(verb, description) { LaneName, Sequence, Node, Json, By, Reason };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetValue(Node)!, async http =>
        {
            using var body = JsonContent.Create(new JsonObject { ["by"] = parsed.GetValue(By), ["reason"] = parsed.GetValue(Reason) });
            var answer = await NodeClient.PostAsync(http, $"{PathOf(parsed)}/{verb}", body, cancellationToken);
            Print(parsed.GetValue(Json), answer as JsonObject ?? [], () => Console.WriteLine(
                answer?["sequences"] is JsonArray sequences ? $"Sent again as {string.Join(", ", sequences)}." : "Done."));
            return 0;
        }));
        return command;
    }

    private static Command Verify()
    {
        var data = new Option<DirectoryInfo?>("--data") { Description = "Data folder of a node that does not run." };
        var site = new Option<string?>("--site") { Description = "Its site: with --data, a log of another one is refused." };
        var siteKey = new Option<FileInfo?>("--site-key") { Description = "Its site key when it is not in the data folder." };
        var command = new Command("verify", "Reads all entries and blobs and compares their checksums; names what is damaged and ends with 1.")
        {
            Node, Json, data, site, siteKey, Module,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            if (parsed.GetValue(data) is not { } folder)
            {
                return await NodeClient.RunAsync(parsed.GetValue(Node)!, async http => Verdict(
                    parsed.GetValue(Json), await OnlineAsync(http, $"{parsed.GetValue(Module)}/log/verify", cancellationToken)));
            }

            try
            {
                var report = await OfflineLog.VerifyAsync(
                    folder.FullName, parsed.GetValue(site), parsed.GetValue(siteKey)?.FullName, new Progress<VerifyReport>(r => Progress(r.Entries, r.Blobs, r.Bytes)), cancellationToken);
                return Verdict(parsed.GetValue(Json), JsonSerializer.SerializeToNode(report, JsonSerializerOptions.Web)!.AsObject());
            }
            catch (Exception e) when (e is IOException or InvalidOperationException or InvalidDataException or ArgumentException or System.Data.Common.DbException)
            {
                await Console.Error.WriteLineAsync($"yizhan: {e.Message}");
                return CommandLine.Failed;
            }
        });
        return command;
    }

    private static Command Shred()
    {
        var day = new Option<string>("--day") { Description = "The day, UTC, such as 2026-05-04.", Required = true };
        var yes = new Option<bool>("--yes") { Description = "Do it. Without it, only what would be gone is shown." };
        var undelivered = new Option<bool>("--undelivered-too") { Description = "Also when the centre does not have everything of the day: it is lost everywhere." };
        var command = new Command("shred", """
            Destroys the keys of a day. What the node accepted on it, entries and images, those of its archive included, can never be read again, by
            nobody; other nodes and backups keep their copies, and the backups that still have the keys are named. Without --yes nothing is destroyed.
            """) { day, Node, Json, Module, By, Reason, yes, undelivered };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetValue(Node)!, async http =>
        {
            var path = $"{parsed.GetValue(Module)}/log/days/{Uri.EscapeDataString(parsed.GetValue(day)!)}";
            if (!parsed.GetValue(yes))
            {
                var look = (JsonObject)await NodeClient.GetAsync(http, path, cancellationToken);
                Print(parsed.GetValue(Json), look, () => Shredded(look));
                return 0;
            }

            using var body = JsonContent.Create(new JsonObject
            {
                ["by"] = parsed.GetValue(By),
                ["reason"] = parsed.GetValue(Reason),
                ["undeliveredToo"] = parsed.GetValue(undelivered),
            });
            var report = (JsonObject)(await NodeClient.PostAsync(http, path + "/shred", body, cancellationToken))!;
            Print(parsed.GetValue(Json), report, () => Shredded(report));
            return 0;
        }));
        return command;
    }

    private static void Shredded(JsonObject report)
    {
        Console.WriteLine(report["done"]!.GetValue<bool>()
            ? $"The keys of {report["day"]} are destroyed: {report["entries"]} entries and {report["blobs"]} blobs are gone for ever."
            : $"WARNING: {report["entries"]} entries and {report["blobs"]} blobs of {report["day"]} would be gone for ever. Nothing was destroyed; say --yes to do it.");
        if (report["undelivered"]!.GetValue<long>() is > 0 and var undelivered)
        {
            Console.WriteLine($"{undelivered} of them {(report["done"]!.GetValue<bool>() ? "were" : "are")} not at the centre.");
        }

        foreach (var backup in report["backups"]!.AsArray())
        {
            Console.WriteLine($"This backup still has the keys, delete it too: {backup}");
        }
    }

    private static Command NewEpoch()
    {
        var data = new Option<DirectoryInfo?>("--data") { Description = "Data folder of a node that does not run." };
        var command = new Command("new-epoch", """
            Makes the next start of a site begin a new epoch: it sends all that it keeps again, and the centre takes each fact once. The way out when a
            site was copied back from a backup and its lanes are stopped.
            """) { Node, Json, data };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            if (parsed.GetValue(data) is { } folder)
            {
                var log = Path.Combine(folder.FullName, "log");
                if (!Directory.Exists(log))
                {
                    await Console.Error.WriteLineAsync($"yizhan: {folder.FullName} is no data folder of a node: it has no folder 'log'.");
                    return CommandLine.Failed;
                }

                LogMaintenance.MarkRestored(log);
                Print(parsed.GetValue(Json), new JsonObject { ["newEpoch"] = "at the next start" }, () => Console.WriteLine("The next start begins a new epoch."));
                return 0;
            }

            return await NodeClient.RunAsync(parsed.GetValue(Node)!, async http =>
            {
                await NodeClient.PostAsync(http, "station/log/new-epoch", null, cancellationToken);
                Print(parsed.GetValue(Json), new JsonObject { ["newEpoch"] = "at the next start" },
                    () => Console.WriteLine("The next start begins a new epoch. Restart the site now."));
                return 0;
            });
        });
        return command;
    }

    private static string PathOf(ParseResult parsed) =>
        string.Create(CultureInfo.InvariantCulture, $"station/spool/{Uri.EscapeDataString(parsed.GetValue(LaneName)!)}/{parsed.GetValue(Sequence)}");

    /// <summary>Reads the lines of a verification; the last one is the result.</summary>
    private static async Task<JsonObject> OnlineAsync(HttpClient http, string path, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, path);
        using var answer = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        await NodeClient.ThrowIfRefusedAsync(answer, cancellationToken);
        using var lines = new StreamReader(await answer.Content.ReadAsStreamAsync(cancellationToken));
        while (await lines.ReadLineAsync(cancellationToken) is { } line)
        {
            var report = (JsonObject)JsonNode.Parse(line)!;
            if (report["done"]!.GetValue<bool>())
            {
                return report;
            }

            Progress(report["entries"]!.GetValue<long>(), report["blobs"]!.GetValue<long>(), report["bytes"]!.GetValue<long>());
        }

        throw new HttpRequestException("The node ended the verification before its end.");
    }

    private static void Progress(long entries, long blobs, long bytes) =>
        Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{entries} entries, {blobs} blobs, {bytes / 1_000_000} MB read"));

    private static int Verdict(bool json, JsonObject report)
    {
        var damaged = report["damaged"]!.AsArray();
        Print(json, report, () =>
        {
            foreach (var damage in damaged)
            {
                Console.WriteLine($"damaged {damage!["kind"]} {damage["name"]} (entry {damage["entryId"]?.ToString() ?? "unknown"}): {damage["reason"]}");
            }

            Console.WriteLine($"{report["entries"]} entries and {report["blobs"]} blobs, {report["bytes"]} bytes: {(damaged.Count == 0 ? "all as written" : $"{damaged.Count} damaged")}.");
            if (report["shredded"]!.GetValue<long>() is > 0 and var shredded)
            {
                Console.WriteLine($"{shredded} entries and blobs were shredded on purpose and are not counted as damage.");
            }
        });
        return damaged.Count == 0 ? 0 : 1;
    }

    private static void Print(bool json, JsonObject value, Action text)
    {
        if (json)
        {
            Console.WriteLine(value.ToJsonString());
        }
        else
        {
            text();
        }
    }

    private static void Lanes(JsonObject spool)
    {
        Console.WriteLine($"{spool["siteId"]}, epoch {spool["epoch"]}, link {spool["link"]!["state"]} {spool["link"]!["error"]}");
        var table = new Table().Border(TableBorder.Simple).AddColumns("lane", "waits", "bytes", "confirmed to", "given up to", "room", "error");
        foreach (var lane in spool["lanes"]!.AsArray())
        {
            var status = lane!["status"]!;
            table.AddRow(
                [.. new object?[] { status["lane"], status["entries"], status["bytes"], lane["delivered"], lane["released"], status["roomBytes"], lane["error"] }
                    .Select(cell => Markup.Escape(cell?.ToString() ?? ""))]);
        }

        AnsiConsole.Write(table);
        var figures = spool["figures"]!;
        Console.WriteLine(
            $"delivered {figures["deliveredRatio"]!.GetValue<double>():P3}, room for {figures["outageHours"]?.ToString() ?? "?"} h without a link, commit p99 {figures["commitP99Ms"]} ms, {figures["batchEntries"]} entries a commit");
        foreach (var item in spool["quarantine"]!.AsArray())
        {
            Console.WriteLine($"in quarantine: {item!["lane"]} {item["sequence"]} {item["type"]} {item["id"]}: {item["reason"]}");
        }
    }

    private static void Entries(JsonArray entries)
    {
        var table = new Table().Border(TableBorder.Simple).AddColumns("sequence", "state", "type", "id", "data", "blobs");
        foreach (var entry in entries)
        {
            table.AddRow([.. new object?[] { entry!["sequence"], entry["state"], entry["type"], entry["id"], entry["dataBytes"], entry["blobs"]!.AsArray().Count }
                .Select(cell => Markup.Escape(cell?.ToString() ?? ""))]);
        }

        AnsiConsole.Write(table);
    }
}
