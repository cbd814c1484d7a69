using System.CommandLine;
using System.Globalization;
using System.Text.Json;

namespace Yizhan.Cli;

/// <summary><c>yizhan audit search</c> and <c>export</c>.</summary>
internal static class AuditSearchCommand
{
    public static Command CreateSearch()
    {
        var (options, limit) = (Filters(), new Option<int>("--limit") { Description = "Most records, 1 to 1000.", DefaultValueFactory = _ => 50 });
        var command = new Command("search", """
            Finds records, the newest first. All conditions must match.

            Examples:
              yizhan audit search --patient 4711
              yizhan audit search --agent dr-li --from 2026-03-01T00:00:00Z --action R
              yizhan audit search --entity study/1.2.3 --json | tail -n 1 | jq '.records[].index'
            """) { limit };
        options.ForEach(command.Options.Add);
        command.SetAction((parsed, cancellationToken) => AuditCommand.RunAsync(parsed, async http =>
        {
            var found = await AuditCommand.JsonOf(
                await http.GetAsync($"records?limit={parsed.GetValue(limit).ToString(CultureInfo.InvariantCulture)}{QueryOf(parsed, options)}", cancellationToken), cancellationToken);
            if (parsed.GetValue(AuditCommand.Json))
            {
                Console.WriteLine(found.GetRawText());
            }
            else
            {
                AuditCommand.PrintTable(["entry", "when", "site", "event", "action", "who", "what"], found.GetProperty("records").EnumerateArray().Select(RowOf));
            }

            return 0;
        }));
        return command;
    }

    public static Command CreateExport()
    {
        var options = Filters();
        var format = new Option<string>("--format") { Description = "fhir (one AuditEvent a line) or csv.", DefaultValueFactory = _ => "fhir" };
        format.AcceptOnlyFromAmong("fhir", "csv");
        var file = new Option<FileInfo>("--out") { Description = "New file.", Required = true };
        var command = new Command("export", """
            Writes all records that match to a file, the newest first.

            Examples:
              yizhan audit export --format csv --out march.csv --from 2026-03-01T00:00:00Z --to 2026-04-01T00:00:00Z
              yizhan audit export --out patient.ndjson --patient 4711
            """) { format, file };
        options.ForEach(command.Options.Add);
        command.SetAction((parsed, cancellationToken) => AuditCommand.RunAsync(parsed, async http =>
        {
            var to = parsed.GetValue(file)!;
            using var answer = await http.GetAsync($"export?format={parsed.GetValue(format)}{FhirQueryOf(parsed, options)}", HttpCompletionOption.ResponseHeadersRead, cancellationToken);
            await AuditCommand.EnsureAsync(answer, cancellationToken);
            await using (var stream = new FileStream(to.FullName, FileMode.CreateNew))
            {
                await answer.Content.CopyToAsync(stream, cancellationToken);
            }

            to.Refresh();
            Console.WriteLine(parsed.GetValue(AuditCommand.Json)
                ? JsonSerializer.Serialize(new { file = to.FullName, bytes = to.Length })
                : $"{to.Length} bytes are in {to.FullName}.");
            return 0;
        }));
        return command;
    }

    private static List<Option> Filters() =>
    [
        new Option<string>("--patient") { Description = "Id of the patient." },
        new Option<string>("--entity") { Description = "What it was done to: study/1.2.3, config/…" },
        new Option<string>("--agent") { Description = "Who." },
        new Option<string>("--action") { Description = "C, R, U, D or E." },
        new Option<string>("--type") { Description = "Code of the event, such as 110103." },
        new Option<string>("--site") { Description = "Site that it comes from." },
        new Option<string>("--from") { Description = "From this time on, with a zone: 2026-03-01T08:00:00Z." },
        new Option<string>("--to") { Description = "Before this time." },
    ];

    private static string QueryOf(ParseResult parsed, List<Option> options) =>
        string.Concat(options.Cast<Option<string>>().Select(o => (o.Name, Value: parsed.GetValue(o))).Where(o => o.Value is not null)
            .Select(o => $"&{o.Name[2..]}={Uri.EscapeDataString(o.Value!)}"));

    /// <summary>The same conditions in the words of FHIR: a time is a date with a prefix.</summary>
    private static string FhirQueryOf(ParseResult parsed, List<Option> options) =>
        QueryOf(parsed, options).Replace("&from=", "&date=ge", StringComparison.Ordinal).Replace("&to=", "&date=lt", StringComparison.Ordinal);

    private static string[] RowOf(JsonElement found)
    {
        var record = found.GetProperty("record");
        return
        [
            found.GetProperty("index").ToString(),
            DateTimeOffset.FromUnixTimeMilliseconds(record.GetProperty("recordedMs").GetInt64()).ToString("u", CultureInfo.InvariantCulture),
            found.GetProperty("site").GetString()!,
            record.GetProperty("type").GetString()!,
            record.GetProperty("action").GetString()!,
            string.Join(", ", record.GetProperty("agents").EnumerateArray()),
            string.Join(", ", record.GetProperty("entities").EnumerateArray()),
        ];
    }
}
