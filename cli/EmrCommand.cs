using System.CommandLine;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Nodes;
using Spectre.Console;

namespace Yizhan.Cli;

/// <summary><c>yizhan emr</c>: what goes to and comes from electronic medical records, and what an operator does about what cannot be delivered.</summary>
internal static class EmrCommand
{
    private static readonly Option<Uri> Node = new("--node")
    {
        Description = "Web address of the running node.",
        DefaultValueFactory = _ => new Uri("http://127.0.0.1:8081/"),
        CustomParser = NodeClient.Address,
    };

    private static readonly Option<bool> Json = new("--json") { Description = "Print one JSON object last." };

    public static Command Create() => new("emr", """
        Orders, results and notes between the platform and electronic medical records.

        Examples:
          yizhan emr ls
          yizhan emr deadletters
          yizhan emr replay 17 --by "M. Keller" --reason "the EMR knows this code now"
          yizhan emr search --accession ACC1
          yizhan emr preview order.hl7
        """)
    {
        Ls(), DeadLetters(), Replay(), Search(), Preview(),
    };

    private static Command Ls()
    {
        var command = new Command("ls", "Each system: what waits, what was delivered, dead letters, and why nothing gets through; codes that no map knows.") { Node, Json };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetValue(Node)!, async http =>
        {
            var systems = await NodeClient.GetAsync(http, "emr-adapter/systems", cancellationToken);
            var unmapped = await NodeClient.GetAsync(http, "emr-adapter/unmapped", cancellationToken);
            var conflicts = await NodeClient.GetAsync(http, "emr-adapter/identity-conflicts", cancellationToken);
            Print(parsed.GetValue(Json), new JsonObject { ["systems"] = systems.DeepClone(), ["unmapped"] = unmapped.DeepClone(), ["identityConflicts"] = conflicts.DeepClone() }, () =>
            {
                Table(systems.AsArray(), "name", "driver", "waiting", "delivered", "deadLetters", "unlinked", "problem");
                Table(unmapped.AsArray(), "map", "system", "code", "text", "orders");
                Table(conflicts.AsArray(), "patientId", "issuer", "problem");
            });
            return 0;
        }));
        return command;
    }

    private static Command DeadLetters()
    {
        var command = new Command("deadletters", "What a system refused, and what of it could not be taken, with the reason.") { Node, Json };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetValue(Node)!, async http =>
        {
            var letters = await NodeClient.GetAsync(http, "emr-adapter/dead-letters", cancellationToken);
            Print(parsed.GetValue(Json), new JsonObject { ["deadLetters"] = letters.DeepClone() }, () => Table(letters.AsArray(), "key", "direction", "system", "kind", "subject", "attempts", "reason"));
            return 0;
        }));
        return command;
    }

    private static Command Replay()
    {
        var key = new Argument<long>("key") { Description = "Key of the dead letter; negative ones came from a system (write -- before it)." };
        var by = new Option<string>("--by") { Description = "Who decides; goes into the audit log.", Required = true };
        var reason = new Option<string>("--reason") { Description = "Why; goes into the audit log.", Required = true };
        var command = new Command("replay", "Sends a dead letter again, as it is.") { key, Node, Json, by, reason };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetValue(Node)!, async http =>
        {
            using var body = JsonContent.Create(new JsonObject { ["by"] = parsed.GetValue(by), ["reason"] = parsed.GetValue(reason) });
            await NodeClient.PostAsync(http, $"emr-adapter/dead-letters/{parsed.GetValue(key)}/replay", body, cancellationToken);
            Print(parsed.GetValue(Json), new JsonObject { ["replayed"] = parsed.GetValue(key) }, () => Console.WriteLine("It is sent again."));
            return 0;
        }));
        return command;
    }

    private static Command Search()
    {
        var patient = new Option<string?>("--patient") { Description = "Patient ID." };
        var order = new Option<string?>("--order") { Description = "Order number at the source." };
        var accession = new Option<string?>("--accession") { Description = "Accession number." };
        var command = new Command("search", "Orders, and the messages about them, by patient, order or accession number.") { Node, Json, patient, order, accession };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetValue(Node)!, async http =>
        {
            var query = string.Join('&', ((string Name, string? Value)[])[("patient", parsed.GetValue(patient)), ("order", parsed.GetValue(order)), ("accession", parsed.GetValue(accession))]
                is var given ? given.Where(g => g.Value is not null).Select(g => $"{g.Name}={Uri.EscapeDataString(g.Value!)}") : []);
            var orders = await NodeClient.GetAsync(http, $"emr-adapter/orders?{query}", cancellationToken);
            var messages = new JsonArray();
            foreach (var study in orders.AsArray().Select(o => (string?)o!["studyInstanceUid"]).Where(s => s is { Length: > 0 }).Distinct())
            {
                foreach (var message in (await NodeClient.GetAsync(http, $"emr-adapter/messages?search={Uri.EscapeDataString(study!)}", cancellationToken)).AsArray())
                {
                    messages.Add(message!.DeepClone());
                }
            }

            Print(parsed.GetValue(Json), new JsonObject { ["orders"] = orders.DeepClone(), ["messages"] = messages }, () =>
            {
                Table(orders.AsArray(), "orderId", "state", "accessionNumber", "patientId", "description", "studyInstanceUid");
                Table(messages, "key", "system", "kind", "subject", "state", "attempts", "reason");
            });
            return 0;
        }));
        return command;
    }

    private static Command Preview()
    {
        var file = new Argument<FileInfo>("file") { Description = "An HL7 v2 message or a FHIR resource (JSON)." };
        var command = new Command("preview", "What a message would become; nothing is stored. Ends with 1 when it would be refused.") { file, Node, Json };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetValue(Node)!, async http =>
        {
            using var body = new ByteArrayContent(await File.ReadAllBytesAsync(parsed.GetValue(file)!.FullName, cancellationToken));
            var preview = (JsonObject)(await NodeClient.PostAsync(http, "emr-adapter/preview", body, cancellationToken))!;
            Print(parsed.GetValue(Json), preview, () => Console.WriteLine(preview.ToJsonString(new JsonSerializerOptions { WriteIndented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping })));
            return (string?)preview["answer"] is "AA" or "accepted" ? 0 : 1;
        }));
        return command;
    }

    private static void Print(bool json, JsonObject result, Action people)
    {
        if (json)
        {
            Console.WriteLine(result.ToJsonString());
        }
        else
        {
            people();
        }
    }

    private static void Table(JsonArray rows, params string[] columns)
    {
        if (rows.Count == 0)
        {
            return;
        }

        var table = new Table().Border(TableBorder.Simple).AddColumns(columns);
        foreach (var row in rows)
        {
            table.AddRow([.. columns.Select(c => Markup.Escape(row?[c]?.ToString() ?? ""))]);
        }

        AnsiConsole.Write(table);
    }
}
