using System.CommandLine;
using System.Globalization;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Nodes;
using Yizhan.Contracts;

namespace Yizhan.Cli;

/// <summary><c>yizhan inventory</c>: what is there, what moved, what runs out, where a lot went.</summary>
internal static class InventoryCommand
{
    private static readonly Option<Uri> Node = new("--node")
    {
        Description = "Web address of the node.",
        DefaultValueFactory = _ => new Uri("http://127.0.0.1:8080/"),
        CustomParser = NodeClient.Address,
        Recursive = true,
    };

    private static readonly Option<bool> Json = new("--json") { Description = "The last line of the output is one JSON object.", Recursive = true };
    private static readonly Option<string> Site = new("--site") { Description = "Only this site." };
    private static readonly Option<string> Item = new("--item") { Description = "Code of the item." };
    private static readonly Option<string> Lot = new("--lot") { Description = "Lot." };
    private static readonly Option<string> Location = new("--location") { Description = "Place at the site." };
    private static readonly Option<int> Limit = new("--limit") { Description = "Most rows, 1 to 10000.", DefaultValueFactory = _ => 1000 };

    private static readonly Option<int> Skip = new("--skip") { Description = "Rows before the first that is shown: the next part of a long list." };

    public static Command Create() => new("inventory", "Stock, movements, expiry and recalls of a node and, at the centre, of every site.")
    {
        Node,
        Json,
        Stock(),
        Movements(),
        Expiring(),
        Shortage(),
        Recall(),
        Count(),
        Export(),
        Table("sources", "sources", """
            Shows how each source was collected last.

            Examples:
              yizhan inventory sources
              yizhan inventory sources --json | tail -n 1 | jq '.rows[] | select(.last.outcome != "complete")'
            """, ["site", "last.source", "last.kind", "last.outcome", "last.lastSuccessMs", "last.problem"], Site, Skip, Limit),
        Table("assets", "assets", """
            Shows equipment and nodes, the newest report first.

            Examples:
              yizhan inventory assets --site lakeside
            """, ["id", "site", "last.kind", "last.name", "last.manufacturer", "last.model", "last.seenMs"], Site, Skip, Limit),
    };

    private static Command Stock()
    {
        var at = new Option<string>("--at") { Description = "As it was at this time, with a zone: 2026-03-01T08:00:00Z. Needs --item or --lot." };
        var known = new Option<string>("--known") { Description = "As the ledger knew it at this time." };
        return Table("stock", "stock", """
            Shows what is there, by lot and place.

            Examples:
              yizhan inventory stock --site lakeside
              yizhan inventory stock --item gtin:06901234567892 --at 2026-03-01T08:00:00Z
              yizhan inventory stock --json | tail -n 1 | jq '.rows[] | select(.quantity < 10)'
            """, ["site", "location", "item", "name", "lot", "expiry", "quantity", "unit", "recalled"], Site, Item, Lot, Location, Skip, Limit, at, known);
    }

    private static Command Movements() => Table("movements", "movements", """
        Shows movements, the newest first.

        Examples:
          yizhan inventory movements --item gloves --limit 20
          yizhan inventory movements --lot A213B1 --json
        """, ["effectiveMs", "site", "kind", "quantity", "item", "lot", "location", "source", "actor", "batchId"], Site, Item, Lot, Location, Limit);

    private static Command Expiring()
    {
        var days = new Option<int>("--days") { Description = "Within so many days; 0 is what has expired by today.", DefaultValueFactory = _ => 90 };
        return Table("expiring", "expiring", """
            Shows what expires soon or has expired, the first first.

            Examples:
              yizhan inventory expiring
              yizhan inventory expiring --days 30 --site lakeside
            """, ["expiry", "site", "location", "item", "name", "lot", "quantity", "unit"], Site, days, Skip, Limit);
    }

    private static Command Shortage()
    {
        var days = new Option<int>("--days") { Description = "Also what lasts fewer days than this." };
        var all = new Option<bool>("--all") { Description = "Every item." };
        var command = new Command("shortage", """
            Shows what is at its reorder point, and how long it lasts by what was used of it. The method is printed below.

            Examples:
              yizhan inventory shortage
              yizhan inventory shortage --site lakeside --days 30
            """) { Site, days, all, Skip, Limit };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetValue(Node)!, async http =>
        {
            var query = $"all={(parsed.GetValue(all) ? "true" : "false")}{Query(parsed, Site, Skip, Limit)}{(parsed.GetResult(days) is null ? "" : Query(parsed, days))}";
            var shortage = await NodeClient.GetAsync(http, $"inventory/shortage?{query}", cancellationToken);
            if (parsed.GetValue(Json))
            {
                Console.WriteLine(shortage.ToJsonString(CliJson.Options));
                return 0;
            }

            Print(shortage["items"]!.AsArray(), ["site", "item", "name", "usable", "unit", "perDay", "daysOfCover", "runsOutOn", "willExpire", "reorderPoint", "order"]);
            Console.WriteLine(shortage["method"]);
            SayIfMore(shortage["more"]);
            return 0;
        }));
        return command;
    }

    private static Command Export()
    {
        var format = new Option<string>("--format") { Description = "csv or xlsx.", DefaultValueFactory = _ => "csv" };
        format.AcceptOnlyFromAmong("csv", "xlsx");
        var what = new Option<string>("--what") { Description = "stock or movements.", DefaultValueFactory = _ => "stock" };
        what.AcceptOnlyFromAmong("stock", "movements");
        var file = new Option<FileInfo>("--out") { Description = "New file.", Required = true };
        var command = new Command("export", """
            Writes stock or movements to a file.

            Examples:
              yizhan inventory export --out stock.xlsx --format xlsx
              yizhan inventory export --what movements --site lakeside --out movements.csv
            """) { format, what, file, Site, Item };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetValue(Node)!, async http =>
        {
            var to = parsed.GetValue(file)!;
            using var answer = await http.GetAsync(
                $"inventory/export?format={parsed.GetValue(format)}&what={parsed.GetValue(what)}{Query(parsed, Site, Item)}", HttpCompletionOption.ResponseHeadersRead, cancellationToken);
            await NodeClient.ThrowIfRefusedAsync(answer, cancellationToken);
            await using (var stream = new FileStream(to.FullName, FileMode.CreateNew))
            {
                await answer.Content.CopyToAsync(stream, cancellationToken);
            }

            to.Refresh();
            Console.WriteLine(parsed.GetValue(Json) ? JsonSerializer.Serialize(new { file = to.FullName, bytes = to.Length }) : $"{to.Length} bytes are in {to.FullName}.");
            return 0;
        }));
        return command;
    }

    private static Command Recall()
    {
        var lot = new Argument<string>("lot") { Description = "The lot that is recalled." };
        var command = new Command("recall", """
            Shows where a lot is, where it ever was, and in which patients and studies it was used.

            Examples:
              yizhan inventory recall A213B1 --item gtin:06901234567892
              yizhan inventory recall A213B1 --json | tail -n 1 | jq -r '.uses[].studyInstanceUid'
            """) { lot, Item, Skip, Limit };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetValue(Node)!, async http =>
        {
            var recall = await NodeClient.GetAsync(http, $"inventory/recall?lot={Escape(parsed.GetValue(lot)!)}{Query(parsed, Item, Skip, Limit)}", cancellationToken);
            if (parsed.GetValue(Json))
            {
                Console.WriteLine(recall.ToJsonString());
                return 0;
            }

            Print(recall["stock"]!.AsArray(), ["site", "location", "item", "expiry", "quantity", "unit", "recalled"]);
            Print(recall["uses"]!.AsArray(), ["effectiveMs", "site", "item", "patientId", "studyInstanceUid", "quantity"]);
            SayIfMore(recall["moreUses"]!.GetValue<bool>() ? recall["moreUses"] : recall["moreStock"]);
            Console.WriteLine($"The lot was at {recall["sites"]!.AsArray().Count} sites: {string.Join(", ", recall["sites"]!.AsArray())}.");
            return 0;
        }));
        return command;
    }

    private static Command Count()
    {
        var item = new Argument<string>("item") { Description = "Code of the item." };
        var quantity = new Argument<decimal>("quantity") { Description = "What is there." };
        var unit = new Option<string>("--unit") { Description = "A unit of the item; its base unit when left out.", DefaultValueFactory = _ => "" };
        var expiry = new Option<string>("--expiry") { Description = "YYYY-MM-DD.", DefaultValueFactory = _ => "" };
        var actor = new Option<string>("--actor") { Description = "Who counted.", DefaultValueFactory = _ => Environment.UserName };
        var name = new Option<string>("--batch") { Description = "Name of the count: the same again changes nothing. Made up when left out." };
        var command = new Command("count", """
            Records what somebody counted at this node's site; the balance is that from now on.

            Examples:
              yizhan inventory count gloves 120 --lot A213B1 --location store
              yizhan inventory count gloves 12 --unit box --batch shelf-7-2026-03-01
            """) { item, quantity, Lot, Location, unit, expiry, actor, name };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetValue(Node)!, async http =>
        {
            var now = TimeProvider.System.GetUtcNow();
            var movement = new Movement(
                "count", parsed.GetValue(item)!, parsed.GetValue(quantity), parsed.GetValue(unit)!, now.ToUnixTimeMilliseconds(), parsed.GetValue(Lot) ?? "",
                parsed.GetValue(expiry)!, parsed.GetValue(Location) ?? "");
            var batch = new MovementBatch(parsed.GetValue(name) ?? $"count-{Guid.CreateVersion7(now):N}", "cli", parsed.GetValue(actor)!, [movement]);
            using var answer = await http.PostAsJsonAsync("inventory/movements", batch, ContractsJson.Default.MovementBatch, cancellationToken);
            await NodeClient.ThrowIfRefusedAsync(answer, cancellationToken);
            var recorded = await answer.Content.ReadFromJsonAsync(ContractsJson.Default.RecordedBatch, cancellationToken);
            Console.WriteLine(parsed.GetValue(Json)
                ? JsonSerializer.Serialize(recorded, ContractsJson.Default.RecordedBatch)
                : recorded!.AlreadyKnown ? $"{recorded.BatchId} was recorded before." : $"{recorded.BatchId} is recorded.");
            return 0;
        }));
        return command;
    }

    /// <summary>A command that prints the rows of a list.</summary>
    private static Command Table(string name, string path, string help, string[] columns, params Option[] options)
    {
        var command = new Command(name, help);
        foreach (var option in options)
        {
            command.Options.Add(option);
        }

        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetValue(Node)!, async http =>
        {
            var rows = (await NodeClient.GetAsync(http, $"inventory/{path}?{Query(parsed, options).TrimStart('&')}", cancellationToken)).AsArray();
            if (parsed.GetValue(Json))
            {
                Console.WriteLine(new JsonObject { ["rows"] = rows.DeepClone() }.ToJsonString(CliJson.Options));
            }
            else
            {
                Print(rows, columns);
            }

            return 0;
        }));
        return command;
    }

    private static void SayIfMore(JsonNode? more)
    {
        if (more?.GetValue<bool>() == true)
        {
            Console.WriteLine("There are more: see them with --skip.");
        }
    }

    private static void Print(JsonArray rows, string[] columns) =>
        AuditCommand.PrintTable(columns, rows.Select(row => columns.Select(c => Text(c, c.Split('.').Aggregate(row, (node, name) => node?[name]))).ToArray()));

    private static string Text(string column, JsonNode? value) =>
        value is null ? ""
        : column.EndsWith("Ms", StringComparison.Ordinal) ? DateTimeOffset.FromUnixTimeMilliseconds(value.GetValue<long>()).ToString("u", CultureInfo.InvariantCulture)
        : value.ToString();

    private static string Query(ParseResult parsed, params ReadOnlySpan<Option> options)
    {
        var query = "";
        foreach (var option in options)
        {
            if (parsed.GetResult(option) is not null && option switch
            {
                Option<string> text => parsed.GetValue(text),
                Option<int> number => parsed.GetValue(number).ToString(CultureInfo.InvariantCulture),
                _ => null,
            } is { } value)
            {
                query += $"&{option.Name[2..]}={Escape(value)}";
            }
        }

        return query;
    }

    private static string Escape(string text) => Uri.EscapeDataString(text);
}
